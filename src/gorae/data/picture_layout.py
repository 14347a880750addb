"""Layouts without a table: class folders, and labels in file names."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gorae.data.inventory import Findings, FoundTable, Inventory, common_folder
from gorae.data.labels import match_group
from gorae.data.listing import nfc
from gorae.data.roles import requested_images, submission_settings
from gorae.data.scoring import recognise_scoring

# What a class folder matches; the rest of the path may be anything.
FOLDER_PATTERN = "^(?P<label>[^/]+)/"

# Label and running number in the file name: cat.0.jpg, great_pyrenees_12.jpg, 0001_cat.jpg.
NAME_PATTERNS = (
    r"^(?:.*/)?(?P<label>[^/]*?[^\W\d_][^/]*?)[._ -]*\(?\d+\)?\.[^./]+$",
    r"^(?:.*/)?[^/]*?\d+[._ -]+(?P<label>[^\W\d_][^/\d]*?)\.[^./]+$",
)

# Shares of the pictures that must fit before a pattern is believed.
MIN_FOLDER_SHARE = 0.9
MIN_NAME_SHARE = 0.95


def recognise_pictures(
    inventory: Inventory, sample: FoundTable | None, findings: Findings
) -> dict[str, Any] | None:
    """Settings where folders or file names carry the labels; None where neither does."""
    labelled: Sequence[str] = inventory.with_role("train")
    if labelled and _looks_like_classes(inventory):
        answer = findings.ask(
            "train_folder",
            "Pictures lie in a folder named like `train` and in others beside it. Is `train` "
            "the labelled part, or one class among the others?",
            ("labelled part", "one class"),
        )
        labelled = labelled if answer == "labelled part" else inventory.pictures
    labelled = labelled or inventory.with_role(None)
    if not labelled:
        return None
    root = common_folder(labelled)
    prefix = "" if root == "." else f"{root}/"
    names = [path[len(prefix) :] for path in labelled]
    pattern = _folder_pattern(names) or _name_pattern(names)
    if pattern is None:
        return None
    labels = [match_group(pattern, "label", name) for name in names]
    _tell(root, names, labels, pattern, findings)
    found = sorted({label for label in labels if label is not None})
    source = {"images": root, "label_pattern": pattern}
    if pattern == FOLDER_PATTERN and len(labelled) < len(inventory.below(root).files):
        source["label_pattern"] = f"^(?P<label>{'|'.join(map(re.escape, found))})/"
    answers = None if sample is None else sample.frame.iloc[:, 1:]
    columns = ["label"] if answers is None else [str(name) for name in answers.columns]
    scoring = recognise_scoring(
        pd.DataFrame({"label": [label for label in labels if label is not None]}),
        answers=answers,
        answer_columns=columns,
        findings=findings,
    )
    settings: dict[str, Any] = {
        "task": scoring.task,
        "metric": scoring.metric,
        "metric_params": scoring.metric_params,
        "train": source,
    }
    settings |= _holdout(inventory, "holdout", pattern, found, findings)
    if "holdout" not in settings and pattern == FOLDER_PATTERN and sample is None:
        settings |= _labelled_test(inventory, pattern, found, findings)
    if "holdout" not in settings or inventory.with_role("holdout"):
        images = requested_images(inventory, sample, findings)
        settings |= {} if images is None else {"test": {"images": images}}
    if "test" in settings:
        settings["submission"] = submission_settings(sample, None, scoring.answer)
    return settings


def _looks_like_classes(inventory: Inventory) -> bool:
    """Whether at least two folders beside ``train`` hold pictures and have no role."""
    beside = {path.split("/")[0] for path in inventory.with_role(None) if "/" in path}
    inner = [path.split("/") for path in inventory.with_role("train")]
    return len(beside) >= 2 and all(len(parts) == 2 for parts in inner)


def _folder_pattern(names: Sequence[str]) -> str | None:
    folders = Counter(name.split("/")[0] for name in names if "/" in name)
    inside = sum(folders.values())
    return (
        FOLDER_PATTERN if len(folders) > 1 and inside >= MIN_FOLDER_SHARE * len(names) else None
    )


def _name_pattern(names: Sequence[str]) -> str | None:
    for pattern in NAME_PATTERNS:
        labels = [match_group(pattern, "label", name) for name in names]
        counts = Counter(label for label in labels if label is not None)
        repeated = sum(count for count in counts.values() if count > 1)
        if len(counts) > 1 and repeated >= MIN_NAME_SHARE * len(names):
            return pattern
    return None


def _tell(
    root: str,
    names: Sequence[str],
    labels: Sequence[str | None],
    pattern: str,
    findings: Findings,
) -> None:
    counts = Counter(label for label in labels if label is not None)
    shown = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(10))
    how = "class folders" if pattern == FOLDER_PATTERN else "labels in file names"
    more = " ..." if len(counts) > 10 else ""
    findings.evidence.append(f"train: {how} in {root}, {len(counts)} classes: {shown}{more}")
    lost = [name for name, label in zip(names, labels, strict=True) if label is None]
    if lost:
        findings.notes.append(
            f"{len(lost):,} of {len(names):,} pictures in {root} match no label and are left "
            f"out (first {lost[0]})"
        )


def _holdout(
    inventory: Inventory, role: str, pattern: str, classes: Sequence[str], findings: Findings
) -> dict[str, Any]:
    """A folder of validation pictures laid out like train."""
    pictures = inventory.with_role(role)
    if not pictures:
        return {}
    root = common_folder(pictures)
    if nfc(root.rpartition("/")[2]) in classes:
        root = root.rpartition("/")[0] or "."
    names = [path[len(root) + 1 :] for path in pictures]
    fitting = sum(match_group(pattern, "label", name) in classes for name in names)
    if fitting * 2 < len(names):
        findings.notes.append(
            f"{len(names):,} pictures in {root} are not laid out like train and are not used"
        )
        return {}
    findings.evidence.append(f"holdout: {fitting:,} labelled pictures in {root}")
    return {"holdout": {"images": root, "label_pattern": pattern}}


def _labelled_test(
    inventory: Inventory, pattern: str, classes: Sequence[str], findings: Findings
) -> dict[str, Any]:
    """A test folder with class folders: ask whether it validates or is to be predicted."""
    silent = Findings({})
    found = _holdout(inventory, "test", pattern, classes, silent)
    if not found:
        return {}
    use = findings.ask(
        "test_folder",
        f"{found['holdout']['images']} has the same class folders as train. Use it as the "
        "validation set (its labels count), or predict it as if it had none?",
        ("validation", "predict"),
    )
    return found if use == "validation" else {}
