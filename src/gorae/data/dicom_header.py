"""The header of a DICOM file as documented columns: no names, no dates, ids as pseudonyms.

Two steps keep ids of patients on the machine. Where a file is read they become a SHA-256
(``header_columns``); where a table is written that is keyed with a secret of the competition
(``pseudonymise``), as a bare hash of a short number is found by trying them all. One patient
has one pseudonym in all files of a competition, and another one in the next competition.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gorae.errors import StorageError

PREFIX = "dicom."

HEADER_COLUMNS: dict[str, str] = {
    "dicom.patient": "pseudonym of the patient (id and its issuer, else name and birth date)",
    "dicom.study": "pseudonym of the study",
    "dicom.series": "pseudonym of the series",
    "dicom.sop": "pseudonym of the instance: equal in copies of one file",
    "dicom.age_years": "age in years; 90 stands for 90 and more",
    "dicom.sex": "M, F or O",
    "dicom.modality": "kind of device, such as CR, DX, CT, MR, MG, US",
    "dicom.body_part": "examined part of the body",
    "dicom.view": "view position, such as PA, AP, CC, MLO",
    "dicom.laterality": "L, R, B (both) or U (unpaired)",
    "dicom.manufacturer": "manufacturer of the device",
    "dicom.model": "model of the device",
    "dicom.photometric": "photometric interpretation, such as MONOCHROME1",
    "dicom.frames": "number of frames",
    "dicom.bits": "bits of a stored value",
    "dicom.pixel_spacing": "distance of rows and of columns, millimetres",
}
"""Columns of a header, as text; empty where the header does not say."""

PHI_COLUMNS: dict[str, str] = {
    "dicom.patient_id": "id of the patient as it stands",
    "dicom.patient_name": "name of the patient",
    "dicom.birth_date": "birth date",
    "dicom.study_date": "date of the study",
    "dicom.accession": "accession number",
    "dicom.institution": "institution",
    "dicom.address": "address of the institution",
    "dicom.physician": "referring physician",
    "dicom.station": "name of the device",
    "dicom.study_description": "description of the study, free text",
}
"""Personal columns, which are there only when ``phi`` was asked for."""

PSEUDONYMS = ("dicom.patient", "dicom.study", "dicom.series", "dicom.sop")
"""Columns that ``pseudonymise`` changes."""

_AS_THEY_STAND = {
    "dicom.modality": ("Modality",),
    "dicom.body_part": ("BodyPartExamined",),
    "dicom.view": ("ViewPosition",),
    "dicom.laterality": ("ImageLaterality", "Laterality", "FrameLaterality"),
    "dicom.manufacturer": ("Manufacturer",),
    "dicom.model": ("ManufacturerModelName",),
    "dicom.photometric": ("PhotometricInterpretation",),
    "dicom.bits": ("BitsStored",),
}
_PERSONAL = {
    "dicom.patient_id": "PatientID",
    "dicom.patient_name": "PatientName",
    "dicom.birth_date": "PatientBirthDate",
    "dicom.study_date": "StudyDate",
    "dicom.accession": "AccessionNumber",
    "dicom.institution": "InstitutionName",
    "dicom.address": "InstitutionAddress",
    "dicom.physician": "ReferringPhysicianName",
    "dicom.station": "StationName",
    "dicom.study_description": "StudyDescription",
}

# Years in a unit of an age (PS3.5 6.2, AS).
_AGE_UNITS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
# Ages above are so rare that they tell who somebody is (45 CFR 164.514, safe harbour).
_OLDEST_YEARS = 90

_LONGEST_TEXT = 64
_KEY_BYTES = 32


def header_columns(dataset: Any, *, phi: bool = False) -> dict[str, str]:
    """HEADER_COLUMNS of a pydicom data set, with PHI_COLUMNS where asked for.

    A field that is missing or cannot be read is empty; nothing in a header raises. The ids
    are bare hashes: ``pseudonymise`` them before they are written anywhere.
    """
    columns = {name: _first_text(dataset, *of) for name, of in _AS_THEY_STAND.items()}
    columns |= {
        "dicom.patient": _patient(dataset),
        "dicom.study": _hashed(_text(dataset, "StudyInstanceUID")),
        "dicom.series": _hashed(_text(dataset, "SeriesInstanceUID")),
        "dicom.sop": _hashed(_text(dataset, "SOPInstanceUID")),
        "dicom.age_years": age_years(_text(dataset, "PatientAge")),
        "dicom.sex": _one_of(_text(dataset, "PatientSex").upper(), ("M", "F", "O")),
        "dicom.frames": _text(dataset, "NumberOfFrames") or "1",
        "dicom.pixel_spacing": _spacing(dataset),
    }
    columns = {name: columns[name] for name in HEADER_COLUMNS}
    if phi:
        columns |= {name: _text(dataset, keyword) for name, keyword in _PERSONAL.items()}
    return columns


def age_years(text: str) -> str:
    """An age such as 045Y, 006M, 03W, 010D in years, empty where it is none.

    Two decimals below two years, whole years above; 90 and more are 90.
    """
    match = re.fullmatch(r"(\d{1,3})([YMWD])", text.strip().upper(), re.ASCII)
    if match is None:
        return ""
    years = int(match[1]) * _AGE_UNITS[match[2]]
    if years >= 2:
        return str(min(int(years), _OLDEST_YEARS))
    return f"{years:.2f}".rstrip("0").rstrip(".")


def _patient(dataset: Any) -> str:
    """Hash of what names the patient; empty where nothing does."""
    number = _text(dataset, "PatientID")
    if number:
        return _hashed(f"id\n{number}\n{_text(dataset, 'IssuerOfPatientID')}")
    name = _text(dataset, "PatientName")
    if name:
        return _hashed(f"name\n{name}\n{_text(dataset, 'PatientBirthDate')}")
    return ""


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() if text else ""


def _text(dataset: Any, keyword: str) -> str:
    """One element as a short printable text, empty where it is missing or broken."""
    try:
        value = dataset.get(keyword, None)
        # An empty name of a person is an object, not a text.
        text = "" if value is None else str(value)
    except Exception:  # noqa: BLE001 - a broken element raises anything; it says nothing
        return ""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_TEXT])
    return " ".join(printable.split())[:_LONGEST_TEXT]


def _first_text(dataset: Any, *keywords: str) -> str:
    return next((text for keyword in keywords if (text := _text(dataset, keyword))), "")


def _one_of(text: str, allowed: tuple[str, ...]) -> str:
    return text if text in allowed else ""


def _spacing(dataset: Any) -> str:
    """Row and column distance as ``0.14 x 0.14``."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        numbers = re.findall(r"\d+(?:\.\d+)?(?:[eE]-?\d+)?", _text(dataset, keyword))
        if len(numbers) == 2:
            return " x ".join(f"{float(number):g}" for number in numbers)
    return ""


def pseudonymise(header: Mapping[str, str], *, key: bytes) -> dict[str, str]:
    """The header with its ids keyed by ``key``: 16 hexadecimal digits each, empty if empty."""

    def keyed(name: str, value: str) -> str:
        digest = hmac.new(key, f"{name}\n{value}".encode(), hashlib.sha256)
        return digest.hexdigest()[:16]

    return {
        name: keyed(name, value) if name in PSEUDONYMS and value else value
        for name, value in header.items()
    }


def pseudonym_key(path: Path) -> bytes:
    """The secret of a competition, made on first use; only its owner may read it.

    Raises:
        StorageError: It cannot be read or written, or is damaged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Linked into place when whole: of two processes, one makes it and both use it.
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        if not path.exists():
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="ascii") as handle:
                handle.write(secrets.token_hex(_KEY_BYTES))
                handle.flush()
                os.fsync(handle.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
            fresh.unlink()
        key = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot use {path}, the key of pseudonyms: {error}.") from error
    if len(key) != _KEY_BYTES:
        raise StorageError(
            f"{path}, the key of pseudonyms, is damaged. Remove it and prepare anew: patients "
            "get new pseudonyms."
        )
    return key
