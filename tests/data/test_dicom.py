"""DICOM pixels: equal to pydicom's own tables and windows, and to vectors worked by hand."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from gorae.data.decode import Decoded, DecodePolicy, Undecodable, decode

Make = Callable[..., bytes]
POLICY = DecodePolicy()
# What the package brings; its own function would fetch others.
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
TWELVE = {"BitsStored": 12, "HighBit": 11}


def gray(decoded: Decoded) -> NDArray[np.uint8]:
    """One channel, once all three are seen to be equal."""
    first: NDArray[np.uint8] = decoded.pixels[..., 0]
    assert (decoded.pixels == first[..., None]).all()
    return first


def table(first: int, depth: int, values: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, depth])
    item.add_new("LUTData", "US", values)
    return item


def by_pydicom(data: bytes) -> NDArray[np.uint8]:
    """The reference: pydicom's modality and VOI functions, their range shown as 0 to 255."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    modality = apply_modality_lut(dataset.pixel_array, dataset)
    if "VOILUTSequence" in dataset:
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "ModalityLUTSequence" in dataset:
        low, high = 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    else:
        half = 2.0 ** (dataset.BitsStored - 1) if dataset.PixelRepresentation else 0.0
        ends = np.array([-half, 2.0**dataset.BitsStored - 1 - half])
        low, high = ends * dataset.get("RescaleSlope", 1) + dataset.get("RescaleIntercept", 0)
    shown = (apply_voi_lut(modality, dataset) - low) / (high - low)
    levels: NDArray[np.uint8] = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    return levels


def assert_like_pydicom(data: bytes) -> None:
    """Equal, but where a value lies halfway between two levels and the last bit decides."""
    difference = np.abs(gray(decode(data, POLICY)).astype(int) - by_pydicom(data))
    assert difference.max() <= 1
    assert difference.mean() < 0.001


WINDOW = {"WindowCenter": 1500, "WindowWidth": 900}
RESCALE = {"RescaleSlope": 0.5, "RescaleIntercept": -300}


@pytest.mark.parametrize("kind", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [{}, RESCALE], ids=["as stored", "rescaled"])
@pytest.mark.parametrize("kind_of_values", ["u2", "i2"])
def test_windows_are_pydicoms(
    make_dicom: Make, kind: str, rescale: dict[str, float], kind_of_values: str
) -> None:
    values = RAMP.astype(kind_of_values) - (2048 if kind_of_values == "i2" else 0)
    data = make_dicom(
        values.astype(kind_of_values), **TWELVE, **WINDOW, **rescale, VOILUTFunction=kind
    )
    assert_like_pydicom(data)


def test_tables_are_pydicoms(make_dicom: Make) -> None:
    curve = [round(1023 * (i / 255) ** 2) for i in range(256)]
    for sequences in (
        {"VOILUTSequence": [table(100, 10, curve)], **WINDOW},
        {"ModalityLUTSequence": [table(5, 16, [64 * v for v in curve])], **WINDOW},
    ):
        data = make_dicom(RAMP, **TWELVE, **sequences)
        assert_like_pydicom(data)


@pytest.mark.parametrize("name", ["MR_small.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm"])
def test_real_files_are_pydicoms(name: str) -> None:
    data = (SHIPPED / name).read_bytes()
    assert_like_pydicom(data)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # Centre 4.2, width 5 (PS3.3 C.11.2.1.2.1): y = ((x - 3.7) / 4 + 0.5) * 255.
        ("LINEAR", [0, 0, 19, 83, 147, 210, 255, 255]),
        # y = ((x - 4.2) / 5 + 0.5) * 255.
        ("LINEAR_EXACT", [0, 0, 15, 66, 117, 168, 219, 255]),
        # y = 255 / (1 + exp(-4 (x - 4.2) / 5)).
        ("SIGMOID", [9, 18, 37, 71, 117, 167, 206, 230]),
    ],
)
def test_windows_worked_by_hand(make_dicom: Make, kind: str, expected: list[int]) -> None:
    values = np.arange(8, dtype=np.uint16).reshape(2, 4)
    data = make_dicom(values, WindowCenter=4.2, WindowWidth=5, VOILUTFunction=kind)
    assert gray(decode(data, POLICY)).reshape(-1).tolist() == expected


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1000, "WindowWidth": 700}])
def test_monochrome1_is_the_inverted_twin(make_dicom: Make, window: dict[str, int]) -> None:
    twin = {**window}
    if window:
        twin["WindowCenter"] = 4095 - window["WindowCenter"] + 1
    plain = decode(make_dicom(RAMP, **TWELVE, **window), POLICY)
    inverted = decode(
        make_dicom(4095 - RAMP, **TWELVE, **twin, PhotometricInterpretation="MONOCHROME1"),
        POLICY,
    )
    assert np.abs(gray(plain).astype(int) - gray(inverted)).max() <= 1
    assert "inverted: MONOCHROME1" in inverted.notes
    assert plain.pixels[0, 0, 0] < plain.pixels[-1, -1, 0]


@pytest.mark.parametrize(
    ("elements", "note"),
    [
        ({"WindowCenter": [40, 900], "WindowWidth": [80, 99]}, "centre 40 width 80, the first"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "window: width 0 of LINEAR is not allowed"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "window: none, data range 0 to 4095 shown"),
        ({"WindowCenter": 40}, "window: none, data range 0 to 4095"),
        ({**WINDOW, "VOILUTFunction": "CURVED"}, "its function is unknown, taken as LINEAR"),
        (RESCALE, "rescale: 0.5 x + -300"),
        (RESCALE, "window: none, data range -300 to 1747.5 shown"),
        ({"PixelPaddingValue": 0}, "data range 1 to 4095"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 9}, "data range 10 to 4095"),
        ({"RescaleSlope": 0, "RescaleIntercept": 3}, "rescale: slope 0 is not applied"),
        ({"BurnedInAnnotation": "YES"}, "burned_in: "),
    ],
)
def test_what_is_done_is_stated(make_dicom: Make, elements: dict[str, Any], note: str) -> None:
    decoded = decode(make_dicom(RAMP, **TWELVE, **elements), POLICY)
    assert note in "; ".join(decoded.notes)


def test_eight_bits_without_a_window_stay_as_they_are(make_dicom: Make) -> None:
    values = np.array([[3, 90], [17, 200]], np.uint8)
    assert (gray(decode(make_dicom(values), POLICY)) == values).all()


def test_window_of_a_frame_stands_in_its_functional_group(make_dicom: Make) -> None:
    def group(centre: int) -> Dataset:
        window, outer = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 101
        outer.FrameVOILUTSequence = [window]
        return outer

    frames = np.full((2, 4, 4), 300, np.uint16)
    data = make_dicom(frames, PerFrameFunctionalGroupsSequence=[group(300), group(350)])
    shown = [int(gray(decode(data, POLICY, frame=k))[0, 0]) for k in (0, 1)]
    assert shown == [129, 1]


def test_frames(make_dicom: Make) -> None:
    frames = np.stack([np.full((4, 5), level, np.uint8) for level in (10, 200, 90, 30)])
    frames[3, 0, 0] = 250
    data = make_dicom(frames)

    def corner(**options: Any) -> tuple[int, int]:
        pixels = gray(decode(data, POLICY, **options))
        return int(pixels[0, 0]), int(pixels[1, 1])

    assert corner() == corner(frame="first") == corner(frame=0) == (10, 10)
    assert corner(frame="middle") == corner(frame=2) == (90, 90)
    assert corner(frame=3) == (250, 30)
    assert corner(frame="max") == (250, 200)
    assert "frames: the maximum of 4" in decode(data, POLICY, frame="max").notes
    with pytest.raises(Undecodable, match="no frame 4, only 4"):
        decode(data, POLICY, frame=4)


def test_the_maximum_of_monochrome1_is_the_brightest(make_dicom: Make) -> None:
    frames = np.stack([np.full((4, 5), level, np.uint8) for level in (10, 200)])
    data = make_dicom(frames, PhotometricInterpretation="MONOCHROME1")
    assert gray(decode(data, POLICY, frame="max"))[0, 0] == 245


@pytest.mark.parametrize("kind", ["i1", "i2", "u2", "u4", "i4", "f4", "f8"])
def test_every_kind_of_value_is_shown_from_least_to_largest(
    make_dicom: Make, kind: str
) -> None:
    values = np.linspace(-90, 120, 64).reshape(8, 8)
    stored = (values if kind[0] in "if" else values + 90).astype(kind)
    pixels = gray(decode(make_dicom(stored), POLICY))
    assert (pixels[0, 0], pixels[-1, -1]) == ((0, 210) if kind == "u1" else (0, 255))
    assert (np.diff(pixels.reshape(-1).astype(int)) >= 0).all()


def test_floats_that_are_no_numbers_are_black(make_dicom: Make) -> None:
    stored = np.array([[np.nan, 0.0], [1.0, np.inf]], np.float32)
    assert gray(decode(make_dicom(stored), POLICY)).tolist() == [[0, 0], [255, 0]]


def test_colours_are_rgb_whatever_their_order(make_dicom: Make) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    assert (decode(make_dicom(rgb), POLICY).pixels == rgb).all()
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).reshape(6, 7, 3)
    planar = decode(make_dicom(planes, PlanarConfiguration=1), POLICY)
    assert (planar.pixels == rgb).all()
    deep = make_dicom(rgb.astype(np.uint16) * 257)
    assert (decode(deep, POLICY).pixels == rgb).all()
    luma = make_dicom(
        np.full((4, 4, 3), (81, 90, 240), np.uint8), PhotometricInterpretation="YBR_FULL"
    )
    # R = 81 + 1.402 * 112, G = 81 - 0.344136 * -38 - 0.714136 * 112, B = 81 + 1.772 * -38.
    assert np.abs(decode(luma, POLICY).pixels[0, 0].astype(int) - (238, 14, 14)).max() <= 1


def test_palettes_are_applied(make_dicom: Make) -> None:
    curves = {"Red": [0, 65535], "Green": [32896, 0], "Blue": [257, 514]}
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in curves.items():
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        elements[f"{colour}PaletteColorLookupTableData"] = np.array(values, "<u2").tobytes()
    data = make_dicom(np.array([[0, 1]], np.uint8), **elements)
    decoded = decode(data, POLICY)
    assert decoded.pixels.tolist() == [[[0, 128, 1], [255, 0, 2]]]
    assert decoded.notes[0] == "palette: applied"


def test_large_pictures_take_their_values_in_parts(make_dicom: Make) -> None:
    """Two blocks of the loop: nothing is lost where they meet."""
    values = np.arange(1100 * 1000, dtype=np.uint32).reshape(1100, 1000)
    pixels = gray(decode(make_dicom(values), POLICY))
    expected = np.rint(255 * (values / (values.size - 1)))
    assert (pixels == expected).all()


def test_other_formats_have_no_header() -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, "PNG")
    assert decode(stream.getvalue(), POLICY).header == {}
    with pytest.raises(Undecodable, match="no frame 1"):
        decode(stream.getvalue(), POLICY, frame=1)
