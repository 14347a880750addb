"""Backbone features of a competition's pictures: one pass serves heads and all of eda."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gorae.config.recipe import ModelSettings
from gorae.data.store import PixelStore
from gorae.events import Event, OnEvent
from gorae.inference import Execution, Pictures, extract_features, picture_keys
from gorae.models import LoadedModel
from gorae.stores.features import ensure_features


@dataclass(frozen=True)
class Extractor:
    """A network that gives features, and where they are kept."""

    loaded: LoadedModel
    model: ModelSettings
    """The settings it was loaded from."""
    weights: str
    """Key of its weights."""
    execution: Execution
    pixels: PixelStore
    features_root: Path
    """Folder of all caches."""


def backbone_features(
    extractor: Extractor,
    hashes: Sequence[str],
    image_ids: Sequence[str],
    *,
    view: str,
    on_event: OnEvent,
) -> NDArray[np.float32]:
    """Features of pictures in one view, (N, D), from the cache where they are there.

    Args:
        extractor: The network.
        hashes: Key of each picture in the prepared store, N.
        image_ids: Id of each, N; random views are drawn from it.
        view: A single view.
        on_event: Hears how many are done.
    """
    loaded, execution, model = extractor.loaded, extractor.execution, extractor.model
    spec = loaded.spec
    # A random view is of an image, any other of a file.
    keys = picture_keys(Pictures(extractor.pixels, hashes, spec, image_ids), [view])
    image_of = dict(zip(keys, zip(hashes, image_ids, strict=True), strict=True))
    total, before = len(image_of), 0

    def compute(wanted: list[str]) -> NDArray[np.float32]:
        nonlocal before

        def on_progress(done: int, _: int) -> None:
            on_event(Event("progress", "features", "pictures", before + done, total))

        files, ids = zip(*(image_of[key] for key in wanted), strict=True)
        features = extract_features(
            loaded.model,
            Pictures(extractor.pixels, files, spec, ids),
            view=view,
            execution=execution,
            on_progress=on_progress,
        )
        before += len(wanted)
        return features

    return ensure_features(
        keys,
        key_parts={
            "pixels": extractor.pixels.folder.name,
            "model": model.name,
            "kwargs": dict(loaded.kwargs),
            "layer": model.layer,
            "pooling": model.pooling,
            "weights": extractor.weights,
            "spec": [*spec.mean, *spec.std, spec.input_size, spec.interpolation],
            "crop_pct": spec.crop_pct,
            "view": view,
            "precision": execution.arithmetic.precision,
        },
        features_root=extractor.features_root,
        compute=compute,
    )
