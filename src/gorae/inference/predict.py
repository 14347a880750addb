"""Features and probabilities of images, of one network or of many checkpoints of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gorae.augment.names import IDENTITY
from gorae.errors import DataError, list_problems
from gorae.inference.execution import Execution
from gorae.inference.network import build_forward
from gorae.inference.passes import Batches, open_threads, run_batches
from gorae.inference.pictures import Distinct, Pictures, find_distinct, square_bytes
from gorae.models.int8 import Ranges
from gorae.models.network import ImageModel
from gorae.training.outputs import OutputForm, activate

Progress = Callable[[int, int], None]

Outputs = dict[str, Tensor]
"""(n, O) by view."""


@dataclass(frozen=True)
class NamedWeights:
    """A checkpoint to predict with."""

    name: str
    form: OutputForm
    """How its outputs become values."""
    load: Callable[[ImageModel], object]
    """Puts the weights into the network, in place; may be called again."""
    ranges: Ranges | None = None
    """Of ``measure_ranges``, to let its convolutions multiply bytes; None for floats."""


def extract_features(
    model: ImageModel,
    pictures: Pictures,
    *,
    view: str = IDENTITY,
    execution: Execution | None = None,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The backbone's pooled features of each image.

    Args:
        model: The network; it is left in evaluation, on the device and in the layout used.
        pictures: Images and their form.
        view: The single view they are seen through.
        execution: How the passes are run.
        on_progress: Called with images done and images in all.

    Returns:
        (N, D), in the order of the hashes.

    Raises:
        DataError: Features are not finite; the images are named.
        ConfigError: A user's module has no method ``features``, or there is no such view.
    """
    execution = execution or Execution()
    distinct = find_distinct(pictures, (view,))
    if not pictures.hashes:
        return np.zeros((0, 0), dtype=np.float32)
    as_it_is = [NamedWeights("", OutputForm("value"), lambda _: None)]
    passes = _passes(model, as_it_is, distinct, execution, on_progress, features=True)
    # Unpacked, so that the pass is at its end, with its threads.
    [(_, outputs)] = passes
    return outputs[view][distinct.rows]


def predict_probabilities(
    model: ImageModel,
    pictures: Pictures,
    *,
    form: OutputForm,
    views: Sequence[str] = (IDENTITY,),
    execution: Execution | None = None,
    on_progress: Progress | None = None,
) -> dict[str, NDArray[np.float32]]:
    """What the model says of each image, for each view.

    Each image is read once for all views, and resized once for all that look at one place.

    Args:
        model: The network; it is left in evaluation, on the device and in the layout used.
        pictures: Images and their form.
        form: How outputs become values; it was kept with the weights.
        views: Single views the images are seen through, each once.
        execution: How the passes are run.
        on_progress: Called with images done and images in all.

    Returns:
        (N, K) by view, in the order of the hashes.

    Raises:
        DataError: Outputs are not finite; the images are named.
        ConfigError: There is no such view.
    """
    as_it_is = [NamedWeights("", form, lambda _: None)]
    [(_, values)] = predict_checkpoints(
        model, as_it_is, pictures, views=views, execution=execution, on_progress=on_progress
    )
    return values


def predict_checkpoints(
    model: ImageModel,
    checkpoints: Sequence[NamedWeights],
    pictures: Pictures,
    *,
    views: Sequence[str] = (IDENTITY,),
    embedded: bool = False,
    execution: Execution | None = None,
    on_progress: Progress | None = None,
) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """What many checkpoints of one network say of the same images, checkpoint by checkpoint.

    As ``predict_probabilities`` of each, but images are read and resized once for all. Where
    the resized ones do not fit ``Execution.buffer_bytes``, images are taken in parts, every
    checkpoint is loaded once per part, and the first result comes with the last part.

    Args:
        model: The network; its weights are replaced by each checkpoint's in turn.
        checkpoints: Whose weights, in order; one at a time is in memory.
        pictures: Images and their form.
        views: Single views the images are seen through, each once.
        embedded: Give the embedding of each image after its outputs; the checkpoints' form
            must then be ``value``, which leaves both as they are.
        execution: How the passes are run.
        on_progress: Called with the images done and those in all, counted per checkpoint.

    Yields:
        Each checkpoint's name, and (N, K) by view, in the order of the hashes.

    Raises:
        DataError: Outputs are not finite; the checkpoint and the images are named.
        ConfigError: There is no such view.
    """
    distinct = find_distinct(pictures, views)
    forms = {weights.name: weights.form for weights in checkpoints}
    assert len(forms) == len(checkpoints)
    if not pictures.hashes:
        empty = np.zeros((0, 0), dtype=np.float32)
        yield from ((name, dict.fromkeys(views, empty)) for name in forms)
        return
    execution = execution or Execution()
    passes = _passes(model, checkpoints, distinct, execution, on_progress, embedded=embedded)
    for name, outputs in passes:
        yield (
            name,
            {
                view: activate(rows, forms[name])[distinct.rows]
                for view, rows in outputs.items()
            },
        )


def _passes(
    model: ImageModel,
    checkpoints: Sequence[NamedWeights],
    distinct: Distinct,
    execution: Execution,
    on_progress: Progress | None,
    *,
    features: bool = False,
    embedded: bool = False,
) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """Outputs (U, O) of the different pictures by view, for each checkpoint."""
    done, total = 0, len(distinct.first) * len(checkpoints)

    def on_batch(num_images: int) -> None:
        nonlocal done
        done += num_images
        if on_progress is not None:
            on_progress(done, total)

    parts = _parts(distinct, execution, keep=len(checkpoints) > 1)
    is_cpu = execution.arithmetic.device == "cpu"
    found: dict[str, list[Outputs]] = {each.name: [] for each in checkpoints}
    with open_threads(sum(len(batches.images) for batches in parts)) as threads:
        for batches in parts:
            for weights in checkpoints:
                weights.load(model)
                forward = build_forward(
                    model,
                    distinct.pictures.spec,
                    execution=execution,
                    features=features,
                    embedded=embedded,
                    ranges=weights.ranges,
                    run=threads.run if is_cpu else None,
                )
                found[weights.name].append(
                    run_batches(
                        forward,
                        distinct,
                        batches,
                        threads=threads,
                        is_cpu=is_cpu,
                        on_batch=on_batch,
                    )
                )
                if batches is parts[-1]:
                    yield (
                        weights.name,
                        _joined(
                            found.pop(weights.name), distinct, execution, name=weights.name
                        ),
                    )
            batches.forget()


def _parts(distinct: Distinct, execution: Execution, *, keep: bool) -> list[Batches]:
    """The different pictures in batches; in parts whose kept pixels fit the memory allowed."""
    size = execution.batch_size
    num_images = len(distinct.first)
    if keep:
        fitting = execution.buffer_bytes // (square_bytes(distinct) * size)
        num_images = min(num_images, max(1, fitting) * size)
    return [
        Batches(
            distinct, distinct.first[start : start + num_images], batch_size=size, keep=keep
        )
        for start in range(0, len(distinct.first), max(1, num_images))
    ]


def _joined(
    parts: Sequence[Outputs], distinct: Distinct, execution: Execution, *, name: str
) -> dict[str, NDArray[np.float32]]:
    """Outputs of all parts, refused where one is not a number."""
    joined = {
        view: torch.cat([part[view] for part in parts]).numpy() for view in distinct.views
    }
    is_bad = np.any([~np.isfinite(rows).all(axis=1) for rows in joined.values()], axis=0)
    if is_bad.any():
        hashes = [distinct.pictures.hashes[index] for index in distinct.first[is_bad].tolist()]
        raise DataError(
            f"{f'Checkpoint {name}' if name else 'The network'} gives no finite numbers for "
            f"{len(hashes)} of {len(is_bad)} images (SHA-256 of the files):\n"
            f"{list_problems(hashes)}\n"
            + (
                "The weights are damaged, or the training that made them diverged."
                if execution.arithmetic.precision == "fp32"
                else 'Set train.precision = "fp32".'
            )
        )
    return joined
