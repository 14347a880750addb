"""Rounds of pseudo-labels: a student learns them, then labels for the next student."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gorae.config import resolve_recipe
from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.context import open_context
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.pseudo import pseudo
from gorae.pipeline.run import run as run_all
from gorae.stopping import Stopping, never_stopped
from gorae.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Round:
    """One student, or before the first round the teacher."""

    run_id: str
    labels: str | None
    """Name of the pseudo-labels it learned; None: of the teacher."""
    score: float
    """Out of fold, on true labels."""
    interval: tuple[float, float]
    """95 % interval of ``score``."""


@dataclass(frozen=True)
class RoundsResult:
    """The teacher and its students."""

    metric: str
    rounds: tuple[Round, ...]
    """The teacher first; several teachers are not scored together and none is listed."""
    submission: Path | None
    """Of the last student; None where the competition has no test pictures."""
    report: Path
    """Of the last student."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "metric": self.metric,
            "rounds": [asdict(each) for each in self.rounds],
            "submission": str(self.submission) if self.submission else None,
            "report": str(self.report),
            "warnings": list(self.warnings),
        }


def train_rounds(
    folder: Path,
    *,
    rounds: int,
    runs: Sequence[str] = (),
    images: Path | None = None,
    preset: str | None = None,
    recipe: Path | str | None = None,
    overrides: Sequence[str] = (),
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> RoundsResult:
    """Label pictures, train a student on them, let it label, and so on.

    Each round is ``pseudo`` and ``run``: labels are said fold by fold by models that never saw
    what validates there, in every round, and scores are of true labels alone. What is trained
    already is used as it is: the same call goes on after a stop.

    Args:
        folder: The competition.
        rounds: How many students, one after the other.
        runs: The first teachers, as in ``pseudo``; none: the newest run that learned no
            pseudo-labels, so that the students of a call that was stopped are not taken.
        images: Folder of pictures without labels; absent: the test pictures.
        preset: Of the students: ``quick``, ``standard`` or ``best``.
        recipe: Of the students: a recipe file, or the name of a shipped recipe.
        overrides: Changes of it; its ``pseudo.labels`` are those of the round.
        on_event: Hears progress.
        stopping: Opened while a training runs, which then ends in order when it is asked to.

    Raises:
        ConfigError: The recipe cannot be used; told before anything is labelled.
        UserError: Something else a user can mend is wrong; the message says what.

    Source: Xie et al., 2020 (Noisy Student), whose student becomes the teacher.
    """
    if rounds < 1:
        raise UserError(f"--rounds must be at least 1, got {rounds}.")
    path = None if recipe is None else Path(recipe)
    resolve_recipe(preset=preset, path=path, overrides=(*overrides, "pseudo.labels=newest"))
    context = open_context(folder)
    first = [context.workspace.run(name) for name in runs]
    first = first or [_newest_teacher(context.workspace)]
    teachers, done = [each.run_id for each in first], list[Round]()
    if len(first) == 1:
        result = first[0].read_result() or ensemble(folder, run=teachers[0]).result
        low, high = result["interval"]
        done.append(Round(teachers[0], None, result["score"], (low, high)))
    warnings: list[str] = []
    for number in range(rounds):
        on_event(Event("stage", "rounds", f"round {number + 1} of {rounds}"))
        labels = pseudo(folder, runs=teachers, images=images, on_event=on_event)
        student = run_all(
            folder,
            preset=preset,
            recipe=recipe,
            overrides=(*overrides, f"pseudo.labels={labels.name}"),
            looks=False,
            on_event=on_event,
            stopping=stopping,
        )
        done.append(Round(student.run_id, labels.name, student.score, student.interval))
        warnings += [*labels.warnings, *student.warnings]
        teachers = [student.run_id]
    return RoundsResult(
        metric=student.metric,
        rounds=tuple(done),
        submission=student.submission,
        report=student.report,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _newest_teacher(workspace: Workspace) -> RunFolder:
    for run in reversed(workspace.run_folders()):
        recipe = run.read_settings().get("recipe", {})
        if not recipe.get("pseudo", {}).get("labels"):
            return run
    raise UserError("There is no run that can label. Train a teacher first: `gorae run`.")
