"""A network with one hidden layer on features."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.data.sources import Task
from gorae.heads.head import OUTPUTS, Head, Layer
from gorae.heads.inner import choose_strength, inner_folds
from gorae.heads.solve import (
    LOSSES,
    SMALLEST_SHARE,
    Floats,
    calm_threads,
    first_solution,
    standardisation,
)
from gorae.heads.targets import Targets, encode

# Passes over the rows; Adam stops earlier once the loss has not fallen for ten passes.
MAX_PASSES = 300
BATCH_SIZE = 200


def fit_mlp(
    features: NDArray[np.float32],
    truth: NDArray[np.int64] | NDArray[np.float32],
    *,
    task: Task,
    groups: NDArray[np.int64],
    strengths: Sequence[float],
    seed: int,
    num_classes: int,
    hidden: int,
) -> Head:
    """Fit a head with one hidden layer of ``hidden`` ReLU units, by Adam.

    As ``fit_linear``, but strengths are compared on one inner hold-out of a fifth of the
    rows: a fit takes seconds. ``seed`` also draws the initial weights and the order of rows.
    """
    targets = encode(truth, task=task, num_classes=num_classes)
    strengths = sorted(strengths)
    folds = inner_folds(truth, groups, seed=seed)
    mean, spread = standardisation(features)
    scaled = ((features - mean) / spread).astype(np.float32)

    def fit(rows: NDArray[np.int64], strength: float) -> tuple[tuple[Layer, Layer], bool]:
        settings = {
            "hidden_layer_sizes": (hidden,),
            "alpha": 1 / strength,
            "max_iter": MAX_PASSES,
            "batch_size": min(BATCH_SIZE, len(rows)),
            "random_state": seed,
        }
        return _fit(scaled[rows], targets.values[rows], task=task, settings=settings)

    def trial(train: NDArray[np.int64], valid: NDArray[np.int64]) -> Iterator[float]:
        valid = targets.scorable(train, valid)
        for strength in strengths:
            layers, _ = fit(train, strength)
            loss = _loss(layers, scaled[valid], targets.values[valid], task=task)
            yield loss / max(len(valid), 1)

    with calm_threads(BATCH_SIZE * features.shape[1] * hidden):
        strength, inner_losses = choose_strength(trial, folds, strengths=strengths, max_folds=1)
        (first, last), converged = fit(np.arange(len(features)), strength)
    return Head(
        layers=(_unscale_inputs(first, mean, spread), _unscale_outputs(last, targets)),
        output=OUTPUTS[task],
        strength=strength,
        inner_losses=inner_losses,
        converged=converged,
    )


def _fit(
    rows: NDArray[np.float32], targets: Floats, *, task: Task, settings: dict[str, Any]
) -> tuple[tuple[Layer, Layer], bool]:
    """Both layers on standardised ``rows`` (N, D), and whether Adam came to rest."""
    # Imported here: most heads are linear, and scikit-learn takes a second to load.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    wanted, present = _wanted(targets, task=task)
    if wanted is None:
        start = first_solution(targets, num_axes=0, output=OUTPUTS[task])
        hidden = settings["hidden_layer_sizes"][0]
        return _constant(start.bias, num_features=rows.shape[1], hidden=hidden), True
    model = (MLPRegressor if task == "regression" else MLPClassifier)(**settings)
    with warnings.catch_warnings():
        # It is told by the return value.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, wanted)
    converged = model.n_iter_ < MAX_PASSES
    weight, bias = model.coefs_[1].T, model.intercepts_[1]
    if task in ("multiclass", "ordinal"):
        weight, bias = _all_classes(weight, bias, present, num_classes=targets.shape[1])
    return ((model.coefs_[0].T, model.intercepts_[0]), (weight, bias)), converged


def _wanted(
    targets: Floats, *, task: Task
) -> tuple[NDArray[np.float64] | NDArray[np.int64] | None, NDArray[np.int64]]:
    """What scikit-learn is to fit, and the classes present; None where all rows are alike."""
    present = np.flatnonzero(targets.sum(axis=0) > 0)
    if (targets == targets[0]).all():
        return None, present
    if task == "regression":
        return targets.ravel(), present
    if task == "multilabel":
        return targets.astype(np.int64).squeeze(
            axis=1 if targets.shape[1] == 1 else ()
        ), present
    return targets.argmax(axis=1), present


def _constant(bias: Floats, *, num_features: int, hidden: int) -> tuple[Layer, Layer]:
    """Layers that answer ``bias`` (K,) whatever they are shown."""
    return (
        (np.zeros((hidden, num_features), np.float32), np.zeros(hidden, np.float32)),
        (np.zeros((len(bias), hidden), np.float32), bias.astype(np.float32)),
    )


def _all_classes(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    present: NDArray[np.int64],
    *,
    num_classes: int,
) -> Layer:
    """The last layer with a row for each of K classes, from one for those in the train part."""
    if len(weight) == 1:
        # scikit-learn gives two classes one sigmoid: the logit of the second over the first.
        weight, bias = np.vstack([0 * weight, weight]), np.append(0 * bias, bias)
    # An absent class stands at the mean logit less 18: below 1e-8 of the largest.
    full_weight = np.tile(weight.mean(axis=0), (num_classes, 1))
    full_bias = np.full(num_classes, bias.mean() + np.log(SMALLEST_SHARE))
    full_weight[present], full_bias[present] = weight, bias
    return full_weight.astype(np.float32), full_bias.astype(np.float32)


def _loss(
    layers: tuple[Layer, Layer], rows: NDArray[np.float32], targets: Floats, *, task: Task
) -> float:
    (weight, bias), (last_weight, last_bias) = layers
    hidden = np.maximum(rows @ weight.T + bias, 0)
    logits = (hidden @ last_weight.T + last_bias).astype(np.float64)
    return LOSSES[OUTPUTS[task]](logits, targets)[0]


def _unscale_inputs(layer: Layer, mean: Floats, spread: Floats) -> Layer:
    """A first layer on raw features from one on standardised features."""
    weight, bias = layer
    raw = weight.astype(np.float64) / spread
    return raw.astype(np.float32), (bias - raw @ mean).astype(np.float32)


def _unscale_outputs(layer: Layer, targets: Targets) -> Layer:
    """A last layer that gives raw values from one that gives standardised ones."""
    weight, bias = layer
    return (
        (weight * targets.scale).astype(np.float32),
        (bias * targets.scale + targets.offset).astype(np.float32),
    )
