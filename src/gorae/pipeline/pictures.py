"""What each listed picture is prepared with: its file, its frame, its box, its landmarks."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from gorae.config import Recipe
from gorae.config.preparing import AlignStep, CropBoxStep
from gorae.data.archives import locate
from gorae.data.csv_text import at_rows, read_csv_text
from gorae.data.listing import nfc, split_extension
from gorae.data.pixels import read_arguments, write_arguments
from gorae.data.sources import META_PREFIX, TableSource
from gorae.errors import ConfigError, DataError, list_problems
from gorae.files import content_key
from gorae.pipeline.context import Context, listed_images

Box = tuple[float, float, float, float]

# A cell of numbers holds nothing else but what lists are written with.
_LIST = re.compile(r"[\d\s.,;:+\-eE()\[\]{}'\"]+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def listed_pictures(context: Context, recipe: Recipe) -> pd.DataFrame:
    """``image_id``, ``path`` and ``arguments`` of every picture of the tables, once.

    Raises:
        ConfigError: A step needs boxes or landmarks that no table has.
        DataError: Some of them are no boxes or no landmarks.
    """
    listed = listed_images(context.tables)
    given = zip(listed["image_id"], listed["arguments"], strict=True)
    values = {image_id: read_arguments(text) for image_id, text in given}
    for step in recipe.preprocess:
        if isinstance(step, CropBoxStep):
            for image_id, box in _boxes(context, step, listed["image_id"].tolist()).items():
                # A line of the test table may lack its picture.
                if image_id in values:
                    values[image_id]["box"] = list(box)
        elif isinstance(step, AlignStep):
            for image_id, points in _landmarks(context, step).items():
                if image_id in values:
                    values[image_id]["points"] = points
    texts = [write_arguments(values[image_id]) for image_id in listed["image_id"]]
    return listed[["image_id", "path"]].assign(arguments=pd.Series(texts, dtype="str"))


def arguments_key(context: Context, recipe: Recipe) -> str:
    """A hash of boxes, landmarks and frames of all pictures; "" where there are none.

    Part of the identity of a run: the store's own key does not hold it.
    """
    listed = listed_pictures(context, recipe)
    lines = listed[listed["arguments"] != ""][["image_id", "arguments"]].sort_values("image_id")
    return content_key(lines.to_numpy().tolist()) if len(lines) else ""


def _boxes(context: Context, step: CropBoxStep, image_ids: Sequence[str]) -> dict[str, Box]:
    """The box of each picture that has one."""
    if step.annotations is not None:
        found = annotated_boxes(context, step, image_ids)
        where = step.annotations
    else:
        found, problems = table_boxes(context)
        if problems:
            raise DataError(f"{len(problems)} boxes cannot be used:\n{list_problems(problems)}")
        where = "the tables"
    test = [image for image in context.tables.test["image_id"] if image in set(image_ids)]
    if not found:
        raise ConfigError(
            f"preprocess.crop_box needs boxes, and {where} have none for any picture. Name "
            "box_columns and box_format in competition.toml, or annotations in the step."
        )
    if test and not any(image in found for image in test):
        raise ConfigError(
            f"preprocess.crop_box has boxes of {len(found)} pictures and of no test picture: "
            "training would see crops, and prediction whole pictures. Give the test pictures "
            "boxes, or leave the step out."
        )
    return found


def table_boxes(context: Context) -> tuple[dict[str, Box], list[str]]:
    """The box of each picture for which the tables give one, in pixels of the decoded picture;
    and one line for each that cannot be used."""
    competition, found = context.competition, dict[str, Box]()
    sources: list[tuple[str, TableSource | None]] = [
        ("train", competition.train),
        ("holdout", competition.holdout),
        *(("extra", source) for source in competition.extra),
        ("test", competition.test),
    ]
    problems: list[str] = []
    for role, source in sources:
        if source is None or not source.box_columns:
            continue
        if source.box_format is None:
            problems.append(
                f'{role}: box_columns need box_format = "xyxy" (left, top, right, bottom) or '
                '"xywh" (left, top, width, height)'
            )
            continue
        table = context.tables.test if role == "test" else context.tables.train
        if role != "test":
            table = table[table["role"] == role]
        columns = [f"{META_PREFIX}{nfc(name)}" for name in source.box_columns]
        texts = _joined_cells(table, columns)
        boxes, bad = _read_boxes(texts, source.box_format)
        problems += [f"{role}, {image}: {reason}" for image, reason in bad]
        found |= {image: each[0] for image, each in boxes.items()}
    return found, problems


def _joined_cells(table: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Image and all numbers of a line as one text; "" where every cell is blank."""
    cells = table[list(columns)].astype(object).where(table[list(columns)].notna(), "")
    lines = (" ".join(map(str, line)).strip() for line in cells.to_numpy().tolist())
    return list(zip(table["image_id"], lines, strict=True))


def _read_boxes(
    texts: Iterable[tuple[str, str]], box_format: str
) -> tuple[dict[str, list[Box]], list[tuple[str, str]]]:
    """Boxes of each image in the order given, and (image, fault) of those that are none."""
    found, bad = defaultdict[str, list[Box]](list), list[tuple[str, str]]()
    for image, text in texts:
        if not text:
            continue
        try:
            box = as_box(cell_numbers(text), box_format)
        except ValueError as error:
            bad.append((image, f"{text[:60]!r} {error}"))
        else:
            found[image].append(box)
    return dict(found), bad


def cell_numbers(text: str) -> list[float]:
    """The numbers in a cell of a table.

    Raises:
        ValueError: It holds something else; the message ends a sentence about the cell.
    """
    if not _LIST.fullmatch(text):
        raise ValueError("is no list of numbers")
    numbers = [float(number) for number in _NUMBER.findall(text)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("has a number that is too large")
    return numbers


def as_box(numbers: Sequence[float], box_format: str) -> Box:
    """Numbers as left, top, right, bottom.

    Raises:
        ValueError: They are none; the message ends a sentence about them.
    """
    if box_format == "points":
        if len(numbers) < 4 or len(numbers) % 2:
            raise ValueError(f"is {len(numbers)} numbers, not pairs of two points or more")
        left, right = min(numbers[::2]), max(numbers[::2])
        top, bottom = min(numbers[1::2]), max(numbers[1::2])
    else:
        if len(numbers) != 4:
            raise ValueError(f"is {len(numbers)} numbers, not four")
        left, top, right, bottom = numbers
        if box_format == "xywh":
            right, bottom = left + right, top + bottom
    if right <= left or bottom <= top:
        raise ValueError(f"has no area as {box_format}")
    return left, top, right, bottom


def unknown_annotations(context: Context, recipe: Recipe) -> list[str]:
    """One line for each annotation file that names pictures which no table has."""
    image_ids = listed_images(context.tables)["image_id"].tolist()
    lines = []
    for step in recipe.preprocess:
        if isinstance(step, CropBoxStep) and step.annotations is not None:
            names = _read_annotations(context, step)[step.image_column]
            lost = [
                name for name, found in spelled_images(names, image_ids).items() if not found
            ]
            if lost:
                lines.append(
                    f"{len(lost)} names of {step.annotations} are no pictures of the tables, "
                    f"first {lost[0]!r}; their boxes are not used"
                )
    return lines


def _read_annotations(context: Context, step: CropBoxStep) -> pd.DataFrame:
    assert step.annotations is not None
    assert step.image_column is not None
    workspace = context.workspace
    path = locate(workspace.folder, step.annotations, extracted_root=workspace.extracted)
    table = read_csv_text(path)
    missing = [c for c in (step.image_column, *step.box_columns) if c not in table.columns]
    if missing:
        raise ConfigError(
            f"{step.annotations} lacks the columns {', '.join(missing)}. It has: "
            f"{', '.join(map(str, table.columns))}."
        )
    return table


def annotated_boxes(
    context: Context, step: CropBoxStep, image_ids: Sequence[str]
) -> dict[str, Box]:
    """The box of each of the images that the file of a step has one of.

    Raises:
        ConfigError: The file lacks a column.
        DataError: It names no image, one that could be several, or has lines that are no boxes.
    """
    assert step.box_format is not None
    table = _read_annotations(context, step)
    spelled = spelled_images(table[step.image_column], image_ids)
    several = [name for name, images in spelled.items() if len(images) > 1]
    if several:
        raise DataError(
            f"{step.annotations}: {len(several)} names fit several pictures, first "
            f"{several[0]!r}. Give them with their folder."
        )
    known = table[[bool(spelled[name]) for name in table[step.image_column]]]
    if known.empty:
        raise DataError(
            f"No name in {step.annotations}, column {step.image_column}, is a picture of the "
            f"tables; the first is {table[step.image_column].iloc[0]!r}."
        )
    lines = known.assign(image_id=[spelled[n][0] for n in known[step.image_column]])
    boxes, bad = _read_boxes(_joined_cells(lines, step.box_columns), step.box_format)
    if bad:
        rows = known.index[lines["image_id"].isin([image for image, _ in bad])].tolist()
        raise DataError(
            f"{len(bad)} boxes of {step.annotations} cannot be used, {at_rows(rows)}:\n"
            f"{list_problems([f'{image}: {reason}' for image, reason in bad])}"
        )
    return {image: _one_box(found, step.several) for image, found in boxes.items()}


def _one_box(boxes: Sequence[Box], several: str) -> Box:
    if several == "first":
        return boxes[0]
    if several == "largest":
        return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    corners = np.array(boxes)
    left, top = corners[:, :2].min(axis=0).tolist()
    right, bottom = corners[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom


def spelled_images(
    column: "pd.Series[str]", image_ids: Iterable[str]
) -> Mapping[str, list[str]]:
    """The images that each name of a column may mean: none, one, or several.

    A table may use the path or its last part, with extension or without.
    """
    names = defaultdict[str, list[str]](list)
    for image_id in image_ids:
        path = nfc(image_id)
        base = path.rpartition("/")[2]
        spellings = (path, base, split_extension(path)[0], split_extension(base)[0])
        for spelling in dict.fromkeys(spellings):
            names[spelling].append(image_id)
    return {
        name: names.get(nfc(name).replace("\\", "/").removeprefix("./"), [])
        for name in column.unique()
    }


def _landmarks(context: Context, step: AlignStep) -> dict[str, list[list[float]]]:
    """Two points of each picture that has both."""
    columns = [f"{META_PREFIX}{nfc(name)}" for name in step.columns]
    found: dict[str, list[list[float]]] = {}
    problems: list[str] = []
    for what, table in (("train", context.tables.train), ("test", context.tables.test)):
        missing = [name for name in columns if name not in table.columns]
        if missing:
            shown = ", ".join(name.removeprefix(META_PREFIX) for name in missing)
            if len(table):
                raise ConfigError(
                    f"preprocess.align needs the columns {shown}, which the {what} table "
                    "lacks: all pictures are brought to one pose, or none."
                )
            continue
        for image, text in _joined_cells(table, columns):
            if not text:
                continue
            try:
                numbers = cell_numbers(text)
            except ValueError:
                numbers = []
            if len(numbers) == 4:
                found[image] = [numbers[:2], numbers[2:]]
            else:
                problems.append(f"{what}, {image}: {text[:60]!r} is not x, y of two points")
    if problems:
        raise DataError(f"{len(problems)} landmarks cannot be used:\n{list_problems(problems)}")
    if not found:
        raise ConfigError(
            f"preprocess.align: the columns {', '.join(step.columns)} are blank everywhere."
        )
    return found
