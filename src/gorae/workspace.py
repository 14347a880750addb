"""Where things lie in a competition and in a run, and how each is read and written."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gorae.errors import StorageError, UserError
from gorae.files import atomic_path, read_json, write_bytes, write_json, write_text
from gorae.heads import Head
from gorae.predictions import Kind, Predictions


@dataclass(frozen=True)
class Workspace:
    """The folder of a competition. Everything gorae writes lies below ``.gorae``."""

    folder: Path

    @property
    def competition_file(self) -> Path:
        """competition.toml."""
        return self.folder / "competition.toml"

    @property
    def home(self) -> Path:
        """``.gorae``."""
        return self.folder / ".gorae"

    @property
    def extracted(self) -> Path:
        """Pictures taken out of zip files."""
        return self.home / "extracted"

    @property
    def scan(self) -> Path:
        """What is known of each picture file."""
        return self.home / "scan.parquet"

    @property
    def headers(self) -> Path:
        """Fields of DICOM and EXIF headers, beside the scan."""
        return self.scan.with_name("headers.parquet")

    @property
    def prepared(self) -> Path:
        """Stores of decoded pixels, one folder per key."""
        return self.home / "prepared"

    @property
    def features(self) -> Path:
        """Backbone features, one folder per key."""
        return self.home / "features"

    @property
    def duplicates(self) -> Path:
        """Searches for equal and nearly equal pictures, one file each."""
        return self.home / "duplicates"

    @property
    def eda(self) -> Path:
        """What `gorae eda` found: a page, numbers, lists for review."""
        return self.home / "eda"

    @property
    def compare(self) -> Path:
        """Comparisons, one folder per key."""
        return self.home / "compare"

    @property
    def pseudo(self) -> Path:
        """Labels of pictures without any, one folder per name."""
        return self.home / "pseudo"

    @property
    def boxes(self) -> Path:
        """Boxes that detectors found, one folder per key."""
        return self.home / "boxes"

    @property
    def autoencoders(self) -> Path:
        """Trained autoencoders, one folder per key."""
        return self.home / "autoencoders"

    @property
    def weights(self) -> Path:
        """Backbone weights that runs need again, named by content."""
        return self.home / "weights"

    @property
    def splits(self) -> Path:
        """Split contracts, one folder per hash."""
        return self.home / "splits"

    @property
    def runs(self) -> Path:
        """Runs, one folder each."""
        return self.home / "runs"

    @property
    def submissions(self) -> Path:
        """CSV files as sent, and their ledger."""
        return self.home / "submissions"

    @property
    def ledger(self) -> Path:
        """One JSON line per submission."""
        return self.submissions / "ledger.jsonl"

    def run_folders(self) -> list["RunFolder"]:
        """All runs, oldest first."""
        if not self.runs.is_dir():
            return []
        found = [path for path in self.runs.iterdir() if re.match(r"\d{4,}-", path.name)]
        return [RunFolder(path) for path in sorted(found) if (path / "run.toml").exists()]

    def run(self, run_id: str | None) -> "RunFolder":
        """The run named ``run_id`` (or a unique beginning of it); the newest when None.

        Raises:
            UserError: There is no such run; the known ones are listed.
        """
        runs = self.run_folders()
        if not runs:
            raise UserError(f"There is no run in {self.runs} yet. Make one with `gorae run`.")
        if run_id is None:
            return runs[-1]
        exact = [run for run in runs if run.run_id == run_id]
        matching = exact or [run for run in runs if run.run_id.startswith(run_id)]
        if len(matching) != 1:
            known = ", ".join(run.run_id for run in runs)
            what = "names several runs" if matching else "is no run here"
            raise UserError(f"{run_id!r} {what}. Runs: {known}.")
        return matching[0]


@dataclass(frozen=True)
class RunFolder:
    """One run: a recipe trained on the folds."""

    path: Path

    @property
    def run_id(self) -> str:
        """Name of the run: number, recipe and model."""
        return self.path.name

    @property
    def settings(self) -> Path:
        """run.toml: everything the run was made with, measured choices included."""
        return self.path / "run.toml"

    @property
    def recipe(self) -> Path:
        """recipe.toml: what was asked for; `gorae run --recipe` with it makes the run again."""
        return self.path / "recipe.toml"

    @property
    def environment(self) -> Path:
        """env.json: versions and machine."""
        return self.path / "env.json"

    @property
    def events(self) -> Path:
        """events.jsonl: what happened, in order."""
        return self.path / "events.jsonl"

    @property
    def result(self) -> Path:
        """result.json: scores; written when the out-of-fold predictions are whole."""
        return self.path / "result.json"

    @property
    def oof(self) -> Path:
        """Out-of-fold predictions of the rows."""
        return self.path / "oof.parquet"

    @property
    def test(self) -> Path:
        """Predictions of the test rows."""
        return self.path / "test.parquet"

    @property
    def report(self) -> Path:
        """report.html."""
        return self.path / "report.html"

    @property
    def lock(self) -> Path:
        """Held while the run is trained."""
        return self.path / "lock"

    def member(self, name: str) -> "Member":
        """The folder of one trained model: ``fold-K``, ``repeat-R-fold-K`` or ``refit``."""
        return Member(self.path / name)

    def members(self) -> list["Member"]:
        """All finished members, folds first, in order."""
        names = [path.parent.name for path in self.path.glob("*/member.json")]
        return [self.member(name) for name in sorted(names, key=_member_order)]

    def read_settings(self) -> dict[str, Any]:
        """run.toml as a table."""
        try:
            return tomllib.loads(self.settings.read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise StorageError(f"Cannot read {self.settings}: {error}.") from error

    def write_settings(self, table: Mapping[str, Any]) -> None:
        """Fix what the run is made with, before it takes effect."""
        write_text(self.settings, tomli_w.dumps(table))

    def read_result(self) -> dict[str, Any] | None:
        """result.json, or None while the run is unfinished."""
        return read_json(self.result) if self.result.exists() else None


@dataclass(frozen=True)
class Member:
    """One trained model of a run."""

    path: Path

    @property
    def name(self) -> str:
        """``fold-K``, ``repeat-R-fold-K`` or ``refit``."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Weights with their sidecars."""
        return self.path / "checkpoints"

    @property
    def history(self) -> Path:
        """history.csv: one line per epoch (or per strength tried, for a head)."""
        return self.path / "history.csv"

    @property
    def state(self) -> Path:
        """Where training goes on after an interruption."""
        return self.path / "state"

    @property
    def record(self) -> Path:
        """member.json: written last; the member is finished when it exists."""
        return self.path / "member.json"

    def predictions(self, part: str, checkpoint: str, view: str) -> Path:
        """Predictions per image; ``part`` is ``valid`` or ``test``."""
        return self.path / "predictions" / f"{part}-{checkpoint}-{view}.parquet"

    @property
    def is_finished(self) -> bool:
        """Whether its record and all predictions that the record names are there."""
        if not self.record.exists():
            return False
        record = self.read_record()
        parts = ("valid", "test") if "fold" in record else ("test",)
        return all(
            self.predictions(part, checkpoint, view).exists()
            for part in parts
            for checkpoint in record["used_checkpoints"]
            for view in record["views"]
        )

    def read_record(self) -> dict[str, Any]:
        """member.json."""
        record: dict[str, Any] = read_json(self.record)
        return record


def _member_order(name: str) -> tuple[bool, list[int]]:
    return (name == "refit", [int(number) for number in re.findall(r"\d+", name)])


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_frame(path: Path) -> pd.DataFrame:
    """A table from Parquet.

    Raises:
        StorageError: The file is missing or damaged.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"Cannot read {path}: {error}. Remove it; its step makes it again."
        ) from error


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as Parquet: ``id``, then one float column per class.

    Columns are numbered in the file, so a class may have any name; the names and the kind
    stand in the ``columns`` attribute of the table.
    """
    frame = pd.DataFrame(
        predictions.values, columns=[f"p{i}" for i in range(len(predictions.columns))]
    )
    frame.insert(0, "id", list(predictions.ids))
    frame.attrs = {"columns": list(predictions.columns), "kind": predictions.kind}
    write_frame(path, frame)


def read_predictions(path: Path) -> Predictions:
    """Predictions from Parquet."""
    frame = read_frame(path)
    columns: tuple[str, ...] = tuple(frame.attrs["columns"])
    kind: Kind = frame.attrs["kind"]
    values = frame.drop(columns="id").to_numpy(np.float32)
    return Predictions(
        tuple(frame["id"]), columns, values.reshape(len(frame), len(columns)), kind
    )


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one JSON line to a ledger; the file is rewritten atomically, as it is short."""
    before = path.read_bytes() if path.exists() else b""
    line = json.dumps(dict(value), ensure_ascii=False, allow_nan=False).encode("utf-8")
    write_bytes(path, before + line + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a ledger, oldest first; none when there is no ledger yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def write_member_record(member: Member, record: Mapping[str, Any]) -> None:
    """Mark a member as finished; its predictions and weights must have been written."""
    write_json(member.record, dict(record))


def next_number(names: Sequence[str]) -> int:
    """One more than the largest number that the names hold."""
    numbers = [int(match[0]) for name in names if (match := re.search(r"\d{4,}", name))]
    return max(numbers, default=0) + 1


def write_head(path: Path, head: Head) -> None:
    """Write a head as safetensors."""
    with atomic_path(path) as temporary:
        save_file(head.tensors(), temporary, metadata=head.metadata())


def read_head(path: Path) -> Head:
    """A head from safetensors.

    Raises:
        StorageError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            return Head.from_tensors(tensors, handle.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise StorageError(f"Cannot read {path}: {error}. Train the run again.") from error
