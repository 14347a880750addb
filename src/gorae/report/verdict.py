"""The result in plain words: may it be sent, what to expect, where it is weak."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gorae.report.metric_names import metric_name
from gorae.report.numbers import Count, number
from gorae.report.page import ReportPage
from gorae.report.summaries import confused_pairs
from gorae.report.texts import TEXTS, Language, Text

Level = Literal["ready", "scored", "warnings", "weak", "broken"]


@dataclass(frozen=True)
class Verdict:
    """One word for the whole run, and sentences; values are plain text, not escaped."""

    level: Level
    sentences: tuple[Text, ...]


def judge(page: ReportPage) -> Verdict:
    """What the numbers of ``page`` say to someone who only wants to know."""
    return Verdict(_level(page), (*_score_sentences(page), *_submission_sentences(page)))


def _level(page: ReportPage) -> Level:
    head = page.headline
    if page.submission is not None and not all(
        check.passed for check in page.submission.checks
    ):
        return "broken"
    if head.baseline is not None:
        low, high = head.interval or (head.score, head.score)
        is_better = low > head.baseline if head.greater_is_better else high < head.baseline
        if not is_better:
            return "weak"
    if head.warnings or (page.submission is not None and _num_fallback(page)):
        return "warnings"
    return "scored" if page.submission is None else "ready"


def _say(key: str, **values: str | Count | Text) -> Text:
    def fill(language: Language) -> str:
        chosen = {
            name: getattr(value, language) if isinstance(value, Text) else value
            for name, value in values.items()
        }
        return str(getattr(TEXTS[f"verdict.{key}"], language)).format(**chosen)

    return Text(fill("en"), fill("ko"))


def _score_sentences(page: ReportPage) -> Iterator[Text]:
    head = page.headline
    metric, score = metric_name(head.metric), number(head.score)
    yield _say("score", rows=Count(head.num_rows), metric=metric, score=score)
    if head.baseline is not None:
        yield _say("baseline", baseline=number(head.baseline))
    if head.expected is not None:
        low, high = head.expected
        yield _say("expected", low=number(low), high=number(high))
    if page.diagnosis is not None and page.diagnosis.fit not in ("balanced", "unclear"):
        yield TEXTS[f"fit.{page.diagnosis.fit}"]
    if page.summaries is None:
        return
    if page.summaries.confusion is not None:
        pairs = confused_pairs(page.summaries.confusion, limit=1)
        for true, predicted, times, _ in pairs.itertuples(index=False):
            yield _say("mistake", true=true, predicted=predicted, count=Count(int(times)))
    table = page.summaries.per_class
    seen = None if table is None else table[table["support"] > 0]
    if seen is not None and len(seen) > 2:
        worst = seen.iloc[int(seen["f1"].argmin())]
        f1, support = number(float(worst["f1"])), Count(int(worst["support"]))
        yield _say("weakest", name=str(worst["class"]), f1=f1, support=support)


def _submission_sentences(page: ReportPage) -> Iterator[Text]:
    if page.submission is None:
        return
    num_failed = sum(not check.passed for check in page.submission.checks)
    if num_failed:
        yield _say("failed", count=Count(num_failed))
    else:
        yield _say("checked", rows=Count(page.submission.num_rows))
    if _num_fallback(page):
        yield _say("fallback", count=Count(_num_fallback(page)))


def _num_fallback(page: ReportPage) -> int:
    fallback = page.submission.fallback if page.submission is not None else None
    return 0 if fallback is None else len(fallback)
