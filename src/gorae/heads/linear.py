"""Softmax, logistic and ridge regression on features."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.heads.head import OUTPUTS, Head
from gorae.heads.inner import LARGE, NUM_INNER_FOLDS, Trial, choose_strength, inner_folds
from gorae.heads.solve import COARSE, LOSSES, Rotation, calm_threads, rotate, solve
from gorae.heads.targets import Targets, encode


def fit_linear(
    features: NDArray[np.float32],
    truth: NDArray[np.int64] | NDArray[np.float32],
    *,
    task: Task,
    groups: NDArray[np.int64],
    strengths: Sequence[float],
    seed: int,
    num_classes: int,
) -> Head:
    """Fit a linear head: softmax regression, one logistic regression per label, or ridge.

    The strength is the one with the least loss (log loss, or squared error) over five inner
    folds of the given rows that keep groups together; over one of the five when there are
    more than 5,000 rows. The head is then fitted on all rows.

    Args:
        features: (N, D) of the train part only; they are standardised by its statistics.
        truth: Class indices (N,), 0/1 labels (N, K), or values (N,).
        task: What a label is.
        groups: Group of each row, (N,).
        strengths: Inverse regularisation strengths to choose from; as ``C`` in
            scikit-learn.
        seed: Order in which groups are dealt to the inner folds.
        num_classes: K; a class without a row gets a probability of about 1e-8. Not used by a
            regression.

    Returns:
        The head; the same for the same input.
    """
    targets = encode(truth, task=task, num_classes=num_classes)
    strengths = sorted(strengths)
    folds = inner_folds(truth, groups, seed=seed)
    num_products = features.size * targets.values.shape[1]
    with calm_threads(num_products):
        rotation = rotate(features)
        trial = _trial(rotation, targets, task=task, strengths=strengths)
        strength, inner_losses = choose_strength(
            trial,
            folds,
            strengths=strengths,
            max_folds=NUM_INNER_FOLDS if len(features) <= LARGE else 1,
        )
        found = solve(rotation.rotated, targets.values, output=OUTPUTS[task], strength=strength)
        weight, bias = rotation.unfold(
            found.weights * targets.scale, found.bias * targets.scale + targets.offset
        )
    return Head(
        layers=((weight.astype(np.float32), bias.astype(np.float32)),),
        output=OUTPUTS[task],
        strength=strength,
        inner_losses=inner_losses,
        converged=found.converged,
    )


def _trial(
    rotation: Rotation, targets: Targets, *, task: Task, strengths: Sequence[float]
) -> Trial:
    """Fits every strength, from strong to weak regularisation, each from the one before."""

    def trial(train: NDArray[np.int64], valid: NDArray[np.int64]) -> Iterator[float]:
        valid = targets.scorable(train, valid)
        rows, wanted = rotation.rotated[train], targets.values[train]
        valid_rows, valid_wanted = rotation.rotated[valid], targets.values[valid]
        found = None
        for strength in strengths:
            found = solve(
                rows,
                wanted,
                output=OUTPUTS[task],
                strength=strength,
                start=found,
                tolerance=COARSE,
            )
            logits = valid_rows @ found.weights + found.bias
            yield LOSSES[OUTPUTS[task]](logits, valid_wanted)[0] / max(len(valid), 1)

    return trial
