"""The split contract: who validates whom, as it lies on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config.recipe import SplitSettings
from gorae.data.sources import META_PREFIX
from gorae.errors import ConfigError, StorageError
from gorae.files import content_key, read_json, sha256_bytes, sha256_file
from gorae.pipeline.context import Context
from gorae.workspace import read_frame


@dataclass(frozen=True)
class Split:
    """The contract: for each repeat, who validates in which fold."""

    key: str
    folds: pd.DataFrame
    """``image_id``, ``group``, ``repeat``, ``fold`` (-1: trains, never validates); of an open
    set ``unknown``: nobody of the image's individual trains where it validates."""
    record: dict[str, Any]
    """How it was made, balance and checks."""
    idle: frozenset[str] = frozenset()
    """Images that a correction keeps out of training; they validate all the same."""

    def to_json(self) -> dict[str, Any]:
        """The record, for programs."""
        return {"split": self.key, **self.record}

    def members(self) -> list[tuple[int, int]]:
        """All (repeat, fold) pairs that are trained."""
        pairs = self.folds.loc[self.folds["fold"] >= 0, ["repeat", "fold"]].drop_duplicates()
        return [(int(r), int(f)) for r, f in sorted(pairs.itertuples(index=False, name=None))]

    def is_known(self, repeat: int, image_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Whether an image validates where others of its class train; all but in open sets."""
        if "unknown" not in self.folds:
            return np.ones(len(image_ids), dtype=bool)
        table = self.folds[self.folds["repeat"] == repeat].set_index("image_id")
        return ~table["unknown"].reindex(list(image_ids), fill_value=False).to_numpy(bool)

    def parts(
        self, repeat: int, fold: int, image_ids: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Who trains and who validates, as masks over ``image_ids``.

        An image trains when nothing of its group validates: that holds for copies of a
        given hold-out picture and for extra pictures, too.
        """
        table = self.folds[self.folds["repeat"] == repeat].set_index("image_id")
        table = table.reindex(list(image_ids))
        valid = (table["fold"] == fold).to_numpy(bool)
        held_out = set(table["group"][valid])
        train = table["group"].notna().to_numpy(bool) & ~table["group"].isin(held_out).to_numpy(
            bool
        )
        train &= (table["role"] != "holdout").to_numpy(bool)
        return train & ~table.index.isin(self.idle), valid


def read_split(context: Context, scan: pd.DataFrame, settings: SplitSettings) -> Split:
    """The contract of these tables and settings, checked.

    Raises:
        ConfigError: It was never made, or tables or settings changed since.
        StorageError: Its files were changed by hand or are damaged.
    """
    key = split_key(context, scan, settings)
    target = context.workspace.splits / key
    if not (target / "folds.json").exists():
        raise ConfigError(
            f"There is no split for these pictures, labels and settings (looked for {target}). "
            "Run `gorae split` with the same recipe, or `gorae run` for everything."
        )
    record = read_json(target / "folds.json")
    if sha256_file(target / "folds.parquet") != record["folds_sha256"]:
        raise StorageError(
            f"{target / 'folds.parquet'} was changed after the split was made. Remove the "
            f"folder {target} and run `gorae split` again."
        )
    idle = frozenset[str]()
    if context.weights is not None:
        idle = frozenset(context.weights.index[context.weights == 0])
    if settings.unknown_share:
        # Many individuals under one name: nobody learns what they have in common.
        form, train = context.competition.submission, context.tables.train
        assert form is not None, "the split looked for its unknown label"
        idle |= frozenset(train.loc[train["label"] == form.unknown_label, "image_id"])
    return Split(key, read_frame(target / "folds.parquet"), record, idle)


def split_key(context: Context, scan: pd.DataFrame, settings: SplitSettings) -> str:
    """Hash of everything the folds depend on; a part is learned on the folds of its label."""
    context = context.whole or context
    train = context.tables.train
    columns = [name for name in train.columns if name.startswith(META_PREFIX)]
    wanted = {META_PREFIX + name for name in settings.stratify_columns}
    used = [c for c in columns if c in wanted or c in context.tables.group_columns]
    hashes = scan[["sha256", "pixel_sha256", "verdict"]].reindex(train["image_id"])
    frame = train[["image_id", "row_id", "label", "role", "fold", *used]].astype(str)
    frame = pd.concat([frame.reset_index(drop=True), hashes.reset_index(drop=True)], axis=1)
    frame = frame.sort_values("image_id")
    digest = sha256_bytes(frame.to_csv(index=False).encode("utf-8"))
    # A column may be a group and a stratum at once, so the cells alone do not tell.
    groups = list(context.tables.group_columns)
    parts = [2, digest, groups, settings.model_dump(mode="json"), context.competition.task]
    form = context.competition.submission
    if settings.unknown_share and form is not None:
        parts.append(form.unknown_label)
    return content_key(parts)
