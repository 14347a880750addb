"""Curves of a training for TensorBoard, an optional extra."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gorae.errors import UserError

SHOWN = ("lr", "train_loss", "valid_loss", "score", "images_per_s")


@contextmanager
def open_curves(folder: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that adds one row of a history to the curves in ``folder``.

    Raises:
        UserError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "train.tensorboard needs the package tensorboard, which is not installed: "
            "`pip install tensorboard`, or leave the setting out. history.csv and the report "
            "hold the same curves."
        ) from error
    # Opened now: an unwritable folder must be found before an epoch is trained.
    writer: Any = SummaryWriter(folder)

    def add(row: Mapping[str, Any]) -> None:
        for name in SHOWN:
            if row.get(name) is not None:
                writer.add_scalar(name, row[name], row["epoch"])
        writer.flush()

    try:
        yield add
    finally:
        writer.close()
