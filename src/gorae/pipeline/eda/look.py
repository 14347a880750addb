"""What ``eda`` looks at: every picture that can be read, and what is known of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Recipe
from gorae.data.decode import decode, read_image_bytes
from gorae.data.pixels import PixelSpec, frame_arguments, pixel_key, read_arguments
from gorae.data.sources import META_PREFIX, Task
from gorae.events import OnEvent
from gorae.pipeline.context import Context, decode_policy, open_context, usable
from gorae.pipeline.groups import look_alike_groups
from gorae.pipeline.pictures import listed_pictures
from gorae.pipeline.pixels import input_pixels, prepare
from gorae.report.page import Part, Picture
from gorae.report.pictures import thumbnail
from gorae.splits import join_groups
from gorae.stores.prepared import Prepared

PICTURE_PX = 160


@dataclass(frozen=True)
class Look:
    """The readable pictures of a competition; train, hold-out and extra first, then test."""

    context: Context
    recipe: Recipe
    spec: PixelSpec
    prepared: Prepared
    images: pd.DataFrame
    """One line per picture, N: ``image_id``, ``row_id``, ``part``, ``label`` (text, or None),
    ``path``, ``frame`` (what decoding is told of it), ``key`` (of its pixels), ``small_key``
    (of its thumbnail), ``sha256``, ``pixel_sha256``, ``width_px``, ``height_px``,
    ``size_bytes``."""
    truth: NDArray[Any]
    """Encoded labels of the labelled pictures, the first of ``images``."""

    @property
    def task(self) -> Task:
        """What a label is."""
        return self.context.competition.task

    @property
    def num_labelled(self) -> int:
        """How many pictures have labels; they come first."""
        return len(self.truth)

    @property
    def class_indices(self) -> NDArray[np.int64]:
        """Class of each picture, (N,); -1 where it has none, or not one alone."""
        found = np.full(len(self.images), -1, np.int64)
        if self.task in ("multiclass", "ordinal"):
            found[: self.num_labelled] = self.truth
        return found

    def read(self, row: int) -> NDArray[np.uint8]:
        """Stored pixels of a picture, (H, W, 3)."""
        return self.prepared.pixels.read(str(self.images["key"].iat[row]))

    def decode(self, row: int) -> NDArray[np.uint8]:
        """The picture as its file gives it, whole and without the steps of the recipe."""
        line = self.images.iloc[row]
        policy = decode_policy(self.context)
        data = read_image_bytes(line["path"], root=self.context.workspace.folder, policy=policy)
        return decode(data, policy, **read_arguments(line["frame"])).pixels

    def thumbnails(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Thumbnails of pictures, (n, 48, 48, 3)."""
        keys = self.images["small_key"].iloc[rows]
        return np.stack([self.prepared.thumbnails.read(key) for key in keys])

    def part(self, row: int) -> Part:
        """Which part a picture belongs to."""
        return cast(Part, self.images["part"].iat[row])

    def label(self, row: int) -> str | None:
        """Its label as text, where it has one."""
        return cast(str | None, self.images["label"].iat[row])

    def picture(self, row: int) -> Picture:
        """A picture for the page."""
        data = thumbnail(self.read(row), side_px=PICTURE_PX)
        return Picture(data=data, name=str(self.images["image_id"].iat[row]))

    def groups(self, pairs: pd.DataFrame) -> NDArray[np.int64]:
        """Pictures that belong together by row, subject, bytes, pixels or likeness, (N,).

        Args:
            pairs: Nearly equal pictures: ``first`` and ``second``, ids.
        """
        tables = self.context.tables
        metadata = pd.concat([tables.train, tables.test]).drop_duplicates("image_id")
        metadata = metadata.set_index("image_id").reindex(self.images["image_id"])
        subjects = [metadata[c] for c in tables.group_columns if c in metadata]
        groups = join_groups(
            self.images["part"] + "/" + self.images["row_id"],
            self.images["sha256"],
            self.images["pixel_sha256"],
            *(column.reset_index(drop=True).fillna("") for column in subjects),
        )
        return look_alike_groups(groups, self.images["image_id"], pairs)

    def metadata(self, part: str) -> pd.DataFrame:
        """Metadata of the labelled (``train``) or the test pictures, columns ``meta.NAME``."""
        is_test = (self.images["part"] == "test").to_numpy(bool)
        table = self.context.tables.test if part == "test" else self.context.tables.train
        wanted = self.images["image_id"][is_test if part == "test" else ~is_test]
        columns = [name for name in table.columns if name.startswith(META_PREFIX)]
        found = table.drop_duplicates("image_id").set_index("image_id")[columns]
        return found.reindex(wanted).reset_index(drop=True).fillna("")


def open_look(folder: Path, recipe: Recipe, *, on_event: OnEvent) -> Look:
    """Everything that can be read, prepared where it is not yet."""
    unread = open_context(folder, is_prepared=False)
    spec = input_pixels(unread, recipe)
    prepared = prepare(unread, recipe, spec, on_event=on_event)
    # Again, as preparing reads headers, which are columns and groups.
    context = open_context(folder)
    scan = prepared.scan.assign(key=list(prepared.keys)).set_index("image_id")
    arguments = listed_pictures(context, recipe).set_index("image_id")["arguments"]
    tables, task = context.tables, context.competition.task
    readable = usable(scan, tables.train["image_id"])
    labelled = tables.train[readable]
    test = tables.test[usable(scan, tables.test["image_id"])]
    images = pd.concat(
        [
            labelled[["image_id", "row_id", "path"]].assign(
                part=labelled["role"], label=[label_text(v, task) for v in labelled["label"]]
            ),
            test[["image_id", "row_id", "path"]].assign(part="test", label=None),
        ],
        ignore_index=True,
    )
    known = scan.loc[images["image_id"]].reset_index(drop=True)
    columns = ["key", "sha256", "pixel_sha256", "width_px", "height_px", "size_bytes"]
    images = pd.concat([images, known[columns]], axis=1)
    images["frame"] = [frame_arguments(text) for text in arguments.loc[images["image_id"]]]
    images["small_key"] = list(map(pixel_key, images["sha256"], images["frame"]))
    return Look(context, recipe, spec, prepared, images, context.truth[readable])


def label_text(label: Any, task: Task) -> str:
    """A label of the train table as people read it."""
    if task == "multilabel":
        return ", ".join(label) or "(none)"
    return f"{label:g}" if task == "regression" else str(label)
