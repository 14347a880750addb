"""Step ``demo``: the main job on real pictures that ship with scikit-learn, and its score."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorae.errors import UserError
from gorae.events import Event, OnEvent, ignore_events
from gorae.pipeline.demo.cats import cats_set
from gorae.pipeline.demo.digits import digits_set
from gorae.pipeline.demo.mask import mask_set
from gorae.pipeline.demo.melanoma import melanoma_set
from gorae.pipeline.demo.sets import DemoSet, hidden_score, write_set
from gorae.pipeline.demo.whales import whales_set
from gorae.pipeline.run import RunResult, run
from gorae.stopping import Stopping, never_stopped


@dataclass(frozen=True)
class System:
    """A competition of the sources, small, and the shipped recipe that is made for it."""

    title: str
    build: Callable[[], DemoSet]
    recipe: str
    """Name of a shipped recipe, or a path in the folder of the set."""
    score: str
    """How the hidden part is scored, a name in ``demo_sets.SCORES``."""
    things: str = "pictures"
    overrides: tuple[str, ...] = ()
    """What makes the recipe small: it takes a minute or two on two cores."""


# LeNet-5 with random weights: nothing is downloaded, and a fold takes seconds.
_SMALL = (
    "model.name=lenet5",
    "model.weights=none",
    "train.precision=fp32",
    "train.channels_last=false",
    "train.threads=1",
)

SYSTEMS: dict[str, System] = {
    "digits": System(
        "handwritten digits", digits_set, "recipes/lenet5.toml", "accuracy", things="digits"
    ),
    "melanoma": System(
        "system A, melanoma",
        melanoma_set,
        "isic2020",
        "roc_auc",
        overrides=(
            *_SMALL,
            "model.metadata_widths=[32, 16]",
            "pixels.input_size=48",
            "train.epochs=15",
            "train.batch_size=16",
            "train.lr=2e-3",
            "train.backbone_lr=2e-3",
        ),
    ),
    "cats": System(
        "system C, cats and dogs",
        cats_set,
        "cats-lenet",
        "accuracy",
        overrides=(
            "pixels.input_size=48",
            "train.epochs=15",
            "train.precision=fp32",
            "train.channels_last=false",
            "train.threads=1",
        ),
    ),
    "mask": System(
        "system D, masks",
        mask_set,
        "mask",
        "macro_f1",
        overrides=(
            *_SMALL,
            "pixels.input_size=48",
            # Parts are learned as well: 90 persons are few for 18 classes.
            "model.outputs=both",
            "model.drop_rate=0.1",
            "augment.scale=[0.7, 1.0]",
            "train.lr=3e-3",
            "train.backbone_lr=3e-3",
            "train.epochs=20",
            # A digit in the mirror is another one.
            'predict.views=["identity"]',
        ),
    ),
    "whales": System(
        "system E, whales",
        whales_set,
        "whales-arcface",
        "map_at_5",
        overrides=(
            *_SMALL,
            "model.embedding=64",
            "model.drop_rate=0.1",
            "model.scale=20",
            "pixels.input_size=48",
            "loss.margin=0.3",
            "train.epochs=40",
            "train.swa_epochs=8",
            "train.lr=2e-3",
            "train.backbone_lr=2e-3",
        ),
    ),
}


@dataclass(frozen=True)
class DemoResult:
    """The run on a demonstration set, and how it did on the part that was kept back."""

    system: str
    """A name in ``SYSTEMS``."""
    run: RunResult
    hidden_score: float
    """Score of the submission on the hidden part, by the metric of the competition."""
    num_hidden: int

    @property
    def title(self) -> str:
        """What the set is."""
        return SYSTEMS[self.system].title

    @property
    def things(self) -> str:
        """What its pictures are called."""
        return SYSTEMS[self.system].things

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {
            **self.run.to_json(),
            "system": self.system,
            "hidden_score": self.hidden_score,
            "num_hidden": self.num_hidden,
        }


def demo(
    folder: Path,
    *,
    system: str = "digits",
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> DemoResult:
    """Write a small competition into ``folder``, run it, and score the hidden part.

    The labels of the test pictures are never written anywhere. Given again after a stop, it
    goes on where it was stopped.

    Args:
        folder: Is made; it must hold nothing else.
        system: A name in ``SYSTEMS``.
        on_event: Hears progress.
        stopping: Opened while a training runs, which then ends in order when it is asked to.

    Raises:
        UserError: The folder holds something else, or there is no such system.
    """
    if system not in SYSTEMS:
        raise UserError(f"There is no demo {system!r}. Demos: {', '.join(SYSTEMS)}.")
    chosen = SYSTEMS[system]
    on_event(Event("stage", system, f"writing {chosen.title} as a competition"))
    made = chosen.build()
    write_set(folder, made, on_event=on_event)
    own_recipe = folder / chosen.recipe
    result = run(
        folder,
        recipe=own_recipe if own_recipe.exists() else chosen.recipe,
        overrides=chosen.overrides,
        on_event=on_event,
        stopping=stopping,
    )
    assert result.submission is not None
    score = hidden_score(result.submission, made.answers, score=chosen.score)
    return DemoResult(system, result, score, len(made.answers))
