"""Predicting with all folds, checkpoints and views at once, against one pass for each.

5 folds x 2 checkpoints x 2 views of a ResNet-50 (random weights) on photographs. The other
side is written as people write it: for every checkpoint and view a DataLoader that decodes
and transforms with Pillow and torchvision, and a float32 network in batches of 32. It is timed
on one checkpoint with its views, before and after gorae's whole work, and scaled to all of
them. gorae's time is that of everything: scan and prepared store, loading weights, compiling.
With ``--precision int8`` that of the ranges of each checkpoint on 32 of the pictures, which a
run measures once after training, is in it, and told beside it.
Run: ``python benchmarks/inference.py`` (``--help`` for sizes).
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from common import photographs
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import PixelSpec
from gorae.inference import (
    Execution,
    NamedWeights,
    Pictures,
    measure_ranges,
    predict_checkpoints,
)
from gorae.models import ImageModel, build_model
from gorae.pipeline.int8 import NUM_MEASURED
from gorae.stores.prepared import ensure_prepared
from gorae.training.evaluate import Arithmetic
from gorae.training.outputs import OutputForm

SPEC = PixelSpec((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, "bilinear", 0.875)
VIEWS = ("identity", "hflip")


class Photographs(Dataset[Tensor]):
    """Pictures decoded when asked for."""

    def __init__(self, paths: list[Path], transform: transforms.Compose) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as picture:
            pixels: Tensor = self.transform(picture.convert("RGB"))
        return pixels


def plain_pass(
    model: ImageModel, weights: Path, paths: list[Path], *, view: str, workers: int
) -> NDArray[np.float32]:
    """Probabilities as people compute them."""
    transform = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(SPEC.input_size),
            transforms.RandomHorizontalFlip(p=1.0 if view == "hflip" else 0.0),
            transforms.ToTensor(),
            transforms.Normalize(SPEC.mean, SPEC.std),
        ]
    )
    loader = DataLoader(Photographs(paths, transform), batch_size=32, num_workers=workers)
    model.load_state_dict(load_file(weights))
    model.eval()
    with torch.inference_mode():
        found = [model(batch).softmax(dim=1) for batch in loader]
    values: NDArray[np.float32] = torch.cat(found).numpy()
    return values


def gorae_passes(
    model: ImageModel,
    weights: list[Path],
    paths: list[Path],
    *,
    scratch: Path,
    execution: Execution,
    measured_s: list[float] | None,
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Probabilities of all checkpoints and views, from the files to the end.

    Where ``measured_s`` is a list, in int8; it gets the seconds of measuring ranges.
    """
    listing = pd.DataFrame({"image_id": [path.name for path in paths]})
    listing["path"] = listing["image_id"]
    prepared = ensure_prepared(
        listing,
        root=paths[0].parent,
        policy=DecodePolicy(),
        num_workers=1,
        prepared_root=scratch / "prepared",
        scan_path=scratch / "scan.parquet",
        short_side=258,
        interpolation=SPEC.interpolation,
    )
    hashes = prepared.scan["sha256"].tolist()
    pictures = Pictures(prepared.pixels, hashes, SPEC)
    checkpoints = []
    for path in weights:
        ranges = None
        if measured_s is not None:
            known = replace(pictures, hashes=hashes[:NUM_MEASURED])
            with stopwatch(measured_s):
                load_weights(path, model)
                ranges = measure_ranges(model, known, execution=execution)
        load = partial(load_weights, path)
        checkpoints.append(NamedWeights(path.stem, OutputForm("softmax"), load, ranges))
    return dict(
        predict_checkpoints(model, checkpoints, pictures, views=VIEWS, execution=execution)
    )


def enlarged(paths: list[Path], folder: Path, *, side: int) -> list[Path]:
    """Copies with ``side`` pixels along the longer side: their decoding costs as much."""
    folder.mkdir()
    for path in paths:
        with Image.open(path) as picture:
            scale = side / max(picture.size)
            size = round(picture.width * scale), round(picture.height * scale)
            large = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        large.save(folder / path.name, quality=92)
    return [folder / path.name for path in paths]


def load_weights(path: Path, model: ImageModel) -> None:
    model.load_state_dict(load_file(path))


def write_weights(folder: Path, count: int) -> list[Path]:
    paths = []
    for seed in range(count):
        model = build_network(seed)
        torch.nn.init.normal_(model.get_parameter("head.weight"), std=0.05)
        paths.append(folder / f"fold-{seed // 2}-{seed % 2}.safetensors")
        save_file(model.state_dict(), paths[-1])
    return paths


def build_network(seed: int = 0) -> ImageModel:
    return build_model("resnet50", num_outputs=10, kwargs={}, seed=seed, folder=Path())


@contextmanager
def stopwatch(times: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    times.append(time.perf_counter() - started)


def main() -> None:
    """Print the seconds of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument(
        "--side", type=int, help="enlarge the pictures to this longer side first, as cameras do"
    )
    parser.add_argument("--checkpoints", type=int, default=10, help="folds times two")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    options = parser.parse_args()
    plain_s: list[float] = []
    ours_s: list[float] = []
    measured_s: list[float] = []
    plain: dict[str, NDArray[np.float32]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        paths = photographs(scratch, options.images)
        if options.side is not None:
            paths = enlarged(paths, scratch / "enlarged", side=options.side)
        with Image.open(paths[0]) as first:
            size = f"{first.width} x {first.height}"
        weights = write_weights(scratch, options.checkpoints)

        def time_plain() -> None:
            model = build_network()
            with stopwatch(plain_s):
                for view in VIEWS:
                    plain[view] = plain_pass(
                        model, weights[0], paths, view=view, workers=options.workers
                    )

        time_plain()
        execution = Execution(
            options.batch_size,
            # Beside convolutions of bytes, the rest is in bf16.
            Arithmetic(precision="fp32" if options.precision == "fp32" else "bf16"),
            compile=options.compile,
            on_note=print,
        )
        with stopwatch(ours_s):
            found = gorae_passes(
                build_network(),
                weights,
                paths,
                scratch=scratch,
                execution=execution,
                measured_s=measured_s if options.precision == "int8" else None,
            )
        time_plain()
    ours, each = found[weights[0].stem], sum(plain_s) / len(plain_s)
    apart = max(float(np.abs(ours[view] - plain[view]).max()) for view in VIEWS)
    count = options.checkpoints
    passes = len(VIEWS) * count * len(paths)
    whole_s = each * count
    share = f"1 of {count} checkpoints timed, {min(plain_s):.1f} and {max(plain_s):.1f} s"
    how = options.precision + (", compiled" if options.compile else "")
    print(
        f"{len(paths)} pictures (the first {size}) x {count} checkpoints x {len(VIEWS)} views "
        f"of ResNet-50 at {SPEC.input_size} px, {torch.get_num_threads()} threads\n"
        f"a pass for each: {whole_s:7.1f} s, {passes / whole_s:5.1f} images/s ({share}, "
        f"times {count})\n"
        f"gorae:           {ours_s[0]:7.1f} s, {passes / ours_s[0]:5.1f} images/s ({how}; all "
        f"of it timed)\n"
        f"ratio:           {whole_s / ours_s[0]:7.2f} (probabilities differ by {apart:.4f} "
        "at most)"
    )
    if measured_s:
        rest_s = ours_s[0] - sum(measured_s)
        print(
            f"ranges:          {sum(measured_s):7.1f} s of gorae's, which a run spends after "
            f"training; ratio without: {whole_s / rest_s:.2f}"
        )


if __name__ == "__main__":
    main()
