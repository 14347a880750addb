"""What ``eda`` tells of files: unreadable, listed and not there, there and not listed."""

from collections.abc import Iterator

import pandas as pd

from gorae.data.lines import read_lines
from gorae.data.listing import PictureFolder, list_pictures
from gorae.data.sources import TableSource
from gorae.pipeline.context import Context
from gorae.pipeline.eda.look import Look
from gorae.report.eda_page import IntegritySummary


def integrity_section(look: Look) -> IntegritySummary:
    """Files that cannot be read, lines without a file, files without a line."""
    scan, tables = look.prepared.scan, look.context.tables
    bad = scan.loc[scan["verdict"] == "quarantined", ["image_id", "reason", "detail"]]
    missing, unlisted = _gaps(look.context)
    return IntegritySummary(
        num_files=len(scan),
        quarantined=bad.reset_index(drop=True) if len(bad) else None,
        missing=missing if len(missing) else None,
        unlisted=unlisted if len(unlisted) else None,
        notes=tuple(tables.notes),
    )


def _gaps(context: Context) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines whose picture is not there, and pictures that belong to no line."""
    tables = context.tables
    used = set(tables.train["path"]) | set(tables.test["path"])
    lost: list[tuple[str, str]] = []
    idle: dict[str, None] = {}
    for source in _labelled(context):
        lines = read_lines(
            context.workspace.folder, source, extracted_root=context.workspace.extracted
        )
        if source.image_column is not None:
            names = zip(lines.column(source.image_column), lines.files, strict=True)
            lost += [(name, lines.name) for name, file in names if not file]
        idle |= dict.fromkeys(_idle(lines.pictures, used))
    test = context.competition.test
    if test is not None:
        folder = list_pictures(
            context.workspace.folder, test.images, extracted_root=context.workspace.extracted
        )
        absent = tables.test.loc[tables.test["path"] == "", "row_id"]
        lost += [(row_id, test.table or test.images) for row_id in absent]
        idle |= dict.fromkeys(_idle(folder, used))
    return (
        pd.DataFrame(lost, columns=["picture", "source"], dtype="str"),
        pd.DataFrame({"path": list(idle)}, dtype="str"),
    )


def _labelled(context: Context) -> Iterator[TableSource]:
    competition = context.competition
    yield competition.train
    if competition.holdout is not None:
        yield competition.holdout
    yield from competition.extra


def _idle(folder: PictureFolder, used: set[str]) -> list[str]:
    return [path for path in map(folder.path, folder.pictures) if path not in used]
