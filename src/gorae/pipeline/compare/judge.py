"""Which variants are better than the base: the same rows, the same draws, fold by fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from gorae.ensemble.control import Against, compare_with_base
from gorae.metrics import Metric
from gorae.pipeline.compare.variants import Field, Variant
from gorae.pipeline.context import Context
from gorae.pipeline.contract import Split
from gorae.pipeline.open_set import scored_context
from gorae.pipeline.scores import competition_metric, row_truth
from gorae.pipeline.voters import INTERVAL_SEED, row_groups
from gorae.report.comparison import ComparisonLine, Verdict
from gorae.workspace import RunFolder, read_predictions

Scores = tuple[float | None, ...]


@dataclass(frozen=True)
class Judged:
    """All variants beside their base."""

    metric: Metric
    lines: tuple[ComparisonLine, ...]
    """Best first."""
    folds: tuple[str, ...]
    num_rows: int
    notes: tuple[str, ...]
    """What to think of when reading the figures."""
    variants: tuple[Variant, ...]
    """The base first."""


def judge_variants(
    context: Context, field: Field, made: Split, runs: Sequence[Sequence[RunFolder]]
) -> Judged:
    """Score the runs of each variant (one per seed) on the rows all of them answered.

    Raises:
        DataError: The metric is undefined on the rows.
    """
    metric = competition_metric(context)
    answers = [[read_predictions(run.oof) for run in each] for each in runs]
    shared = set.intersection(*(set(found.ids) for each in answers for found in each))
    ids = [row for row in answers[0][0].ids if row in shared]
    settings = [[found.select(ids).values for found in each] for each in answers]
    truth = row_truth(scored_context(context, runs[0][0]), ids)
    against = compare_with_base(
        metric,
        truth,
        settings,
        groups=row_groups(context, ids, contract=made.folds),
        seed=INTERVAL_SEED,
    )
    scores = [[metric.function(truth, values) for values in each] for each in settings]
    sign = 1.0 if metric.greater_is_better else -1.0
    rank = {
        place: number
        for number, place in enumerate(
            sorted(range(len(runs)), key=lambda place: -sign * against[place].score), start=1
        )
    }
    base_folds = [_fold_scores(run) for run in runs[0]]
    lines = [
        _line(
            variant,
            runs[place],
            against[place],
            scores[place],
            gains=[
                _gains(own, base, sign)
                for own, base in zip(map(_fold_scores, runs[place]), base_folds, strict=True)
            ],
            rank=rank[place],
        )
        for place, variant in enumerate(field.variants)
    ]
    num_left = len(answers[0][0].ids) - len(ids)
    return Judged(
        metric=metric,
        lines=tuple(sorted(lines, key=lambda line: line.rank)),
        folds=_fold_names(made),
        num_rows=len(ids),
        notes=_notes(field, runs, num_left),
        variants=field.variants,
    )


def _line(
    variant: Variant,
    runs: Sequence[RunFolder],
    against: Against,
    scores: Sequence[float],
    *,
    gains: Sequence[Scores],
    rank: int,
) -> ComparisonLine:
    results = [run.read_result() or {} for run in runs]
    known = [gain for each in gains for gain in each if gain is not None]
    is_base = not variant.changes
    return ComparisonLine(
        name=variant.name,
        changes=variant.changes,
        rank=rank,
        model=variant.recipe.model.name,
        runs=tuple(run.run_id for run in runs),
        score=against.score,
        seed_scores=tuple(scores),
        seed_sd=stdev(scores) if len(scores) > 1 else None,
        fold_scores=_mean_of(list(map(_fold_scores, runs))),
        fold_gains=_mean_of(gains),
        num_better=sum(gain > 0 for gain in known),
        num_pairs=len(known),
        gain=against.gain,
        interval=None if is_base else against.interval,
        verdict="base" if is_base else _verdict(against),
        elapsed_s=fmean(result["elapsed_s"] for result in results),
    )


def _verdict(against: Against) -> Verdict:
    low, high = against.interval or (0.0, 0.0)
    if low > 0:
        return "better"
    return "worse" if high < 0 else "within noise"


def _fold_scores(run: RunFolder) -> Scores:
    result = run.read_result()
    assert result is not None
    return tuple(result["fold_scores"])


def _gains(own: Scores, base: Scores, sign: float) -> Scores:
    return tuple(
        None if mine is None or theirs is None else sign * (mine - theirs)
        for mine, theirs in zip(own, base, strict=True)
    )


def _mean_of(rows: Sequence[Scores]) -> Scores:
    """Mean over the seeds of each fold's value; None where one of them has none."""
    return tuple(
        None if None in column else fmean(value for value in column if value is not None)
        for column in zip(*rows, strict=True)
    )


def _fold_names(made: Split) -> tuple[str, ...]:
    """Folds as the report counts them; the repeat where there are several."""
    members = made.members()
    has_repeats = len({repeat for repeat, _ in members}) > 1
    return tuple(f"{repeat}-{fold}" if has_repeats else str(fold) for repeat, fold in members)


def _notes(field: Field, runs: Sequence[Sequence[RunFolder]], num_left: int) -> tuple[str, ...]:
    notes = []
    if num_left:
        notes.append(f"{num_left} rows that some variant has no answer for are not compared")
    formats = [_precision(each[0]) for each in runs]
    other = [
        f"{variant.name} in {found}"
        for variant, found in zip(field.variants[1:], formats[1:], strict=True)
        if found != formats[0]
    ]
    if other:
        notes.append(
            f"the base was computed in {formats[0]}, and {', '.join(other)}: "
            "--set train.precision=fp32 takes this out of the comparison"
        )
    return tuple(notes)


def _precision(run: RunFolder) -> str:
    """The number format of a run; trees have none."""
    choices = run.read_settings().get("choices", {})
    return str(choices.get("arithmetic", {}).get("precision", "no network"))
