"""How values spread: classes, sizes, formats, metadata."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.eda.column_cleaning import NUMERIC, Kind
from gorae.eda.metadata import CleanTable

_NUM_BINS = 20
# Rarer values are counted together in a chart.
_MOST_VALUES = 30


@dataclass(frozen=True)
class ClassBalance:
    """How even the classes are."""

    counts: tuple[int, ...]
    """Pictures of each class, (K,)."""
    ratio: float
    """Largest class by smallest class that has a picture."""
    effective_classes: float
    """exp(entropy): as many equal classes would be as uneven (Hill, 1973); K when even."""
    gini: float
    """Gini coefficient of the counts: 0 even, towards 1 all in one class."""
    num_absent: int
    """Classes without a picture."""


def class_balance(labels: NDArray[np.int64], *, num_classes: int) -> ClassBalance:
    """Balance of class indices (N,), each from 0 to K - 1; -1 is left out."""
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    present = counts[counts > 0]
    shares = present / max(1, present.sum())
    ordered = np.sort(counts).astype(np.float64)
    ranks = np.arange(1, num_classes + 1)
    total = max(1.0, float(ordered.sum()))
    gini = float(((2 * ranks - num_classes - 1) * ordered).sum() / (num_classes * total))
    return ClassBalance(
        counts=tuple(counts.tolist()),
        ratio=float(present.max() / present.min()) if len(present) else 1.0,
        effective_classes=float(np.exp(-(shares * np.log(shares)).sum()))
        if len(present)
        else 0,
        gini=gini,
        num_absent=int((counts == 0).sum()),
    )


SIZE_STATISTICS = ("min", "q05", "median", "mean", "q95", "max")


def size_summary(scan: pd.DataFrame) -> pd.DataFrame:
    """Spread of width, height, short side, aspect and file size of the readable pictures.

    Args:
        scan: Columns ``width_px``, ``height_px`` and ``size_bytes`` of a scan; width 0 is a
            picture without pixels and left out.

    Returns:
        A line per quantity (column ``quantity``) with SIZE_STATISTICS; ``aspect`` is width
        by height. No lines when no picture can be read.
    """
    known = scan[(scan["width_px"] > 0) & (scan["height_px"] > 0)]
    width = known["width_px"].to_numpy(np.float64)
    height = known["height_px"].to_numpy(np.float64)
    quantities = {
        "width_px": width,
        "height_px": height,
        "short_side_px": np.minimum(width, height),
        "aspect": width / height,
        "size_bytes": known["size_bytes"].to_numpy(np.float64),
    }
    rows = []
    for name, values in quantities.items():
        if len(values):
            low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
            rows.append((name, values.min(), low, median, values.mean(), high, values.max()))
    return pd.DataFrame(rows, columns=["quantity", *SIZE_STATISTICS])


def value_counts(scan: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """How often each combination occurs among readable pictures, most frequent first.

    For formats and colour modes ``("format", "mode")``, for sizes
    ``("width_px", "height_px")``.

    Returns:
        The columns, ``count`` and ``share``.
    """
    known = scan[scan["verdict"] != "quarantined"]
    counts = known.groupby(list(columns), sort=True).size().rename("count").reset_index()
    counts = counts.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    return counts.assign(share=counts["count"] / max(1, len(known)))


@dataclass(frozen=True)
class Distribution:
    """One metadata column as a chart shows it."""

    column: str
    kind: Kind
    names: tuple[str, ...]
    """Values of a category, most frequent first (then ``""``: all rarer ones); else empty."""
    edges: tuple[float, ...]
    """Edges of the bins of a number, one more than there are bins; else empty."""
    counts: NDArray[np.int64]
    """Train pictures per bin or value and class, (K, B); one line without classes."""
    test_counts: NDArray[np.int64]
    """Test pictures per bin or value, (B,)."""
    num_missing: int
    """Train pictures without a value."""
    num_test_missing: int
    """Test pictures without a value."""


def metadata_distributions(
    clean: CleanTable, *, classes: NDArray[np.int64] | None = None, num_classes: int = 1
) -> tuple[Distribution, ...]:
    """Histograms and counts of all columns that have values and are not free text.

    Args:
        clean: Cleaned metadata.
        classes: Line of each train picture in ``counts``, (N,): its class, or the code of
            another column (age by sex); -1 is left out. None: one line for all.
        num_classes: K.
    """
    if classes is None:
        classes = np.zeros(len(clean.train), np.int64)
    shown = [name for name, kind in clean.kinds.items() if kind not in ("empty", "text", "id")]
    return tuple(_distribution(clean, name, classes, num_classes) for name in shown)


def _distribution(
    clean: CleanTable, name: str, classes: NDArray[np.int64], num_classes: int
) -> Distribution:
    kind = clean.kinds[name]
    parts = (clean.train[name], clean.test[name])
    names: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    if kind in NUMERIC:
        both = np.concatenate([part.to_numpy(np.float64) for part in parts])
        found = _edges(both[~np.isnan(both)])
        edges = tuple(found.tolist())
        bins = [_bin_of(part.to_numpy(np.float64), found) for part in parts]
        size = len(edges) - 1
    else:
        frequent = pd.concat(parts).value_counts().index.tolist()
        is_cut = len(frequent) > _MOST_VALUES
        names = (*frequent[: _MOST_VALUES - 1], "") if is_cut else tuple(frequent)
        bin_of = {value: min(at, len(names) - 1) for at, value in enumerate(frequent)}
        bins = [part.map(bin_of).fillna(-1).to_numpy(np.int64) for part in parts]
        size = len(names)
    kept = (bins[0] >= 0) & (classes >= 0)
    counts = np.bincount(classes[kept] * size + bins[0][kept], minlength=num_classes * size)
    return Distribution(
        column=name,
        kind=kind,
        names=names,
        edges=edges,
        counts=counts.reshape(num_classes, size),
        test_counts=np.bincount(bins[1][bins[1] >= 0], minlength=size),
        num_missing=int((bins[0] < 0).sum()),
        num_test_missing=int((bins[1] < 0).sum()),
    )


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal bins over the values; a few whole numbers get a bin each, around the number."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if high - low < _NUM_BINS and bool(np.all(values == np.rint(values))):
        return np.arange(low, high + 2) - 0.5
    return np.linspace(low, high, _NUM_BINS + 1)


def _bin_of(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each value, the last one closed; -1 of NaN."""
    bins = np.searchsorted(edges, values, side="right") - 1
    bins = np.clip(bins, 0, len(edges) - 2)
    return np.where(np.isnan(values), -1, bins)
