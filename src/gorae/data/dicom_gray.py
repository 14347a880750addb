"""Stored values of a DICOM picture to gray levels: rescale, window, polarity.

The order is the standard's (PS3.3 C.7.6.16, C.11.1, C.11.2): stored value -> modality value
-> share of the display's range. Every function below maps float64 values, whatever their
shape, so that up to 16 bits one table of all values does for a whole picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Mapping = Callable[[Values], Values]

# Pixels mapped at once: the float64 copies of a whole large picture would not fit.
_BLOCK = 1 << 20

# Places where an element is looked up: functional groups of the frame, then the data set.
Places = Sequence[Any]


@dataclass(frozen=True)
class GrayForm:
    """How the values of a gray picture are stored."""

    bits_stored: int
    is_inverted: bool
    """MONOCHROME1: the largest value is black."""
    is_little_endian: bool


def find(places: Places, keyword: str) -> Any:
    """The first value that is there and can be read; None without one."""
    for place in places:
        try:
            value = place.get(keyword)
        except Exception:  # noqa: BLE001, S112 - a broken element raises anything; it is missing
            continue
        if value is not None and value != "" and value != []:
            return value
    return None


def find_number(places: Places, keyword: str) -> float | None:
    """The first of the numbers of an element, None where it is missing or not finite."""
    value = find(places, keyword)
    try:
        number = float(value if isinstance(value, str | int | float) else value[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def find_item(places: Places, keyword: str, index: int = 0) -> Any:
    """One item of a sequence, None where it is missing."""
    sequence = find(places, keyword)
    try:
        return sequence[index]
    except (TypeError, IndexError, KeyError):
        return None


def frame_places(dataset: Any, index: int) -> list[Any]:
    """Where rescale and window of a frame stand: its groups, the shared ones, the data set."""
    groups = (
        find_item([dataset], "PerFrameFunctionalGroupsSequence", index),
        find_item([dataset], "SharedFunctionalGroupsSequence"),
    )
    names = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
    inner = [
        find_item([group], name) for group in groups if group is not None for name in names
    ]
    return [place for place in inner if place is not None] + [dataset]


def render_gray(
    stored: NDArray[Any], places: Places, form: GrayForm
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Gray levels of stored values, and what was done.

    Args:
        stored: Values as stored, (H, W), whole numbers or floats.
        places: Where rescale, window and tables are looked up.
        form: How the values are stored.

    Returns:
        Gray levels (H, W), 255 white, and notes that state every step.
    """
    modality, notes = _modality(places, form)
    window = _voi_table(places, form) or _window(places, notes)
    if window is None:
        window = _data_range(stored, places, form, modality)
    share, note = window
    notes.append(note)
    if form.is_inverted:
        notes.append("inverted: MONOCHROME1")

    def gray(values: Values) -> NDArray[np.uint8]:
        levels = np.rint(255 * np.clip(share(modality(values)), 0, 1))
        return (255 - levels if form.is_inverted else levels).astype(np.uint8)

    return _map_stored(stored, gray), tuple(notes)


def _map_stored(
    stored: NDArray[Any], gray: Callable[[Values], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    flat = stored.reshape(-1)
    levels = np.empty(flat.shape, np.uint8)
    has_table = flat.dtype.kind in "iu" and flat.dtype.itemsize <= 2
    low = int(flat.min()) if has_table else 0
    table = gray(np.arange(low, int(flat.max()) + 1, dtype=np.float64)) if has_table else None
    for start in range(0, len(flat), _BLOCK):
        part = flat[start : start + _BLOCK]
        if table is not None:
            levels[start : start + _BLOCK] = table[part.astype(np.int64) - low]
        else:
            values = part.astype(np.float64)
            is_finite = np.isfinite(values)
            levels[start : start + _BLOCK] = gray(np.where(is_finite, values, 0)) * is_finite
    return levels.reshape(stored.shape)


def _modality(places: Places, form: GrayForm) -> tuple[Mapping, list[str]]:
    """Stored to modality values (PS3.3 C.11.1): a table, or slope and intercept."""
    table = _read_table(find_item(places, "ModalityLUTSequence"), form)
    if table is not None:
        return table.look_up, ["rescale: by a modality table"]
    slope = find_number(places, "RescaleSlope")
    intercept = find_number(places, "RescaleIntercept")
    if slope is None or intercept is None:
        return lambda values: values, []
    if slope == 0:
        return lambda values: values, ["rescale: slope 0 is not applied"]
    # The usual 1 and 0 say that nothing is done.
    notes = [f"rescale: {slope:g} x + {intercept:g}"] if (slope, intercept) != (1, 0) else []
    return lambda values: values * slope + intercept, notes


def _window(places: Places, notes: list[str]) -> tuple[Mapping, str] | None:
    """Modality value to share of the display (PS3.3 C.11.2.1.2 and .3); None without one."""
    centres, widths = find(places, "WindowCenter"), find(places, "WindowWidth")
    centre, width = find_number(places, "WindowCenter"), find_number(places, "WindowWidth")
    if centre is None or width is None:
        return None
    kind = str(find(places, "VOILUTFunction") or "LINEAR").upper()
    if kind not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append("window: its function is unknown, taken as LINEAR")
        kind = "LINEAR"
    if width <= 0 or (kind == "LINEAR" and width < 1):
        notes.append(f"window: width {width:g} of {kind} is not allowed, not used")
        return None
    many = min(_count(centres), _count(widths))
    note = f"window: {kind} centre {centre:g} width {width:g}"
    note += f", the first of {many}" if many > 1 else ""
    if kind == "SIGMOID":
        return lambda values: _sigmoid(4 * (values - centre) / width), note
    if kind == "LINEAR_EXACT":
        return lambda values: (values - centre) / width + 0.5, note
    # LINEAR counts pixels: n values lie n - 1 apart, and a window of one value is a threshold.
    middle, span = centre - 0.5, width - 1
    if span == 0:
        return lambda values: (values > middle).astype(np.float64), note
    return lambda values: (values - middle) / span + 0.5, note


def _count(value: Any) -> int:
    return 1 if isinstance(value, str | int | float) else len(value)


def _sigmoid(values: Values) -> Values:
    with np.errstate(over="ignore"):
        share: Values = 1 / (1 + np.exp(-values))
    return share


@dataclass(frozen=True)
class _Table:
    entries: Values
    first: int
    depth: int
    """Bits of an entry."""

    def look_up(self, values: Values) -> Values:
        places = np.clip(np.trunc(values - self.first), 0, len(self.entries) - 1)
        found: Values = self.entries[places.astype(np.int64)]
        return found


def _read_table(item: Any, form: GrayForm) -> _Table | None:
    """A lookup table (PS3.3 C.11.1.1), None where it is missing or makes no sense."""
    if item is None:
        return None
    descriptor, data = find([item], "LUTDescriptor"), find([item], "LUTData")
    try:
        count, first, depth = (int(number) for number in descriptor)
        if isinstance(data, bytes):
            # Two bytes per entry, or one where there are only so many.
            order = "<" if form.is_little_endian else ">"
            is_wide = len(data) >= 2 * (count or 65536)
            entries = np.frombuffer(data[: len(data) & -2], f"{order}u2" if is_wide else "u1")
        else:
            entries = np.asarray([data] if isinstance(data, int) else data)
        entries = entries[: count or 65536].astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if not len(entries) or not 1 <= depth <= 16:
        return None
    return _Table(entries, first, depth)


def _voi_table(places: Places, form: GrayForm) -> tuple[Mapping, str] | None:
    """A VOI table, which goes before a window (as in pydicom's ``apply_voi_lut``)."""
    table = _read_table(find_item(places, "VOILUTSequence"), form)
    if table is None:
        return None
    white = 2.0**table.depth - 1
    note = f"window: by a VOI table of {len(table.entries)} values"
    return lambda values: table.look_up(values) / white, note


def _data_range(
    stored: NDArray[Any], places: Places, form: GrayForm, modality: Mapping
) -> tuple[Mapping, str]:
    """Without a window: 8 bits as they are, else from the least value to the largest."""
    plain = modality(np.array([0.0, 1.0]))
    if stored.dtype.kind == "u" and form.bits_stored <= 8 and plain.tolist() == [0, 1]:
        white = 2.0**form.bits_stored - 1
        return lambda values: values / white, f"window: none, 0 to {white:g} shown"
    is_used = np.isfinite(stored) if stored.dtype.kind == "f" else _is_picture(stored, places)
    if not np.any(is_used):
        return lambda values: values * 0, "window: none, and no value to take one from"
    used = stored if np.all(is_used) else stored[is_used]
    ends = np.array([used.min(), used.max()], np.float64)
    low, high = sorted(modality(ends).tolist())
    span = (high - low) or 1.0
    note = f"window: none, data range {low:g} to {high:g} shown"
    return lambda values: (values - low) / span, note


def _is_picture(stored: NDArray[Any], places: Places) -> NDArray[np.bool_]:
    """Which pixels are not padding (PS3.3 C.7.5.1.1.2)."""
    padding = find_number(places, "PixelPaddingValue")
    if padding is None:
        return np.ones(stored.shape, bool)
    limit = find_number(places, "PixelPaddingRangeLimit")
    low, high = sorted((padding, padding if limit is None else limit))
    is_picture: NDArray[np.bool_] = (stored < low) | (stored > high)
    return is_picture if is_picture.any() else np.ones(stored.shape, bool)
