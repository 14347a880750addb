"""Step ``board``: the runs of a competition, best first."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gorae.config import read_competition
from gorae.errors import StorageError, UserError
from gorae.workspace import RunFolder, Workspace, read_lines


@dataclass(frozen=True, kw_only=True)
class BoardLine:
    """One run, as ranked."""

    run_id: str
    status: Literal["done", "unfinished", "damaged"]
    rank: int | None = None
    """Place from 1, shared by equal scores; None without a score that compares."""
    recipe: str = ""
    model: str = ""
    metric: str = ""
    score: float | None = None
    """Out-of-fold score."""
    interval: tuple[float, float] | None = None
    """Bootstrap interval of ``score``, 95 %."""
    predicted: tuple[float, float] | None = None
    """Where the score of the test set is expected, 95 %."""
    fold_scores: tuple[float | None, ...] = ()
    """None for a fold on which the metric is undefined."""
    num_folds: int | None = None
    elapsed_s: float | None = None
    submission: str | None = None
    """Path of the newest submission made of this run."""
    split: str = ""
    """Name of the split contract it was scored on."""
    note: str = ""
    """Why there is no rank, or what to think of when comparing."""


@dataclass(frozen=True)
class Board:
    """The runs of one competition."""

    competition: str
    metric: str
    lines: tuple[BoardLine, ...]
    """Ranked runs first, then those without a comparable score, newest first."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {
            "competition": self.competition,
            "metric": self.metric,
            "runs": [asdict(line) for line in self.lines],
        }


def board(folder: Path) -> Board:
    """Rank the runs of ``folder`` by out-of-fold score, in the metric's direction.

    A run that is unfinished, damaged, or scored by another metric has no place: it stands
    below all others, with the reason.

    Raises:
        UserError: The folder is no competition.
    """
    workspace = Workspace(folder.resolve())
    if not workspace.competition_file.exists():
        raise UserError(
            f"There is no competition.toml in {workspace.folder}. `gorae run` makes one, and "
            "the first run."
        )
    competition = read_competition(workspace.competition_file)
    sent = {line["run_id"]: str(line["path"]) for line in read_lines(workspace.ledger)}
    lines, directions = [], {}
    for run in workspace.run_folders():
        line, is_greater_better = _read_line(run, metric=competition.metric)
        lines.append(replace(line, submission=sent.get(line.run_id)))
        directions[line.run_id] = is_greater_better
    scored = [line for line in lines if line.score is not None and not line.note]
    sign = -1 if all(directions[line.run_id] for line in scored) else 1
    ranked = sorted(scored, key=lambda line: (sign * (line.score or 0.0), line.run_id))
    rest = [line for line in reversed(lines) if line not in scored]
    return Board(competition.name, competition.metric, (*_with_ranks(ranked), *rest))


def _with_ranks(ranked: list[BoardLine]) -> list[BoardLine]:
    """Places; a line scored on other folds than the first says so, as chance is not shared."""
    scores = [line.score for line in ranked]
    return [
        replace(
            line,
            rank=scores.index(line.score) + 1,
            note="" if line.split == ranked[0].split else "scored on other folds than rank 1",
        )
        for line in ranked
    ]


def _read_line(run: RunFolder, *, metric: str) -> tuple[BoardLine, bool]:
    """The line of one run, and whether a greater score of it is better."""
    try:
        settings = run.read_settings()
        result = run.read_result()
    except StorageError as error:
        return BoardLine(run_id=run.run_id, status="damaged", note=str(error)), False
    recipe = settings.get("recipe", settings)
    line = BoardLine(
        run_id=run.run_id,
        status="unfinished",
        recipe=str(recipe.get("name", "")),
        model=str(recipe.get("model", {}).get("name", "")),
        split=str(settings.get("keys", {}).get("split", "")),
        note="unfinished: the same `gorae run` goes on with it",
    )
    if result is None:
        return line, False
    score = result.get("score")
    line = replace(
        line,
        status="done",
        model=str(result.get("model", line.model)),
        metric=str(result["metric"]),
        score=score if score is not None and math.isfinite(score) else None,
        interval=_pair(result.get("interval")),
        predicted=_pair(result.get("predicted")),
        fold_scores=tuple(result.get("fold_scores", ())),
        num_folds=result.get("num_folds"),
        elapsed_s=result.get("elapsed_s"),
        note="",
    )
    if line.metric != metric:
        line = replace(line, note=f"scored by {line.metric}, not by {metric}")
    elif part := recipe.get("target", {}).get("part"):
        line = replace(line, note=f"scored on the part {part} of the label alone")
    elif line.score is None:
        line = replace(line, note="has no out-of-fold score")
    return line, bool(result.get("greater_is_better", True))


def _pair(bounds: Any) -> tuple[float, float] | None:
    return None if bounds is None else (float(bounds[0]), float(bounds[1]))
