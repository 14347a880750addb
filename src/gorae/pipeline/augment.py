"""Step ``augment``: a sheet that shows what augmentation does to the competition's pictures."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gorae.augment.geometry import eval_transform
from gorae.augment.mix import MixPlan, mix_batch
from gorae.augment.named import check_transforms
from gorae.augment.plan import SETTABLE, AugmentPlan, resolve_augment
from gorae.augment.policies import augmented, identity_warnings
from gorae.augment.preview import Cell, Row, describe, draw_sheet
from gorae.config import Recipe
from gorae.data.boxes_drawn import drawn_source
from gorae.data.dataset import philox
from gorae.data.pixels import PixelSpec
from gorae.data.store import PixelStore
from gorae.errors import DataError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import write_bytes
from gorae.pipeline.box_mix import (
    box_mix_text,
    prepare_training,
    source_names,
    with_other_keys,
)
from gorae.pipeline.context import Context, open_context, usable
from gorae.pipeline.pixels import input_pixels
from gorae.stores.prepared import Prepared

# Pictures are drawn before they are mixed; mixing is shown on the first of these draws.
FIRST_EPOCH = 0

# Of most networks; transforms are tried at it where no network is looked at.
USUAL_SIZE = 224


@dataclass(frozen=True)
class AugmentResult:
    """What training does to a picture."""

    policy: str
    text: str
    """What may happen, in the order in which it happens."""
    path: Path | None = None
    """The sheet, where one was drawn."""
    image_ids: tuple[str, ...] = ()
    """The pictures of its rows, from the top."""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "policy": self.policy,
            "text": self.text,
            "path": str(self.path) if self.path else None,
            "images": list(self.image_ids),
            "warnings": list(self.warnings),
        }


def describe_augment(
    folder: Path, *, recipe: Recipe, on_event: OnEvent = ignore_events
) -> AugmentResult:
    """Say what training does to a picture, without looking at any.

    Raises:
        ConfigError: A setting of ``[augment]`` cannot be used.
    """
    size = recipe.pixels.train_size or recipe.pixels.input_size or USUAL_SIZE
    plan, warnings = _plan(recipe, size)
    for warning in warnings:
        on_event(Event("warning", "augment", warning))
    return AugmentResult(recipe.augment.policy, _text(recipe, plan), warnings=warnings)


def _text(recipe: Recipe, plan: AugmentPlan) -> str:
    return "; ".join(filter(None, (box_mix_text(recipe), describe(plan)))) + "."


def _plan(recipe: Recipe, size: int) -> tuple[AugmentPlan, tuple[str, ...]]:
    settings = recipe.augment.model_dump(include=set(SETTABLE))
    plan = resolve_augment(recipe.augment.policy, settings)
    check_transforms(plan.transforms, side=size)
    warnings = identity_warnings(plan)
    if recipe.model.use != "finetune":
        warnings.append(
            f'nothing is augmented with model.use = "{recipe.model.use}"; this is what '
            '"finetune" would show'
        )
    return plan, tuple(warnings)


def preview(
    folder: Path,
    *,
    recipe: Recipe,
    num_images: int = 6,
    num_draws: int = 6,
    on_event: OnEvent = ignore_events,
) -> AugmentResult:
    """Draw ``.gorae/augment-POLICY.png``: pictures as stored, as evaluated, and augmented.

    Args:
        folder: The competition; its pictures are prepared where they are not yet.
        recipe: The settings; ``[augment]`` and ``[pixels]`` are what is shown.
        num_images: Rows, spread evenly over the classes.
        num_draws: Random draws of each picture.
        on_event: Hears progress.

    Raises:
        ConfigError: A setting of ``[augment]`` cannot be used.
        DataError: No training picture can be read.
    """
    context = open_context(folder)
    on_event(Event("stage", "augment", f"drawing {recipe.augment.policy}"))
    spec = input_pixels(context, recipe)
    train_spec = replace(spec, input_size=recipe.pixels.train_size or spec.input_size)
    plan, warnings = _plan(recipe, train_spec.input_size)
    for warning in warnings:
        on_event(Event("warning", "augment", warning))
    prepared = prepare_training(context, recipe, spec, on_event=on_event)
    table = _readable(context, recipe, prepared)
    shown = [_Shown.read(table, place, prepared.pixels) for place in _spread(table, num_images)]
    rows = [
        _row(one, spec=spec, train_spec=train_spec, plan=plan, recipe=recipe, num=num_draws)
        for one in shown
    ]
    rare = _of_rare_classes(table, recipe.augment.rare_classes, prepared.pixels, len(shown))
    rows += _mixed_rows(
        [_drawn(one, spec=train_spec, plan=plan, recipe=recipe) for one in shown],
        [_drawn(one, spec=train_spec, plan=plan, recipe=recipe) for one in rare],
        labels=[one.label for one in (*shown, *rare)],
        recipe=recipe,
    )
    sheet = draw_sheet(
        f"augment.policy = {recipe.augment.policy}",
        [_text(recipe, plan)],
        columns=["as stored", "in evaluation", *(f"epoch {n + 1}" for n in range(num_draws))],
        rows=rows,
    )
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path = context.workspace.home / f"augment-{recipe.augment.policy}.png"
    write_bytes(path, buffer.getvalue())
    on_event(Event("message", "augment", f"wrote {path}"))
    names = tuple(one.name for one in shown)
    return AugmentResult(recipe.augment.policy, _text(recipe, plan), path, names, warnings)


@dataclass(frozen=True)
class _Shown:
    """A picture of the sheet."""

    name: str
    label: str
    place: int
    """Its index among the training pictures: decides what is drawn for it."""
    image: torch.Tensor
    others: tuple[torch.Tensor, ...] = ()
    """The same as the further sources of boxes crop it."""

    @classmethod
    def read(cls, table: pd.DataFrame, place: int, pixels: PixelStore) -> "_Shown":
        line = table.iloc[place]
        keys = [line["sha256"], *line.get("others", ())]
        first, *others = (
            torch.from_numpy(pixels.read(str(key)).copy()).permute(2, 0, 1) for key in keys
        )
        name = str(line["image_id"])
        return cls(name, _label(line["label"]), place, first, tuple(others))


def _label(label: Any) -> str:
    return ", ".join(label) if isinstance(label, tuple) else f"{label}"


def _readable(context: Context, recipe: Recipe, prepared: Prepared) -> pd.DataFrame:
    """The train table's pictures that can be shown, with ``sha256``: the key of their pixels,
    and ``others``: those under further sources of boxes."""
    scan = prepared.scan.set_index("image_id").assign(key=prepared.keys)
    train = context.tables.train
    table = train[usable(scan, train["image_id"])].reset_index(drop=True)
    if table.empty:
        raise DataError(
            "None of the training pictures can be read; .gorae/scan.parquet says why."
        )
    keyed = with_other_keys(context, recipe, scan, table)
    return keyed.assign(sha256=table["image_id"].map(scan["key"]))


def _spread(table: pd.DataFrame, num_images: int) -> list[int]:
    """Places of pictures, evenly over the table when it is ordered by label."""
    order = np.argsort(table["label"].map(_label).to_numpy(), kind="stable")
    at = (np.arange(min(num_images, len(order))) + 0.5) * len(order) / num_images
    return [int(order[int(place)]) for place in np.minimum(at, len(order) - 1)]


def _row(
    shown: _Shown,
    *,
    spec: PixelSpec,
    train_spec: PixelSpec,
    plan: AugmentPlan,
    recipe: Recipe,
    num: int,
) -> Row:
    draws = [
        Cell(
            _drawn(shown, spec=train_spec, plan=plan, recipe=recipe, epoch=epoch),
            source_names(recipe)[_source(shown, recipe, epoch)] if shown.others else "",
        )
        for epoch in range(num)
    ]
    cells = (Cell(shown.image), Cell(eval_transform(shown.image, spec)), *draws)
    return Row(f"{shown.label} · {shown.name}", cells)


def _drawn(
    shown: _Shown,
    *,
    spec: PixelSpec,
    plan: AugmentPlan,
    recipe: Recipe,
    epoch: int = FIRST_EPOCH,
) -> torch.Tensor:
    rng = philox(recipe.seed, epoch, shown.place)
    image = (shown.image, *shown.others)[_source(shown, recipe, epoch)]
    return augmented(image, spec=spec, plan=plan, rng=rng)


def _source(shown: _Shown, recipe: Recipe, epoch: int) -> int:
    """Whose box a picture is cropped to in an epoch, 0 where there is but one."""
    shares = [each.share for each in recipe.augment.box_mix]
    return drawn_source(shares, seed=recipe.seed, epoch=epoch, index=shown.place)


def _of_rare_classes(
    table: pd.DataFrame, classes: tuple[str, ...], pixels: PixelStore, num: int
) -> list[_Shown]:
    """Pictures that boxes and halves come from, where the recipe names their classes."""
    found = [
        place
        for place, label in enumerate(table["label"])
        if set(classes) & set(label if isinstance(label, tuple) else (str(label),))
    ]
    return [
        _Shown.read(table, found[number % len(found)], pixels) for number in range(num) if found
    ]


def _mixed_rows(
    images: list[torch.Tensor],
    partners: list[torch.Tensor],
    *,
    labels: list[str],
    recipe: Recipe,
) -> list[Row]:
    """A row for each kind of mixing that is on, with what the labels become."""
    augment = recipe.augment
    share = f", {augment.mix_share:.0%} of the batches" if augment.mix_share < 1 else ""
    kinds = [
        (f"mixup, alpha {augment.mixup:g}{share}", MixPlan(mixup=augment.mixup)),
        (f"CutMix, alpha {augment.cutmix:g}{share}", MixPlan(cutmix=augment.cutmix)),
        (
            f"half CutMix, {augment.half_cutmix:.0%} of the pictures",
            MixPlan(half_cutmix=float(augment.half_cutmix > 0)),
        ),
    ]
    rows: list[Row] = []
    for heading, plan in kinds:
        if not plan.is_on:
            continue
        # A column for each picture, so that a row of targets says what a mixture is made of.
        targets = torch.eye(len(labels))
        others = (torch.stack(partners), targets[len(images) :]) if partners else None
        rng = philox(recipe.seed, FIRST_EPOCH, len(rows))
        mixed, parts = mix_batch(
            torch.stack(images), targets[: len(images)], plan=plan, rng=rng, partners=others
        )
        captions = [_mixture(row, labels) for row in parts.tolist()]
        cells = tuple(Cell(*pair) for pair in zip(mixed, captions, strict=True))
        rows.append(Row(heading, cells))
    return rows


def _mixture(parts: list[float], labels: list[str]) -> str:
    """A label such as ``0.62 cat + 0.38 dog``, the larger part first."""
    shares: dict[str, float] = {}
    for part, label in zip(parts, labels, strict=True):
        if part > 0:
            shares[label] = shares.get(label, 0.0) + part
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    return " + ".join(f"{share:.2f} {label}" for label, share in ordered)
