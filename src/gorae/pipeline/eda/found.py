"""What ``eda`` finds that could make a score lie: duplicates, leaks, shift, wrong labels."""

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.corrections import suspect_table
from gorae.data.exif import EXIF_COLUMNS
from gorae.data.sources import META_PREFIX, TableSource
from gorae.eda.duplicates_sets import duplicate_sets, swallowing_sets, thresholds_offered
from gorae.eda.label_errors import SUSPECTS, neighbour_shares
from gorae.eda.leaks import NAME_COLUMNS, ROW_ORDER, leak_folds, metadata_leaks, path_columns
from gorae.eda.shift import FEWEST_ROWS, Shift, embedding_shift, metadata_shift, rows_like_test
from gorae.eda.subjects import SubjectProposal, subject_columns
from gorae.heads import fit_linear
from gorae.pipeline.duplicates import rows_of_pairs
from gorae.pipeline.eda.look import Look
from gorae.report.eda_page import (
    Chain,
    DuplicatesSummary,
    LeaksSummary,
    PicturePair,
    ScoredPicture,
    ShiftSummary,
    Suspect,
    SuspectsSummary,
)

Ints = NDArray[np.int64]
Features = NDArray[np.float32]

MAX_PAIRS = 24
MAX_SCORED = 12
MAX_SUSPECTS = 48
# Fields of a DICOM header on the device and the file, not on the patient or the view.
FILE_FIELDS = frozenset(
    f"dicom.{name}"
    for name in ("manufacturer", "model", "photometric", "frames", "bits", "pixel_spacing")
)

# Of the list for review: whoever looks at more has a worse problem than single labels.
MAX_FOR_REVIEW = 2000

# Of the quick classifier whose contradictions are looked at. Choosing it in each fold takes
# four times as long and ranks planted errors no better (benchmarks/label_errors.py).
STRENGTH = 0.01


def duplicates_section(look: Look, pairs: pd.DataFrame, *, num_folds: int) -> DuplicatesSummary:
    """Pairs by place, some of them side by side, and chains that are too long to be joined."""
    rows = rows_of_pairs(pairs, look.images["image_id"].tolist())
    is_test = (look.images["part"] == "test").to_numpy(bool)
    labels = look.images["label"].to_numpy(object)
    ends = rows["first"].to_numpy(), rows["second"].to_numpy()
    where = np.array(["train", "train_test", "test"])[
        is_test[ends[0]].astype(int) + is_test[ends[1]]
    ]
    torn = np.array(
        [
            None not in (labels[a], labels[b]) and labels[a] != labels[b]
            for a, b in zip(*ends, strict=True)
        ],
        dtype=bool,
    )
    table = rows.assign(where=where, conflict=torn, is_near=rows["kind"] == "near")
    counts = pd.DataFrame(
        {
            "where": name,
            "exact": int((~part["is_near"]).sum()),
            "near": int(part["is_near"].sum()),
            "conflicts": int(part["conflict"].sum()),
        }
        for name in ("train", "train_test", "test")
        for part in [table[table["where"] == name]]
    )
    # A person should see what is least sure, and every kind of it.
    shown = table.assign(rank=table["where"].map({"train_test": 0, "train": 1, "test": 2}))
    order = ["conflict", "rank", "similarity"]
    shown = shown.sort_values(order, ascending=[False, True, True], kind="stable")
    sets = duplicate_sets(rows, len(look.images))
    sizes = np.bincount(sets[sets >= 0])
    values, how_many = np.unique(sizes, return_counts=True)
    return DuplicatesSummary(
        counts=counts,
        pairs=tuple(_pair(look, line) for line in shown.head(MAX_PAIRS).to_dict("records")),
        set_sizes=pd.DataFrame({"size": values, "sets": how_many}),
        chain=_chain(look, rows, num_folds=num_folds),
    )


def _pair(look: Look, line: Mapping[Hashable, Any]) -> PicturePair:
    first, second = line["first"], line["second"]
    return PicturePair(
        first=look.picture(first),
        second=look.picture(second),
        kind=line["kind"],
        similarity=line["similarity"],
        parts=(look.part(first), look.part(second)),
        labels=(look.label(first), look.label(second)),
        is_flipped=line["flipped"],
        found_by=line["found_by"],
    )


def _chain(look: Look, rows: pd.DataFrame, *, num_folds: int) -> Chain | None:
    """The largest set of look-alikes among labelled pictures, where folds cannot hold it."""
    known = look.groups(pd.DataFrame({"first": [], "second": []}))
    inside = rows[(rows["second"] < look.num_labelled) & (rows["first"] < look.num_labelled)]
    inside = inside[known[inside["first"]] != known[inside["second"]]].reset_index(drop=True)
    found = swallowing_sets(inside, look.num_labelled, num_folds=num_folds)
    if not found:
        return None
    return Chain(
        num_images=len(found[0].rows),
        share=found[0].share,
        limit=1 / (2 * num_folds),
        thresholds=thresholds_offered(inside, look.num_labelled),
        weakest=tuple(_pair(look, line) for line in found[0].weakest.to_dict("records")),
        columns=tuple(
            each.group_column for each in subject_proposals(look) if each.group_column
        ),
    )


def surroundings(look: Look) -> pd.DataFrame:
    """What surrounds each labelled picture and is not its pixels, columns for a leak test."""
    images = look.images.iloc[: look.num_labelled].reset_index(drop=True)
    source = look.context.competition.train
    below = below_images(images["image_id"].tolist(), source)
    artefacts = path_columns(below, label_pattern=source.label_pattern).assign(
        size_bytes=images["size_bytes"],
        width_px=images["width_px"],
        height_px=images["height_px"],
        aspect=images["width_px"] / images["height_px"],
        **{ROW_ORDER: np.arange(len(images))},
    )
    if source.table is None:
        # Without a table rows come in the order of the paths, which is there already.
        artefacts = artefacts.drop(columns=ROW_ORDER)
    if any(part.pattern is not None for part in source.compose):
        # The name is a part of the label, and its number may count within that part.
        artefacts = artefacts.drop(columns=list(NAME_COLUMNS), errors="ignore")
    artefacts = artefacts.loc[:, artefacts.nunique() > 1]
    # Of a composed label these are parts, which tell it as they should.
    told = [META_PREFIX + part.column for part in source.compose if part.column is not None]
    metadata = look.metadata("train").drop(columns=told, errors="ignore")
    # What devices and programs wrote tells how a file was made, not what it shows.
    of_file = {META_PREFIX + name: name for name in (*EXIF_COLUMNS, *FILE_FIELDS)}
    return pd.concat([artefacts, metadata.rename(columns=of_file)], axis=1)


def below_images(image_ids: list[str], source: TableSource) -> list[str]:
    """Paths below the folder of the pictures, where the patterns of a source apply."""
    prefix = "" if source.images in ("", ".") else f"{source.images.rstrip('/')}/"
    return [image_id.removeprefix(prefix) for image_id in image_ids]


def leaks_section(look: Look, groups: Ints, *, seed: int) -> LeaksSummary | None:
    """Whether what surrounds the pictures knows the label; None where there is nothing."""
    columns = surroundings(look)
    known = groups[: look.num_labelled]
    if columns.shape[1] == 0 or len(np.unique(known)) < 2:
        return None
    table = metadata_leaks(columns, look.truth, known, task=look.task, seed=seed)
    return LeaksSummary(table=table, subjects=_subjects(look))


def subject_proposals(look: Look) -> tuple[SubjectProposal, ...]:
    """Columns and parts of paths that look like subjects and are no groups yet."""
    source = look.context.competition.train
    if source.group_columns or source.group_pattern:
        return ()
    images = look.images.iloc[: look.num_labelled]
    below = below_images(images["image_id"].tolist(), source)
    return subject_columns(below, look.metadata("train"), labels=images["label"].tolist())


def _subjects(look: Look) -> pd.DataFrame | None:
    found = subject_proposals(look)
    if not found:
        return None
    return pd.DataFrame(
        {
            "what": [each.what for each in found],
            "setting": [_setting(each) for each in found],
            "groups": [each.num_values for each in found],
            "largest": [each.largest for each in found],
            "example": [each.example for each in found],
        }
    )


def _setting(proposal: SubjectProposal) -> str:
    if proposal.group_column is not None:
        return (
            f"train.group_columns = {json.dumps([proposal.group_column], ensure_ascii=False)}"
        )
    # Between single quotes TOML takes backslashes as they are.
    return f"train.group_pattern = '{proposal.group_pattern}'"


def shift_section(
    look: Look, groups: Ints, features: Features | None, *, seed: int
) -> ShiftSummary | None:
    """Whether train and test can be told apart; None where there is too little of either."""
    is_test = (look.images["part"] == "test").to_numpy(bool)
    if min(is_test.sum(), (~is_test).sum()) < FEWEST_ROWS:
        return None
    found: dict[str, Shift] = {}
    if features is not None:
        found["embeddings"] = embedding_shift(features, is_test, groups, seed=seed)
    columns = _shared_metadata(look)
    if columns.shape[1]:
        found["metadata"] = metadata_shift(columns, is_test, groups, seed=seed)
    if not found:
        return None
    seen = found.get("embeddings", next(iter(found.values())))
    most, least = rows_like_test(seen, is_test, count=MAX_SCORED)
    told = found["metadata"].top_columns if "metadata" in found else ()
    return ShiftSummary(
        aucs=pd.DataFrame(
            {
                "name": list(found),
                "auc": [each.auc for each in found.values()],
                "low": [each.low for each in found.values()],
                "high": [each.high for each in found.values()],
                "is_shifted": [each.is_shifted for each in found.values()],
            }
        ),
        test_like=tuple(_scored(look, row, seen) for row in most.tolist()),
        train_like=tuple(_scored(look, row, seen) for row in least.tolist()),
        columns=pd.DataFrame(told, columns=["name", "share"]) if told else None,
    )


def _scored(look: Look, row: int, shift: Shift) -> ScoredPicture:
    return ScoredPicture(
        picture=look.picture(row),
        score=float(shift.test_likeness[row]),
        part=look.part(row),
        label=look.label(row),
    )


def _shared_metadata(look: Look) -> pd.DataFrame:
    """What train and test both tell of a picture; ids and places differ by design."""
    train, test = look.metadata("train"), look.metadata("test")
    groups = set(look.context.tables.group_columns)
    shared = [name for name in train if name in test and name not in groups]
    told = pd.concat([train[shared], test[shared]], ignore_index=True)
    images = look.images
    sizes = {
        "size_bytes": images["size_bytes"],
        "width_px": images["width_px"],
        "height_px": images["height_px"],
        "aspect": images["width_px"] / images["height_px"],
    }
    told = told.assign(**sizes)
    return told.loc[:, told.nunique() > 1]


@dataclass(frozen=True)
class Judged:
    """Labels that a model contradicts."""

    table: pd.DataFrame
    """As of ``eda.label_errors``: ``image``, ``given``, ``suggested``, ``score``,
    ``is_flagged``, the most suspect first."""
    run: str | None
    """Whose out-of-fold answers these are; None: a quick classifier's on features."""


def judge_by_features(look: Look, features: Features, groups: Ints, *, seed: int) -> Judged:
    """Hold labels against a quick linear classifier and, for classes, against neighbours."""
    known, own = features[: look.num_labelled], groups[: look.num_labelled]
    folds = leak_folds(look.truth, own, task=look.task, seed=seed)
    values: NDArray[Any] | None = None
    for fold in range(int(folds.max()) + 1):
        train, valid = folds != fold, folds == fold
        head = fit_linear(
            known[train],
            look.truth[train],
            task=look.task,
            groups=own[train],
            strengths=(STRENGTH,),
            seed=seed,
            num_classes=len(look.context.columns),
        )
        answers = head.predict(known[valid])
        values = np.zeros((len(known), answers.shape[1])) if values is None else values
        values[valid] = answers
    assert values is not None
    if look.task == "multiclass":
        near = neighbour_shares(known, look.truth, own, num_classes=values.shape[1])
        values = (values + near) / 2
    judged = judge(look, values, run=None)
    if look.task in ("multiclass", "ordinal"):
        # A class whose pictures all belong together was never learned where they were judged:
        # each of them would be contradicted.
        pairs = pd.DataFrame({"class": look.truth, "fold": folds})
        learned = pairs.groupby("class")["fold"].transform("nunique").to_numpy() > 1
        judged.table["is_flagged"] &= learned[judged.table["image"]]
    return judged


def judge(look: Look, values: NDArray[Any], *, run: str | None) -> Judged:
    """Hold labels against out-of-fold answers per image, (N, K)."""
    answers = values[:, 0] if look.task == "regression" else values
    return Judged(SUSPECTS[look.task](look.truth, answers), run)


def suspects_section(look: Look, judged: Judged, *, labels_path: str) -> SuspectsSummary:
    """The labels most worth a look."""
    flagged = judged.table[judged.table["is_flagged"]]
    name = _namer(look)
    return SuspectsSummary(
        suspects=tuple(
            Suspect(
                picture=look.picture(line["image"]),
                given=name(line, "given"),
                suggested=name(line, "suggested"),
                score=float(line["score"]),
            )
            for line in flagged.head(MAX_SUSPECTS).to_dict("records")
        ),
        num_suspects=len(flagged),
        num_rows=look.num_labelled,
        run=judged.run,
        labels_path=labels_path,
    )


def _namer(look: Look) -> Callable[[Mapping[Hashable, Any], str], str]:
    classes = look.context.tables.classes

    def name(line: Mapping[Hashable, Any], side: str) -> str:
        value = line[side]
        if look.task == "regression":
            return f"{value:.4g}"
        if look.task == "multilabel":
            label = classes[line["label"]]
            return label if value else f"not {label}"
        return classes[int(value)]

    return name


def review_table(look: Look, judged: Judged) -> pd.DataFrame:
    """The list for review, one line per picture, as ``data.corrections`` reads it."""
    flagged = judged.table[judged.table["is_flagged"]].head(MAX_FOR_REVIEW)
    # Of a picture with several doubtful labels the most doubtful comes first.
    first = flagged.drop_duplicates("image")
    train = look.context.tables.train.set_index("image_id")["label"]
    ids = look.images["image_id"].iloc[first["image"]].tolist()
    classes = look.context.tables.classes
    suggested: list[Any] = []
    for image, value in zip(first["image"], first["suggested"], strict=True):
        if look.task == "regression":
            suggested.append(float(value))
        elif look.task == "multilabel":
            turned = flagged.loc[flagged["image"] == image, "label"]
            row = look.truth[image].copy()
            row[turned] = 1 - row[turned]
            suggested.append(tuple(n for n, is_it in zip(classes, row, strict=True) if is_it))
        else:
            suggested.append(classes[int(value)])
    return suspect_table(
        ids,
        given=[train[image_id] for image_id in ids],
        suggested=suggested,
        scores=first["score"].tolist(),
    )
