"""The prepared store against decoding every picture in every epoch.

One epoch of training input (decode or read, random crop to 224, flip) on one core, the two in
turn; and what filling the store costs, checks included. Real photographs where they are at
hand, else drawn ones of 500 x 375 pixels.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from common import photographs
from gorae.augment.geometry import train_transform
from gorae.data.dataset import philox
from gorae.data.decode import DecodePolicy
from gorae.data.pixels import PixelSpec
from gorae.stores.prepared import ensure_prepared

NUM_IMAGES = 400
TURNS = 5
SPEC = PixelSpec((0.5,) * 3, (0.5,) * 3, 224, "bicubic", 0.875)


def epoch_s(read: Callable[[int], torch.Tensor], num_images: int, epoch: int) -> float:
    """Seconds to make the training input of every image once."""
    change = partial(
        train_transform, spec=SPEC, scale=(0.35, 1.0), ratio=(0.75, 4 / 3), hflip=0.5
    )
    started = time.perf_counter()
    for index in range(num_images):
        change(read(index), rng=philox(0, epoch, index))
    return time.perf_counter() - started


def main() -> None:
    """Print seconds per epoch of both ways, their ratio, and the price of the store."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        paths = photographs(Path(scratch), NUM_IMAGES)
        root = paths[0].parent
        listing = pd.DataFrame({"image_id": [path.name for path in paths]})
        listing["path"] = listing["image_id"]
        started = time.perf_counter()
        prepared = ensure_prepared(
            listing,
            root=root,
            policy=DecodePolicy(),
            num_workers=1,
            prepared_root=Path(scratch) / "prepared",
            scan_path=Path(scratch) / "scan.parquet",
            short_side=258,
            interpolation="bicubic",
        )
        fill_s = time.perf_counter() - started
        hashes = prepared.scan["sha256"].tolist()

        def stored(index: int) -> torch.Tensor:
            pixels = prepared.pixels.read(hashes[index])
            return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

        def decoded(index: int) -> torch.Tensor:
            with Image.open(paths[index]) as picture:
                pixels = np.array(picture.convert("RGB"))
            return torch.from_numpy(pixels).permute(2, 0, 1)

        pairs = [
            (epoch_s(stored, len(paths), turn), epoch_s(decoded, len(paths), turn))
            for turn in range(TURNS)
        ]
    ratios = [slow / quick for quick, slow in pairs]
    quick_s, slow_s = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"{len(paths)} pictures, one core")
    print(f"from the store:   {1000 * quick_s / len(paths):6.2f} ms per picture and epoch")
    print(f"decoding anew:    {1000 * slow_s / len(paths):6.2f} ms per picture and epoch")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio:            {statistics.median(ratios):6.2f} ({spread})")
    each_ms = 1000 * fill_s / len(paths)
    print(f"filling the store: {each_ms:5.2f} ms per picture, once, with all checks")


if __name__ == "__main__":
    main()
