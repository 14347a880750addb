"""Commands ``run``, ``demo`` and ``init``: from a folder to a submission."""

from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gorae.cli import show
from gorae.cli.options import (
    Answers,
    AsJson,
    Encoding,
    Folder,
    FolderOption,
    Overrides,
    PresetOption,
    RecipeOption,
    parse_answers,
    place,
)
from gorae.cli.perform import perform
from gorae.cli.screen import Screen
from gorae.cli.text import parse_budget

if TYPE_CHECKING:
    from gorae.pipeline.demo import DemoResult
    from gorae.pipeline.init import InitResult
    from gorae.pipeline.run import RunResult

# As in gorae.pipeline.demo, which takes long to import.
DEMOS = ("digits", "melanoma", "cats", "mask", "whales")


def run(
    context: typer.Context,
    folder: Folder = None,
    preset: PresetOption = None,
    recipe: RecipeOption = None,
    overrides: Overrides = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Plan folds, size and epochs to fit a time such as 30m or 1h30m."),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train once more on all pictures at the end.")
    ] = False,
    skips_eda: Annotated[
        bool, typer.Option("--no-eda", help="Leave out the look at the data (`gorae eda`).")
    ] = False,
    answer: Answers = None,
    encoding: Encoding = None,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Do the whole job: data, folds, training, submission, report."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "RunResult":
        budget_s = parse_budget(budget) if budget is not None else None
        answers = parse_answers(answer)
        from gorae.pipeline.run import run as step_run

        return step_run(
            target,
            preset=preset.value if preset else None,
            recipe=recipe,
            overrides=tuple(overrides or ()),
            budget_s=budget_s,
            refit=refit,
            looks=not skips_eda,
            answers=answers,
            ask=screen.ask,
            encoding=encoding,
            on_event=screen.on_event,
            stopping=screen.stopping,
        )

    draw = partial(show.show_run, folder=target)
    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=draw)


def demo(
    context: typer.Context,
    system: Annotated[
        str | None,
        typer.Argument(
            help="What is shown: digits, melanoma, cats, mask or whales; absent: digits."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder that is made for it; absent: demo, or demo-SYSTEM."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do the main job on handwritten digits, laid out as a system."""
    chosen, target = demo_place(system, folder)

    def step(screen: Screen) -> "DemoResult":
        from gorae.pipeline.demo import demo as step_demo

        return step_demo(
            target, system=chosen, on_event=screen.on_event, stopping=screen.stopping
        )

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_demo)


def demo_place(system: str | None, folder: Path | None) -> tuple[str, Path]:
    """Which demo is meant, and where: ``gorae demo FOLDER`` shows the digits.

    Raises:
        typer.BadParameter: There is no such demo.
    """
    if system is None or system in DEMOS:
        chosen = system or DEMOS[0]
        return chosen, folder or Path("demo" if chosen == DEMOS[0] else f"demo-{chosen}")
    # A folder, unless there are two names, or it is the slip of a finger.
    if folder is not None or get_close_matches(system, DEMOS, cutoff=0.7):
        raise typer.BadParameter(
            f"There is no demo {system!r}. Demos: {', '.join(DEMOS)}. For the digits in a "
            f"folder of that name: gorae demo ./{system}"
        )
    return DEMOS[0], Path(system)


def init(
    context: typer.Context,
    folder: Folder = None,
    answer: Answers = None,
    encoding: Encoding = None,
    phi: Annotated[
        bool,
        typer.Option(
            "--phi", help="Read the personal fields of DICOM headers too (names, dates)."
        ),
    ] = False,
    folder_option: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Recognise the layout and write competition.toml."""
    target = place(folder, folder_option)

    def step(screen: Screen) -> "InitResult":
        answers = parse_answers(answer)
        from gorae.pipeline.init import init as step_init

        # Its result shows the evidence; no need to tell it twice.
        return step_init(target, encoding=encoding, answers=answers, ask=screen.ask, phi=phi)

    perform(step, folder=target, as_json=as_json, is_debug=context.obj, draw=show.show_init)
