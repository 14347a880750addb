"""The command line as a user and a program see it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.console import Console
from typer.testing import CliRunner

from gorae.cli import main
from gorae.cli.app import app
from gorae.cli.options import Preset, parse_answers, place
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.config import PRESETS
from gorae.errors import ConfigError
from gorae.events import Event

TOP: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
GROUPS = {name: top for name, top in TOP.items() if hasattr(top, "commands")}
COMMANDS = {name: top for name, top in TOP.items() if name not in GROUPS} | {
    f"{name} {sub}": command
    for name, group in GROUPS.items()
    for sub, command in group.commands.items()
}


def test_every_command_of_the_design_is_there() -> None:
    assert set(COMMANDS) == {
        "init", "run", "demo", "eda", "bench feed", "detect", "preprocess",
        "split", "train", "predict", "pseudo", "ensemble",
        "submit", "check", "board", "compare", "recipes", "model", "autoencoder", "augment",
        "clean", "doctor", "mask train", "mask submit_singular", "mask submit_ensemble",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_one_sentence_of_help(name: str) -> None:
    command = COMMANDS[name]
    sentences = [command.help, *(parameter.help for parameter in command.params)]
    for sentence in sentences:
        assert sentence, f"{name}: something has no help"
        assert sentence.rstrip().endswith("."), sentence
        assert ". " not in sentence, sentence
        assert sentence[0].isupper(), sentence
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert "--json" in shown.output


def test_help_lists_whole_sentences() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert "..." not in shown.output.replace("[ARGS]...", "")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: gorae" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gorae 0.")


def test_presets_on_the_command_line_are_those_of_the_config() -> None:
    assert [preset.value for preset in Preset] == list(PRESETS)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, gorae.cli\n"
        "heavy = {'torch', 'torchvision', 'timm', 'pandas', 'numpy', 'sklearn', 'scipy', "
        "'plotly', 'pydantic', 'pyarrow', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bord"], "No such command 'bord'."),
        (["board", "--nosuch"], "No such option: --nosuch"),
        (["run", "--preset", "huge"], "'huge' is not one of 'quick', 'standard', 'best'"),
        (["board", "a", "--folder", "b"], "The folder is given twice: a and b."),
        (["board", "a", "b"], "unexpected extra argument"),
        (["--nosuch"], "No such option: --nosuch"),
    ],
)
def test_usage_errors_end_with_64(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    shown = capsys.readouterr()
    assert words in shown.err
    assert "--help`." in shown.err
    assert shown.out == ""
    assert main([*arguments, "--json"]) == 64
    shown = capsys.readouterr()
    assert words in json.loads(shown.out)["error"]["message"]
    assert words in shown.err


@pytest.mark.parametrize("command", ["board", "clean", "init", "run", "doctor"])
def test_a_folder_that_is_not_there(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "없음\x1b[31m"
    assert main([command, str(missing), "--json"]) == 64
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["type"] == "UserError"
    assert "없음\\x1b[31m" in shown.err
    assert "\x1b" not in shown.err


@pytest.mark.parametrize("form", [["{}"], ["--folder", "{}"], []])
def test_a_folder_can_be_given_or_stood_in(
    form: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["board", *(part.format(tmp_path) for part in form)]) == 64
    assert f"no competition.toml in {tmp_path}" in capsys.readouterr().err


def test_place() -> None:
    assert place(None, None) == Path()
    assert place(Path("a"), None) == place(None, Path("a")) == place(Path("a"), Path("a"))


def test_answers() -> None:
    assert parse_answers(None) == {}
    assert parse_answers(["metric=macro_f1", "열 = 레이블=1"]) == {
        "metric": "macro_f1",
        "열": "레이블=1",
    }
    with pytest.raises(ConfigError, match="'accuracy' is not of the form key=value"):
        parse_answers(["accuracy"])
    with pytest.raises(ConfigError, match="metric is given twice with different values"):
        parse_answers(["metric=a", "metric=b"])


@pytest.mark.parametrize("budget", ["soon", "0m"])
def test_a_wrong_budget_is_named_before_anything_is_read(
    budget: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path), "--budget", budget]) == 64
    assert f"--budget {budget!r} is no time" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Answer:
    """A result as a step would give it."""

    def to_json(self) -> dict[str, Any]:
        return {"name": "고래 \udcff", "value": 0.5}


def noisy_step(screen: Screen) -> Answer:
    """Prints where it should not: itself, past Python, and from a child."""
    screen.on_event(Event("stage", "scan", "50 pictures"))
    print("a library talks")
    os.write(1, b"C code talks\n")
    subprocess.run([sys.executable, "-c", "print('a child talks')"], check=True)
    return Answer()


def test_standard_output_is_exactly_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    perform(noisy_step, folder=Path(), as_json=True, is_debug=False, draw=_draw)
    shown = capfd.readouterr()
    assert json.loads(shown.out) == {"name": "고래 \udcff", "value": 0.5}
    assert shown.out.isascii()
    for words in ("scan: 50 pictures", "a library talks", "C code talks", "a child talks"):
        assert words in shown.err


def test_a_person_gets_the_result_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    perform(noisy_step, folder=Path(), as_json=False, is_debug=False, draw=_draw)
    shown = capfd.readouterr()
    assert shown.out.endswith("drawn\n")
    assert shown.err == "scan: 50 pictures\n"


def test_json_refuses_what_is_not_json(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Broken(Answer):
        def to_json(self) -> dict[str, Any]:
            return {"score": float("nan")}

    with pytest.raises(typer.Exit) as leave:
        perform(lambda _: Broken(), folder=tmp_path, as_json=True, is_debug=False, draw=_draw)
    assert leave.value.exit_code == 70
    assert json.loads(capfd.readouterr().out)["error"]["exit_code"] == 70


def _draw(console: Console, result: Answer) -> None:
    console.print("drawn")


def run_module(
    *arguments: str, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gorae", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_python_m_gorae(tmp_path: Path) -> None:
    shown = run_module("board", str(tmp_path), "--json")
    assert shown.returncode == 64
    assert json.loads(shown.stdout)["error"]["exit_code"] == 64
    assert "Traceback" not in shown.stderr


def test_libraries_clean_up_before_the_process_leaves() -> None:
    script = (
        "import atexit, sys; from gorae.__main__ import run\n"
        "sys.argv = ['gorae', 'board', '/']\n"
        "code = run(); atexit.register(print, 'cleaned up'); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (64, "cleaned up")


@pytest.mark.parametrize("arguments", [["model", "lenet5"], ["model", "lenet5", "--json"]])
def test_a_reader_that_goes_away_from_a_result_hears_nothing(
    arguments: list[str], tmp_path: Path
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    shown = run_module(*arguments, "--folder", str(tmp_path), stdout=write_end)
    os.close(write_end)
    assert (shown.returncode, shown.stderr) == (74, "")


@pytest.mark.parametrize("arguments", [["--help"], ["board", "/", "--json"]])
def test_a_reader_that_goes_away_is_no_traceback(arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    shown = run_module(*arguments, stdout=write_end)
    os.close(write_end)
    assert "Traceback" not in shown.stderr
    assert "Exception ignored" not in shown.stderr
