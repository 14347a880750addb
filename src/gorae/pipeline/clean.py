"""Step ``clean``: what ``.gorae`` holds, and room made of what can be built again."""

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gorae.errors import UserError
from gorae.files import exclusive_lock, storage_error
from gorae.workspace import Workspace

# What a later command builds again by itself, with what it costs to do so.
REBUILT = {
    "prepared": "decoded pictures; the next run decodes them again",
    "features": "backbone features; the next run computes them again",
    "extracted": "pictures taken out of zip files; the next run takes them out again",
}

_KEPT = {
    "duplicates": "searches for look-alikes; the next split searches again",
    "compare": "pages of comparisons; `gorae compare` writes them again",
    "pseudo": "labels of `gorae pseudo`, which runs that learned them name",
    "boxes": "boxes of `gorae detect`; it can find them again",
    "autoencoders": "encoders of `gorae autoencoder`, which runs with model.encoder begin with",
    "eda": "what `gorae eda` found; it can find it again",
    "weights": "weights that runs need for prediction",
    "splits": "split contracts; scores name them",
    "submissions": "what was sent, and the ledger",
}

# A folder on its way out carries this mark, so that half a store is never taken for one.
_LEAVING = "removing-"


@dataclass(frozen=True)
class Holding:
    """One thing in ``.gorae`` and what it takes."""

    kind: str
    """A folder of ``REBUILT`` or ``_KEPT``, run, or other."""
    name: str
    """Id of the run; empty for all else."""
    size_bytes: int
    note: str

    @property
    def is_rebuilt(self) -> bool:
        """A later command makes it again by itself."""
        return self.kind in REBUILT


@dataclass(frozen=True)
class CleanResult:
    """What is there, and what was removed."""

    holdings: tuple[Holding, ...]
    """After the removal."""
    removed: tuple[Holding, ...]

    @property
    def freed_bytes(self) -> int:
        """Bytes given back."""
        return sum(holding.size_bytes for holding in self.removed)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {
            "holdings": [asdict(holding) for holding in self.holdings],
            "removed": [asdict(holding) for holding in self.removed],
            "freed_bytes": self.freed_bytes,
        }


Confirm = Callable[[Sequence[Holding]], bool]


def clean(
    folder: Path,
    *,
    kinds: Collection[str] = (),
    runs: Sequence[str] = (),
    unfinished: bool = False,
    confirm: Confirm | None = None,
) -> CleanResult:
    """List what ``.gorae`` holds and remove what is named; raw data is never touched.

    Args:
        folder: The competition.
        kinds: Keys of ``REBUILT`` to remove.
        runs: Ids (or unique beginnings) of runs to remove with their models.
        unfinished: Remove every run that has no result as well.
        confirm: Is shown the runs before they go, and may keep them; None: nobody is asked.

    Raises:
        UserError: There is no ``.gorae``, no such run, or a run is being trained.
        StorageError: Something could not be removed.
    """
    workspace = Workspace(folder.resolve())
    if not workspace.home.is_dir():
        raise UserError(f"There is nothing of gorae in {workspace.folder}: no .gorae folder.")
    found = list_holdings(workspace)
    leaving_runs = {workspace.run(run_id).run_id for run_id in runs}
    if unfinished:
        leaving_runs |= {
            run.run_id for run in workspace.run_folders() if not run.result.exists()
        }
    leaving = [
        holding
        for holding in found
        if (holding.kind in kinds and holding.is_rebuilt)
        or (holding.kind == "run" and holding.name in leaving_runs)
    ]
    leaving_models = [holding for holding in leaving if holding.kind == "run"]
    if leaving_models and confirm is not None and not confirm(leaving_models):
        leaving = [holding for holding in leaving if holding.kind != "run"]
    if leaving:
        _remove_all(workspace, leaving)
    return CleanResult(tuple(h for h in found if h not in leaving), tuple(leaving))


def list_holdings(workspace: Workspace) -> list[Holding]:
    """All that lies in ``.gorae``, with sizes; nothing outside is followed."""
    holdings = [
        Holding(kind, "", folder_size(workspace.home / kind), note)
        for kind, note in {**REBUILT, **_KEPT}.items()
        if (workspace.home / kind).exists()
    ]
    for run in workspace.run_folders():
        note = "finished" if run.result.exists() else "unfinished"
        holdings.append(Holding("run", run.run_id, folder_size(run.path), note))
    rest = folder_size(workspace.home) - sum(holding.size_bytes for holding in holdings)
    if rest > 0:
        holdings.append(Holding("other", "", rest, "scan, locks, notes"))
    return holdings


def folder_size(folder: Path) -> int:
    """Bytes of all files below ``folder``; links count as themselves."""
    if folder.is_symlink() or not folder.is_dir():
        return folder.lstat().st_size
    total_bytes = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total_bytes += folder_size(Path(entry.path))
            else:
                total_bytes += entry.stat(follow_symlinks=False).st_size
    return total_bytes


def _remove_all(workspace: Workspace, leaving: Sequence[Holding]) -> None:
    with ExitStack() as stack:
        # Any run may be reading the stores: none may be at work while they go.
        for run in workspace.run_folders():
            stack.enter_context(exclusive_lock(run.lock, purpose=f"working on {run.run_id}"))
        for leftover in workspace.home.glob(f"{_LEAVING}*"):
            _remove(leftover)
        for holding in leaving:
            below = ("runs", holding.name) if holding.kind == "run" else (holding.kind,)
            source = workspace.home.joinpath(*below)
            target = workspace.home / f"{_LEAVING}{'-'.join(below)}"
            try:
                os.rename(source, target)
            except OSError as error:
                raise storage_error(error, source) from error
            _remove(target)


def _remove(path: Path) -> None:
    try:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise storage_error(error, path) from error
