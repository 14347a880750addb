"""Which column of a table is the picture, the row, the label, the group, the fold, the box."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from gorae.data.inventory import ANY_ROLE, Findings, FoundTable, Inventory, folder_of
from gorae.data.listing import PictureFolder, nfc

# So many lines of a table are looked up to find the column that names the pictures.
PROBED_LINES = 1000

# So many folders are tried as the place that names in a table are relative to.
MAX_ROOTS = 50

LABEL_NAMES = (
    "label", "labels", "class", "classname", "category", "target", "y", "diagnosis", "breed",
    "species", "tags", "ans", "answer", "라벨", "레이블", "정답", "클래스", "분류",
)  # fmt: skip
GROUP_NAMES = frozenset((
    "patient", "patientid", "person", "personid", "subject", "subjectid", "group", "groupid",
    "study", "studyid", "studyinstanceuid", "individual", "individualid", "user", "userid",
    "case", "caseid", "lesionid", "animal", "animalid", "video", "videoid",
    "환자", "환자번호", "환자id", "사람", "개체", "그룹", "피험자",
))  # fmt: skip
FOLD_NAMES = frozenset(("fold", "folds", "kfold", "foldid", "폴드"))
_BOX_NAMES = (
    (("x1", "y1", "x2", "y2"), "xyxy"),
    (("x0", "y0", "x1", "y1"), "xyxy"),
    (("xmin", "ymin", "xmax", "ymax"), "xyxy"),
    (("left", "top", "right", "bottom"), "xyxy"),
    (("x", "y", "w", "h"), "xywh"),
    (("x", "y", "width", "height"), "xywh"),
    (("left", "top", "width", "height"), "xywh"),
    (("xmin", "ymin", "width", "height"), "xywh"),
)

# Fewer distinct values are a kind (sex, site), not a subject, whatever the test set shares.
MIN_GROUPS_BY_EVIDENCE = 10


def plain(name: str) -> str:
    """A column name for comparison: lower case, letters and digits only."""
    return re.sub(r"[\W_]+", "", nfc(name).casefold())


@dataclass(frozen=True)
class ImageColumn:
    """The column that names the pictures, and where these lie."""

    column: str
    images: str
    """Folder that holds them all."""
    names_folders: bool
    """Whether the cells name folders of pictures."""
    num_found: int
    num_probed: int


def find_image_column(
    table: FoundTable,
    inventory: Inventory,
    *,
    role: str,
    findings: Findings,
    prefer: str | None = None,
) -> ImageColumn | None:
    """The column most of whose cells name a picture; None where no column does.

    Pictures in folders of the same role are looked at first, then those in folders of no role.
    ``prefer`` is the column that wins when several are equally good.
    """
    frame = table.frame
    rows = np.unique(np.linspace(0, len(frame) - 1, min(len(frame), PROBED_LINES)).astype(int))
    cells = frame.iloc[rows]
    # Only names with a folder of their own can be relative to one below the top.
    has_folders = any("/" in text for name in cells for text in cells[name])
    for part in (role, None, ANY_ROLE):
        for root in _roots(inventory.below(".", part).files) if has_folders else (".",):
            chosen = _best_column(cells, inventory.below(root, part), prefer)
            if chosen is None:
                continue
            column, hits = chosen
            names = cells[column].tolist()
            whole = [[str(PurePosixPath(root) / hit) for hit in found] for found in hits]
            folders = [_named_folder(name, hit) for name, hit in zip(names, whole, strict=True)]
            num_found = sum(map(bool, hits))
            return ImageColumn(
                column,
                _common_folder(whole, folders, findings=findings, key=f"{role}_images"),
                sum(folder is not None for folder in folders) * 2 >= num_found,
                num_found,
                len(rows),
            )
    return None


def _roots(pictures: Sequence[str]) -> list[str]:
    """Folders to which names in a table may be relative, the top first."""
    lowest = {PurePosixPath(folder_of(path)) for path in pictures}
    folders = {folder for low in lowest for folder in (low, *low.parents)}
    upper = sorted(folders, key=lambda folder: (len(folder.parts), str(folder)))
    return [str(folder) for folder in upper[:MAX_ROOTS]]


def _best_column(
    cells: pd.DataFrame, pictures: PictureFolder, prefer: str | None
) -> tuple[str, list[list[str]]] | None:
    """The column that names most pictures, at least half its cells, and what it names."""
    best: tuple[int, int, bool, bool] = (0, 0, False, False)
    chosen = None
    for column in map(str, cells.columns):
        names = cells[column].tolist()
        hits = [pictures.find(name) if name.strip() else [] for name in names]
        found = sum(map(bool, hits))
        rank = (found, len(set(map(tuple, hits))), column == prefer, "." in names[0])
        if found * 2 >= len(names) and rank > best:
            best, chosen = rank, (column, hits)
    return chosen


def _named_folder(name: str, hits: Sequence[str]) -> str | None:
    """The last part of ``name`` when it is a folder of the hits, not a picture."""
    last = nfc(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    if hits and all(last in nfc(hit).split("/")[:-1] for hit in hits):
        return last
    return None


def _common_folder(
    hits: Sequence[Sequence[str]],
    folders: Sequence[str | None],
    *,
    findings: Findings,
    key: str,
) -> str:
    """The deepest folder below which every found line has its picture."""
    cover: Counter[str] = Counter()
    num_found = 0
    for found, folder in zip(hits, folders, strict=True):
        above: set[str] = set()
        for hit in found:
            parts = hit.split("/")[:-1]
            if folder is not None:
                parts = parts[: [nfc(part) for part in parts].index(folder)]
            above |= {"/".join(parts[:depth]) or "." for depth in range(len(parts) + 1)}
        cover.update(above)
        num_found += bool(found)
    full = [name for name, count in cover.items() if count == num_found]
    deepest = [
        name
        for name in full
        if not any(other != name and _is_below(other, name) for other in full)
    ]
    if len(deepest) == 1:
        return deepest[0]
    return findings.ask(
        key,
        "Several folders hold pictures of the names in the table. Which is meant?",
        sorted(deepest),
    )


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(f"{folder}/")


def find_groups(
    train: pd.DataFrame, test: pd.DataFrame | None, columns: Sequence[str], findings: Findings
) -> tuple[str, ...]:
    """Columns of subjects: by name, or because train and test share no value of theirs."""
    groups = []
    for column in columns:
        values = train[column]
        distinct = values[values.str.strip() != ""].nunique()
        if distinct < 2 or distinct == len(values):
            continue
        shared = total = 0
        if test is not None and column in test.columns:
            asked = set(test[column])
            shared, total = len(asked & set(values)), len(asked)
        named = plain(column) in GROUP_NAMES
        apart = (
            min(distinct, total) >= MIN_GROUPS_BY_EVIDENCE
            and shared == 0
            and distinct * 1.5 <= len(values)
        )
        if named or apart:
            why = "its name" if named else "its values repeat"
            if total:
                why += f"; test shares {shared} of its {total} values"
            findings.evidence.append(
                f"group_columns: {column} ({distinct:,} values in {len(values):,} lines) by "
                f"{why}"
            )
            groups.append(column)
    return tuple(groups)


def find_fold(frame: pd.DataFrame, findings: Findings) -> str | None:
    """The column of given folds: named so, with every number from 0."""
    for column in frame.columns:
        values = set(frame[column])
        numbers = {str(fold) for fold in range(len(values))}
        if plain(column) in FOLD_NAMES and len(values) > 1 and values == numbers:
            findings.evidence.append(
                f"fold_column: {column} holds folds 0 to {len(values) - 1}"
            )
            return str(column)
    return None


def find_boxes(frame: pd.DataFrame, findings: Findings) -> dict[str, Any]:
    """Settings of bounding-box columns; empty where there are none."""
    by_name = {plain(column): str(column) for column in frame.columns}
    for prefix in ("", "bbox", "box", "b"):
        for names, form in _BOX_NAMES:
            columns = tuple(by_name.get(prefix + name, "") for name in names)
            if all(columns):
                findings.evidence.append(f"box_columns: {', '.join(columns)}, {form} by name")
                return {"box_columns": list(columns), "box_format": form}
    for name in ("bbox", "box", "boundingbox"):
        if name in by_name:
            column = by_name[name]
            form = _box_format(frame[column].tolist(), findings)
            findings.evidence.append(f"box_columns: {column}, {form}")
            return {"box_columns": [column], "box_format": form}
    return {}


def _box_format(texts: Iterable[str], findings: Findings) -> str:
    for text in texts:
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
        if len(numbers) == 4 and (numbers[2] <= numbers[0] or numbers[3] <= numbers[1]):
            return "xywh"
    return findings.ask(
        "box_format",
        "Are the four numbers of a box left, top, right, bottom (xyxy) or left, top, width, "
        "height (xywh)?",
        ("xyxy", "xywh"),
    )


def find_labels(
    train: pd.DataFrame,
    *,
    taken: Sequence[str],
    test: pd.DataFrame | None,
    answers: Sequence[str],
    findings: Findings,
) -> tuple[str, ...]:
    """The label columns of the train table.

    Args:
        train: Its cells.
        taken: Columns that are known to be something else.
        test: The test table; what it has too is metadata.
        answers: Answer columns of the sample submission.
        findings: Where the reason is noted.
    """
    free = [str(column) for column in train.columns if column not in taken]
    shared = [column for column in answers if column in free]
    if shared and len(shared) == len(answers):
        findings.evidence.append(f"label_columns: {', '.join(shared)}, as in the sample")
        return tuple(shared)
    by_plain = {plain(column): column for column in free}
    alike = [by_plain[plain(column)] for column in answers if plain(column) in by_plain]
    if alike and len(alike) == len(answers):
        findings.evidence.append(f"label_columns: {', '.join(alike)}, as in the sample")
        return tuple(alike)
    if len(answers) > 1:
        wanted = {plain(answer) for answer in answers}
        for column in free:
            if wanted == {plain(text) for text in set(train[column])}:
                findings.evidence.append(
                    f"label_columns: {column}, its values are the sample's columns"
                )
                return (column,)
    only = [column for column in free if test is None or column not in test.columns]
    named = [column for column in only if plain(column) in LABEL_NAMES]
    if len(only) == 1:
        reason = "the one column that test lacks" if test is not None else "the one column left"
        findings.evidence.append(f"label_columns: {only[0]}, {reason}")
        return (only[0],)
    if len(named) == 1:
        findings.evidence.append(f"label_columns: {named[0]}, by its name")
        return (named[0],)
    flags = [column for column in only if set(train[column]) <= {"0", "1"}]
    if len(only) > 1 and flags == only and (train[only].astype(int).sum(axis=1) == 1).all():
        findings.evidence.append(
            f"label_columns: {', '.join(only)}, exactly one 1 in each line"
        )
        return tuple(only)
    options = named or only or free
    if not options:
        return ()
    return (findings.ask("label_column", "Which column holds the label?", options),)
