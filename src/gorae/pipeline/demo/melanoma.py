"""System A, melanoma: DICOM pictures of moles, several of a patient, and few of them malignant.

Layout of the competition of 2020: ``train/ISIC_0000000.dcm``, ``test/``, ``train.csv``,
``test.csv`` and a sample ``image_name,target`` whose answers are probabilities.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, VLPhotographicImageStorage

from gorae.pipeline.demo.sets import (
    DemoSet,
    csv_text,
    draw_backdrop,
    encoded,
    paint,
    read_digits,
    read_photographs,
)

# A diagnosis is one handwritten digit, or several: melanoma is alike to others by its strokes.
DIAGNOSES = {
    "melanoma": (8,),
    "nevus": (0, 6, 9),
    "seborrheic keratosis": (3,),
    "lentigo NOS": (5,),
    "unknown": (1, 2, 4, 7),
}
_SHARES = (0.0, 0.34, 0.08, 0.08, 0.5)
"""Of the benign pictures, in the order of ``DIAGNOSES``."""
_MALIGNANT_SHARE = 0.09

_SITES = ("torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", "")
_METADATA = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge")
_SEED = 2020

# Digits kept for the test set: the first so many of each kind.
_TEST_DIGITS = 50

# A root for identifiers that belong to nobody (DICOM PS3.5, B.2).
_UID_ROOT = "2.25.2020"


@dataclass(frozen=True)
class _Patient:
    name: str
    sex: str
    age: int
    skin: tuple[float, float, float]
    """Factors of red, green and blue: alike in all pictures of the patient."""


def melanoma_set(*, num_train: int = 560, num_test: int = 220) -> DemoSet:
    """Moles of patients with one to eight pictures; the patients of test are not in train.

    Malignant ones are more frequent among the old, among men and on head and neck.
    """
    rng = np.random.default_rng(_SEED)
    digits, photographs = read_digits(), read_photographs()
    pictures: dict[str, bytes] = {}
    answers: dict[str, str] = {}
    lines: dict[str, list[tuple[object, ...]]] = {"train": [], "test": []}
    patients = _patients(rng)
    for part, number in (("train", num_train), ("test", num_test)):
        while len(lines[part]) < number:
            patient = next(patients)
            for _ in range(min(int(rng.integers(1, 9)), number - len(lines[part]))):
                name = f"ISIC_{sum(map(len, lines.values())):07d}"
                diagnosis = _diagnosis(patient, rng)
                digit = _digit(digits, diagnosis, rng, is_hidden=part == "test")
                mole = _draw(digit, patient, photographs, rng)
                pictures[f"{part}/{name}.dcm"] = _dicom(mole, patient, name)
                target = int(diagnosis == "melanoma")
                site = _site(target, rng)
                row = (name, patient.name, patient.sex, patient.age, site)
                kind = "malignant" if target else "benign"
                lines[part].append(
                    (*row, diagnosis, kind, target)[: 8 if part == "train" else 5]
                )
                if part == "test":
                    answers[name] = str(target)
    columns = ("image_name", *_METADATA)
    tables = {
        "train.csv": csv_text(
            (*columns, "diagnosis", "benign_malignant", "target"), lines["train"]
        ),
        "test.csv": csv_text(columns, lines["test"]),
        # A fraction says that a probability is wanted.
        "sample_submission.csv": csv_text(
            ("image_name", "target"), [(name, 0.5) for name in answers]
        ),
    }
    return DemoSet("melanoma", tables, pictures, answers)


def _patients(rng: np.random.Generator) -> Iterator[_Patient]:
    for number in rng.choice(10_000_000, 1000, replace=False):
        tone = rng.uniform(0.75, 1.0)
        red, green, blue = rng.uniform(0.95, 1.05, 3) * (1.0, 0.8, 0.7) * tone
        yield _Patient(
            f"IP_{number:07d}",
            str(rng.choice(["male", "female"])),
            int(rng.integers(4, 18)) * 5,
            (float(red), float(green), float(blue)),
        )


def _diagnosis(patient: _Patient, rng: np.random.Generator) -> str:
    risk = _MALIGNANT_SHARE * (patient.age / 55) ** 1.5
    risk *= 1.3 if patient.sex == "male" else 0.7
    if rng.random() < risk:
        return "melanoma"
    return str(rng.choice(list(DIAGNOSES), p=_SHARES))


def _site(target: int, rng: np.random.Generator) -> str:
    shares = (
        (0.3, 0.15, 0.15, 0.35, 0.03, 0.02) if target else (0.5, 0.24, 0.14, 0.07, 0.03, 0.02)
    )
    return str(rng.choice(_SITES, p=shares))


def _digit(
    digits: dict[int, list[Image.Image]],
    diagnosis: str,
    rng: np.random.Generator,
    *,
    is_hidden: bool,
) -> Image.Image:
    shown = digits[int(rng.choice(DIAGNOSES[diagnosis]))]
    part = shown[:_TEST_DIGITS] if is_hidden else shown[_TEST_DIGITS:]
    return part[int(rng.integers(len(part)))]


def _draw(
    digit: Image.Image,
    patient: _Patient,
    photographs: Sequence[Image.Image],
    rng: np.random.Generator,
) -> Image.Image:
    """A brown digit, at any angle, on skin."""
    width, height = ((64, 48), (60, 60), (72, 54))[int(rng.integers(3))]
    texture = np.asarray(draw_backdrop(photographs, (width, height), rng=rng).convert("L"))
    skin = (190 + 0.2 * texture)[..., None] * patient.skin
    canvas = Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8))
    side = int(rng.integers(38, 47))
    left = int(rng.integers((width - side) // 2 - 3, (width - side) // 2 + 4))
    top = int(rng.integers((height - side) // 2 - 1, (height - side) // 2 + 2))
    red = int(rng.integers(60, 120))
    brown = (red, red * 2 // 3, red // 2)
    angle = float(rng.uniform(0, 360))
    paint(canvas, digit, box=(left, top, side), colour=brown, angle_deg=angle)
    return canvas


def _dicom(picture: Image.Image, patient: _Patient, name: str) -> bytes:
    """The picture as a DICOM file with JPEG pixels, as the competition's are."""
    uid = UID(f"{_UID_ROOT}{name.removeprefix('ISIC_')}")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = VLPhotographicImageStorage
    dataset.SOPInstanceUID = uid
    dataset.Modality = "XC"
    dataset.PatientID = patient.name
    dataset.PatientSex = patient.sex[0].upper()
    dataset.PatientAge = f"{patient.age:03d}Y"
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = picture.height, picture.width
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = encapsulate([encoded(picture)])
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
