"""Where the pictures and labels of a competition are, and the tables that come of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pandas as pd

Task = Literal["multiclass", "multilabel", "ordinal", "regression"]

# What a table may call its own; metadata columns carry the prefix and cannot collide.
META_PREFIX = "meta."

# Read by pydantic where competition.toml is checked: unknown keys are refused.
_STRICT: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class LabelPart:
    """One part of a composed label, such as mask, gender or age: an index times a weight."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    """Name of the part in messages."""
    weight: int
    """The label is the sum of weight times index over the parts."""
    column: str | None = None
    """Column of the table with the value of this part; absent: see pattern."""
    pattern: str | None = None
    """Regular expression on the path below ``images``; its group ``label`` is the value."""
    values: Mapping[str, int] = field(default_factory=dict)
    """Index of each value (``male = 0``)."""
    thresholds: tuple[float, ...] = ()
    """Instead of values, for numbers: the index is how many of these are at most the value."""


@dataclass(frozen=True, kw_only=True)
class TableSource:
    """Pictures and, where there are any, their labels.

    Paths are relative to the competition's folder; a path may lie inside a zip file
    (``train.zip`` or ``train.zip/images``). ``table`` absent: the folder is listed.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    images: str = "."
    """Folder (or zip file) with the pictures, searched in sub-folders too."""
    table: str | None = None
    """CSV file with one line per picture; absent: every picture in the folder is used."""
    encoding: str = "utf-8"
    """Text encoding of the CSV: utf-8 (with or without BOM), or cp949 when said so."""
    delimiter: str = ","
    """Character between the fields of the CSV."""
    image_column: str | None = None
    """Column that names the picture, with or without extension or folder, or names a folder
    of pictures, which all take the label of the line."""
    row_column: str | None = None
    """Column of the id that is submitted and scored; absent: each picture is a row."""
    label_columns: tuple[str, ...] = ()
    """Column of the label; several 0/1 columns for multi-label; empty: see label_pattern."""
    label_delimiter: str | None = None
    """Character between several labels in one cell (multi-label)."""
    label_pattern: str | None = None
    """Regular expression on the path below ``images``; its group ``label`` is the label."""
    compose: tuple[LabelPart, ...] = ()
    """Parts of which the label, a number, is the sum (mask x 6 + gender x 3 + age group)."""
    group_columns: tuple[str, ...] = ()
    """Columns (patient, person ...) whose equal values must stay in one fold; of DICOM
    headers too, such as ``dicom.patient``, which no table needs to have."""
    group_pattern: str | None = None
    """Regular expression on the path below ``images``; its group ``group`` joins pictures."""
    fold_column: str | None = None
    """Column with a given fold (an integer from 0), which is honoured."""
    box_columns: tuple[str, ...] = ()
    """Four columns of a bounding box, or one with four numbers; kept as metadata."""
    box_format: Literal["xyxy", "xywh"] | None = None
    """Whether the box is left, top, right, bottom or left, top, width, height."""
    frames: Literal["first", "middle", "max", "all"] = "first"
    """Of a DICOM file with several frames: one of them, the maximum of each pixel over all,
    or each frame as an image of its own; a file stays one row, its frames in one fold."""


@dataclass(frozen=True, kw_only=True)
class SampleSource:
    """The sample submission as the tables need it: which rows are asked for, in which order."""

    table: str
    """The CSV file, relative to the competition's folder; it may lie inside a zip file."""
    id_column: str
    """Column with the ids."""
    encoding: str = "utf-8"
    """Text encoding of the CSV."""
    delimiter: str = ","
    """Character between the fields of the CSV."""


@dataclass(frozen=True)
class Tables:
    """The tables of a competition, read and checked.

    ``train`` has one line per image: ``image_id`` (the path below the competition's folder,
    unique; of one frame among several, the path and ``#frame=K``), ``path`` (the same, where
    the file lies; inside ``.gorae`` for zip files), ``arguments`` (what decoding is told
    besides, as JSON such as ``{"frame": 3}``; mostly empty), ``row_id``, ``label`` (class
    name; tuple of names for multi-label; float for regression), ``role`` ("train", "holdout"
    or "extra"), ``fold`` (given fold or -1), and metadata as text under ``meta.NAME``.
    ``test`` has ``image_id``, ``path``, ``arguments``, ``row_id`` and metadata, in the order
    of the sample submission; a line whose picture is missing has an empty ``path``.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    classes: tuple[str, ...]
    """Class names in the order of label indices and prediction columns."""
    group_columns: tuple[str, ...]
    """Names of the columns of ``train`` (``meta.NAME``) whose equal values share a fold."""
    notes: tuple[str, ...]
    """What a user should know: pictures not listed, test pictures missing, ..."""
