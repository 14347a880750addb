"""A peer of fine-tuning: fastai's quick start.

`vision_learner` with its default head and `Resize`; `fine_tune` (one epoch of the head, the
others of everything) where there are weights, one cycle of everything where they are random.
It differs only in taking the weights from a file. Takes and prints
one JSON object.
"""

import json
import sys
import time
from types import SimpleNamespace
from typing import Any

from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    imagenet_stats,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file


class Speed(Callback):  # type: ignore[misc]
    """Images per second of the training part of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.images_per_s: list[float] = []

    def before_train(self) -> None:
        self.started, self.images = time.perf_counter(), 0

    def after_batch(self) -> None:
        if self.training:
            self.images += len(self.x)

    def after_train(self) -> None:
        self.images_per_s.append(self.images / (time.perf_counter() - self.started))


def main() -> None:
    """Train, and print the last accuracy and the speed of each epoch."""
    options = SimpleNamespace(**json.loads(sys.argv[1]))
    set_seed(options.seed)
    stats = imagenet_stats if options.mean is None else ([options.mean] * 3, [options.mean] * 3)
    loaders = ImageDataLoaders.from_folder(
        options.root,
        train="train",
        valid="validation",
        bs=options.batch_size,
        item_tfms=Resize(options.size),
        batch_tfms=Normalize.from_stats(*stats, cuda=False),
    )
    # What the weights were made with.
    kwargs: dict[str, Any] = {} if options.weights is None else {"pad_type": "same"}
    learner = vision_learner(
        loaders, options.model, pretrained=False, normalize=False, metrics=accuracy, **kwargs
    )
    speed = Speed()
    learner.add_cb(speed)
    with learner.no_bar(), learner.no_logging():
        if options.weights is None:
            learner.fit_one_cycle(options.epochs)
        else:
            state = load_file(options.weights)
            state = {k: v for k, v in state.items() if not k.startswith("classifier.")}
            learner.model[0].model.load_state_dict(state, strict=False)
            learner.fine_tune(options.epochs - 1)
    correct = learner.recorder.final_record[-1]
    print(json.dumps({"accuracy": float(correct), "images_per_s": speed.images_per_s}))


if __name__ == "__main__":
    main()
