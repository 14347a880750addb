"""A submission beside the out-of-fold predictions of its run: is the test set another world?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from gorae.predictions import Predictions
from gorae.submission.findings import Finding, shown

# A warning needs both: a difference chance makes once in a thousand sets, and one that
# matters. Large test sets make the first alone of any trifle.
RAREST_CHANCE = 1e-3
SMALLEST_SHIFT = 0.05

# Below this expected count the chi-square distribution is no good guide (Cochran, 1954).
SMALLEST_EXPECTED = 5


def compare_with_oof(
    test: Predictions,
    oof: Predictions,
    *,
    threshold: float = 0.5,
    fallback_ids: Sequence[str] = (),
) -> list[Finding]:
    """Warnings about rows without a prediction of their own, and about shifted class shares.

    Args:
        test: What is submitted, one row per id.
        oof: The same model's out-of-fold predictions of the train table.
        threshold: Probability from which a label of a multi-label row is given.
        fallback_ids: Ids that got the class prior because their picture could not be used.
    """
    findings = []
    if fallback_ids:
        findings.append(
            Finding(
                level="warning",
                code="fallback",
                message=(
                    f"{len(fallback_ids):,} of {len(test.ids):,} rows hold the class prior, as "
                    "their pictures could not be used"
                ),
                fix="The report lists the pictures and what is wrong with each.",
                got=", ".join(shown(id_) for id_ in fallback_ids[:5]),
            )
        )
    if test.kind == "value":
        return findings
    own = ~np.isin(np.array(test.ids, dtype=object), list(fallback_ids))
    given = _given(test, threshold)[own]
    expected = _given(oof, threshold)
    if len(given) and len(expected):
        findings += _shift(given, expected, oof)
    return findings


def _given(predictions: Predictions, threshold: float) -> NDArray[np.bool_]:
    """Which labels each row gets, (N, K)."""
    if predictions.kind == "multilabel":
        over: NDArray[np.bool_] = predictions.values >= threshold
        return over
    best = predictions.values.argmax(axis=1)
    is_best: NDArray[np.bool_] = best[:, None] == np.arange(predictions.values.shape[1])
    return is_best


def _shift(
    given: NDArray[np.bool_], expected: NDArray[np.bool_], oof: Predictions
) -> list[Finding]:
    shares, usual = given.mean(axis=0), expected.mean(axis=0)
    differences = np.abs(shares - usual)
    if oof.kind == "multilabel":
        shift, chance = float(differences.max()), _chance_of_flags(given, expected)
    else:
        shift, chance = float(differences.sum()) / 2, _chance_of_classes(given, expected)
    if shift < SMALLEST_SHIFT or chance > RAREST_CHANCE:
        return []
    most = np.argsort(-differences, kind="stable")[:3]
    told = "; ".join(
        f"{oof.columns[k]} {shares[k]:.1%} here, {usual[k]:.1%} out of fold" for k in most
    )
    return [
        Finding(
            level="warning",
            code="class_shares",
            message=(
                f"The labels are spread otherwise than out of fold: {told} ({len(given):,} and "
                f"{len(expected):,} rows; by chance in fewer than {max(chance, 1e-9):.0e} of "
                "sets)"
            ),
            fix="Look whether the test pictures differ, or were read in another way.",
        )
    ]


def _chance_of_classes(given: NDArray[np.bool_], expected: NDArray[np.bool_]) -> float:
    """Probability of so large a chi-square of two counts of classes; rare ones are joined."""
    counts = np.stack([given.sum(axis=0), expected.sum(axis=0)]).astype(np.float64)
    part = len(given) / (len(given) + len(expected))
    pooled = counts.sum(axis=0)
    rare = pooled * min(part, 1 - part) < SMALLEST_EXPECTED
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    counts = counts[:, counts.sum(axis=0) > 0]
    wanted = np.outer([part, 1 - part], counts.sum(axis=0))
    # The tail of the chi-square distribution, without scipy.stats: it loads for a second.
    statistic = ((counts - wanted) ** 2 / wanted).sum()
    return float(chdtrc(max(counts.shape[1] - 1, 1), statistic))


def _chance_of_flags(given: NDArray[np.bool_], expected: NDArray[np.bool_]) -> float:
    """The least such probability of any label, times the number of labels (Bonferroni)."""
    chances = [
        _chance_of_classes(
            np.column_stack([given[:, k], ~given[:, k]]),
            np.column_stack([expected[:, k], ~expected[:, k]]),
        )
        for k in range(given.shape[1])
    ]
    return min(1.0, min(chances) * len(chances))
