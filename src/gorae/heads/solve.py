"""Linear models under an L2 penalty, solved by L-BFGS in well-scaled coordinates.

Minimised is, as in scikit-learn, ``strength * (sum of losses) + |weights|^2 / 2``; biases
are not penalised. Softmax regression keeps one column per class for two classes, too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no stubs

from gorae.heads.head import Output

Floats = NDArray[np.float64]

# Far below any probability that training rows can teach; keeps log(share) finite.
SMALLEST_SHARE = 1e-8

# An iteration that lowers the objective by less than this share of it is the last. Against
# the solution at 1e-14, probabilities are within 1e-3 at COARSE and mostly 1e-4 at FINE.
COARSE, FINE = 1e-7, 1e-10
MAX_ITERATIONS = 2000

# Multiplications per matrix product below which a second thread costs more than it brings:
# on two busy cores five folds of 910 x 1280 took 1.2 s on one thread and 11 to 19 s on two.
WORTH_THREADS = 1e9

# Directions with a smaller share of the largest variance cannot be told from rounding.
SMALLEST_VARIANCE = 1e-10


def calm_threads(num_multiplications: float) -> threadpool_limits:
    """One BLAS thread inside the ``with`` block, unless the products are large.

    A small head is then the same whatever the number of threads.
    """
    return threadpool_limits(
        limits=1 if num_multiplications < WORTH_THREADS else None, user_api="blas"
    )


def softmax_loss(logits: Floats, targets: Floats) -> tuple[float, Floats]:
    """Summed cross entropy and its gradient; ``targets`` are one-hot, (N, K)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    sums = weights.sum(axis=1, keepdims=True)
    loss = float(np.log(sums).sum() - np.vdot(shifted, targets))
    weights /= sums
    weights -= targets
    return loss, weights


def sigmoid_loss(logits: Floats, targets: Floats) -> tuple[float, Floats]:
    """Summed binary cross entropy of every column and its gradient."""
    loss = float(np.logaddexp(0, logits).sum() - np.vdot(logits, targets))
    return loss, expit(logits) - targets


def squared_loss(logits: Floats, targets: Floats) -> tuple[float, Floats]:
    """Half the summed squared error and its gradient."""
    error = logits - targets
    return float(np.vdot(error, error)) / 2, error


LOSSES: dict[Output, Callable[[Floats, Floats], tuple[float, Floats]]] = {
    "softmax": softmax_loss,
    "sigmoid": sigmoid_loss,
    "identity": squared_loss,
}


@dataclass(frozen=True, eq=False)
class Rotation:
    """Features, standardised and turned to their principal axes.

    The penalty does not see the turn, and with fewer rows than features only as many axes as
    rows are left: the same solution from a smaller problem.
    """

    rotated: Floats  # (N, R)
    axes: Floats  # (D, R)
    mean: Floats  # (D,)
    spread: Floats  # (D,)

    def unfold(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Weights (K, D) and bias (K,) on raw features, from weights (R, K) on the axes."""
        raw = (self.axes @ weights).T / self.spread
        return raw, bias - raw @ self.mean


def standardisation(features: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean and spread of each feature, (D,).

    A feature that hardly varies here may vary elsewhere: its spread is held above a
    thousandth of the typical one, or one such feature could outweigh all others.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    spread = features.std(axis=0, dtype=np.float64)
    typical = float(np.sqrt(np.mean(spread**2)))
    return mean, np.maximum(spread, 1e-3 * typical if typical > 0 else 1.0)


def rotate(features: NDArray[np.float32]) -> Rotation:
    """Standardise ``features`` (N, D) by their own statistics and turn them."""
    mean, spread = standardisation(features)
    scaled = features.astype(np.float64)
    scaled -= mean
    scaled /= spread
    num_rows, num_features = scaled.shape
    if num_rows >= num_features:
        _, axes = eigh(scaled.T @ scaled, driver="evd", overwrite_a=True)
    else:
        variances, sides = eigh(scaled @ scaled.T, driver="evd", overwrite_a=True)
        kept = variances > max(SMALLEST_VARIANCE * variances[-1], 0)
        axes = (scaled.T @ sides[:, kept]) / np.sqrt(variances[kept])
    return Rotation(scaled @ axes, axes, mean, spread)


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights (R, K) and biases (K,) of a linear model."""

    weights: Floats
    bias: Floats
    converged: bool


def first_solution(targets: Floats, *, num_axes: int, output: Output) -> Solution:
    """No weights, and the biases that give each class its share of ``targets`` (N, K)."""
    shares = targets.mean(axis=0)
    if output == "identity":
        bias = shares
    else:
        # A class without a row starts, and stays, at a probability of about 1e-8.
        clipped = np.clip(shares, SMALLEST_SHARE, 1 - SMALLEST_SHARE)
        bias = np.log(clipped) - (np.log1p(-clipped) if output == "sigmoid" else 0)
    return Solution(np.zeros((num_axes, targets.shape[1])), bias, converged=True)


def solve(
    rows: Floats,
    targets: Floats,
    *,
    output: Output,
    strength: float,
    start: Solution | None = None,
    tolerance: float = FINE,
) -> Solution:
    """The linear model of ``rows`` (N, R), turned to principal axes, that fits ``targets``.

    Args:
        rows: Rotated features.
        targets: (N, K): one-hot, 0/1, or values.
        output: Which loss.
        strength: Inverse regularisation strength.
        start: Where to begin; the solution does not depend on it. Absent: at no weights.
        tolerance: Share of the objective that one more iteration would gain.

    Source: L-BFGS-B of SciPy. Each coordinate is scaled by the curvature expected there,
    which the principal axes make nearly diagonal: some 20 iterations in place of hundreds.
    """
    num_axes = rows.shape[1]
    num_outputs = targets.shape[1]
    loss_of = LOSSES[output]
    start = start or first_solution(targets, num_axes=num_axes, output=output)
    weight_scale, bias_scale = _scales(rows, targets, output=output, strength=strength)

    def objective(point: Floats) -> tuple[float, Floats]:
        scaled = point.reshape(num_axes + 1, num_outputs)
        weights, bias = scaled[:-1] * weight_scale, scaled[-1] * bias_scale
        loss, slope = loss_of(rows @ weights + bias, targets)
        slope *= strength
        gradient = np.empty_like(scaled)
        gradient[:-1] = (rows.T @ slope + weights) * weight_scale
        gradient[-1] = slope.sum(axis=0) * bias_scale
        return strength * loss + float(np.vdot(weights, weights)) / 2, gradient.ravel()

    found = minimize(
        objective,
        np.concatenate([start.weights / weight_scale, [start.bias / bias_scale]]).ravel(),
        jac=True,
        method="L-BFGS-B",
        # No bound on the gradient: its size means something else at each strength.
        options={
            "maxiter": MAX_ITERATIONS,
            "maxfun": 2 * MAX_ITERATIONS,
            "ftol": tolerance,
            "gtol": 0.0,
        },
    )
    scaled = found.x.reshape(num_axes + 1, num_outputs)
    return Solution(scaled[:-1] * weight_scale, scaled[-1] * bias_scale, bool(found.success))


def _scales(
    rows: Floats, targets: Floats, *, output: Output, strength: float
) -> tuple[Floats, Floats]:
    """One over the square root of the expected curvature: of weights (R, K), biases (K,)."""
    curvature = np.ones(targets.shape[1])
    if output != "identity":
        shares = np.clip(targets.mean(axis=0), 1 / len(targets), 1 - 1 / len(targets))
        curvature = np.maximum(shares * (1 - shares), 1 / len(targets))
    variances = np.einsum("nr,nr->r", rows, rows)
    weight_scale = 1 / np.sqrt(strength * np.outer(variances, curvature) + 1)
    return weight_scale, 1 / np.sqrt(strength * curvature * len(rows))
