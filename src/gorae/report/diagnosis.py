"""Does a run overfit or underfit? A verdict from scores and curves that respects chance."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtri

from gorae.report.learning import (
    Course,
    Floats,
    Gap,
    Learning,
    Z,
    learned_share,
    lost_share,
    measure_gap,
    read_course,
    signed,
    standard_error,
)
from gorae.report.metric_names import metric_name
from gorae.report.numbers import Count, number, percent
from gorae.report.page import Diagnosis, Fit
from gorae.report.remedies import Facts, remedies
from gorae.report.texts import Text

# Share of what was gained over not looking that may be lost on new pictures. Whatever fits
# loses a little: a linear head on frozen features knew all its 240 photographs of cats and dogs
# and 97.7 % of the others (docs/log.md), a loss of 5 % with nothing to mend.
MOST_LOST = 0.10
# Share of what there is to gain that a network should have of pictures it has seen: random
# weights reach nearly all of it on the pictures they learn by heart (Zhang et al., 2017).
LEAST_LEARNED = 0.5
# Folds differ more than chance would have it once in a hundred runs.
UNSTABLE_CHANCE = 0.01


def diagnose(learning: Learning, *, recipe: Mapping[str, Any], facts: Facts) -> Diagnosis:
    """Judge how well a run learned, and name settings of ``recipe`` to try.

    A gap between known and new pictures counts only when it is larger than what chance
    explains (from the bootstrap interval of the out-of-fold score, widened by the root of the
    number of pictures), and when a notable share of what was learned is lost.

    Args:
        learning: Scores and curves.
        recipe: The settings as in run.toml.
        facts: What else decides which settings fit.
    """
    if learning.strengths is not None:
        fit, evidence = _judge_head(learning)
    else:
        fit, evidence = _judge_network(learning)
    spread = _spread(learning)
    if spread is not None:
        evidence.append(spread[1])
        if spread[0] and fit in ("balanced", "learning", "underfits", "unclear"):
            fit = "unstable"
    found = () if fit == "unclear" else remedies(fit, recipe, facts=facts)
    return Diagnosis(fit=fit, evidence=tuple(evidence), remedies=found)


def _judge_network(learning: Learning) -> tuple[Fit, list[Text]]:
    gap, course = measure_gap(learning), read_course(learning.curves)
    evidence = [*_gap_sentences(learning, gap), *_course_sentences(learning.curves, course)]
    if gap is None:
        if course is not None and course.is_rising:
            return "overfits", evidence
        return ("learning" if course is not None and course.is_falling else "unclear"), evidence
    lost = lost_share(learning, gap)
    if gap.size > gap.noise and lost > MOST_LOST:
        return "overfits", evidence
    if course is not None and course.is_falling:
        return "learning", evidence
    learned = learned_share(learning, gap)
    is_blind = learning.baseline is not None and (
        gap.train - signed(learning, learning.baseline) <= gap.train_noise
    )
    if is_blind or (learned is not None and learned < LEAST_LEARNED):
        return "underfits", evidence
    return "balanced", evidence


def _gap_sentences(learning: Learning, gap: Gap | None) -> Iterator[Text]:
    metric = metric_name(learning.metric)
    if gap is None:
        yield Text(
            "There is no score on the pictures it learned from, or no interval to judge it by.",
            "학습에 쓴 사진의 점수나 판단에 쓸 신뢰구간이 없습니다.",
        )
        return
    train, valid = (number(abs(score)) for score in (gap.train, gap.valid))
    size, noise = number(abs(gap.size)), number(gap.noise)
    folds = f", mean of {gap.num_folds} folds" if gap.num_folds > 1 else ""
    folds_ko = f", 폴드 {gap.num_folds}개 평균" if gap.num_folds > 1 else ""
    if gap.size > gap.noise:
        said = (f"more than the {noise} that chance explains", f"우연의 범위 {noise}보다 큼")
    else:
        said = (f"within the {noise} of chance", f"우연의 범위 {noise} 안")
    yield Text(
        f"{metric.en} is {train} on pictures it learned from and {valid} on others{folds}: a "
        f"difference of {size}, {said[0]}.",
        f"{metric.ko}: 학습에 쓴 사진 {train}, 쓰지 않은 사진 {valid}{folds_ko}. "
        f"차이 {size}({said[1]}).",
    )
    yield from _share_sentences(learning, gap)


def _share_sentences(learning: Learning, gap: Gap) -> Iterator[Text]:
    if learning.baseline is None:
        return
    baseline = number(learning.baseline)
    if gap.size > gap.noise:
        lost = percent(min(lost_share(learning, gap), 1.0))
        yield Text(
            f"Of what it gained over not looking ({baseline}), {lost} is lost on new pictures "
            f"(more than {percent(MOST_LOST)} is called overfitting).",
            f"사진을 보지 않을 때({baseline})보다 나아진 만큼에서 {lost}가 새 사진에서는 "
            f"사라집니다({percent(MOST_LOST)}를 넘으면 과적합으로 봅니다).",
        )
    learned = learned_share(learning, gap)
    if learned is not None and learned < LEAST_LEARNED:
        known = percent(max(learned, 0.0))
        yield Text(
            f"Even of the pictures it learned from it knows only {known} of the way from not "
            f"looking ({baseline}) to all right ({number(learning.perfect or 0.0)}).",
            f"학습에 쓴 사진에서도, 보지 않고 답한 점수({baseline})에서 만점"
            f"({number(learning.perfect or 0.0)})까지의 {known}만 배웠습니다.",
        )


def _course_sentences(curves: pd.DataFrame | None, course: Course | None) -> Iterator[Text]:
    if course is None:
        if curves is not None:
            epochs = int(curves["epoch"].max())
            yield Text(
                f"{Count(epochs):epoch is|epochs are} too few for a curve.",
                f"{epochs} 에폭으로는 곡선을 판단할 수 없습니다.",
            )
        return
    epochs, losses = len(course.losses), course.losses
    best, low, last = course.best + 1, number(losses.min()), number(losses[-1])
    if course.is_rising:
        while_en, while_ko = _while_training_fell(course)
        yield Text(
            f"The validation loss was lowest at epoch {best} of {epochs} ({low}) and rose to "
            f"{last}{while_en}.",
            f"검증 손실은 {epochs} 에폭 중 {best} 에폭에서 가장 낮았고({low}) 이후 {last}까지 "
            f"올랐습니다{while_ko}.",
        )
    elif course.is_falling:
        quarter, share = epochs - 1 - course.late, percent(course.late_share)
        before = number(losses[course.late])
        yield Text(
            f"In the last {Count(quarter):epoch|epochs} the validation loss still fell from "
            f"{before} to {last}: {share} of its whole fall.",
            f"마지막 {quarter} 에폭에서도 검증 손실이 {before}에서 {last}로 줄었습니다"
            f"(전체 감소의 {share}).",
        )
    else:
        yield Text(
            f"The validation loss has levelled out: {low} at epoch {best} of {epochs}, {last} "
            "at the end.",
            f"검증 손실이 더는 변하지 않습니다: {epochs} 에폭 중 {best} 에폭에서 {low}, "
            f"마지막에 {last}.",
        )


def _while_training_fell(course: Course) -> tuple[str, str]:
    if course.train_losses is None:
        return "", ""
    before, after = (number(course.train_losses[at]) for at in (course.best, -1))
    return (
        f", while the training loss fell from {before} to {after}",
        f"(같은 동안 학습 손실은 {before}에서 {after}로 감소)",
    )


def _spread(learning: Learning) -> tuple[bool, Text] | None:
    """Whether the folds differ more than chance explains, and the sentence about it."""
    folds = learning.folds
    table = None if folds is None else folds[folds["score"].notna()]
    if table is None or len(table) < 2 or learning.interval is None:
        return None
    scores = table["score"].to_numpy(np.float64)
    errors = np.array([standard_error(learning, rows) for rows in table["num_rows"]])
    if not (errors > 0).all():
        return None
    deviations = (scores - scores.mean()) / errors
    limit = float(chdtri(len(scores) - 1, UNSTABLE_CHANCE))
    is_unstable = bool(np.square(deviations).sum() > limit)
    deviation, expected = number(scores.std(ddof=1)), number(float(np.mean(errors)))
    said = ("more than chance explains", "우연으로 보기 어려움")
    if not is_unstable:
        said = ("no more than chance explains", "우연의 범위 안")
    low, high = number(scores.min()), number(scores.max())
    return is_unstable, Text(
        f"The folds score {low} to {high}, a standard deviation of {deviation} where chance "
        f"alone gives about {expected}: {said[0]}.",
        f"폴드 점수는 {low} ~ {high}, 표준편차 {deviation}(우연만으로는 약 {expected}): "
        f"{said[1]}.",
    )


def _judge_head(learning: Learning) -> tuple[Fit, list[Text]]:
    """A head on frozen features: which of the tried strengths it wanted."""
    assert learning.strengths is not None
    table = learning.strengths.pivot_table(index="strength", columns="fold", values="score")
    # A search ends where the loss rises: the weakest strengths were not tried in all folds.
    losses = -table.sort_index().dropna()  # (strengths, folds)
    mean = losses.mean(axis=1).to_numpy(np.float64)
    if len(losses) < 2:
        return "unclear", [
            Text(
                "Fewer than two strengths of the head were tried in all folds.",
                "모든 폴드에서 시도한 규제 강도가 둘보다 적습니다.",
            )
        ]
    best = int(mean.argmin())
    evidence = [_strength_sentence(losses.index, mean, best)]
    if _is_blind(learning):
        evidence.append(
            Text(
                "Out of fold it is not clearly better than not looking: the features say "
                "little about these classes.",
                "OOF 점수가 사진을 보지 않을 때보다 낫다고 할 수 없습니다. 특징이 이 클래스를 "
                "거의 설명하지 못합니다.",
            )
        )
        return "underfits", evidence
    values = losses.to_numpy(np.float64)
    is_weakest = losses.index[best] == table.index.max()
    if is_weakest and _is_clear(values[-2] - values[-1], mean[-1]):
        return "underfits", evidence
    if best == 0 and _is_clear(values[1] - values[0], mean[0]):
        return "overfits", evidence
    return "balanced", evidence


def _strength_sentence(strengths: pd.Index, mean: Floats, best: int) -> Text:
    ends = {0: ("strongest", "가장 강한 규제"), len(mean) - 1: ("weakest", "가장 약한 규제")}
    others = [
        (
            f"{number(mean[at])} at {strengths[at]:g} ({en})",
            f"{ko}({strengths[at]:g}) {number(mean[at])}",
        )
        for at, (en, ko) in ends.items()
        if at != best
    ]
    place = f" ({ends[best][0]} tried)" if best in ends else ""
    place_ko = f"({ends[best][1]})" if best in ends else ""
    return Text(
        f"Inside the train parts the loss of the head is lowest at strength "
        f"{strengths[best]:g}{place}: {number(mean[best])}, against "
        f"{' and '.join(en for en, _ in others)} regularisation.",
        f"학습 부분 안에서 분류기의 손실은 강도 {strengths[best]:g}{place_ko}에서 가장 "
        f"낮습니다: {number(mean[best])}. 비교: {', '.join(ko for _, ko in others)}.",
    )


def _is_blind(learning: Learning) -> bool:
    if learning.baseline is None or learning.interval is None:
        return False
    low, high = learning.interval
    if learning.greater_is_better:
        return low <= learning.baseline
    return high >= learning.baseline


def _is_clear(gains: Floats, level: float) -> bool:
    """Whether gains of the folds (F,) are no chance, and more than a hundredth of the loss."""
    gain = float(gains.mean())
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
    return gain > max(Z * error, 0.01 * abs(level))
