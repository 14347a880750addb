"""A peer of fine-tuning: the loop of timm's train.py, of timm's own public pieces.

That script is in timm's repository but in none of its packages, so what it does by default is
put together here: its loader with its default augmentation and four workers, label smoothing
of 0.1, SGD with momentum at 0.1 per 256 images of a batch, and a cosine per epoch; float32 and
the default memory layout, which it leaves only when told to. Its five epochs of warm-up are
left out, as they are longer than these trainings. Takes and prints one JSON object.
"""

import json
import random
import sys
import time
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

# Its functions have no types.
timm: Any = import_module("timm")
for name in ("loss", "optim", "scheduler", "utils"):
    import_module(f"timm.{name}")


def build_loader(options: Any, split: str, pixels: dict[str, Any]) -> Any:
    """Batches of one part, prepared as train.py prepares them."""
    is_training = split == "train"
    dataset = timm.data.create_dataset(
        "", root=options.root, split=split, is_training=is_training
    )
    return timm.data.create_loader(
        dataset,
        input_size=(3, options.size, options.size),
        batch_size=options.batch_size,
        is_training=is_training,
        mean=pixels["mean"],
        std=pixels["std"],
        interpolation="random" if is_training else pixels["interpolation"],
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        color_jitter=0.4,
        num_workers=4,
        device=torch.device("cpu"),
    )


def main() -> None:
    """Train, evaluate after each epoch, print the last accuracy and the speed of each."""
    options = SimpleNamespace(**json.loads(sys.argv[1]))
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - timm draws from it
    torch.manual_seed(options.seed)
    # What the weights were made with.
    kwargs = {} if options.weights is None else {"pad_type": "same"}
    model: Any = timm.create_model(options.model, num_classes=2, **kwargs)
    pixels = timm.data.resolve_data_config({}, model=model)
    if options.weights is not None:
        state = load_file(options.weights)
        state = {k: v for k, v in state.items() if not k.startswith("classifier.")}
        model.load_state_dict(state, strict=False)
    if options.mean is not None:
        pixels |= {"mean": [options.mean] * 3, "std": [options.mean] * 3}
    train, valid = (build_loader(options, split, pixels) for split in ("train", "validation"))
    optimizer = timm.optim.create_optimizer_v2(
        model, opt="sgd", lr=0.1 * options.batch_size / 256, weight_decay=2e-5, momentum=0.9
    )
    schedule, _ = timm.scheduler.create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=options.epochs
    )
    criterion = timm.loss.LabelSmoothingCrossEntropy(smoothing=0.1)
    speeds = []
    for epoch in range(options.epochs):
        model.train()
        losses, started = timm.utils.AverageMeter(), time.perf_counter()
        for images, target in train:
            loss = criterion(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(images))
        speeds.append(losses.count / (time.perf_counter() - started))
        model.eval()
        correct = count = 0
        with torch.no_grad():
            for images, target in valid:
                correct += int((model(images).argmax(1) == target).sum())
                count += len(target)
        schedule.step(epoch + 1)
    print(json.dumps({"accuracy": correct / count, "images_per_s": speeds}))


if __name__ == "__main__":
    main()
