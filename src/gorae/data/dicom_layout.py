"""What the headers of a competition's DICOM files propose: groups of patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gorae.data.decoded import DecodePolicy
from gorae.data.dicom_peek import NUM_FRAMES, PATIENT_ID, peek
from gorae.data.inventory import Findings, Inventory
from gorae.data.listing import may_be_dicom

# So many files are looked into; reading takes a fraction of a millisecond each.
PROBED_FILES = 200

# A header that names no patient in more than this share of files names none on purpose.
MIN_NAMED_SHARE = 0.9


def propose_patients(
    settings: dict[str, Any], inventory: Inventory, folder: Path, findings: Findings
) -> None:
    """Add ``group_columns = ["dicom.patient"]`` to the train source where headers allow it.

    Nothing is proposed where a column or a pattern gives groups already, or where the headers
    name no patient or the same one everywhere. Ids themselves are neither kept nor told.
    """
    train = settings["train"]
    pictures = inventory.below(train["images"]).files
    prefix = "" if train["images"] == "." else f"{train['images']}/"
    probed = _probe([prefix + name for name in pictures if may_be_dicom(name)])
    if not probed:
        return
    policy = DecodePolicy()
    headers = [
        peek(inventory.places[name], (PATIENT_ID, NUM_FRAMES), root=folder, policy=policy)
        for name in probed
    ]
    headers = [header for header in headers if header]
    patients = [header.get(PATIENT_ID, b"").strip(b" \0") for header in headers]
    several = sum(
        header.get(NUM_FRAMES, b"").strip(b" \0") not in (b"", b"1") for header in headers
    )
    named = [patient for patient in patients if patient]
    found = f"{len(headers)} DICOM headers looked at"
    if several:
        findings.notes.append(
            f"{found}: {several} files hold several frames, of which the first is used; "
            '`frames = "middle"`, "max" or "all" in competition.toml uses others'
        )
    if "group_columns" in train or "group_pattern" in train or not headers:
        return
    if len(named) < MIN_NAMED_SHARE * len(headers) or len(set(named)) < 2:
        findings.notes.append(
            f"{found}: they name no patients, or one only, so nothing keeps the pictures of a "
            "patient together. Set `group_columns` or `group_pattern` where something does"
        )
        return
    train["group_columns"] = ["dicom.patient"]
    findings.evidence.append(
        f"group_columns: dicom.patient; {found}: {len(set(named))} patients in "
        f"{len(named)} files"
    )


def _probe(paths: Sequence[str]) -> list[str]:
    """Some files, evenly spread."""
    places = np.unique(
        np.linspace(0, len(paths) - 1, min(len(paths), PROBED_FILES)).astype(int)
    )
    return [paths[place] for place in places]
