"""The sheet of ``gorae preprocess --preview``: pictures as decoded, after each step, stored."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gorae.augment.preview import CELL_PX, Cell, Row, draw_sheet
from gorae.config import Recipe
from gorae.config.preparing import plain_steps
from gorae.data.decode import decode, read_image_bytes
from gorae.data.pixels import read_arguments
from gorae.errors import DataError
from gorae.files import write_bytes
from gorae.pipeline.context import Context, decode_policy
from gorae.pipeline.pictures import listed_pictures
from gorae.preprocess.framed import Framed
from gorae.preprocess.marks import marked
from gorae.preprocess.steps import each_step
from gorae.stores.prepared import Prepared


def preprocess_sheet(
    context: Context, recipe: Recipe, prepared: Prepared, *, num_images: int = 6
) -> Path:
    """Draw ``.gorae/preprocess-RECIPE.png`` and say where it lies.

    Args:
        context: The competition.
        recipe: The settings; its seed draws the pictures.
        prepared: The pictures, prepared with that recipe.
        num_images: Rows.

    Raises:
        DataError: No picture can be read.
    """
    listed = listed_pictures(context, recipe)
    usable = np.flatnonzero((prepared.scan["verdict"] != "quarantined").to_numpy(bool))
    if not len(usable):
        raise DataError("None of the pictures can be read; .gorae/scan.parquet says why.")
    rng = np.random.default_rng(recipe.seed)
    chosen = np.sort(rng.choice(usable, size=min(num_images, len(usable)), replace=False))
    steps = plain_steps(recipe.preprocess)
    rows = []
    for line in chosen.tolist():
        image_id, path, arguments = listed.iloc[line][["image_id", "path", "arguments"]]
        given = read_arguments(arguments)
        chosen_frame = {"frame": given["frame"]} if "frame" in given else {}
        policy = decode_policy(context)
        data = read_image_bytes(path, root=context.workspace.folder, policy=policy)
        raw = decode(data, policy, **chosen_frame).pixels
        stored = prepared.pixels.read(prepared.keys[line])
        heading = " - ".join(filter(None, (image_id, prepared.step_notes[line])))
        rows.append(_row(heading, raw, steps, given, stored))
    sheet = draw_sheet(
        f"preprocess, recipe {recipe.name}",
        [_described(steps)],
        columns=["raw", *(step["step"] for step in steps), "stored"],
        rows=rows,
    )
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    target = context.workspace.home / f"preprocess-{recipe.name}.png"
    write_bytes(target, buffer.getvalue())
    return target


def _row(
    heading: str,
    raw: NDArray[np.uint8],
    steps: Sequence[dict[str, Any]],
    given: dict[str, Any],
    stored: NDArray[np.uint8],
) -> Row:
    stages = each_step(raw, steps, box=given.get("box"), points=given.get("points", ()))
    cells = [_cell(framed) for _, framed in stages]
    return Row(heading, (*cells, _cell(Framed(stored))))


def _cell(framed: Framed) -> Cell:
    pixels = np.array(marked(framed, side_px=CELL_PX))
    width, height = framed.size
    return Cell(torch.from_numpy(pixels).permute(2, 0, 1), f"{width} x {height}")


def _described(steps: Sequence[dict[str, Any]]) -> str:
    """The steps with their settings, in order."""
    if not steps:
        return "There are no [[preprocess]] steps: pictures are stored as decoded, shrunk."
    parts = []
    for step in steps:
        settings = [
            f"{name} {value}" for name, value in step.items() if name != "step" and value
        ]
        parts.append(f"{step['step']} ({', '.join(settings)})" if settings else step["step"])
    return "; ".join(parts) + "."
