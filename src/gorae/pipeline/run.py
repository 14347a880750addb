"""Step ``run``: the main job, all steps in order."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from gorae.config import resolve_recipe
from gorae.data.store import open_store
from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.advice import advise
from gorae.pipeline.context import open_context
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import Ask, init
from gorae.pipeline.launch import require_processes
from gorae.pipeline.part_target import as_target, target_of
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.report import report
from gorae.pipeline.split import split
from gorae.pipeline.submit import submit
from gorae.stopping import Stopping, never_stopped
from gorae.workspace import Workspace


@dataclass(frozen=True)
class RunResult:
    """What the main job leaves behind."""

    run_id: str
    metric: str
    score: float
    """Out-of-fold score."""
    interval: tuple[float, float]
    """Its 95 % bootstrap interval."""
    expected: tuple[float, float] | None
    """Where the score of the test set is expected, 95 %; None without test pictures."""
    fold_scores: tuple[float | None, ...]
    submission: Path | None
    """The checked CSV; None when the competition has nothing to submit."""
    report: Path
    warnings: tuple[str, ...]
    elapsed_s: float

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "run_id": self.run_id,
            "metric": self.metric,
            "oof": {
                "score": self.score,
                "interval": list(self.interval),
                "expected_on_test": list(self.expected) if self.expected else None,
                "fold_scores": list(self.fold_scores),
            },
            "submission": str(self.submission) if self.submission else None,
            "report": str(self.report),
            "warnings": list(self.warnings),
            "elapsed_s": round(self.elapsed_s, 1),
        }


def run(
    folder: Path | str,
    *,
    preset: str | None = None,
    recipe: Path | str | None = None,
    overrides: Sequence[str] = (),
    budget_s: float | None = None,
    refit: bool = False,
    looks: bool = True,
    answers: Mapping[str, str] | None = None,
    ask: Ask | None = None,
    encoding: str | None = None,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> RunResult:
    """From raw pictures and tables to a checked submission, scores and a report.

    Given again after a stop, it goes on where it was stopped.

    Args:
        folder: The competition.
        preset: ``quick`` (the default), ``standard`` or ``best``.
        recipe: A recipe file, or the name of a shipped recipe, instead of a preset.
        overrides: Changes of single settings, ``train.lr=3e-4``.
        budget_s: Seconds the whole job may take; folds, size and epochs are planned to fit.
        refit: Train once more on everything; that model joins the vote on the test set.
        looks: Look at the data before training (``eda``, without its map).
        answers: Answers to questions about the layout, by their key.
        ask: Asks the user; None where nobody can be asked.
        encoding: Text encoding of the CSV files, where it is not UTF-8.
        on_event: Hears progress, messages and warnings.
        stopping: Opened while a training runs, which then ends in order when it is asked to.

    Raises:
        UserError: Something a user can mend is wrong; the message says what.
    """
    started = time.monotonic()
    folder, recipe = Path(folder), None if recipe is None else Path(recipe)
    warnings: list[str] = []
    listen = _collecting(warnings, on_event)
    extra = ("refit=true",) if refit else ()
    settings = resolve_recipe(preset=preset, path=recipe, overrides=(*overrides, *extra))
    require_processes(settings)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    if not Workspace(folder.resolve()).competition_file.exists():
        init(folder, encoding=encoding, answers=answers, ask=ask, on_event=listen)
    elif answers or encoding:
        text = "competition.toml is there and is used; answers and encoding are not asked for"
        listen(Event("message", "init", text))
    deadline = None
    if budget_s is not None:
        from gorae.pipeline.budget import plan_budget

        deadline = started + budget_s
        settings = plan_budget(folder, recipe=settings, deadline=deadline, on_event=listen)
    loading = Thread(target=_load_training, daemon=True)
    loading.start()
    made = preprocess(folder, recipe=settings, on_event=listen)
    if looks:
        loading.join()
        from gorae.pipeline.eda import eda

        eda(folder, recipe=settings, has_map=False, on_event=listen)
    split(folder, recipe=settings, on_event=listen)
    if settings.model.use not in ("as_is", "tabular") and settings.model.weights != "none":
        context = as_target(open_context(folder), settings.target)
        advice = advise(context, settings, pixels=open_store(made.prepared))
        listen(Event("message", "plan", f"{advice.sentence.en} {advice.reason.en}"))
    loading.join()
    from gorae.pipeline.train import train

    trained = train(
        folder, recipe=settings, deadline=deadline, on_event=listen, stopping=stopping
    )
    return _finish(folder, trained.run_id, warnings, listen, started)


def _load_training() -> None:
    """torch and timm load for seconds: on another core, while child processes decode."""
    # A broken installation is told where the module is asked for again.
    with suppress(ImportError, OSError):
        import_module("gorae.pipeline.train")


def _finish(
    folder: Path, run_id: str, warnings: list[str], listen: OnEvent, started: float
) -> RunResult:
    voted = ensemble(folder, run=run_id, on_event=listen)
    # A part of the label is no answer: `gorae ensemble --compose` makes one of several.
    can_submit = voted.has_test and target_of(voted.run).part is None
    sent = submit(folder, run=run_id, on_event=listen) if can_submit else None
    page = report(folder, run=run_id, warnings=tuple(dict.fromkeys(warnings)), on_event=listen)
    result = voted.result
    return RunResult(
        run_id=run_id,
        metric=result["metric"],
        score=result["score"],
        interval=(result["interval"][0], result["interval"][1]),
        expected=(result["predicted"][0], result["predicted"][1])
        if result["predicted"]
        else None,
        fold_scores=tuple(result["fold_scores"]),
        submission=sent.path if sent else None,
        report=page.path,
        warnings=tuple(dict.fromkeys(warnings)),
        elapsed_s=time.monotonic() - started,
    )


def _collecting(warnings: list[str], on_event: OnEvent) -> OnEvent:
    def listen(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.text)
        on_event(event)

    return listen
