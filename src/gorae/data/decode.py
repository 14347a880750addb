"""The one decoder: bytes of a picture file become RGB pixels, or a stated reason why not."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from gorae.data.decoded import (
    REASONS,
    Decoded,
    DecodePolicy,
    FrameRule,
    Undecodable,
    require_size,
    shape_notes,
)
from gorae.data.exif import exif_header
from gorae.data.file_bytes import read_image_bytes, require_file_size
from gorae.data.pixels import Interpolation
from gorae.data.signatures import (
    describe_content,
    failure_fault,
    known_format,
    png_fault,
    refused_format,
    webp_size,
)

__all__ = [
    "DECODER_VERSION",
    "FORMATS",
    "REASONS",
    "DecodePolicy",
    "Decoded",
    "FrameRule",
    "Undecodable",
    "decode",
    "read_image_bytes",
    "resize_short_side",
]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")

# Raised when decoded pixels change for the same bytes, so that no stale cache is used.
DECODER_VERSION = 2

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, policy: DecodePolicy, *, frame: int | FrameRule = "first") -> Decoded:
    """Decode a picture, upright and as RGB.

    EXIF orientation is undone; CMYK becomes RGB; transparent pixels are composited on the
    policy's background; 16-bit gray is divided by 257, 32-bit and float values are scaled as
    the note says; of several frames the first is taken. Colour profiles are not applied.
    DICOM goes through its own pipeline (``gorae.data.dicom``), with a choice of frames.

    Args:
        data: The whole file.
        policy: Caps and background.
        frame: Which frame of a DICOM file with several: its index from 0, or a rule; other
            formats show their first.

    Raises:
        Undecodable: The file gives no pixels.
    """
    _refuse_early(data, policy)
    # Training libraries may have switched this on for the whole process; half a picture
    # must never pass for a whole one.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if known_format(data) == "DICOM":
                # Only now: pydicom takes half a second to load.
                from gorae.data.dicom import decode_dicom

                return decode_dicom(data, policy, frame=frame)
            if isinstance(frame, int) and frame > 0:
                raise Undecodable("corrupt", f"it has no frame {frame}, it is no DICOM file")
            return _decode(data, policy)
        except Undecodable:
            raise
        except MemoryError as error:
            raise Undecodable("memory", "not enough memory to decode it") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Undecodable("too_large", str(error)) from error
        except Exception as error:
            # Hostile bytes can make a decoder raise anything.
            raise _failure(data, error) from error


def _refuse_early(data: bytes, policy: DecodePolicy) -> None:
    """Refuse what needs no decoder to be refused."""
    if not data:
        raise Undecodable("empty", "0 bytes")
    require_file_size(len(data), policy)
    format_name = known_format(data)
    fault = png_fault(data) if format_name == "PNG" else refused_format(data)
    if fault is not None:
        raise Undecodable(fault.reason, fault.detail)
    if format_name is None:
        raise Undecodable("not_image", describe_content(data))
    claimed = webp_size(data) if format_name == "WEBP" else None
    if claimed is not None:
        require_size(claimed, policy)


def _failure(data: bytes, error: Exception) -> Undecodable:
    if isinstance(error, ValueError) and "too large" in str(error):
        return Undecodable("too_large", f"packed metadata: {error}")
    if isinstance(error, UnidentifiedImageError):
        error = ValueError("its header is not understood")
    fault = failure_fault(data, error)
    return Undecodable(fault.reason, fault.detail)


def _decode(data: bytes, policy: DecodePolicy) -> Decoded:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        require_size(image.size, policy)
        mode, format_name = image.mode, str(image.format)
        notes = _container_notes(image, data)
        # Pillow undoes and forgets the orientation of a TIFF as it loads.
        stated = _exif_orientation(image)[0] if format_name == "TIFF" else 1
        image.load()
        rgb, conversion = _to_rgb(image, policy)
        notes += conversion
        remaining, exif_note = _exif_orientation(image)
        notes += exif_note
        header = exif_header(image)
    if remaining in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[remaining])
    applied = stated if stated in _TRANSPOSE else remaining
    notes += shape_notes(rgb.width, rgb.height)
    return Decoded(
        pixels=np.asarray(rgb),
        format=format_name,
        mode=mode,
        orientation=applied if applied in _TRANSPOSE else 1,
        notes=notes,
        header=header,
    )


def _container_notes(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """What the file holds besides the pixels that are taken."""
    notes = []
    # A phone's MPO is a JPEG with a second view behind it.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("frames: the first of several is used")
    if image.info.get("icc_profile"):
        notes.append("icc_profile: not applied")
    is_deep_png = image.format == "PNG" and data[24] == 16
    tiles = getattr(image, "tile", [])
    if image.mode in ("RGB", "RGBA", "LA") and (is_deep_png or ";16" in str(tiles)):
        notes.append("16_bit: the high byte of each colour is kept")
    return tuple(notes)


def _exif_orientation(image: Image.Image) -> tuple[int, tuple[str, ...]]:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1)), ()
    except Exception:  # noqa: BLE001 - broken EXIF raises anything; the pixels are whole
        return 1, ("exif: unreadable, taken as upright",)


def _to_rgb(image: Image.Image, policy: DecodePolicy) -> tuple[Image.Image, tuple[str, ...]]:
    """The loaded image as RGB, and what that took."""
    mode = image.mode
    if mode.startswith("I;16"):
        return _gray(_scale_16_bit(image)), ("16_bit: gray values divided by 257",)
    if mode in ("I", "F"):
        values, note = _scale_range(image)
        return _gray(values), (note,)
    if image.has_transparency_data:
        return _composite(image, policy.background)
    if mode in ("CMYK", "YCbCr"):
        return image.convert("RGB"), (f"{mode.lower()}: converted without a colour profile",)
    if mode == "1":
        return image.convert("RGB"), ("1_bit: shown as black and white",)
    if mode == "RGB":
        return image, ()
    if mode in ("L", "P"):
        return image.convert("RGB"), ()
    raise Undecodable("format_refused", f"colours of mode {mode} are not taken")


def _composite(
    image: Image.Image, background: tuple[int, int, int]
) -> tuple[Image.Image, tuple[str, ...]]:
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB"), ()
    canvas = Image.new("RGB", rgba.size, background)
    canvas.paste(rgba, mask=alpha)
    return canvas, (f"alpha: composited on {','.join(map(str, background))}",)


def _gray(values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


def _scale_16_bit(image: Image.Image) -> NDArray[np.uint8]:
    """0..65535 to 0..255: value / 257, rounded, in arithmetic that stays within 16 bits."""
    values = np.asarray(image).astype(np.uint16)
    rounding = 127 + (values >> 15)
    scaled: NDArray[np.uint8] = ((values - (values >> 8) + rounding) >> 8).astype(np.uint8)
    return scaled


def _scale_range(image: Image.Image) -> tuple[NDArray[np.uint8], str]:
    """32-bit integers and floats have no stated white: take the narrowest usual range."""
    values = np.array(image, dtype=np.float32)
    finite = np.isfinite(values)
    low = float(np.min(values, where=finite, initial=np.inf))
    high = float(np.max(values, where=finite, initial=-np.inf))
    if low > high:
        raise Undecodable("corrupt", "no pixel has a finite value")
    usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    white = next((limit for limit in usual if low >= 0 and high <= limit), None)
    black, white = (0.0, white) if white is not None else (low, high)
    np.copyto(values, black, where=~finite)
    values -= np.float32(black)
    values *= np.float32(255.0 / ((white - black) or 1.0))
    np.rint(values, out=values)
    note = f"range: {image.mode} values {black:g} to {white:g} scaled to 0 to 255"
    return np.clip(values, 0, 255, out=values).astype(np.uint8), note


def resize_short_side(
    pixels: NDArray[np.uint8], *, short_side: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Shrink (H, W, 3) so that its short side is ``short_side``; never enlarge.

    Antialiased by Pillow. A reducing gap of 3 makes large steps several times faster and is
    hardly to be told from the full filter (Pillow's documentation of ``Image.resize``).
    """
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, _RESAMPLING[interpolation], reducing_gap=3.0))
