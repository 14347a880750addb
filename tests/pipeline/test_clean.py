"""Clean: only what can be built again goes, nothing else is touched, and runs are asked for."""

import json
import os
from pathlib import Path

import pytest

from gorae.cli import main
from gorae.errors import UserError
from gorae.files import exclusive_lock
from gorae.pipeline.clean import clean, folder_size
from gorae.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "대회")
    files = {
        "train/cat.0.jpg": 50,
        "train.csv": 10,
        "competition.toml": 5,
        ".gorae/scan.parquet": 7,
        ".gorae/prepared/abc/pixels-0000.bin": 1000,
        ".gorae/prepared/def/pixels-0000.bin": 500,
        ".gorae/features/abc/features.npy": 300,
        ".gorae/extracted/train/a.png": 200,
        ".gorae/weights/x.safetensors": 90,
        ".gorae/splits/s/folds.parquet": 20,
        ".gorae/submissions/submission-0001.csv": 30,
        ".gorae/runs/0001-quick-a/run.toml": 4,
        ".gorae/runs/0001-quick-a/result.json": 6,
        ".gorae/runs/0002-quick-b/run.toml": 4,
        ".gorae/runs/0002-quick-b/fold-0/checkpoints/best.safetensors": 700,
    }
    for name, size_bytes in files.items():
        path = made.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size_bytes)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_looking_changes_nothing(workspace: Workspace) -> None:
    before = tree(workspace.folder)
    found = clean(workspace.folder)
    assert tree(workspace.folder) == before
    assert found.removed == ()
    sizes = {(h.kind, h.name): h.size_bytes for h in found.holdings}
    assert sizes == {
        ("prepared", ""): 1500,
        ("features", ""): 300,
        ("extracted", ""): 200,
        ("weights", ""): 90,
        ("splits", ""): 20,
        ("submissions", ""): 30,
        ("run", "0001-quick-a"): 10,
        ("run", "0002-quick-b"): 704,
        ("other", ""): 7,
    }
    assert sum(sizes.values()) == folder_size(workspace.home)


@pytest.mark.parametrize(
    ("kinds", "runs", "unfinished", "gone"),
    [
        (["prepared"], [], False, [".gorae/prepared/"]),
        (["features", "extracted"], [], False, [".gorae/features/", ".gorae/extracted/"]),
        ([], ["0001"], False, [".gorae/runs/0001-quick-a/"]),
        ([], [], True, [".gorae/runs/0002-quick-b/"]),
        ([], ["0001-quick-a", "0002"], True, [".gorae/runs/"]),
        (["submissions", "weights", "splits", "other", "run"], [], False, []),
    ],
)
def test_only_what_is_named_and_rebuilt_goes(
    workspace: Workspace, kinds: list[str], runs: list[str], unfinished: bool, gone: list[str]
) -> None:
    before = tree(workspace.folder)
    result = clean(workspace.folder, kinds=kinds, runs=runs, unfinished=unfinished)
    kept = {name: data for name, data in before.items() if not name.startswith(tuple(gone))}
    assert tree(workspace.folder) == kept
    freed_bytes = sum(len(data) for name, data in before.items() if name not in kept)
    assert result.freed_bytes == freed_bytes
    assert not [path for path in workspace.home.iterdir() if path.name.startswith("removing-")]


def test_links_are_removed_and_never_followed(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.jpg").write_bytes(b"x" * 9999)
    os.symlink(outside, workspace.prepared / "link")
    assert folder_size(workspace.prepared) < 2000
    clean(workspace.folder, kinds=["prepared"])
    os.symlink(outside, workspace.prepared)
    clean(workspace.folder, kinds=["prepared"])
    assert not workspace.prepared.is_symlink()
    assert (outside / "precious.jpg").exists()


def test_what_an_interrupted_removal_left_goes_with_the_next(workspace: Workspace) -> None:
    leftover = workspace.home / "removing-prepared"
    (leftover / "abc").mkdir(parents=True)
    clean(workspace.folder)
    assert leftover.exists()
    clean(workspace.folder, kinds=["prepared"])
    assert not leftover.exists()


def test_nothing_goes_while_a_run_is_at_work(workspace: Workspace) -> None:
    before = tree(workspace.folder)
    busy = workspace.run("0002").lock
    with (
        exclusive_lock(busy, purpose="training"),
        pytest.raises(UserError, match="already working on 0002-quick-b here"),
    ):
        clean(workspace.folder, kinds=["prepared"], runs=["0001"])
    assert tree(workspace.folder) == before


def test_an_unknown_run_stops_everything(workspace: Workspace) -> None:
    before = tree(workspace.folder)
    with pytest.raises(UserError, match="'0009' is no run here"):
        clean(workspace.folder, kinds=["prepared"], runs=["0009"])
    assert tree(workspace.folder) == before


def test_a_folder_without_anything_of_gorae(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.gorae folder"):
        clean(tmp_path)


def test_runs_that_the_user_keeps_stay(workspace: Workspace) -> None:
    asked: list[str] = []

    def keep(runs: object) -> bool:
        asked.extend(run.name for run in runs)  # type: ignore[attr-defined]  # holdings
        return False

    result = clean(workspace.folder, kinds=["prepared"], runs=["0001"], confirm=keep)
    assert asked == ["0001-quick-a"]
    assert [holding.kind for holding in result.removed] == ["prepared"]
    assert workspace.run("0001").result.exists()


def test_the_command(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(workspace.folder)
    assert main(["clean", folder]) == 0
    shown = capsys.readouterr().out
    assert "--prepared" in shown
    assert "--run 0002" in shown
    assert "1.5 kB" in shown
    assert main(["clean", folder, "--run", "0001"]) == 64
    assert "Add --yes to remove these:" in capsys.readouterr().err
    assert main(["clean", folder, "--run", "0001", "--prepared", "--yes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["freed_bytes"] == 1510
    assert main(["clean", folder, "--features"]) == 0
    assert "removed features: 300 B freed" in capsys.readouterr().out
