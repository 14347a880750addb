"""What is known of pictures beside their pixels, for networks with a place for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.sources import META_PREFIX
from gorae.errors import ConfigError, list_problems
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, sha256_bytes
from gorae.models.plan import MetadataPlan
from gorae.pipeline.context import Context
from gorae.tabular.metadata import (
    FILE_BYTES,
    IMAGES_OF_GROUP,
    MADE_COLUMNS,
    MetadataCode,
    amounts,
    encode_metadata,
    fit_code,
)

Known = NDArray[np.float32]
"""(N, M), NaN where nothing is known."""


@dataclass(frozen=True)
class KnownMetadata:
    """Metadata of the images of both tables."""

    code: MetadataCode
    train: pd.DataFrame
    """By ``image_id``, M columns."""
    test: pd.DataFrame

    @property
    def key(self) -> str:
        """A hash of it all."""
        parts = [
            [sha256_bytes(part.to_numpy(np.float32).tobytes()), part.index.tolist()]
            for part in (self.train, self.test)
        ]
        return content_key([self.code.to_json(), parts])


def metadata_code(
    context: Context, recipe: Recipe, *, on_event: OnEvent = ignore_events
) -> MetadataCode | None:
    """How the tables' cells become the numbers the network of ``recipe`` is given, if it is.

    Raises:
        ConfigError: A column that is asked for cannot be used, or none can.
    """
    style = recipe.model.metadata
    if style == "none":
        return None
    columns, made = _wanted(context, recipe)
    train = context.tables.train
    code, unused = fit_code(train[columns], style=style, made=made)
    why = {name.removeprefix(META_PREFIX): reason for name, reason in unused.items()}
    if why and recipe.model.metadata_columns is not None:
        problems = [f"{name}: {reason}" for name, reason in why.items()]
        raise ConfigError(
            f"model.metadata_columns names what a network cannot be given:\n"
            f"{list_problems(problems)}\nLeave these out."
        )
    for name, reason in why.items():
        on_event(Event("message", "network", f"metadata {name} is left out: {reason}"))
    if not code.features:
        raise ConfigError(
            f'model.metadata = "{style}" finds no column of metadata that train and test table '
            "both have and that holds more than ids, groups, texts or one value. Set it to "
            '"none", or name columns in model.metadata_columns.'
        )
    return code


def metadata_plan(context: Context, recipe: Recipe) -> MetadataPlan | None:
    """The network on metadata that ``recipe`` asks for, if it does."""
    code = metadata_code(context, recipe)
    return None if code is None else code.plan(recipe.model.metadata_widths)


def read_metadata(context: Context, recipe: Recipe, scan: pd.DataFrame) -> KnownMetadata | None:
    """What is known of every image of both tables; None for networks without a place for it.

    Args:
        context: The competition.
        recipe: The settings.
        scan: Indexed by ``image_id``.
    """
    code = metadata_code(context, recipe)
    if code is None:
        return None
    tables = context.tables
    sizes = _group_sizes(context) if IMAGES_OF_GROUP in code.made else None

    def known(lines: pd.DataFrame, place: slice) -> pd.DataFrame:
        made = {}
        if sizes is not None:
            made[IMAGES_OF_GROUP] = amounts(sizes[place], plus=1)
        if FILE_BYTES in code.made:
            listed = scan["size_bytes"].reindex(lines["image_id"].tolist())
            made[FILE_BYTES] = amounts(listed.to_numpy(np.float64), plus=0)
        cells = lines.reindex(columns=[each.column for each in code.columns])
        return pd.DataFrame(
            encode_metadata(cells, code, made), index=lines["image_id"].tolist()
        )

    cut = len(tables.train)
    return KnownMetadata(
        code, known(tables.train, slice(cut)), known(tables.test, slice(cut, None))
    )


def metadata_key(context: Context, recipe: Recipe, scan: pd.DataFrame) -> dict[str, str]:
    """A hash of what is known of the images, as a key of the run; empty without metadata."""
    known = read_metadata(context, recipe, scan)
    return {} if known is None else {"metadata": known.key}


def with_metadata(
    known: KnownMetadata | None, train: pd.DataFrame, test: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, Known | None]:
    """The tables of a job with a column ``known``, a row of the matrix that comes with them.

    Without metadata they are what they were.
    """
    if known is None:
        return train, test, None
    of_train, of_test = (
        part.loc[table["image_id"].tolist()].to_numpy(np.float32)
        for part, table in ((known.train, train), (known.test, test))
    )
    return (
        train.assign(known=np.arange(len(train))),
        test.assign(known=np.arange(len(train), len(train) + len(test))),
        np.concatenate([of_train, of_test.reshape(len(test), of_train.shape[1])]),
    )


def metadata_of_new(
    code: MetadataCode, cells: pd.DataFrame | None, sizes_bytes: Sequence[int]
) -> Known:
    """What is known of pictures that no table of the competition has.

    Args:
        code: Of the run that is to predict them.
        cells: Text columns ``meta.NAME``, a line per picture; columns that are not there are
            missing, and so is everything without them.
        sizes_bytes: Of their files; 0 for pictures in memory.
    """
    columns = [each.column for each in code.columns]
    lines = pd.DataFrame(index=range(len(sizes_bytes))) if cells is None else cells
    made = {
        FILE_BYTES: amounts(sizes_bytes, plus=0),
        # Which pictures there are of the same patient is not known.
        IMAGES_OF_GROUP: np.full(len(sizes_bytes), np.nan),
    }
    return encode_metadata(lines.reindex(columns=columns, fill_value=""), code, made)


def _wanted(context: Context, recipe: Recipe) -> tuple[list[str], tuple[str, ...]]:
    """Columns of the tables, and columns to be made, that a recipe asks for.

    Raises:
        ConfigError: Train and test table do not both have one.
    """
    train, test = context.tables.train, context.tables.test
    known = [str(name) for name in train.columns if str(name).startswith(META_PREFIX)]
    # What only the train table knows often comes of the label.
    common = [name for name in known if not len(test) or name in test.columns]
    learned = (recipe.target.column, recipe.loss.weight_column)
    idle = {*context.tables.group_columns, *(f"{META_PREFIX}{name}" for name in learned)}
    wanted = recipe.model.metadata_columns
    if wanted is None:
        return [name for name in common if name not in idle], ()
    made = tuple(n for n in MADE_COLUMNS if n in wanted and META_PREFIX + n not in common)
    names = [META_PREFIX + name for name in dict.fromkeys(wanted) if name not in made]
    usable = [name for name in common if name not in {f"{META_PREFIX}{n}" for n in learned}]
    if bad := [name.removeprefix(META_PREFIX) for name in names if name not in usable]:
        there = [name.removeprefix(META_PREFIX) for name in usable]
        raise ConfigError(
            f"model.metadata_columns names {', '.join(bad)}, which the train and test tables "
            f"do not both have, or which is learned. Columns of both: "
            f"{', '.join(there) or 'none'}; made of pictures: {', '.join(MADE_COLUMNS)}."
        )
    return names, made


def _group_sizes(context: Context) -> NDArray[np.int64]:
    """Pictures of the group of each line, of the train table and then of the test table.

    Raises:
        ConfigError: No column says which pictures belong together, or the test table lacks it.
    """
    tables = context.tables
    columns = list(tables.group_columns)
    lacking = [name for name in columns if len(tables.test) and name not in tables.test]
    if not columns or lacking:
        names = ", ".join(name.removeprefix(META_PREFIX) for name in lacking)
        what = (
            f"the test table lacks {names}"
            if lacking
            else "competition.toml names no group_columns, such as the patient"
        )
        raise ConfigError(
            f"model.metadata_columns: {IMAGES_OF_GROUP} counts the pictures of each group, and "
            f"{what}. Leave it out."
        )
    lines = pd.concat([tables.train, tables.test], ignore_index=True)
    cells = lines[columns].fillna("").astype("str")
    sizes = cells.groupby(columns, sort=False)[columns[0]].transform("size")
    # Who belongs to nobody is alone.
    return sizes.where((cells != "").all(axis=1), 1).to_numpy(np.int64)
