"""The layout of AI Stages' mask competition: a folder of pictures per person."""

from typing import Any

from gorae.data.columns import find_image_column
from gorae.data.inventory import Findings, FoundTable, Inventory
from gorae.data.listing import nfc, split_extension
from gorae.data.roles import role_table, submission_settings, tell_image

# FACTS D.1: class = 6 x mask + 3 x gender + age group.
COMPOSITION: tuple[dict[str, Any], ...] = (
    {
        "name": "mask",
        "weight": 6,
        "pattern": r"(?:^|/)(?P<label>incorrect_mask|mask|normal)\d*\.[^./]+$",
        "values": {"mask": 0, "incorrect_mask": 1, "normal": 2},
    },
    {"name": "gender", "weight": 3, "column": "gender", "values": {"male": 0, "female": 1}},
    {"name": "age", "weight": 1, "column": "age", "thresholds": [30.0, 60.0]},
)
NUM_CLASSES = 18


def recognise_person_folders(
    inventory: Inventory, train: FoundTable, sample: FoundTable | None, findings: Findings
) -> dict[str, Any] | None:
    """Settings of the 18 mask classes; None where the folder is laid out otherwise."""
    columns = set(map(str, train.frame.columns))
    if not {"gender", "age"} <= columns or not _has_mask_names(inventory):
        return None
    image = find_image_column(train, inventory, role="train", findings=findings)
    if image is None or not image.names_folders:
        return None
    tell_image("train", train, image, findings)
    group = "id" if "id" in columns else image.column
    findings.evidence.extend(
        [
            "classes: 18 = 6 x mask (mask, incorrect_mask, normal) + 3 x gender (male, female) "
            "+ age group (below 30, below 60, 60 and older), as in AI Stages' competition",
            f"group_columns: {group}, one folder of pictures per person",
            "metric = macro_f1: ranks AI Stages' mask competition",
        ]
    )
    settings: dict[str, Any] = {
        "task": "multiclass",
        "metric": "macro_f1",
        "metric_params": {},
        "classes": [str(index) for index in range(NUM_CLASSES)],
        "train": {
            "images": image.images,
            **train.where(),
            "image_column": image.column,
            "compose": [dict(part) for part in COMPOSITION],
            "group_columns": [group],
        },
    }
    test = role_table(inventory, "test", None, findings)
    if test is None:
        return settings
    table, test_image = test
    tell_image("test", table, test_image, findings)
    source: dict[str, Any] = {
        "images": test_image.images,
        **table.where(),
        "image_column": test_image.column,
    }
    answers = [str(name) for name in table.frame.columns if name != test_image.column]
    if "ans" in answers:
        source["label_columns"] = ["ans"]
    if sample is None and "ans" in answers:
        sample = table
        findings.evidence.append(f"submission.sample: {table.path}, it has a column `ans`")
    columns_sent = ["ans"] if sample is None else [str(n) for n in sample.frame.columns[1:]]
    answer = {"columns": columns_sent, "kind": "label"}
    settings["test"] = source
    settings["submission"] = submission_settings(sample, test, answer)
    return settings


def _has_mask_names(inventory: Inventory) -> bool:
    """Whether the train pictures are called mask1, incorrect_mask, normal."""
    pictures = inventory.with_role("train") or inventory.with_role(None)
    stems = {
        split_extension(nfc(path).rpartition("/")[2])[0].rstrip("0123456789")
        for path in pictures
    }
    return {"mask", "incorrect_mask", "normal"} <= stems
