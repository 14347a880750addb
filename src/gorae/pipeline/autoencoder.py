"""Step ``autoencoder``: an encoder for this competition's pictures, learned without labels."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gorae.augment.geometry import eval_transform
from gorae.config import Recipe
from gorae.config.preparing import plain_steps
from gorae.data.dataset import ImageDataset, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError, DataError
from gorae.events import Event, OnEvent, ignore_events
from gorae.files import content_key, exclusive_lock, read_json, write_json
from gorae.machine import num_cores
from gorae.models import write_weights
from gorae.models.autoencoder import Autoencoder, encoder_tensors
from gorae.models.encoder import ENCODER_MEAN, ENCODER_STD, encoder_metadata, map_size
from gorae.pipeline.autoencoder_sheet import write_autoencoder_sheet
from gorae.pipeline.context import Context, open_context, read_scan, usable
from gorae.pipeline.encoders import ENCODER_FILE, RECORD_FILE
from gorae.pipeline.groups import equal_groups
from gorae.pipeline.learning import augment_warnings, first_change
from gorae.pipeline.network import devices
from gorae.pipeline.pixels import describe_pixels, pixel_keys, prepare
from gorae.pipeline.runs import environment
from gorae.stopping import Stopping, never_stopped
from gorae.training.autoencode import (
    AutoencoderData,
    AutoencoderFit,
    AutoencoderPlan,
    autoencoder_rate_warnings,
    fit_autoencoder,
)
from gorae.training.evaluate import Arithmetic
from gorae.training.plan import Control

# KerasKorea/KEKOxTutorial: its map is then the 224 x 224 that published networks take.
DEFAULT_SIZE = 896

AUTOENCODER_FILE = "autoencoder.safetensors"
SHEET_FILE = "sheet.png"

# Reading large pictures is slower than so small a network on a GPU.
MOST_WORKERS = 8


@dataclass(frozen=True)
class AutoencoderResult:
    """A trained autoencoder."""

    name: str
    """What ``model.encoder`` calls it."""
    folder: Path
    record: Mapping[str, Any]
    """``record.json``: what it was trained on, and how well it restores."""

    @property
    def encoder(self) -> Path:
        """The file of its encoder."""
        return self.folder / ENCODER_FILE

    @property
    def sheet(self) -> Path:
        """Pictures, what is restored of them, and their maps."""
        return self.folder / SHEET_FILE

    def to_json(self) -> dict[str, Any]:
        """The result, for programs."""
        return {
            "name": self.name,
            "encoder": str(self.encoder),
            "sheet": str(self.sheet),
            **self.record,
        }


@dataclass(frozen=True)
class Parts:
    """Ids of the pictures that are learned from, and of those that are held out."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    num_test: int
    """How many of ``train`` are test pictures."""


def train_autoencoder(
    folder: Path,
    *,
    recipe: Recipe,
    on_event: OnEvent = ignore_events,
    stopping: Stopping = never_stopped,
) -> AutoencoderResult:
    """Train the autoencoder of ``recipe`` on the competition's pictures, or find it done.

    No label is looked at. Written to ``.gorae/autoencoders/NAME``: the encoder with the
    statistics of its map, the whole autoencoder, ``history.csv``, a sheet of pictures, and
    last ``record.json``. Stopped, it goes on from where it was by the same call.

    Args:
        folder: The competition, with its competition.toml.
        recipe: ``[autoencoder]``, ``[pixels]``, ``[[preprocess]]``, ``[augment]`` (without
            mixing), ``seed``, and of ``[train]`` devices, precision, threads and workers.
        on_event: Hears progress.
        stopping: Opened while it trains.

    Raises:
        ConfigError: A setting cannot be used.
        DataError: There are too few pictures, or numbers are no longer finite.
        Interrupted: It was asked to stop; the state is written.
    """
    arithmetic = _arithmetic(recipe)
    context = open_context(folder)
    spec = autoencoder_pixels(recipe)
    change = first_change(recipe, spec)
    on_event(Event("message", "prepare", describe_pixels(spec)))
    prepared = prepare(context, recipe, spec, on_event=on_event)
    scan = read_scan(context)
    parts = split_pictures(context, recipe, scan)
    keys_of = partial(pixel_keys, context, recipe, scan)
    plain = partial(eval_transform, spec=spec)
    train, valid = keys_of(list(parts.train)), keys_of(list(parts.valid))
    data = AutoencoderData(
        spec=spec,
        train=TrainDataset(prepared.pixels, train, change, seed=recipe.seed),
        train_ids=parts.train,
        plain=ImageDataset(prepared.pixels, train, plain),
        valid=ImageDataset(prepared.pixels, valid, plain),
    )
    identity = _identity(recipe, data, pixels=prepared.pixels.folder.name)
    name = content_key([identity, arithmetic.precision])
    target = context.workspace.autoencoders / name
    with exclusive_lock(target / "lock", purpose=f"training the autoencoder {name}"):
        if (target / RECORD_FILE).exists():
            on_event(Event("message", "autoencoder", f"{name} is there already"))
            return AutoencoderResult(name, target, read_json(target / RECORD_FILE))
        for text in _warnings(recipe, parts):
            on_event(Event("warning", "autoencoder", text))
        network = new_autoencoder(recipe)
        plan = AutoencoderPlan(
            epochs=recipe.autoencoder.epochs,
            batch_size=recipe.autoencoder.batch_size,
            lr=recipe.autoencoder.lr,
            seed=recipe.seed,
            arithmetic=arithmetic,
            identity={**identity, "threads": torch.get_num_threads()},
        )
        found = _fit(network, data, recipe, plan, target, on_event, stopping)
        _write(target, network, data, found, recipe)
        write_autoencoder_sheet(
            target / SHEET_FILE, network, data, found, valid_ids=parts.valid
        )
        write_json(target / RECORD_FILE, _record(recipe, spec, parts, found))
        # A finished training is not gone on with.
        for rest in ("state", "checkpoints"):
            shutil.rmtree(target / rest, ignore_errors=True)
    for text in (*found.notes, *_verdict(found)):
        on_event(Event("warning", "autoencoder", text))
    return AutoencoderResult(name, target, read_json(target / RECORD_FILE))


def autoencoder_pixels(recipe: Recipe) -> PixelSpec:
    """What an autoencoder is shown: values from 0 to 1, the whole picture unless asked else.

    Raises:
        ConfigError: A side is no multiple of 4, or the recipe wants another scale.
    """
    pixels = recipe.pixels
    if pixels.mean is not None or pixels.std is not None:
        raise ConfigError(
            "pixels.mean and pixels.std have no effect on an autoencoder, which restores "
            "values from 0 to 1. Leave them out."
        )
    given: dict[str, Any] = {
        name: getattr(pixels, name) for name in ("input_size", "interpolation", "crop_pct")
    }
    usual = {"input_size": DEFAULT_SIZE, "interpolation": "bicubic", "crop_pct": 1.0}
    values: dict[str, Any] = {
        name: usual[name] if value is None else value for name, value in given.items()
    }
    for size in (values["input_size"], recipe.pixels.train_size or values["input_size"]):
        map_size(size)
    sources = {
        name: "default" if value is None else "recipe" for name, value in given.items()
    } | dict.fromkeys(("mean", "std"), "default")
    return PixelSpec(mean=ENCODER_MEAN, std=ENCODER_STD, **values, sources=sources)


def split_pictures(context: Context, recipe: Recipe, scan: pd.DataFrame) -> Parts:
    """Hold a share of the train pictures out, so that no group is in both parts.

    Groups are rows, subjects and equal pictures. A given validation set is in neither part.

    Raises:
        DataError: There are too few pictures or groups.
    """
    settings, table = recipe.autoencoder, context.tables.train
    table = table[usable(scan, table["image_id"]) & (table["role"] != "holdout")]
    table = table.drop_duplicates("image_id").reset_index(drop=True)
    groups = equal_groups(context, table, scan)
    is_valid = held_out(groups, share=settings.valid_share, seed=recipe.seed)
    ids = table["image_id"].to_numpy(str)
    train, valid = ids[~is_valid].tolist(), ids[is_valid].tolist()
    num_train = len(train)
    if settings.uses_test:
        test = context.tables.test["image_id"].drop_duplicates()
        test = test[usable(scan, test)]
        taken = scan.loc[valid]
        new = ~test.isin([*train, *valid])
        for column in ("sha256", "pixel_sha256"):
            new &= ~scan.loc[test, column].isin(taken[column]).to_numpy(bool)
        train += test[new].tolist()
    if num_train < 2:
        raise DataError(
            f"{num_train} picture(s) are left to learn from, and an autoencoder needs 2 or "
            "more. Lower autoencoder.valid_share or add pictures."
        )
    return Parts(tuple(train), tuple(valid), len(train) - num_train)


def held_out(groups: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Which images are held out: whole groups in a drawn order, up to about ``share``, (N,).

    Raises:
        DataError: All images are of one group.
    """
    found, sizes = np.unique(groups, return_counts=True)
    if len(found) < 2:
        raise DataError(
            "All pictures belong to one group, so none can be held out to measure the error "
            "of an autoencoder. Correct group_columns in competition.toml."
        )
    order = np.random.default_rng(seed).permutation(len(found))
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    # One group at least, and not all: what is held out teaches nothing.
    chosen = order[: max(1, min(len(found) - 1, int((before < share * len(groups)).sum())))]
    return np.isin(groups, found[chosen])


def new_autoencoder(recipe: Recipe) -> Autoencoder:
    """The autoencoder that a recipe begins with; the global chance is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return Autoencoder(in_chans=recipe.autoencoder.channels)


def _arithmetic(recipe: Recipe) -> Arithmetic:
    """Where and in which numbers it is trained; also sets this process's threads."""
    train = recipe.train
    named = devices(train.devices)
    if len(named) > 1:
        raise ConfigError(
            f"train.devices = {train.devices!r}: an autoencoder of 8,482 weights is trained on "
            f"one device. Name one, such as {named[0]}; the runs behind it take them all."
        )
    if train.precision == "fp16":
        raise ConfigError(
            'train.precision = "fp16" would round the small errors of pictures to 0. Set it to '
            '"bf16", "fp32" or "auto" (fp32).'
        )
    if train.threads is not None:
        torch.set_num_threads(train.threads)
    precision = "fp32" if train.precision == "auto" else train.precision
    return Arithmetic(named[0], precision, train.channels_last is not False)


def _identity(recipe: Recipe, data: AutoencoderData, *, pixels: str) -> dict[str, Any]:
    spec = {name: value for name, value in asdict(data.spec).items() if name != "sources"}
    return {
        "autoencoder": recipe.autoencoder.model_dump(mode="json"),
        "augment": recipe.augment.model_dump(mode="json"),
        "seed": recipe.seed,
        "spec": spec,
        "train_size": recipe.pixels.train_size,
        "pixels": pixels,
        "train": data.train.fingerprint(),
        "valid": data.valid.fingerprint(),
    }


def _warnings(recipe: Recipe, parts: Parts) -> list[str]:
    found = [*autoencoder_rate_warnings(recipe.autoencoder.lr), *augment_warnings(recipe)]
    if parts.num_test:
        found.append(
            f"{parts.num_test} test pictures are learned from, without labels (transductive): "
            "look whether the rules allow it"
        )
    return found


def _fit(
    network: Autoencoder,
    data: AutoencoderData,
    recipe: Recipe,
    plan: AutoencoderPlan,
    target: Path,
    on_event: OnEvent,
    stopping: Stopping,
) -> AutoencoderFit:
    sizes = f"{len(data.train)} pictures, {len(data.valid)} held out"
    on_event(Event("stage", "autoencoder", f"training on {sizes}"))
    latest = "steps"

    def on_epoch(row: Mapping[str, Any]) -> None:
        nonlocal latest
        latest = f"epoch {row['epoch']}: error {row['valid_mse']:.5f}"

    def on_step(done: int, total: int) -> None:
        on_event(Event("progress", "autoencoder", latest, done, total))

    workers = recipe.train.workers
    if workers is None:
        workers = min(MOST_WORKERS, max(1, num_cores() - 1))
    with stopping() as should_stop:
        control = Control(
            workers=workers,
            pin_memory=recipe.train.pin_memory,
            should_stop=should_stop,
            on_step=on_step,
            on_epoch=on_epoch,
        )
        return fit_autoencoder(network, data, plan=plan, folder=target, control=control)


def _record(
    recipe: Recipe, spec: PixelSpec, parts: Parts, found: AutoencoderFit
) -> dict[str, Any]:
    pixels = asdict(spec)
    del pixels["sources"]
    return {
        "settings": recipe.autoencoder.model_dump(mode="json"),
        "augment": recipe.augment.model_dump(mode="json"),
        "preprocess": plain_steps(recipe.preprocess),
        "pixels": pixels,
        "seed": recipe.seed,
        "num_train": len(parts.train) - parts.num_test,
        "num_test": parts.num_test,
        "num_valid": len(parts.valid),
        "is_transductive": parts.num_test > 0,
        "epoch": found.epoch,
        "mse": found.mse,
        "mean_image_mse": found.mean_image_mse,
        "map_mean": list(found.map_mean),
        "map_std": list(found.map_std),
        "notes": list(found.notes),
        "environment": environment(),
    }


def _write(
    target: Path,
    network: Autoencoder,
    data: AutoencoderData,
    found: AutoencoderFit,
    recipe: Recipe,
) -> None:
    metadata = encoder_metadata(
        data.spec,
        channels=network.in_chans,
        preprocess=plain_steps(recipe.preprocess),
        uses_test=recipe.autoencoder.uses_test,
    )
    tensors = encoder_tensors(
        network, map_mean=torch.tensor(found.map_mean), map_std=torch.tensor(found.map_std)
    )
    write_weights(target / AUTOENCODER_FILE, network.state_dict())
    write_weights(target / ENCODER_FILE, tensors, metadata)


def _verdict(found: AutoencoderFit) -> list[str]:
    if found.mse < found.mean_image_mse:
        return []
    return [
        f"it restores held-out pictures with an error of {found.mse:.5f}, no better than their "
        f"mean picture ({found.mean_image_mse:.5f}): it has not learned. Train for more "
        "epochs, or lower autoencoder.batch_size where there are few pictures"
    ]
