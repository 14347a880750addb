"""How forward passes are run."""

from collections.abc import Callable
from dataclasses import dataclass

from gorae.training.evaluate import Arithmetic

# Each holds the activations of one batch: more threads than this cost memory for little speed.
MOST_THREADS = 4

# Squares kept between checkpoints: 7,100 at 224 pixels. Where a pass needs more, the pictures
# are taken in parts, and every part of this size computes for minutes per load of weights.
BUFFER_BYTES = 2**30

DEFAULT_ARITHMETIC = Arithmetic()


def _ignore_note(note: str) -> None:
    pass


@dataclass(frozen=True)
class Execution:
    """How forward passes are run; nothing here changes what is computed but rounding."""

    batch_size: int = 32
    arithmetic: Arithmetic = DEFAULT_ARITHMETIC
    """Its ``compile`` is about training and not looked at."""
    compile: bool = False
    """Compile the network with its weights frozen in: seconds per set of weights, more for
    the first. Where that fails the network runs as it is, and ``on_note`` is told."""
    buffer_bytes: int = BUFFER_BYTES
    """Memory for resized pictures that several checkpoints share."""
    on_note: Callable[[str], None] = _ignore_note
    """Told what the user should know."""
