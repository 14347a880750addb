"""Step ``eda``: know the data, and find what in them would make a score lie."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.sources import META_PREFIX
from gorae.eda.colours import rgb_constants
from gorae.eda.distributions import class_balance, metadata_distributions
from gorae.eda.metadata import CleanTable, clean_metadata
from gorae.eda.problem import propose_problem
from gorae.eda.suggest import Facts, Suggestion, metadata_subjects, suggest
from gorae.errors import DataError, UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_json, write_text
from gorae.pipeline.counts import part_counts
from gorae.pipeline.duplicates import find_duplicates
from gorae.pipeline.eda.boxes import box_shares, boxes_section, faces_section, spread
from gorae.pipeline.eda.coverage import coverage
from gorae.pipeline.eda.features import look_features
from gorae.pipeline.eda.files import integrity_section
from gorae.pipeline.eda.found import (
    Judged,
    duplicates_section,
    judge,
    judge_by_features,
    leaks_section,
    review_table,
    shift_section,
    suspects_section,
)
from gorae.pipeline.eda.look import Look, open_look
from gorae.pipeline.eda.record import eda_record
from gorae.pipeline.eda.seen import (
    Seen,
    classes_section,
    eigen_section,
    map_section,
    pictures_section,
    see,
)
from gorae.pipeline.network import devices
from gorae.pipeline.problem import (
    ProblemSummary,
    gather_facts,
    summarise_problem,
    write_problem,
)
from gorae.report.eda_findings import data_findings
from gorae.report.eda_page import (
    BoxesSummary,
    EdaHead,
    EdaPage,
    Finding,
    MetadataSummary,
    ProblemAnswer,
    ProblemForm,
)
from gorae.report.eda_write import write_eda
from gorae.report.page import Remedy
from gorae.workspace import read_predictions

# Sections whose findings may make a score lie; the others are told on the page.
GRAVE = frozenset(("integrity", "classes", "duplicates", "leaks", "shift", "suspects"))

# Settings of [problem] that are words, in their order.
WORDS = ("question", "input", "output", "use")

# Small copies that the questions on the problem are answered from.
MOST_SMALL = 512


@dataclass(frozen=True)
class EdaResult:
    """What was found."""

    page: Path
    numbers: Path
    """JSON of everything that was counted."""
    labels: Path | None
    """Labels to look at, where any are doubtful."""
    duplicates: Path | None
    """Pairs of equal and nearly equal pictures, where there are any."""
    findings: tuple[Finding, ...]
    suggestions: tuple[Suggestion, ...]
    record: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "page": str(self.page),
            "numbers": str(self.numbers),
            "labels": str(self.labels) if self.labels else None,
            "duplicates": str(self.duplicates) if self.duplicates else None,
            **self.record,
        }


def eda(
    folder: Path,
    *,
    recipe: Recipe,
    run: str | None = None,
    has_map: bool = True,
    has_faces: bool = False,
    on_event: OnEvent = ignore_events,
) -> EdaResult:
    """Look at every picture, label and column of a competition.

    Writes ``.gorae/eda/eda.html``, ``eda.json``, and lists to review: ``labels.csv``,
    ``duplicates.csv``.

    Args:
        folder: The competition; its pictures are prepared where they are not yet.
        recipe: Network (for features, unless its weights are random) and pixels.
        run: A run whose out-of-fold answers judge the labels; None: a quick classifier on
            features.
        has_map: Draw the map of the pictures, which takes longest.
        has_faces: Look for faces in some of the pictures.
        on_event: Hears progress.

    Raises:
        UserError: There is no such run, or it has no out-of-fold answers.
        DataError: No picture can be read.
    """
    started = time.monotonic()
    on_event(Event("stage", "eda", "looking at the pictures"))
    look = open_look(folder, recipe, on_event=on_event)
    context = look.context
    if not look.num_labelled:
        raise DataError(
            "No training picture can be read; .gorae/scan.parquet says why of each."
        )
    found = look_features(look, on_event=on_event)
    features, made_by = found if found is not None else (None, None)
    on_event(Event("stage", "eda", "measuring light, colour and sharpness"))
    seen = see(look, on_progress=_progress(on_event, "pictures"))
    on_event(Event("stage", "eda", "looking for duplicates"))
    pairs = _pairs(look, features, on_event)
    groups = look.groups(pairs)
    on_event(Event("stage", "eda", "looking for leaks, shift and wrong labels"))
    judged = _judged(look, features, groups, run=run)
    covered = coverage(look, features, groups, seed=recipe.seed)
    clean, cleaning = clean_metadata(look.metadata("train"), look.metadata("test"))
    small = look.thumbnails(spread(len(look.images), MOST_SMALL))
    facts = gather_facts(
        context, scan=look.prepared.scan, pictures=small, boxes=box_shares(look)
    )
    write_problem(context, propose_problem(facts))
    problem = summarise_problem(context, recipe=recipe, facts=facts)
    suggestions = suggest(_facts(look, seen, clean))
    target = context.workspace.eda
    scan = look.prepared.scan.set_index("image_id")
    page = EdaPage(
        head=EdaHead(
            competition=context.competition.name,
            task=look.task,
            parts=part_counts(context, scan),
            num_classes=len(context.tables.classes) or None,
            embeddings=made_by,
            created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        ),
        problem=_form(problem),
        classes=classes_section(look, covered),
        targets=look.truth.astype(np.float64) if look.task == "regression" else None,
        pictures=pictures_section(look, seen),
        map=map_section(look, features, seed=recipe.seed)
        if has_map and features is not None
        else None,
        eigen=eigen_section(look),
        integrity=integrity_section(look),
        duplicates=duplicates_section(look, pairs, num_folds=recipe.split.num_folds),
        leaks=leaks_section(look, groups, seed=recipe.seed),
        shift=shift_section(look, groups, features, seed=recipe.seed),
        suspects=None
        if judged is None
        else suspects_section(look, judged, labels_path=str(_below(target, "labels.csv"))),
        metadata=_metadata(look, clean, cleaning),
        boxes=_boxes(look, has_faces=has_faces, on_event=on_event),
        suggestions=suggestions,
    )
    page = replace(page, findings=data_findings(page))
    page = replace(
        page, head=replace(page.head, elapsed_s=round(time.monotonic() - started, 1))
    )
    return _write(look, page, pairs, judged, problem, on_event)


def _below(target: Path, name: str) -> Path:
    """A file of ours as a user names it, from the competition's folder."""
    return Path(*(target / name).parts[-3:])


def _progress(on_event: OnEvent, text: str) -> Any:
    def on_progress(done: int, total: int) -> None:
        on_event(Event("progress", "eda", text, done, total))

    return on_progress


def _pairs(look: Look, features: NDArray[np.float32] | None, on_event: OnEvent) -> pd.DataFrame:
    ids = look.images["image_id"].tolist()

    def of(image_ids: list[str]) -> NDArray[np.float32]:
        assert features is not None
        row_of = {image_id: row for row, image_id in enumerate(ids)}
        return features[[row_of[image_id] for image_id in image_ids]]

    return find_duplicates(
        look.context,
        look.prepared.scan.set_index("image_id"),
        ids,
        similarity=look.recipe.split.similarity,
        features=of if features is not None else None,
        on_event=on_event,
    )


def _judged(
    look: Look,
    features: NDArray[np.float32] | None,
    groups: NDArray[np.int64],
    *,
    run: str | None,
) -> Judged | None:
    if run is None:
        # A regression has one column and no classes.
        several = look.task == "regression" or len(look.context.columns) > 1
        enough = several and len(np.unique(groups[: look.num_labelled])) >= 2
        if features is None or not enough:
            return None
        return judge_by_features(look, features, groups, seed=look.recipe.seed)
    target = look.context.workspace.run(run)
    if not target.oof.exists():
        raise UserError(
            f"Run {target.run_id} has no out-of-fold answers yet; `gorae ensemble "
            f"{target.run_id}` makes them."
        )
    oof = read_predictions(target.oof)
    place = {row_id: at for at, row_id in enumerate(oof.ids)}
    rows = look.images["row_id"].iloc[: look.num_labelled]
    missing = [row_id for row_id in rows if row_id not in place]
    if missing or oof.columns != look.context.columns:
        raise UserError(
            f"Run {target.run_id} did not answer all training pictures as they are now "
            f"({len(missing)} rows without an answer): its labels or pictures were others. "
            "Train it again, or leave --run out."
        )
    return judge(look, oof.values[[place[row_id] for row_id in rows]], run=target.run_id)


def _facts(look: Look, seen: Seen, clean: CleanTable) -> Facts:
    images = look.images
    sizes = images[["width_px", "height_px"]]
    aspects = (sizes["width_px"] / sizes["height_px"]).quantile([0.05, 0.95]).tolist()
    mean, std = _constants(seen)
    kinds = seen.outliers["kind"].value_counts()
    is_classes = look.task in ("multiclass", "ordinal")
    return Facts(
        num_train=look.num_labelled,
        task=look.task,
        metric=look.context.competition.metric,
        is_gpu=devices("auto")[0] != "cpu",
        median_short_side_px=float(sizes.min(axis=1).median()),
        aspects=(aspects[0], aspects[1]),
        rgb_mean=mean,
        rgb_std=std,
        grey_share=float(seen.statistics["is_grey"].mean()),
        balance=class_balance(look.truth, num_classes=len(look.context.tables.classes))
        if is_classes
        else None,
        num_outliers={str(kind): int(count) for kind, count in kinds.items()},
        subjects=metadata_subjects(clean),
        group_columns=look.context.tables.group_columns,
    )


def _constants(seen: Seen) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    mean, std = rgb_constants(seen.colours)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def _metadata(look: Look, clean: CleanTable, cleaning: pd.DataFrame) -> MetadataSummary | None:
    if not clean.kinds:
        return None
    is_classes = look.task in ("multiclass", "ordinal")
    names = look.context.tables.classes if is_classes else ()
    shown = metadata_distributions(
        clean,
        classes=look.truth if is_classes else None,
        num_classes=max(1, len(names)),
    )
    bare = cleaning.assign(column=cleaning["column"].str.removeprefix(META_PREFIX))
    return MetadataSummary(distributions=shown, groups=tuple(names), record=bare)


def _boxes(look: Look, *, has_faces: bool, on_event: OnEvent) -> tuple[BoxesSummary, ...]:
    given = boxes_section(look)
    found = None
    if has_faces:
        # OpenCV takes half a second to load, and few ask for faces.
        from gorae.eda.faces import build_face_finder

        on_event(Event("stage", "eda", "looking for faces"))
        find = build_face_finder()
        found = faces_section(look, find, on_progress=_progress(on_event, "faces"))
    return tuple(each for each in (given, found) if each is not None)


def _form(problem: ProblemSummary) -> ProblemForm:
    words = [
        ProblemAnswer(key=key, question=label, value=text or None)
        for key, (label, text) in zip(WORDS, problem.words, strict=True)
    ]
    questions = [
        ProblemAnswer(
            key=line.question,
            question=line.text,
            value=line.answer if line.origin == "user" else None,
            guess=f'"{line.answer}"' if line.origin == "data" else None,
            reason=line.evidence[0] if line.evidence else None,
        )
        for line in problem.questions
    ]
    return ProblemForm(
        answers=(*words, *questions),
        augmentations=tuple(
            Remedy(setting=f"{line.setting} = {line.value}", why=line.reasons[0])
            for line in problem.proposals
        ),
    )


def _write(
    look: Look,
    page: EdaPage,
    pairs: pd.DataFrame,
    judged: Judged | None,
    problem: ProblemSummary,
    on_event: OnEvent,
) -> EdaResult:
    target = look.context.workspace.eda
    on_event(Event("stage", "eda", "drawing the page"))
    labels = duplicates = None
    if judged is not None and judged.table["is_flagged"].any():
        labels = target / "labels.csv"
        write_text(labels, review_table(look, judged).to_csv(index=False))
    if len(pairs):
        duplicates = target / "duplicates.csv"
        write_text(duplicates, pairs.round(4).to_csv(index=False))
    record = eda_record(page, problem)
    write_json(target / "eda.json", record)
    write_eda(target / "eda.html", page)
    for finding in page.findings:
        if finding.severity != "fine" and finding.section in GRAVE:
            on_event(Event("warning", "eda", finding.what.en))
    return EdaResult(
        page=target / "eda.html",
        numbers=target / "eda.json",
        labels=labels,
        duplicates=duplicates,
        findings=page.findings,
        suggestions=page.suggestions,
        record=record,
    )
