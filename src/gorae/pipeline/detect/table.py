"""The boxes that a detector learns from: a CSV table, or the columns of competition.toml."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from gorae.config.detect import DetectSettings
from gorae.data.csv_text import at_rows, read_csv_text
from gorae.errors import ConfigError, DataError, list_problems
from gorae.pipeline.context import Context
from gorae.pipeline.pictures import Box, as_box, cell_numbers, spelled_images, table_boxes

# Tables that count pixels from 1, or the last pixel with the box, are off by one.
OUTSIDE_PX = 1.0

# From image_id to (width, height) in pixels.
Sizes = Mapping[str, tuple[int, int]]


def read_box_table(path: Path, settings: DetectSettings, sizes: Sizes) -> dict[str, Box]:
    """The box of each picture that the table names, inside its picture.

    Args:
        path: A CSV file with a line per picture; cells of a box may all be empty.
        settings: Its columns and what their numbers mean.
        sizes: Every picture that can be used.

    Raises:
        ConfigError: A column is not there.
        DataError: Lines are no boxes, lie outside, name no picture, or one twice; all are
            named at once, with their rows.
    """
    table = read_csv_text(path)
    columns = [settings.image_column, *settings.box_columns]
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ConfigError(
            f"{path.name} lacks the columns {', '.join(missing)}. It has: "
            f"{', '.join(map(str, table.columns))}. Name yours with --set "
            'detect.image_column="..." and detect.box_columns=["...", "...", "...", "..."].'
        )
    found: dict[str, Box] = {}
    problems: list[str] = []
    rows: dict[str, list[int]] = defaultdict(list)
    spelled = spelled_images(table[settings.image_column], list(sizes))
    for row, name, *cells in table[columns].itertuples(name=None):
        images = spelled[name]
        if len(images) != 1:
            known = "no picture that can be used" if not images else "several pictures"
            problems.append(f"row {row}: {name!r} is {known}")
            continue
        rows[images[0]].append(row)
        if not any(cell.strip() for cell in cells):
            continue
        try:
            box = as_box(cell_numbers(" ".join(cells)), settings.box_format)
            found[images[0]] = _inside(box, sizes[images[0]])
        except ValueError as error:
            problems.append(f"row {row}, {images[0]}: {', '.join(cells)} {error}")
    problems += [
        f"{image} has several boxes, {at_rows(where)}: give it one, around all"
        for image, where in rows.items()
        if len(where) > 1
    ]
    _require_good(problems, found, path.name)
    return found


def given_boxes(context: Context, sizes: Sizes) -> dict[str, Box]:
    """The boxes of the columns that competition.toml names, as ``read_box_table``."""
    boxes, problems = table_boxes(context)
    found: dict[str, Box] = {}
    for image, box in boxes.items():
        if image not in sizes:
            continue
        try:
            found[image] = _inside(box, sizes[image])
        except ValueError as error:
            shown = ", ".join(f"{value:g}" for value in box)
            problems.append(f"{image}: {shown} {error}")
    if not boxes and not problems:
        raise ConfigError(
            "There are no boxes to learn from. Give a table with --boxes FILE.csv, or name "
            "box_columns and box_format in competition.toml."
        )
    _require_good(problems, found, "the tables")
    return found


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """The box, cut by the rounding that tables are allowed.

    Raises:
        ValueError: It reaches further out.
    """
    (left, top, right, bottom), (width, height) = box, size
    if (
        min(left, top) < -OUTSIDE_PX
        or right > width + OUTSIDE_PX
        or bottom > height + OUTSIDE_PX
    ):
        raise ValueError(f"reaches out of the picture, which is {width} x {height}")
    cut = max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise ValueError("has no area inside the picture")
    return cut


def _require_good(problems: list[str], found: Mapping[str, Box], where: str) -> None:
    if problems:
        raise DataError(
            f"{len(problems)} lines of {where} cannot be used:\n{list_problems(problems)}\n"
            "Boxes are in pixels of the upright picture; detect.box_format says whether the "
            "last two numbers are right and bottom, or width and height."
        )
    if not found:
        raise DataError(f"No line of {where} has a box.")


def boxes_csv(lines: pd.DataFrame) -> str:
    """``image_id, left, top, right, bottom, confidence, origin`` as CSV text.

    Boxes to a hundredth of a pixel; an empty confidence where no detector was asked or sure.
    """
    shown = lines.assign(
        confidence=[f"{value:.4f}" if value > 0 else "" for value in lines["confidence"]]
    )
    text: str = shown.to_csv(index=False, float_format="%.2f", lineterminator="\n")
    return text


def crop_step(annotations: str) -> Iterator[str]:
    """The lines of a recipe that crop to the boxes of ``boxes_csv``."""
    yield "[[preprocess]]"
    yield 'step = "crop_box"'
    yield f'annotations = "{annotations}"'
    yield 'image_column = "image_id"'
    yield 'box_columns = ["left", "top", "right", "bottom"]'
    yield 'box_format = "xyxy"'
    yield "margin = 0.05"
