"""What is sent, what is refused, and what several commands in one folder do to each other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gorae.files import exclusive_lock
from gorae.pipeline.init import init
from gorae.pipeline.submit import submit
from gorae.workspace import Workspace, read_lines, read_predictions

Make = Callable[..., Path]
Run = Callable[..., Any]
Cli = Callable[..., Any]


def test_the_same_answers_are_written_once(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    first = run_quick(folder)
    workspace = Workspace(folder)
    assert submit(folder).path == first.submission
    said = gorae_cli("submit", "--folder", folder, "--json")
    assert said.code == 0
    assert said.json["submission"] == str(first.submission)
    assert len(read_lines(workspace.ledger)) == 1
    second = run_quick(folder, "seed=1")
    assert second.submission.name == "submission-0002.csv"
    # Of a run by its name, too; a file that is gone is written anew, under a number of its own.
    first.submission.unlink()
    again = submit(folder, run=first.run_id)
    assert again.path.name == "submission-0003.csv"
    second.submission.unlink()
    again.path.unlink()
    assert submit(folder, run=second.run_id).path.name == "submission-0004.csv"
    assert [line["run_id"][:4] for line in read_lines(workspace.ledger)] == [
        "0001", "0002", "0001", "0002",
    ]  # fmt: skip


def test_a_submission_that_was_edited_is_never_handed_out_again(
    make_competition: Make, run_quick: Run
) -> None:
    folder = make_competition(12, 4)
    first = run_quick(folder)
    edited = first.submission.read_text("utf-8").replace("t0,", "t0,비밀")
    first.submission.write_text(edited, "utf-8")
    again = submit(folder)
    assert again.path.name == "submission-0002.csv"
    assert first.submission.read_text("utf-8") == edited


def test_check_accepts_what_submit_writes_and_names_each_fault(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    result = run_quick(folder)
    said = gorae_cli("check", result.submission, "--folder", folder, "--json")
    assert said.code == 0
    assert said.json["accepted"] is True
    good = pd.read_csv(result.submission, dtype=str)
    faults: dict[str, pd.DataFrame] = {
        "missing_ids": good.iloc[1:],
        "duplicate_ids": pd.concat([good, good.iloc[:1]]),
        "extra_ids": pd.concat([good, pd.DataFrame({"id": ["t99"], "label": ["원"]})]),
        "blank_label": good.assign(label=["", *good["label"][1:]]),
        "unknown_label": good.assign(label="별"),
        "columns": good.rename(columns={"label": "정답"}),
    }
    file = folder.parent / "보낼 것.csv"
    for code, table in faults.items():
        table.to_csv(file, index=False)
        said = gorae_cli("check", file, "--folder", folder, "--json")
        assert said.code == 65, code
        assert said.json["accepted"] is False
        assert code in {finding["code"] for finding in said.json["findings"]}
    good[::-1].to_csv(file, index=False)
    said = gorae_cli("check", file, "--folder", folder, "--json")
    assert said.code == 0, "another order is a warning"
    assert [finding["code"] for finding in said.json["findings"]] == ["row_order"]
    file.write_bytes(b"\x80\x04pickle")
    assert gorae_cli("check", file, "--folder", folder).code == 65
    assert gorae_cli("check", folder / "없음.csv", "--folder", folder).code == 64


def test_submit_says_what_is_missing(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    assert gorae_cli("init", folder).code == 0
    said = gorae_cli("submit", "--folder", folder)
    assert said.code == 64
    assert "There is no run in" in said.err
    run_quick(folder)
    sample = folder / "sample_submission.csv"
    table = pd.read_csv(sample, dtype=str)
    table.rename(columns={"label": "정답"}).to_csv(sample, index=False)
    said = gorae_cli("submit", "--folder", folder)
    assert said.code == 64
    assert "The sample submission has the columns id, 정답" in said.err
    table.iloc[:3].to_csv(sample, index=False)
    said = gorae_cli("submit", "--folder", folder, "--json")
    assert said.code == 0, said.err
    assert said.json["num_rows"] == 3
    assert len(list((folder / ".gorae" / "submissions").glob("*.csv"))) == 2


@pytest.mark.long
def test_the_board_ranks_several_runs(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    results = [run_quick(folder, f"seed={seed}") for seed in range(3)]
    said = gorae_cli("board", folder, "--json")
    assert said.code == 0
    lines = said.json["runs"]
    assert {line["run_id"] for line in lines} == {result.run_id for result in results}
    scores = [line["score"] for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert lines[0]["rank"] == 1
    shown = gorae_cli("board", folder)
    assert shown.code == 0
    assert all(result.run_id in shown.out for result in results)


def test_after_clean_the_same_command_gives_the_same_again(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    first = run_quick(folder)
    target = Workspace(folder).run(first.run_id)
    before = read_predictions(target.oof).values
    said = gorae_cli("clean", folder, "--prepared", "--features", "--json")
    assert said.code == 0
    assert said.json["freed_bytes"] > 0
    assert not any((folder / ".gorae" / "prepared").glob("*/*"))
    again = run_quick(folder)
    assert again.run_id == first.run_id
    assert again.submission == first.submission
    assert (read_predictions(target.oof).values == before).all()
    # The pixels are there again for another recipe.
    assert run_quick(folder, "seed=1").run_id != first.run_id


def test_a_second_command_is_refused_in_one_line(
    make_competition: Make, run_quick: Run, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    run_quick(folder)
    target = Workspace(folder).run(None)
    for lock, purpose in (
        (target.lock, f"training {target.run_id}"),
        (folder / ".gorae" / "scan.lock", "preparing pictures"),
        (folder / ".gorae" / "submissions" / "lock", "writing submissions"),
    ):
        with exclusive_lock(lock, purpose="testing"):
            said = gorae_cli("run", folder, recipe=True)
        assert said.code == 64
        (line,) = [line for line in said.err.splitlines() if line.startswith("Error: ")]
        assert f"Another gorae is already {purpose} here (pid {os.getpid()} on" in line
    assert gorae_cli("run", folder, recipe=True).code == 0


@pytest.mark.long
def test_two_processes_in_one_folder_do_not_harm_each_other(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(12, 4)
    changes = (
        "model.name=lenet5", "model.weights=none", "pixels.input_size=32", "train.threads=1",
        "train.precision=fp32", "train.epochs=1000", "train.workers=0", "split.num_folds=2",
    )  # fmt: skip
    recipe = [part for change in changes for part in ("--set", change)]
    command = ["run", str(folder), "--preset", "standard", *recipe]
    first = subprocess.Popen(
        [sys.executable, "-m", "gorae", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob(".gorae/runs/0001-*/fold-0/state*")):
            assert first.poll() is None, "the first process ended early"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        said = gorae_cli(*command)
    finally:
        first.send_signal(signal.SIGINT)
        _, shown = first.communicate(timeout=30)
    assert said.code == 64
    assert "Another gorae is already training 0001-standard-lenet5" in said.err
    assert first.returncode == 130, shown
    assert "Traceback" not in shown
    # What was refused left nothing behind that stops the first from going on.
    assert len(list(folder.glob(".gorae/runs/*"))) == 1


def test_a_failure_while_libraries_still_load_keeps_its_exit_code(
    make_competition: Make,
) -> None:
    folder = make_competition(6, 4)
    for path in (folder / "train").iterdir():
        path.write_bytes(b"")
    # With all of these the pixels are known without timm, so that decoding begins at once.
    pixels = ("mean=[0.5,0.5,0.5]", "std=[0.5,0.5,0.5]", "interpolation=bilinear")
    changes = ["model.name=lenet5", "model.weights=none", "pixels.input_size=32"]
    changes += [f"pixels.{change}" for change in (*pixels, "crop_pct=1.0")]
    command = [sys.executable, "-m", "gorae", "run", str(folder)]
    command += [part for change in changes for part in ("--set", change)]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    assert said.returncode == 65, said.stderr
    assert "No training picture can be read" in said.stderr
    assert "Traceback" not in said.stderr
    assert not list(folder.glob(".gorae/submissions/*.csv"))


def test_a_metric_that_fails_leaves_no_submission(
    make_competition: Make, gorae_cli: Cli
) -> None:
    folder = make_competition(6, 4)
    init(folder)
    (folder / "점수.py").write_text("def 점수(truth, values):\n    return 'x'\n", "utf-8")
    settings = folder / "competition.toml"
    text = settings.read_text("utf-8")
    settings.write_text(text.replace('"accuracy"', '"점수.py:점수"'), "utf-8")
    said = gorae_cli("run", folder, recipe=True)
    assert said.code in (64, 65)
    assert "점수.py:점수" in said.err
    assert not list(folder.glob(".gorae/submissions/*.csv"))
