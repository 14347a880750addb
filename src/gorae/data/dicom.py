"""DICOM files to RGB pixels: parsing under caps, decoders, frames, colours.

pydicom does the parsing and the decompression; what it leaves to its callers is done here:
inflation is capped, rescale, window and MONOCHROME1 are applied (``dicom_gray``), every
colour space ends as 8-bit RGB, and whatever hostile bytes raise becomes a verdict.

Source: DICOM PS3.3 (C.7.6.3, C.11.1, C.11.2) and PS3.5 (annex A).
"""

import io
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import dcmread, read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gorae.data.decoded import (
    Decoded,
    DecodePolicy,
    FrameRule,
    Undecodable,
    require_size,
    shape_notes,
)
from gorae.data.dicom_gray import GrayForm, frame_places, render_gray
from gorae.data.dicom_header import header_columns
from gorae.data.signatures import program_preamble

# A data set is parsed whole, so a small deflated file must not become a large one (TRUST 2.2:
# 389 KB became 764 MB).
MAX_INFLATED_BYTES = 512 << 20
_INFLATE_STEP = 1 << 20

_UNDEFINED = 0xFFFFFFFF

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_ALWAYS = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation")
_FOR_WHOLE_NUMBERS = ("BitsStored", "PixelRepresentation")

# What pydicom can use for a compressed syntax that nothing installed decodes.
_PACKAGES = {
    "1.2.840.10008.1.2.4.51": "python-gdcm, or pylibjpeg and pylibjpeg-libjpeg (GPL)",
    "1.2.840.10008.1.2.4.57": "python-gdcm, or pylibjpeg and pylibjpeg-libjpeg (GPL)",
    "1.2.840.10008.1.2.4.70": "python-gdcm, or pylibjpeg and pylibjpeg-libjpeg (GPL)",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg and pylibjpeg-openjpeg",
}

# How pydicom and Pillow say that bytes are lacking.
_CUT_OFF = ("truncated", "end of", "less than", "insufficient", "not enough", "bytes remaining")


def decode_dicom(data: bytes, policy: DecodePolicy, *, frame: int | FrameRule) -> Decoded:
    """Decode one frame of a DICOM file, or the maximum of all.

    Args:
        data: The whole file.
        policy: Caps, and whether personal fields are read.
        frame: Index from 0, or a rule. "max" takes the brightest value of each pixel, before
            rescale and window, which are those of the first frame.

    Raises:
        Undecodable: The file gives no pixels.
        MemoryError: Not enough of it.
    """
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            dataset = read_dicom(data)
        _require_whole(dataset, policy)
        cut = next((text for w in told if "end of" in (text := str(w.message)).lower()), None)
        _require_pixels(dataset, cut)
        require_size((int(dataset.Columns), int(dataset.Rows)), policy)
        return _decode(dataset, data, policy=policy, frame=frame)
    except (Undecodable, MemoryError):
        raise
    except RecursionError as error:
        raise Undecodable("too_large", "sequences are nested too deep") from error
    except Exception as error:
        # pydicom raises anything on hostile bytes.
        text = f"{type(error).__name__}: {error}".replace("\n", " ")
        is_cut = any(words in text.lower() for words in _CUT_OFF)
        raise Undecodable("truncated" if is_cut else "corrupt", f"DICOM: {text}") from error


def read_dicom(data: bytes) -> FileDataset:
    """Parse a DICOM file, deflated or not, with a preamble or without.

    Raises:
        Undecodable: It inflates beyond MAX_INFLATED_BYTES, or its deflated part is cut off.
        Exception: Whatever pydicom raises on damaged bytes.
    """
    stream = io.BytesIO(data)
    if data[128:132] == b"DICM":
        stream.seek(132)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if str(meta.get("TransferSyntaxUID", "")) == DeflatedExplicitVRLittleEndian:
            inner = _inflate(data[stream.tell() :])
            inflated = FileDataset(
                inner,
                read_dataset(inner, False, True),
                preamble=data[:128],
                file_meta=FileMetaDataset(meta),
                is_implicit_VR=False,
                is_little_endian=True,
            )
            inflated.set_original_encoding(False, True)
            return inflated
    return dcmread(io.BytesIO(data), force=True)


def _inflate(packed: bytes) -> io.BytesIO:
    """The data set of a deflated file (PS3.5 A.5): raw deflate, without a header."""
    engine, stream, rest = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), packed
    while not engine.eof:
        part = engine.decompress(rest, _INFLATE_STEP)
        rest = engine.unconsumed_tail
        if not part and not rest and not engine.eof:
            raise Undecodable("truncated", "the deflated part ends early")
        stream.write(part)
        if stream.tell() > MAX_INFLATED_BYTES:
            raise Undecodable(
                "too_large", f"it inflates to more than {MAX_INFLATED_BYTES >> 20} MiB"
            )
    stream.seek(0)
    return stream


def _require_whole(dataset: FileDataset, policy: DecodePolicy) -> None:
    """Refuse pixels that are said to be longer than the file, though it may hold enough."""
    for name in _PIXELS:
        # The element as it was read: once it is asked for, its stated length is gone.
        element: Any = dataset.get_item(name) if name in dataset else None
        stated = getattr(element, "length", _UNDEFINED)
        if stated == _UNDEFINED:
            continue
        there = len(element.value or b"")
        if stated <= there:
            continue
        if stated > policy.max_file_bytes:
            raise Undecodable("too_large", f"its pixels claim {stated / 1e6:,.0f} MB")
        raise Undecodable("truncated", f"{there:,} of {stated:,} bytes of pixels")


def _require_pixels(dataset: FileDataset, cut: str | None) -> None:
    """Refuse what has no pixels, or does not say how they are stored."""
    if not any(name in dataset for name in _PIXELS):
        if cut is not None:
            raise Undecodable("truncated", f"the DICOM file ends before its pixels ({cut})")
        kind = dataset.get("SOPClassUID", None)
        what = f" ({kind.name})" if isinstance(kind, UID) else ""
        raise Undecodable("not_image", f"the DICOM file holds no pixels{what}")
    if cut is not None:
        raise Undecodable("truncated", f"the DICOM file ends early ({cut})")
    names = _ALWAYS + (_FOR_WHOLE_NUMBERS if "PixelData" in dataset else ())
    lacking = [name for name in names if dataset.get(name) in (None, "")]
    if lacking:
        raise Undecodable("corrupt", f"the DICOM header lacks {', '.join(lacking)}")


def _decode(
    dataset: FileDataset, data: bytes, *, policy: DecodePolicy, frame: int | FrameRule
) -> Decoded:
    count = num_frames(dataset)
    if isinstance(frame, int) and not 0 <= frame < count:
        raise Undecodable("corrupt", f"it has no frame {frame}, only {count}")
    rules = {"first": 0, "middle": count // 2, "max": 0}
    index = frame if isinstance(frame, int) else rules[frame]
    notes = _file_notes(dataset, data)
    if count > 1:
        notes.append(_frame_note(frame, index, count))
    decoder = _find_decoder(dataset)
    if frame == "max" and count > 1:
        pixels, rendering = _brightest(dataset, decoder)
    else:
        values, stated = decoder.as_array(dataset, index=index)
        pixels, rendering = _render(values, dataset, index, str(_photometric(stated)))
    height, width = pixels.shape[:2]
    bits = int(dataset.get("BitsStored", None) or dataset.BitsAllocated)
    return Decoded(
        pixels=pixels,
        format="DICOM",
        mode=f"{dataset.PhotometricInterpretation} {bits} bit",
        orientation=1,
        notes=(*notes, *rendering, *shape_notes(width, height)),
        header=header_columns(dataset, phi=policy.phi),
    )


def num_frames(dataset: Dataset) -> int:
    """How many frames the header claims, 1 where it says nothing usable."""
    try:
        return max(1, int(dataset.get("NumberOfFrames", None) or 1))
    except (TypeError, ValueError, OverflowError):
        return 1


def _frame_note(frame: int | FrameRule, index: int, count: int) -> str:
    if frame == "max":
        return f"frames: the maximum of {count}"
    return f"frames: number {index + 1} of {count}"


def _file_notes(dataset: FileDataset, data: bytes) -> list[str]:
    notes = []
    program = program_preamble(data)
    if program is not None:
        notes.append(f"preamble: begins like a {program}")
    if data[128:132] != b"DICM":
        notes.append("preamble: none")
    if "ICCProfile" in dataset:
        notes.append("icc_profile: not applied")
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        notes.append("burned_in: the header says that text stands in the picture")
    return notes


def _find_decoder(dataset: FileDataset) -> Any:
    """pydicom's decoder of the transfer syntax.

    Raises:
        Undecodable: The syntax is unknown, or what decodes it is not installed.
    """
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", None) or _plain(dataset)))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise Undecodable("format_refused", f"pixels stored as {syntax.name}") from error
    # Pillow, which decodes the 8-bit kind of this syntax, would only find out by failing.
    is_deep = syntax == "1.2.840.10008.1.2.4.51" and int(dataset.BitsStored) > 8
    plugins = set(decoder.available_plugins) - ({"pillow"} if is_deep else set())
    if decoder.is_encapsulated and not plugins:
        raise Undecodable(
            "decoder_missing",
            f"pixels stored as {syntax.name}; install {_PACKAGES.get(syntax, 'its decoder')}",
        )
    return decoder


def _plain(dataset: FileDataset) -> str:
    """The syntax of a file that names none, by how it was parsed."""
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian


def _photometric(stated: dict[str, Any]) -> Any:
    """The colours after decoding, which turns YBR into RGB."""
    value = stated["photometric_interpretation"]
    return getattr(value, "value", value)


def _render(
    values: NDArray[Any], dataset: FileDataset, index: int, photometric: str
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """One decoded frame as RGB, and what that took."""
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        form = GrayForm(
            bits_stored=int(dataset.get("BitsStored", None) or 64),
            is_inverted=photometric == "MONOCHROME1",
            is_little_endian=bool(dataset.original_encoding[1]),
        )
        gray, notes = render_gray(values, frame_places(dataset, index), form)
        return np.repeat(gray[..., None], 3, axis=2), notes
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return _to_bytes(values, 8 * values.dtype.itemsize), ("palette: applied",)
    if photometric == "RGB" and values.ndim == 3 and values.dtype.kind == "u":
        return _to_bytes(values[..., :3], int(dataset.BitsStored)), ()
    raise Undecodable("format_refused", f"colours of {photometric} are not taken")


def _to_bytes(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Unsigned colours of some depth as 8 bits; row by row, for the memory."""
    if bits == 8:
        return np.ascontiguousarray(values.astype(np.uint8, copy=False))
    white = 2.0**bits - 1
    rows = [np.rint(np.clip(row / white, 0, 1) * 255).astype(np.uint8) for row in values]
    return np.stack(rows)


def _brightest(dataset: FileDataset, decoder: Any) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The maximum over all frames: of stored values where gray, else of the RGB pixels."""
    best: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    photometric = ""
    for index, (values, stated) in enumerate(decoder.iter_array(dataset)):
        photometric, shown = str(_photometric(stated)), values
        if not photometric.startswith("MONOCHROME"):
            shown, notes = _render(values, dataset, index, photometric)
        if best is None:
            best = shown.copy()
        elif photometric == "MONOCHROME1":
            np.minimum(best, shown, out=best)
        else:
            np.maximum(best, shown, out=best)
    if best is None:
        raise Undecodable("corrupt", "no frame can be decoded")
    if photometric.startswith("MONOCHROME"):
        return _render(best, dataset, 0, photometric)
    return best, notes
