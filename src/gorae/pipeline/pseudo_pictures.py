"""Pictures without labels: what they are called, and whose company they must not keep.

A picture that is equal or nearly equal to a validation picture of a fold, or known to be of
its group, is kept out of the training of that fold: else the fold would be scored on pictures
it has all but seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config.recipe import SplitSettings
from gorae.data.frames import frame_samples, frame_suffix
from gorae.data.listing import find_nameless_dicom, is_picture, walk_files
from gorae.errors import DataError, UserError
from gorae.events import OnEvent
from gorae.pipeline.context import Context, listed_images, usable
from gorae.pipeline.contract import Split
from gorae.pipeline.duplicates import find_duplicates
from gorae.pipeline.groups import look_alike_groups
from gorae.splits import join_groups

Groups = NDArray[np.int64]

PICTURE_COLUMNS = ("image_id", "path", "arguments")

EQUAL, SAME_GROUP, LOOK_ALIKE = "equal picture", "same group", "look-alike"
"""Why a picture is left out of a fold: it is that to one that validates there."""


def folder_pictures(context: Context, images: Path) -> pd.DataFrame:
    """``image_id``, ``path`` and ``arguments`` of every picture below a folder.

    Ids are paths below the competition's folder, as those of its tables.

    Raises:
        UserError: There is no such folder, or it is outside the competition's.
        DataError: It has no pictures but those that the tables have.
    """
    root, home = images.resolve(), context.workspace.folder
    if not root.is_dir():
        raise UserError(f"There is no folder {images}.")
    if not root.is_relative_to(home):
        raise UserError(
            f"{images} is outside the competition's folder, and pictures are read from there "
            f"alone. Move it to {home}, with a name such as unlabelled."
        )
    every = list(walk_files(root))
    nameless = find_nameless_dicom({name: name for name in every}, root)
    names = [name for name in every if is_picture(name) or name in nameless]
    start = root.relative_to(home)
    rule = (context.competition.test or context.competition.train).frames
    paths = [(start / name).as_posix() for name in names]
    samples = frame_samples(names, rule, places=paths, root=home)
    table = pd.DataFrame(
        {"image_id": paths, "path": paths, "arguments": pd.Series(samples, dtype=object)},
    ).explode("arguments", ignore_index=True)
    table["image_id"] += table["arguments"].map(frame_suffix)
    known = set(listed_images(context.tables)["image_id"])
    table = table[~table["image_id"].isin(known)].reset_index(drop=True)
    if table.empty:
        raise DataError(
            f"There are no pictures in {images} but those of the tables. Name a folder of "
            "pictures without labels, or leave --images out to label the test pictures."
        )
    return table


def with_pictures(context: Context, pictures: pd.DataFrame) -> Context:
    """The competition with further pictures in its test table, to prepare and to compare them.

    Args:
        context: The competition.
        pictures: Columns ``PICTURE_COLUMNS``; those that its tables have are passed over.
    """
    test = context.tables.test
    known = set(listed_images(context.tables)["image_id"])
    new = pictures.loc[~pictures["image_id"].isin(known), list(PICTURE_COLUMNS)]
    if new.empty:
        return context
    columns = list(dict.fromkeys([*test.columns, *PICTURE_COLUMNS, "row_id"]))
    new = new.assign(row_id=new["image_id"]).reindex(columns=columns, fill_value="")
    table = pd.concat([test.reindex(columns=columns), new], ignore_index=True)
    return replace(context, tables=replace(context.tables, test=table))


def company(
    context: Context,
    scan: pd.DataFrame,
    split: Split,
    settings: SplitSettings,
    *,
    image_ids: Sequence[str],
    on_event: OnEvent,
) -> "Company":
    """Which pictures belong together, those of the train table and ``image_ids``.

    Args:
        context: The competition, with these pictures in its tables.
        scan: Indexed by ``image_id``.
        split: The folds.
        settings: How look-alikes were kept together when the folds were made; so they are
            here.
        image_ids: Pictures without labels, all of them readable.
        on_event: Hears progress.
    """
    train = context.tables.train
    train = train[usable(scan, train["image_id"])]
    first = split.folds[split.folds["repeat"] == 0].set_index("image_id")["group"]
    test = context.tables.test.drop_duplicates("image_id").set_index("image_id")
    both = [*train["image_id"], *image_ids]
    unlabelled = np.arange(len(both)) >= len(train)
    # Numbers are groups of the contract; a picture without a label has none yet.
    groups = pd.Series([*first.loc[train["image_id"]], *[None] * len(image_ids)], dtype=object)
    hashes = scan.loc[both, ["sha256", "pixel_sha256"]].reset_index(drop=True)
    equal = join_groups(groups, hashes["sha256"], hashes["pixel_sha256"])
    levels = {EQUAL: equal}
    columns = [c for c in context.tables.group_columns if c in test] if settings.group else []
    if columns:
        named = [[*train[c], *test[c].reindex(list(image_ids)).fillna("")] for c in columns]
        levels[SAME_GROUP] = join_groups(equal, *named)
    if settings.group and settings.near_duplicates:
        pairs = find_duplicates(
            context, scan, both, similarity=settings.similarity, on_event=on_event
        )
        last = list(levels.values())[-1]
        levels[LOOK_ALIKE] = look_alike_groups(last, pd.Series(both), pairs)
    pixels = join_groups(hashes["sha256"], hashes["pixel_sha256"])
    return Company(tuple(both), unlabelled, levels, pixels)


@dataclass(frozen=True, eq=False)
class Company:
    """Sets of pictures that belong together."""

    image_ids: tuple[str, ...]
    """Pictures of the train table, then those without labels."""
    is_unlabelled: NDArray[np.bool_]
    levels: dict[str, Groups]
    """Set of each picture, on each level from ``EQUAL`` to ``LOOK_ALIKE``."""
    pixels: Groups
    """Sets of equal pictures alone."""

    def left_out(self, held_out: Sequence[str]) -> list[str]:
        """Why each picture without a label must not train where ``held_out`` validate; ""."""
        validates = np.isin(np.array(self.image_ids, dtype=object), list(held_out))
        reasons = np.full(len(self.image_ids), "", dtype=object)
        for reason, groups in self.levels.items():
            is_near = np.isin(groups, groups[validates & ~self.is_unlabelled])
            reasons[is_near & (reasons == "")] = reason
        found: list[str] = reasons[self.is_unlabelled].tolist()
        return found

    def labelled_twins(self) -> dict[str, str]:
        """The first labelled picture with the same pixels, of each picture that has one."""
        labelled = np.flatnonzero(~self.is_unlabelled)
        first: dict[int, str] = {}
        for row in labelled.tolist():
            first.setdefault(int(self.pixels[row]), self.image_ids[row])
        return {
            self.image_ids[row]: first[int(self.pixels[row])]
            for row in np.flatnonzero(self.is_unlabelled).tolist()
            if int(self.pixels[row]) in first
        }
