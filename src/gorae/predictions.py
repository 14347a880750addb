"""Predictions: one value for everything a model says, keyed by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.errors import DataError

Kind = Literal["multiclass", "multilabel", "value", "score"]

# Float32 softmax over many classes, averaged over members, is off by less than this.
ROW_SUM_TOLERANCE = 1e-4


# Two predictions are compared by what they say of each id, not with ==.
@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model, or a vote of models, says of each id.

    ``multiclass`` rows sum to 1; ``multilabel`` values are independent probabilities;
    ``value`` is a number to report as it is; ``score`` orders the columns and no more.

    Raises:
        DataError: An id stands twice, a number is not finite, or probabilities are none.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]  # (N, K)
    kind: Kind

    def __post_init__(self) -> None:
        assert self.values.dtype == np.float32
        assert self.values.shape == (len(self.ids), len(self.columns))
        if len(set(self.ids)) != len(self.ids):
            counts = pd.Series(self.ids).value_counts()
            raise DataError(f"Predictions hold id {counts.index[0]!r} {counts.iloc[0]} times.")
        values = self.values
        self._refuse(np.flatnonzero(~np.isfinite(values).all(axis=1)), "are not finite")
        if self.kind in ("multiclass", "multilabel"):
            outside = ((values < 0) | (values > 1 + ROW_SUM_TOLERANCE)).any(axis=1)
            self._refuse(np.flatnonzero(outside), "hold probabilities outside 0 to 1")
        if self.kind == "multiclass":
            error = np.abs(values.sum(axis=1, dtype=np.float64) - 1)
            self._refuse(np.flatnonzero(error > ROW_SUM_TOLERANCE), "do not sum to 1")

    def _refuse(self, rows: NDArray[np.intp], what: str) -> None:
        if len(rows):
            row = self.values[rows[0]]
            shown = ", ".join(f"{value:.6g}" for value in row[:5]) + ", ..." * (len(row) > 5)
            raise DataError(
                f"Predictions of {len(rows)} of {len(self.ids)} ids {what}, first "
                f"{self.ids[rows[0]]!r} ({shown})."
            )

    def select(self, ids: Sequence[str]) -> "Predictions":
        """The rows of ``ids``, in their order.

        Raises:
            DataError: An id has no prediction; all such ids are counted.
        """
        position = {id_: row for row, id_ in enumerate(self.ids)}
        missing = [id_ for id_ in ids if id_ not in position]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(ids)} ids have no prediction, first {missing[0]!r}."
            )
        rows = [position[id_] for id_ in ids]
        return Predictions(tuple(ids), self.columns, self.values[rows], self.kind)

    def to_frame(self) -> pd.DataFrame:
        """A table with column ``id`` and one column per class."""
        frame = pd.DataFrame(self.values, columns=list(self.columns))
        frame.insert(0, "id", list(self.ids), allow_duplicates=True)
        return frame


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """The rows of all ``parts``, whose ids must be disjoint and columns equal."""
    first = parts[0]
    assert all(part.columns == first.columns and part.kind == first.kind for part in parts)
    ids = tuple(id_ for part in parts for id_ in part.ids)
    return Predictions(
        ids, first.columns, np.concatenate([p.values for p in parts]), first.kind
    )


def aggregate_rows(
    predictions: Predictions, row_ids: Sequence[str], *, how: Literal["mean", "max"]
) -> Predictions:
    """Join the images of a row: predictions per image become predictions per ``row_id``.

    Args:
        predictions: Per image, N rows.
        row_ids: The row each image belongs to, N, in the order of the predictions.
        how: ``mean`` or ``max`` over a row's images; multiclass rows are normalised again.

    Returns:
        One row per distinct ``row_id``, in order of first appearance.
    """
    codes, uniques = pd.factorize(np.asarray(row_ids, dtype=object))
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    values = predictions.values[order].astype(np.float64)
    if how == "mean":
        sizes = np.diff(np.r_[starts, len(order)])
        joined = np.add.reduceat(values, starts, axis=0) / sizes[:, None]
    else:
        joined = np.maximum.reduceat(values, starts, axis=0)
    if predictions.kind == "multiclass":
        joined /= joined.sum(axis=1, keepdims=True)
    ids = tuple(str(unique) for unique in uniques)
    return Predictions(ids, predictions.columns, joined.astype(np.float32), predictions.kind)
