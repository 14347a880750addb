"""What every step needs first: the folder, its competition and its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.config import Competition, read_competition
from gorae.data.corrections import apply_corrections, read_corrections
from gorae.data.decode import DecodePolicy
from gorae.data.dicom_header import HEADER_COLUMNS, PREFIX
from gorae.data.headers import join_headers
from gorae.data.scan import SCAN_COLUMNS
from gorae.data.sources import SampleSource, Tables
from gorae.data.tables import encode_targets, read_tables
from gorae.errors import ConfigError, DataError, UserError
from gorae.files import content_key, sha256_bytes
from gorae.workspace import Workspace, read_frame


@dataclass(frozen=True)
class Context:
    """A competition, read and checked."""

    workspace: Workspace
    competition: Competition
    tables: Tables
    """As read, with headers joined and labels corrected."""
    weights: "pd.Series[float] | None" = None
    """Weight of each labelled picture in training, by ``image_id``, where corrections say any
    but 1; 0 keeps it out."""
    whole: "Context | None" = None
    """The competition as it is, where labels and metric here are those of one part."""

    @property
    def truth(self) -> NDArray[np.int64] | NDArray[np.float32]:
        """Encoded labels of the train table, in its order."""
        return encode_targets(
            self.tables.train["label"], classes=self.tables.classes, task=self.competition.task
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of prediction columns: the classes, or ``value`` for a regression."""
        return ("value",) if self.competition.task == "regression" else self.tables.classes


def open_context(folder: Path, *, is_prepared: bool = True) -> Context:
    """Read competition.toml and the tables it names, joined with the headers of DICOM files.

    Args:
        folder: The competition's folder.
        is_prepared: Whether groups out of headers must be there; the step that reads the
            headers says False.

    Raises:
        UserError: The folder does not exist or has no competition.toml.
        DataError: The tables cannot be used, or groups come of headers that are not read yet.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    workspace = Workspace(folder.resolve())
    if not workspace.competition_file.exists():
        raise UserError(
            f"There is no competition.toml in {workspace.folder}. `gorae init` makes one from "
            "the files it finds; `gorae run` does so as well."
        )
    competition = read_competition(workspace.competition_file)
    tables = read_tables(
        workspace.folder,
        task=competition.task,
        classes=competition.classes,
        train=competition.train,
        holdout=competition.holdout,
        extra=competition.extra,
        test=competition.test,
        submission_sample=_sample(competition),
    )
    wanted = _header_groups(competition)
    headers = read_frame(workspace.headers) if workspace.headers.exists() else None
    if wanted and is_prepared:
        _require_headers(headers, tables, wanted)
    tables = join_headers(tables, headers, groups=wanted)
    if competition.corrections is None:
        return Context(workspace, competition, tables)
    corrections = read_corrections(workspace.folder / competition.corrections)
    tables, weights = apply_corrections(tables, corrections, task=competition.task)
    return Context(workspace, competition, tables, weights if (weights != 1).any() else None)


def decode_policy(context: Context) -> DecodePolicy:
    """What is taken as a picture of this competition."""
    return DecodePolicy(phi=context.competition.phi)


def _header_groups(competition: Competition) -> tuple[str, ...]:
    """The group columns that come of DICOM headers.

    Raises:
        ConfigError: There is no such column.
    """
    sources = [competition.train, competition.holdout, *competition.extra]
    named = [name for source in sources if source is not None for name in source.group_columns]
    wanted = tuple(dict.fromkeys(name for name in named if name.startswith(PREFIX)))
    unknown = [name for name in wanted if name not in HEADER_COLUMNS]
    if unknown:
        raise ConfigError(
            f"group_columns names {', '.join(unknown)}, which no DICOM header is read into. "
            f"Known: {', '.join(HEADER_COLUMNS)}."
        )
    return wanted


def _require_headers(
    headers: pd.DataFrame | None, tables: Tables, wanted: Sequence[str]
) -> None:
    known = set() if headers is None else set(headers["image_id"])
    if not known & set(tables.train["image_id"]):
        raise DataError(
            f"Groups come of DICOM headers ({', '.join(wanted)}), and no header is read yet. "
            "Run `gorae preprocess` first, or `gorae run` for everything."
        )


def _sample(competition: Competition) -> SampleSource | None:
    form = competition.submission
    if form is None or form.sample is None:
        return None
    return SampleSource(
        table=form.sample,
        id_column=form.id_column,
        encoding=form.encoding,
        delimiter=form.delimiter,
    )


def listed_images(tables: Tables) -> pd.DataFrame:
    """``image_id``, ``path`` and ``arguments`` of every picture of the tables, once."""
    columns = ["image_id", "path", "arguments"]
    both = pd.concat([tables.train[columns], tables.test[columns]])
    return both[both["path"] != ""].drop_duplicates("image_id", ignore_index=True)


def read_scan(context: Context) -> pd.DataFrame:
    """The scan of every listed picture, indexed by ``image_id``.

    Raises:
        UserError: A picture was never scanned.
    """
    path = context.workspace.scan
    scan = read_frame(path) if path.exists() else pd.DataFrame(columns=list(SCAN_COLUMNS))
    scan = scan.set_index("image_id")
    missing = [i for i in listed_images(context.tables)["image_id"] if i not in scan.index]
    if missing:
        raise UserError(
            f"{len(missing)} pictures are not prepared yet, first {missing[0]}. Run "
            "`gorae preprocess` first, or `gorae run` for everything."
        )
    return scan


def usable(scan: pd.DataFrame, image_ids: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Which images can be shown to a network (listed, there, and not quarantined)."""
    verdicts = scan["verdict"].reindex(list(image_ids))
    return (verdicts.notna() & (verdicts != "quarantined")).to_numpy(bool)


def labels_key(context: Context) -> str:
    """A hash of what is learned from: images, labels, classes and roles."""
    train = context.tables.train
    lines = [
        f"{image}\t{row}\t{label!r}\t{role}"
        for image, row, label, role in zip(
            train["image_id"], train["row_id"], train["label"], train["role"], strict=True
        )
    ]
    if context.weights is not None:
        lines += [f"{image}\t{weight!r}" for image, weight in context.weights.items()]
    digest = sha256_bytes("\n".join(sorted(lines)).encode("utf-8"))
    return content_key([digest, list(context.tables.classes), context.competition.task])


def require_trainable(context: Context) -> None:
    """Stop where a class task has fewer than two classes.

    Raises:
        DataError: There is nothing to tell apart.
    """
    if (
        context.competition.task in ("multiclass", "ordinal")
        and len(context.tables.classes) < 2
    ):
        raise DataError(
            f"All training pictures carry the label {context.tables.classes[0]!r}: there is "
            "nothing to tell apart. Add pictures of a second class, or correct the label "
            "column in competition.toml."
        )
