"""Which table and which folder of a competition plays which part; shared by all layouts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from gorae.data.columns import ImageColumn, find_image_column
from gorae.data.inventory import (
    Findings,
    FoundTable,
    Inventory,
    common_folder,
    folder_of,
    is_sample,
    name_role,
    path_role,
)
from gorae.errors import DataError


def table_role(table: FoundTable) -> str | None:
    """What the name of a table, or else its folder, says it is for."""
    return name_role(PurePosixPath(table.path).name) or path_role(folder_of(table.path))


def role_table(
    inventory: Inventory, role: str, prefer: str | None, findings: Findings
) -> tuple[FoundTable, ImageColumn] | None:
    """The table of the test or validation pictures, if one names them."""
    for table in inventory.tables:
        if is_sample(table.path) or table_role(table) != role:
            continue
        image = find_image_column(table, inventory, role=role, findings=findings, prefer=prefer)
        if image is not None:
            return table, image
        findings.notes.append(f"{table.path}: no column names pictures; not used")
    return None


def row_column_of(frame: pd.DataFrame, image_column: str, id_column: str | None) -> str | None:
    """The sample's id column, when the table has it beside the picture's name."""
    if id_column is None or id_column == image_column or id_column not in frame.columns:
        return None
    return id_column


def tell_image(what: str, table: FoundTable, image: ImageColumn, findings: Findings) -> None:
    """Note how the pictures of a table were found."""
    kind = "folders of pictures" if image.names_folders else "pictures"
    findings.evidence.append(
        f"{what}: {table.path}, column {image.column} names {kind} in {image.images} "
        f"({image.num_found} of {image.num_probed} lines looked up)"
    )


def requested_settings(
    inventory: Inventory,
    sample: FoundTable | None,
    test: tuple[FoundTable, ImageColumn] | None,
    labels: Sequence[str],
    findings: Findings,
) -> dict[str, Any]:
    """Where the pictures to predict are: a test table, else the ids of the sample."""
    if test is not None:
        table, image = test
        tell_image("test", table, image, findings)
        id_column = None if sample is None else str(sample.frame.columns[0])
        row = row_column_of(table.frame, image.column, id_column)
        if image.names_folders and row is None:
            row = image.column
        source: dict[str, Any] = {
            "images": image.images,
            **table.where(),
            "image_column": image.column,
        }
        placeholders = [name for name in labels if name in table.frame.columns]
        if placeholders:
            source["label_columns"] = placeholders
        return {"test": source | ({"row_column": row} if row else {})}
    images = requested_images(inventory, sample, findings)
    return {} if images is None else {"test": {"images": images}}


def requested_images(
    inventory: Inventory, sample: FoundTable | None, findings: Findings
) -> str | None:
    """The folder of pictures to predict: where the sample's ids lie, else the one named so."""
    if sample is not None:
        image = find_image_column(
            replace(sample, frame=sample.frame.iloc[:, :1]),
            inventory,
            role="test",
            findings=findings,
        )
        if image is None:
            raise DataError(
                f"The ids of {sample.path} (first {sample.frame.iloc[0, 0]!r}) name no "
                "pictures. Put the test pictures in a folder `test`, or add a test.csv with "
                "the id and the picture of each row."
            )
        tell_image("test", sample, image, findings)
        return image.images
    pictures = inventory.with_role("test")
    if not pictures:
        return None
    images = common_folder(pictures)
    findings.evidence.append(f"test: {len(pictures):,} pictures in {images}, by its name")
    return images


def submission_settings(
    sample: FoundTable | None,
    test: tuple[FoundTable, ImageColumn] | None,
    answer: Mapping[str, Any],
) -> dict[str, Any]:
    """The form of the CSV that is sent."""
    if sample is None:
        return {"id_column": "id" if test is None else test[1].column, **answer}
    where = {key: value for key, value in sample.where().items() if key != "table"}
    return {
        "sample": sample.path,
        **where,
        "id_column": str(sample.frame.columns[0]),
        **answer,
    }
