"""Metadata of pictures as numbers for a network: which columns, and what each becomes.

Nothing here is fitted to numbers: means, scales, codes of what is missing and the categories
that a fold's train part has are found there by the network itself
(``gorae.models.metadata_net``). The layout alone must be one for all folds, and is told from
the whole train table, without its labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.data.sources import META_PREFIX
from gorae.eda.column_cleaning import Kind
from gorae.models.plan import FeatureKind, MetadataFeature, MetadataPlan, MetadataStyle
from gorae.tabular.columns import ColumnCode, encode_columns, fit_columns

# Of each picture, beside its cells; names that can be asked for like columns.
IMAGES_OF_GROUP, FILE_BYTES = "images_of_group", "file_bytes"
MADE_COLUMNS = (IMAGES_OF_GROUP, FILE_BYTES)

# A column of more categories names its rows rather than describing them.
MOST_LEVELS = 100

_KINDS: Mapping[str, FeatureKind] = {"age": "age", "flag": "yes_no"}


@dataclass(frozen=True)
class MetadataCode:
    """How cells become the numbers that a network on metadata is given."""

    style: MetadataStyle
    columns: tuple[ColumnCode, ...]
    """How the cells of each column are read."""
    made: tuple[str, ...] = ()
    """Which of ``MADE_COLUMNS`` follow."""

    @property
    def features(self) -> tuple[MetadataFeature, ...]:
        """What each number is, M."""
        found = [feature for code in self.columns for feature in _features(code, self.style)]
        return (*found, *(MetadataFeature(name, "amount") for name in self.made))

    def plan(self, widths: Sequence[int]) -> MetadataPlan:
        """The network on them."""
        return MetadataPlan(self.style, self.features, tuple(widths))

    def to_json(self) -> dict[str, Any]:
        """As a run keeps it."""
        columns = [
            {
                "column": code.column,
                "kind": code.kind,
                "levels": sorted(code.levels, key=lambda text: code.levels[text]),
                "is_day_first": code.is_day_first,
            }
            for code in self.columns
        ]
        return {"style": self.style, "made": list(self.made), "columns": columns}


def code_of(record: Mapping[str, Any]) -> MetadataCode:
    """The code that ``to_json`` made ``record`` of."""
    columns = tuple(
        ColumnCode(
            each["column"],
            each["kind"],
            {text: float(place) for place, text in enumerate(each["levels"])},
            each["is_day_first"],
        )
        for each in record["columns"]
    )
    return MetadataCode(record["style"], columns, tuple(record["made"]))


def fit_code(
    cells: pd.DataFrame, *, style: MetadataStyle, made: Sequence[str] = ()
) -> tuple[MetadataCode, dict[str, str]]:
    """Find out what each text column is.

    Args:
        cells: Of the train table, one line per image.
        style: Form of the network.
        made: Which of ``MADE_COLUMNS`` are wanted.

    Returns:
        The code, and why each column that it leaves out is of no use.
    """
    codes = fit_columns(cells)
    known = {code.column: code for code in codes}
    why = {}
    for name in map(str, cells.columns):
        if name not in known:
            why[name] = "it holds ids, texts or one value only"
        elif len(known[name].levels) > MOST_LEVELS:
            why[name] = f"it has {len(known[name].levels)} categories, more than {MOST_LEVELS}"
    kept = tuple(code for code in codes if code.column not in why)
    return MetadataCode(style, kept, tuple(made)), why


def encode_metadata(
    cells: pd.DataFrame, code: MetadataCode, made: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float32]:
    """What is known of any images, (N, M), NaN where nothing is.

    Args:
        cells: Text columns, N lines; must have every column of ``code``.
        code: From ``fit_code``.
        made: Values of each of ``code.made``, (N,), NaN where they are not known.
    """
    read = encode_columns(cells, code.columns).values
    parts = [
        _numbers(feature, read[:, place])
        for place, each in enumerate(code.columns)
        for feature in _features(each, code.style)
    ]
    parts += [made[name] for name in code.made]
    return np.array(parts, np.float32).reshape(len(parts), len(cells)).T.copy()


def amounts(
    counts: Sequence[float] | NDArray[np.number], *, plus: float
) -> NDArray[np.float64]:
    """Logarithms of counts, ``log(count + plus)``; NaN where there is none above 0."""
    exact = np.asarray(counts, np.float64)
    return np.log(np.where(exact > 0, exact + plus, np.nan))


def _features(code: ColumnCode, style: MetadataStyle) -> list[MetadataFeature]:
    """The numbers of one column, in order."""
    name = code.column.removeprefix(META_PREFIX)
    num_levels = 2 if code.kind == "flag" else len(code.levels)
    is_pair = num_levels == 2 and style == "isic2020"
    if is_pair or (code.kind != "flag" and not code.levels):
        kind: Kind = "flag" if is_pair else code.kind
        return [MetadataFeature(name, _KINDS.get(kind, "number"))]
    found = [MetadataFeature(name, "level", level) for level in range(num_levels)]
    if style == "isic2020":
        found.append(MetadataFeature(name, "missing"))
    return found


def _numbers(feature: MetadataFeature, read: NDArray[np.float64]) -> NDArray[np.float64]:
    if feature.kind == "level":
        return np.where(np.isnan(read), np.nan, read == feature.level)
    if feature.kind == "missing":
        return np.where(np.isnan(read), np.nan, 0.0)
    return read
