"""What all tests share."""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

# A shell in the background starts its children deaf to these, and tests send them.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

# Two cores are shared by everything that runs here; more threads only add noise.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and weights beside a development checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real pictures of a development machine (../shared)")
    return folder


@pytest.fixture(scope="session")
def make_dicom() -> Callable[..., bytes]:
    """Write a DICOM file: pixels (frames of them, gray or RGB), and elements by keyword."""

    def make(
        pixels: NDArray[Any],
        *,
        syntax: str = "1.2.840.10008.1.2.1",
        preamble: bytes = bytes(128),
        **elements: Any,
    ) -> bytes:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import UID

        dataset = Dataset()
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        dataset.SOPInstanceUID = "1.2.3.4"
        samples = 3 if pixels.shape[-1] == 3 else 1
        sides = pixels.shape[:-1] if samples == 3 else pixels.shape
        dataset.Rows, dataset.Columns = sides[-2:]
        dataset.SamplesPerPixel = samples
        dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
        if samples == 3:
            dataset.PlanarConfiguration = 0
        if len(sides) == 3:
            dataset.NumberOfFrames = sides[0]
        bits = 8 * pixels.dtype.itemsize
        dataset.BitsAllocated = bits
        if pixels.dtype.kind == "f":
            keyword = {32: "FloatPixelData", 64: "DoubleFloatPixelData"}[bits]
            setattr(dataset, keyword, pixels.tobytes())
        else:
            dataset.BitsStored, dataset.HighBit = bits, bits - 1
            dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
            is_big = syntax == "1.2.840.10008.1.2.2"
            kind = pixels.dtype.newbyteorder(">" if is_big else "<")
            dataset.PixelData = pixels.astype(kind).tobytes()
            dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.preamble = preamble
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return make
