"""How the result of each step looks to a person."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gorae.cli.text import clock, count, duration, interval, safe, safe_line, score, size

if TYPE_CHECKING:
    from gorae.pipeline.all_votes import VotesResult
    from gorae.pipeline.board import Board, BoardLine
    from gorae.pipeline.check import CheckResult
    from gorae.pipeline.clean import CleanResult, Holding
    from gorae.pipeline.contract import Split
    from gorae.pipeline.demo import DemoResult
    from gorae.pipeline.doctor import Diagnosis
    from gorae.pipeline.ensemble import EnsembleResult
    from gorae.pipeline.init import InitResult
    from gorae.pipeline.predict import PredictResult
    from gorae.pipeline.preprocess import PreprocessResult
    from gorae.pipeline.run import RunResult
    from gorae.pipeline.submit import SubmitResult
    from gorae.pipeline.train import TrainResult

Row = tuple[str, str | Text]
"""A name and its value."""

_SHOWN_PICTURES = 20

_MARKS = {
    "ok": ("✓", "green"),
    "note": ("·", "cyan"),
    "warning": ("!", "yellow"),
    "broken": ("✗", "bold red"),
}


def facts(title: str, rows: Iterable[Row]) -> Text:
    """A titled list of names and values; nothing is cut, so that paths can be copied whole."""
    listed = list(rows)
    width = max((cell_len(name) for name, _ in listed), default=0)
    lines = [Text(safe_line(title), style="bold")]
    for name, value in listed:
        shown = value if isinstance(value, Text) else Text(safe(value))
        padding = " " * (width - cell_len(name) + 2)
        lines.append(Text.assemble((name, "dim"), padding, shown))
    return Text("\n").join(lines)


def shown_path(path: Path | str) -> str:
    """``path`` as a user would type it from here."""
    absolute = Path(path).absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def show_warnings(console: Console, warnings: Iterable[str]) -> None:
    """Each warning on lines of its own, below a blank one."""
    for number, warning in enumerate(warnings):
        if number == 0:
            console.print()
        console.print(Text.assemble(("! ", "yellow"), safe(warning)), soft_wrap=True)


def show_next(console: Console, command: str, why: str) -> None:
    """What to type next."""
    console.print()
    console.print(Text.assemble(("next  ", "dim"), (safe_line(command), "bold"), f"  {why}"))


def show_run(console: Console, result: "RunResult", *, folder: Path) -> None:
    """The score, where everything lies, and what to type next."""
    console.print()
    console.print(facts(result.run_id, _run_rows(result)), soft_wrap=True)
    show_warnings(console, result.warnings)
    show_next(console, _command("board", folder), "ranks the runs")


def _with_run(name: str, run_id: str, folder: Path) -> str:
    place = shown_path(folder)
    option = "" if place == "." else f" --folder {shlex.quote(place)}"
    return f"gorae {name} {shlex.quote(run_id)}{option}"


def _command(name: str, folder: Path) -> str:
    """What to type to do ``name`` on ``folder`` from here."""
    place = shown_path(folder)
    return f"gorae {name}" if place == "." else f"gorae {name} {shlex.quote(place)}"


def _run_rows(result: "RunResult") -> list[Row]:
    oof = _scored(result.score, result.interval)
    rows: list[Row] = [(f"{result.metric}, out of fold", oof)]
    if result.expected is not None:
        rows.append(("expected on the test set", interval(result.expected)))
    rows.append(
        (count(len(result.fold_scores), "fold"), "  ".join(map(score, result.fold_scores)))
    )
    if result.submission is not None:
        rows.append(("submission", f"{shown_path(result.submission)}, checked"))
    rows.append(("report", shown_path(result.report)))
    rows.append(("time", duration(result.elapsed_s)))
    return rows


def _scored(value: float, bounds: Sequence[float]) -> Text:
    return Text.assemble((score(value), "bold green"), f"  95 % interval {interval(bounds)}")


def _folds(scores: Sequence[float | None]) -> Row:
    return count(len(scores), "fold"), "  ".join(map(score, scores))


def show_demo(console: Console, result: "DemoResult") -> None:
    """The run on a demo's set beside its score on the part that was kept back."""
    rows = _run_rows(result.run)
    hidden = Text.assemble(
        (score(result.hidden_score), "bold green"),
        f"  on {result.num_hidden} {result.things} whose labels were in no file",
    )
    console.print()
    console.print(
        facts(result.title, [rows[0], ("hidden part", hidden), *rows[1:]]),
        soft_wrap=True,
    )
    show_warnings(console, result.run.warnings)
    show_next(console, "gorae run FOLDER", "does the same with your pictures")


def show_init(console: Console, result: "InitResult") -> None:
    """What was recognised, and what to check."""
    settings = result.competition
    rows: list[Row] = [
        ("task", settings.task),
        ("metric", settings.metric),
        ("classes", _some(settings.classes) if settings.classes else "from the train table"),
        *[("because" if i == 0 else "", line) for i, line in enumerate(result.evidence)],
        ("written", shown_path(result.path)),
    ]
    console.print(facts(settings.name, rows), soft_wrap=True)
    show_warnings(console, result.notes)
    run = _command("run", result.path.parent)
    show_next(console, run, "after a look at competition.toml")


def _some(names: Iterable[str], *, shown: int = 8) -> str:
    listed = list(names)
    more = f" ... ({len(listed)})" if len(listed) > shown else ""
    return ", ".join(safe_line(name) for name in listed[:shown]) + more


def show_preprocess(console: Console, result: "PreprocessResult", *, folder: Path) -> None:
    """How many pictures can be used, and those that cannot."""
    rows: list[Row] = [
        ("pictures", f"{result.num_images:,}"),
        ("unusable", f"{result.num_quarantined:,}"),
        ("kept in", shown_path(result.prepared)),
    ]
    console.print(facts("prepared", rows), soft_wrap=True)
    _show_listed(console, result.quarantined)
    show_next(console, _command("split", folder), "makes the folds")


def _show_listed(console: Console, pictures: Sequence[str]) -> None:
    show_warnings(console, pictures[:_SHOWN_PICTURES])
    if len(pictures) > _SHOWN_PICTURES:
        console.print(f"  ... and {len(pictures) - _SHOWN_PICTURES:,} more")


def show_split(console: Console, result: "Split", *, folder: Path) -> None:
    """The folds in numbers."""
    record = result.record
    rows: list[Row] = [
        ("kind", record["kind"]),
        ("folds", f"{record['num_folds']}"),
        ("repeats", f"{record['repeats']}"),
        ("pictures", f"{record['num_images']:,}"),
        ("groups", f"{record['num_groups']:,}"),
    ]
    console.print(facts(f"split {result.key}", rows), soft_wrap=True)
    show_warnings(console, record["warnings"])
    show_next(console, _command("train", folder), "with the same recipe")


def show_train(console: Console, result: "TrainResult", *, folder: Path) -> None:
    """The trained run."""
    rows: list[Row] = [
        ("members", f"{result.num_members}"),
        ("kept in", shown_path(result.run.path)),
    ]
    console.print(facts(result.run_id, rows), soft_wrap=True)
    show_next(console, _with_run("ensemble", result.run_id, folder), "votes and scores")


def show_ensemble(console: Console, result: "EnsembleResult", *, folder: Path) -> None:
    """The score of the vote, and of other ways to vote on the same rows."""
    found = result.result
    rows: list[Row] = [
        (f"{found['metric']}, out of fold", _scored(found["score"], found["interval"]))
    ]
    if found["predicted"] is not None:
        rows.append(("expected on the test set", interval(found["predicted"])))
    rows.append(_folds(found["fold_scores"]))
    rows.append(("vote", found["vote"]))
    rows += [
        ("" if place else "members", f"{member['run_id']}, weight {member['weight']:.3g}")
        for place, member in enumerate(found.get("members", ()))
    ]
    if "selection" in found:
        chosen = found["selection"]
        rows.append(
            (
                "chosen by",
                f"{chosen['how']}; on the rows it was chosen on "
                f"{score(chosen['score_where_chosen'])}, which is no fair score",
            )
        )
    console.print(facts(result.run.run_id, rows), soft_wrap=True)
    if found["compared"]:
        console.print()
        console.print(_compared(found["compared"], found["metric"]))
    if result.has_test:
        show_next(console, _with_run("submit", result.run.run_id, folder), "writes the CSV")


def _compared(lines: Sequence[dict[str, Any]], metric: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("on the same rows", overflow="fold")
    table.add_column(safe_line(metric), justify="right", no_wrap=True)
    table.add_column("above less this", justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    for line in lines:
        bounds = line["interval"]
        table.add_row(
            Text(safe_line(f"{line['what']} {line['name']}")),
            score(line["score"]),
            f"{line['difference']:+.4f}",
            "-" if bounds is None else f"{bounds[0]:+.4f} to {bounds[1]:+.4f}",
        )
    return table


def show_votes(console: Console, result: "VotesResult", *, folder: Path) -> None:
    """The votes of one run with their submissions."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("vote", no_wrap=True)
    metric = result.votes[0]["metric"] if result.votes else "score"
    table.add_column(safe_line(metric), justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("CSV, checked", no_wrap=True)
    for line in result.votes:
        table.add_row(
            line["vote"],
            score(line["score"]),
            interval(line["interval"], word="–"),
            Text(safe_line(line["run_id"])),
            Path(line["submission"]).name,
        )
    console.print(table)
    if result.votes:
        sent = Path(result.votes[0]["submission"]).parent
        console.print(Text.assemble(("in ", "dim"), safe_line(shown_path(sent))))
    show_next(console, _command("board", folder), "ranks the runs")


def show_predict(console: Console, result: "PredictResult") -> None:
    """Where the predictions are, and which pictures have none."""
    rows: list[Row] = [
        ("pictures", f"{len(result.predictions.ids):,}"),
        ("failed", f"{len(result.failed):,}"),
        ("written", shown_path(result.path)),
    ]
    console.print(facts("predictions", rows), soft_wrap=True)
    _show_listed(console, result.failed)


def show_submit(console: Console, result: "SubmitResult") -> None:
    """The CSV that may be sent."""
    rows: list[Row] = [
        ("submission", f"{shown_path(result.path)}, checked"),
        ("rows", f"{result.num_rows:,}"),
    ]
    console.print(facts("submission", rows), soft_wrap=True)
    show_warnings(console, result.warnings)


def show_check(console: Console, result: "CheckResult") -> None:
    """Whether a file may be sent, and what is wrong with it."""
    for finding in result.findings:
        mark, style = _MARKS["broken" if finding.level == "error" else "warning"]
        console.print(Text.assemble((f"{mark} ", style), safe(str(finding))), soft_wrap=True)
    errors = sum(finding.level == "error" for finding in result.findings)
    warnings = len(result.findings) - errors
    verdict = "must not be sent" if errors else "may be sent"
    counts = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
    name = safe_line(shown_path(result.file))
    console.print(Text(f"{name} {verdict}: {counts}.", style="bold"))


def show_board(console: Console, result: "Board", *, folder: Path) -> None:
    """Runs in order of rank."""
    if not result.lines:
        console.print("No runs yet.")
        show_next(console, _command("run", folder), "makes the first one")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column(safe_line(result.metric), justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("on test", no_wrap=True)
    table.add_column("folds", justify="right")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("CSV", no_wrap=True)
    for line in result.lines:
        table.add_row(*_board_cells(line), style="bold" if line.rank == 1 else None)
    console.print(Text(safe_line(result.competition), style="bold"))
    console.print(table)
    for line in result.lines:
        if line.note:
            note = f"{line.run_id}: {line.note}"
            console.print(Text(safe(note), style="yellow"), soft_wrap=True)


def _board_cells(line: "BoardLine") -> list[Text]:
    cells = [
        str(line.rank or "-"),
        line.run_id,
        score(line.score),
        interval(line.interval, word="–"),
        interval(line.predicted, word="–"),
        str(line.num_folds or "-"),
        clock(line.elapsed_s) if line.elapsed_s is not None else "-",
        Path(line.submission).stem.removeprefix("submission-") if line.submission else "-",
    ]
    return [Text(safe_line(cell)) for cell in cells]


def show_clean(console: Console, result: "CleanResult") -> None:
    """What was removed and what is still there."""
    if result.removed:
        removed = ", ".join(_holding_name(holding) for holding in result.removed)
        console.print(
            Text.assemble(
                ("✓ ", "green"),
                f"removed {safe_line(removed)}: {size(result.freed_bytes)} freed",
            )
        )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    table.add_column(overflow="fold")
    for holding in result.holdings:
        cells = (_holding_name(holding), size(holding.size_bytes), holding.note)
        table.add_row(*(Text(safe_line(cell)) for cell in cells), Text(_how_to_remove(holding)))
    total_bytes = sum(holding.size_bytes for holding in result.holdings)
    table.add_row(Text("total", style="bold"), Text(size(total_bytes), style="bold"), "", "")
    console.print(table)


def _holding_name(holding: "Holding") -> str:
    return f"run {holding.name}" if holding.kind == "run" else holding.kind


def _how_to_remove(holding: "Holding") -> str:
    if holding.kind == "run":
        return f"--run {safe_line(holding.name.split('-')[0])}"
    return f"--{holding.kind}" if holding.is_rebuilt else "kept"


def show_diagnosis(console: Console, result: "Diagnosis") -> None:
    """One line per finding, with the fix below those that need one."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in result.findings:
        mark, style = _MARKS[finding.status]
        text = Text(safe(finding.text))
        if finding.fix:
            text.append(f"\n→ {safe(finding.fix)}", style="bold")
        grid.add_row(Text(mark, style=style), finding.name, text)
    console.print(grid)
    broken = sum(finding.status == "broken" for finding in result.findings)
    warnings = sum(finding.status == "warning" for finding in result.findings)
    verdict = f"{count(broken, 'thing')} to mend" if broken else "Nothing is broken"
    console.print(Text(f"{verdict}, {count(warnings, 'warning')}.", style="bold"))
