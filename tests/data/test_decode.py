"""The decoder: right pixels, or a stated reason."""

import io
import os
import socket
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from gorae.data.decode import (
    REASONS,
    DecodePolicy,
    Undecodable,
    decode,
    read_image_bytes,
    resize_short_side,
)

POLICY = DecodePolicy()
Pixels = NDArray[np.uint8]


def drawn(height: int = 30, width: int = 40, *, seed: int = 0) -> Pixels:
    """A picture without symmetry, smooth enough for JPEG."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image | Pixels, format_name: str, **options: object) -> bytes:
    """The picture as a file."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )


def gray_png(width: int, height: int, *, idat: bytes, before: bytes = b"") -> bytes:
    """A 1-bit PNG with the given compressed data, which may lie."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", idat)
        + chunk(b"IEND", b"")
    )


def refusal(data: bytes, policy: DecodePolicy = POLICY) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        decode(data, policy)
    assert caught.value.reason in REASONS
    return caught.value


LOSSLESS = [
    ("PNG", {}),
    ("BMP", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
]


@pytest.mark.parametrize(("format_name", "options"), LOSSLESS)
def test_lossless_files_give_the_pixels_that_were_saved(
    format_name: str, options: dict[str, object]
) -> None:
    decoded = decode(encoded(drawn(), format_name, **options), POLICY)
    np.testing.assert_array_equal(decoded.pixels, drawn())
    assert (decoded.format, decoded.mode, decoded.notes) == (format_name, "RGB", ())


def test_jpeg_and_gif_are_close_to_what_was_saved() -> None:
    jpeg = decode(encoded(drawn(), "JPEG", quality=95, subsampling=0), POLICY)
    assert np.abs(jpeg.pixels.astype(int) - drawn()).mean() < 2
    gif = decode(encoded(Image.fromarray(drawn()).quantize(256), "GIF"), POLICY)
    assert np.abs(gif.pixels.astype(int) - drawn()).mean() < 8


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_eight_orientations_give_the_same_upright_picture(format_name: str) -> None:
    upright = Image.fromarray(np.repeat(np.repeat(drawn(4, 6, seed=3), 8, 0), 8, 1))
    # What stores the picture so that tag 1, 2, ... turns it back.
    methods = (
        "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270"
    )
    undo = [None, *(Image.Transpose[name] for name in methods.split())]
    lossy: dict[str, object] = {"quality": 100, "subsampling": 0}
    lossless: dict[str, object] = {"lossless": True}
    options = {"JPEG": lossy, "WEBP": lossless}.get(format_name, {})
    results = []
    for tag, method in enumerate(undo, start=1):
        stored = upright if method is None else upright.transpose(method)
        exif = Image.Exif()
        exif[0x0112] = tag
        decoded = decode(encoded(stored, format_name, exif=exif, **options), POLICY)
        assert decoded.orientation == tag
        assert decoded.notes == ()
        results.append(decoded.pixels.astype(int))
    for result in results[1:]:
        # JPEG rounds the two directions of a block differently, by one.
        assert np.abs(result - results[0]).max() <= (2 if format_name == "JPEG" else 0)


def test_an_invalid_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    decoded = decode(encoded(drawn(), "PNG", exif=exif), POLICY)
    np.testing.assert_array_equal(decoded.pixels, drawn())
    assert (decoded.orientation, decoded.notes) == (1, ())


def test_broken_exif_does_not_cost_the_picture() -> None:
    broken = encoded(drawn(), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_array_equal(decode(broken, POLICY).pixels, drawn())


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_every_16_bit_value_is_divided_by_257_and_rounded(format_name: str) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = decode(encoded(Image.fromarray(values), format_name), POLICY)
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(decoded.pixels, np.repeat(expected[..., None], 3, 2))
    assert decoded.notes == ("16_bit: gray values divided by 257",)


def test_16_bit_colour_is_noted() -> None:
    rows = b"".join(b"\0" + b"\x12\x34\xab\xcd\xff\xff" * 4 for _ in range(4))
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    decoded = decode(data, POLICY)
    assert decoded.pixels[0, 0].tolist() == [0x12, 0xAB, 0xFF]
    assert decoded.notes == ("16_bit: the high byte of each colour is kept",)


RANGES = [
    ([0.0, 0.5, 1.0], [0, 128, 255], "F values 0 to 1 "),
    ([0.0, 100.0, 255.0], [0, 100, 255], "F values 0 to 255 "),
    ([0.0, 257.0, 65535.0], [0, 1, 255], "F values 0 to 65535 "),
    ([-10.0, 0.0, 10.0], [0, 128, 255], "F values -10 to 10 "),
    ([np.nan, np.inf, 1.0], [0, 0, 255], "F values 0 to 1 "),
    ([-7.0, -7.0, -7.0], [0, 0, 0], "F values -7 to -7 "),
    ([0, 100, 255], [0, 100, 255], "I values 0 to 255 "),
    ([0, 257, 60000], [0, 1, 233], "I values 0 to 65535 "),
    ([0, 100_000, 200_000], [0, 128, 255], "I values 0 to 200000 "),
]


@pytest.mark.parametrize(("values", "expected", "note"), RANGES)
def test_wide_values_are_scaled_as_the_note_says(
    values: list[float], expected: list[int], note: str
) -> None:
    dtype = np.float32 if isinstance(values[0], float) else np.int32
    decoded = decode(encoded(Image.fromarray(np.array([values] * 4, dtype)), "TIFF"), POLICY)
    assert decoded.pixels[0, :, 0].tolist() == expected
    assert any(note in text for text in decoded.notes)


def test_a_picture_of_nothing_finite_is_refused() -> None:
    nothing = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    assert refusal(encoded(nothing, "TIFF")).reason == "corrupt"


@given(
    colour=st.tuples(*[st.integers(0, 255)] * 4),
    background=st.tuples(*[st.integers(0, 255)] * 3),
)
@settings(max_examples=60, deadline=None)
def test_transparency_is_composited(
    colour: tuple[int, int, int, int], background: tuple[int, int, int]
) -> None:
    data = encoded(Image.new("RGBA", (6, 6), colour), "PNG")
    decoded = decode(data, DecodePolicy(background=background))
    share = colour[3] / 255
    expected = np.array(colour[:3]) * share + np.array(background) * (1 - share)
    assert np.abs(decoded.pixels[0, 0] - expected).max() <= 1
    if colour[3] == 0:
        assert decoded.pixels[0, 0].tolist() == list(background)
    assert bool(decoded.notes) == (colour[3] < 255)


def test_palette_and_gray_transparency_do_not_leak_the_hidden_colour() -> None:
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    for data in (
        encoded(palette, "PNG", transparency=1),
        encoded(palette, "GIF", transparency=1),
        encoded(Image.new("LA", (8, 8), (77, 0)), "PNG"),
        encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        encoded(Image.new("L", (8, 8), 9), "PNG", transparency=9),
    ):
        decoded = decode(data, POLICY)
        assert decoded.pixels.min() == 255
        assert decoded.notes == ("alpha: composited on 255,255,255",)


def test_cmyk_one_bit_profiles_frames_and_thin_shapes_are_noted() -> None:
    frames = [Image.fromarray(drawn(seed=seed)) for seed in range(3)]
    more = {"save_all": True, "append_images": frames[1:]}
    cases = {
        "cmyk": encoded(Image.fromarray(drawn()).convert("CMYK"), "JPEG"),
        "1_bit": encoded(Image.fromarray(drawn()).convert("1"), "PNG"),
        "icc_profile": encoded(drawn(), "PNG", icc_profile=b"x" * 200),
        "shape": encoded(Image.new("RGB", (1, 5000)), "PNG"),
    }
    for code, data in cases.items():
        (note,) = decode(data, POLICY).notes
        assert note.startswith(f"{code}: ")
    for format_name in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if format_name == "WEBP" else {}
        decoded = decode(encoded(frames[0], format_name, **more, **options), POLICY)
        np.testing.assert_array_equal(decoded.pixels, drawn())
        assert decoded.notes == ("frames: the first of several is used",)


def test_a_phones_two_pictures_in_one_jpeg_pass() -> None:
    first, second = (Image.fromarray(drawn(seed=seed)) for seed in range(2))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    decoded = decode(data, POLICY)
    assert (decoded.format, decoded.notes) == ("MPO", ())


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}], ids=["baseline", "progressive"]
)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_jpeg_is_refused_even_if_a_library_allows_it(
    share: float, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(drawn(200, 300), "JPEG", **options)
    assert refusal(data[: int(len(data) * share)]).reason == "truncated"


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "GIF", "WEBP"])
def test_a_file_cut_anywhere_is_refused(format_name: str) -> None:
    data = encoded(Image.fromarray(drawn(12, 12)).quantize(), format_name)
    # A GIF without its last byte, the trailer, has all its pixels.
    for length in range(12, len(data) - 2, 5):
        assert refusal(data[:length]).reason in ("truncated", "corrupt")
    assert refusal(data[: len(data) * 3 // 4]).reason == "truncated"


def test_a_png_with_any_byte_changed_is_refused() -> None:
    data = encoded(drawn(9, 9), "PNG")
    for position in range(8, len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        assert refusal(bytes(changed)).reason in ("corrupt", "truncated")


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_random_damage_gives_pixels_or_a_reason(format_name: str) -> None:
    rng = np.random.default_rng(7)
    data = encoded(Image.fromarray(drawn(20, 24)), format_name)
    policy = DecodePolicy(max_pixels=1_000_000)
    reasons = set()
    for _ in range(300):
        changed = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, len(changed), rng.integers(1, 9))
        changed[places] = rng.integers(0, 256, len(places))
        try:
            pixels = decode(changed.tobytes(), policy).pixels
        except Undecodable as error:
            reasons.add(error.reason)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
    assert reasons <= set(REASONS)


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", "empty", "0 bytes"),
        (b"<!DOCTYPE html><html>", "not_image", "web page"),
        (b"<svg xmlns='x'/>", "not_image", "SVG"),
        (b"%PDF-1.7\n", "not_image", "PDF"),
        ("고양이".encode(), "not_image", "text"),
        (b"PK\x03\x04" + bytes(30), "not_image", "zip"),
        (bytes(range(256)), "not_image", "no known picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "format_refused", "EPS"),
        (b"8BPS" + bytes(40), "format_refused", "PSD"),
        (b"SIMPLE  =                    T", "format_refused", "FITS"),
        (b"\x89HDF\r\n\x1a\n", "format_refused", "HDF5"),
        (bytes(128) + b"DICM", "not_image", "the DICOM file holds no pixels"),
        (b"\0\0\0\x20ftypheic", "format_refused", "HEIC"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, reason: str, detail: str) -> None:
    error = refusal(data)
    assert error.reason == reason
    assert detail in error.detail


def test_colours_that_are_not_taken_are_named() -> None:
    error = refusal(encoded(Image.new("LAB", (8, 8)), "TIFF"))
    assert (error.reason, error.detail) == (
        "format_refused",
        "colours of mode LAB are not taken",
    )


def bombs() -> Iterator[tuple[str, bytes]]:
    empty_rows = zlib.compress(bytes(1 << 20))
    yield "100 MP", gray_png(10_000, 10_000, idat=zlib.compress(bytes(1251 * 10_000)))
    yield "400 MP", gray_png(20_000, 20_000, idat=empty_rows)
    yield "lying header", gray_png(2**31 - 1, 2**31 - 1, idat=empty_rows)
    big = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20 << 20)))
    yield "zTXt", gray_png(8, 8, idat=zlib.compress(bytes(16)), before=big)
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(200 << 20)))
    yield "iCCP", gray_png(8, 8, idat=zlib.compress(bytes(16)), before=profile)
    jpeg = bytearray(encoded(drawn(), "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", 65500, 65500)
    yield "JPEG header", bytes(jpeg)
    gif = bytearray(encoded(Image.fromarray(drawn()).quantize(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    yield "GIF screen", bytes(gif)
    frames = {"save_all": True, "append_images": [Image.fromarray(drawn(seed=1))]}
    webp = bytearray(encoded(Image.fromarray(drawn()), "WEBP", **frames))
    webp[24:30] = b"\xff\x3f\x00\xff\x3f\x00"
    yield "WEBP canvas", bytes(webp)


def test_bombs_are_too_large() -> None:
    for name, data in bombs():
        assert len(data) < 300_000, name
        assert refusal(data).reason == "too_large", name


def test_the_caps_are_the_policys() -> None:
    data = encoded(drawn(30, 40), "PNG")
    decode(data, DecodePolicy(max_pixels=1200))
    assert "40 x 30" in refusal(data, DecodePolicy(max_pixels=1199)).detail
    assert refusal(data, DecodePolicy(max_file_bytes=len(data) - 1)).reason == "too_large"


def test_details_hold_no_control_characters() -> None:
    assert Undecodable("corrupt", "a\x1b[31mb\n").detail == "a?[31mb?"


def test_no_file_but_a_regular_one_inside_the_root_is_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "folder.jpg").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "good.jpg").write_bytes(b"good")
    (root / "empty.jpg").touch()
    os.mkfifo(root / "pipe.jpg")
    with (root / "sparse.jpg").open("wb") as handle:
        handle.truncate(10 << 30)
    (root / "inside.jpg").symlink_to(root / "good.jpg")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "zero.jpg").symlink_to("/dev/zero")
    (root / "dangling.jpg").symlink_to(root / "nowhere")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(root)  # the system allows a socket's path 107 bytes
        server.bind("socket.jpg")
        os.chdir(here)
    assert read_image_bytes("inside.jpg", root=root, policy=POLICY) == b"good"
    assert read_image_bytes(root / "good.jpg", root=root, policy=POLICY) == b"good"
    expected = {
        "folder.jpg": "directory",
        "empty.jpg": "empty",
        "pipe.jpg": "fifo",
        "socket.jpg": "socket",
        "sparse.jpg": "too_large",
        "out.jpg": "outside",
        "zero.jpg": "outside",
        "../secret.jpg": "outside",
        str(tmp_path / "secret.jpg"): "outside",
        "dangling.jpg": "dangling_link",
        "loop.jpg": "link_loop",
        "nothing.jpg": "missing",
        "good.jpg/x.jpg": "missing",
        "x" * 300: "missing",
        "nul\0.jpg": "missing",
    }
    found = {}
    for name in expected:
        with pytest.raises(Undecodable) as caught:
            read_image_bytes(name, root=root, policy=POLICY)
        found[name] = caught.value.reason
    assert found == expected
    follow = DecodePolicy(follow_links=True)
    assert read_image_bytes("out.jpg", root=root, policy=follow) == b"secret"
    with pytest.raises(Undecodable) as caught:
        read_image_bytes("zero.jpg", root=root, policy=follow)
    assert caught.value.reason == "device"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "closed.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(Undecodable) as caught:
        read_image_bytes(path, root=tmp_path, policy=POLICY)
    assert caught.value.reason == "no_permission"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_the_folder_is_never_opened(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "tape.jpg", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this sandbox makes no devices")
    with pytest.raises(Undecodable) as caught:
        read_image_bytes("tape.jpg", root=tmp_path, policy=POLICY)
    assert caught.value.reason == "device"


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    short_side=st.integers(1, 200),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
@settings(max_examples=80, deadline=None)
def test_resizing_shrinks_to_the_short_side_and_keeps_the_shape(
    height: int, width: int, short_side: int, interpolation: str
) -> None:
    pixels = np.full((height, width, 3), (10, 100, 250), np.uint8)
    result = resize_short_side(
        pixels,
        short_side=short_side,
        interpolation=interpolation,  # type: ignore[arg-type]  # a plain string of the dict
    )
    assert min(result.shape[:2]) == min(short_side, height, width)
    scale = min(1.0, short_side / min(height, width))
    assert abs(result.shape[0] - height * scale) <= 0.5
    assert abs(result.shape[1] - width * scale) <= 0.5
    assert np.abs(result.astype(int) - pixels[0, 0]).max() <= 1
