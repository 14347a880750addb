"""Near-duplicates: a million hashes, and recall and precision of each kind of copy.

`python benchmarks/duplicates.py [--pictures FOLDER] [--weights FILE]`; a folder,
the real photographs of a development machine or patches of two sample photographs.
"""

import argparse
import hashlib
import io
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from common import ROOT
from gorae.data.thumbnail import thumbnail
from gorae.eda.duplicates import near_duplicates
from gorae.eda.duplicates_sets import duplicate_sets
from gorae.eda.hashes import WINDOWS
from gorae.eda.neighbours import nearest_codes

Picture = Image.Image
Change = Callable[[Picture, np.random.Generator], Picture]
Extract = Callable[[list[Picture]], NDArray[np.float32]]

SUFFIXES = {".jpg", ".jpeg", ".png"}


def reencoded(picture: Picture, rng: np.random.Generator) -> Picture:
    """JPEG of quality 30 to 95."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(rng.integers(30, 96)))
    return Image.open(stream).convert("RGB")


def resized(picture: Picture, rng: np.random.Generator) -> Picture:
    """50 to 90 % of each side."""
    share = rng.uniform(0.5, 0.9)
    size = max(8, round(picture.width * share)), max(8, round(picture.height * share))
    return picture.resize(size, Image.Resampling.BICUBIC)


def cropped(picture: Picture, rng: np.random.Generator) -> Picture:
    """2 to 8 % off each of the four sides."""
    left, top, right, bottom = rng.uniform(0.02, 0.08, 4)
    width, height = picture.size
    return picture.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - right) * width),
            round((1 - bottom) * height),
        )
    )


def flipped(picture: Picture, rng: np.random.Generator) -> Picture:
    """Left is right."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def brightness(picture: Picture, rng: np.random.Generator) -> Picture:
    """x 0.7 to 1.3, clipped."""
    light = (np.asarray(picture) * rng.uniform(0.7, 1.3)).clip(0, 255)
    return Image.fromarray(light.astype(np.uint8))


def watermark(picture: Picture, rng: np.random.Generator) -> Picture:
    """White or black text, 6 to 14 % of the height, half seen through or not."""
    layer = Image.new("RGBA", picture.size)
    font = ImageFont.load_default(max(8, picture.height * rng.uniform(0.06, 0.14)))
    place = rng.uniform(0, 0.4) * picture.width, rng.uniform(0, 0.85) * picture.height
    level = 255 if rng.random() < 0.7 else 0
    colour = (level, level, level, int(rng.integers(120, 256)))
    text = "(c) sample photo"[: int(rng.integers(6, 17))]
    ImageDraw.Draw(layer).text(place, text, font=font, fill=colour)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def resized_reencoded(picture: Picture, rng: np.random.Generator) -> Picture:
    """Both."""
    return reencoded(resized(picture, rng), rng)


def five_at_once(picture: Picture, rng: np.random.Generator) -> Picture:
    """Cropped, mirrored, resized, other light, re-encoded."""
    for change in (cropped, flipped, resized, brightness, reencoded):
        picture = change(picture, rng)
    return picture


CHANGES: tuple[Change, ...] = (
    reencoded,
    resized,
    cropped,
    flipped,
    brightness,
    watermark,
    resized_reencoded,
    five_at_once,
)


def peak_gb() -> float:
    """Most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def search_a_million(num_codes: int) -> None:
    """Random codes, a bucket of equal ones, and planted codes of 1 to 12 other bits."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, num_codes, dtype=np.uint64)
    equal = num_codes // 20
    codes[:equal] = codes[0]
    planted = 500
    rows = equal + np.arange(12 * planted)
    bits = np.argsort(rng.random((len(rows), 64)), axis=1).astype(np.uint64)
    for number, row in enumerate(rows):
        changed = (np.uint64(1) << bits[number, : 1 + number // planted]).sum(dtype=np.uint64)
        codes[row + len(rows)] = codes[row] ^ changed
    queries = rng.integers(0, 2**64, (num_codes, len(WINDOWS)), dtype=np.uint64)
    queries[:, 0] = codes
    start = time.perf_counter()
    near = nearest_codes(codes, queries, radius=12, most=8)
    elapsed_s = time.perf_counter() - start
    found = set((near.query * num_codes + near.found).tolist())
    hit = np.array([int(r) * num_codes + int(r) + len(rows) in found for r in rows])
    recall = hit.reshape(12, planted).mean(axis=1)
    print(
        f"{num_codes:,} codes, {len(WINDOWS)} variants each, {equal:,} of them equal: "
        f"{elapsed_s:.0f} s, peak {peak_gb():.1f} GB"
    )
    print("bits changed  " + " ".join(f"{bit:5d}" for bit in range(1, 13)))
    print("recall        " + " ".join(f"{share:5.2f}" for share in recall))


def pictures_of(folder: Path | None, count: int) -> list[Picture]:
    """Pictures to copy."""
    default = Path(os.environ.get("GORAE_SHARED", ROOT.parent / "shared")) / "data"
    folder = folder or default / "cats-and-dogs"
    if folder.is_dir():
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        return [Image.open(path).convert("RGB") for path in paths[:count]]
    return [
        Image.fromarray(photograph[top : top + 106, left : left + 106])
        for photograph in load_sample_images().images
        for top in range(0, photograph.shape[0] - 105, 106)
        for left in range(0, photograph.shape[1] - 105, 106)
    ]


def features_by(weights: Path) -> Extract:
    """Features of a frozen backbone, 224 pixels, from a safetensors file of timm's."""
    import timm
    import torch
    from safetensors.torch import load_file

    model = timm.create_model(weights.name.split(".")[0], num_classes=0)
    state = {name: value.float() for name, value in load_file(weights).items()}
    model.load_state_dict(state, strict=False)
    model.eval()

    def extract(pictures: list[Picture]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(pictures), 32):
            part = [np.asarray(p.resize((224, 224))) for p in pictures[start : start + 32]]
            batch = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) / 127.5 - 1
            with torch.inference_mode():
                parts.append(model(batch).numpy())
        return np.concatenate(parts)

    return extract


def plant(pictures: list[Picture], num_copies: int, extract: Extract | None) -> None:
    """Copy some pictures in each way, and print what is found of each."""
    rng = np.random.default_rng(1)
    sources = rng.permutation(len(pictures))[:num_copies]
    base = np.stack([thumbnail(np.asarray(picture)) for picture in pictures])
    base_features = None if extract is None else extract(pictures)
    natural = find(base, base_features)
    print(f"{len(pictures)} pictures, {len(natural)} pairs among them as they are")
    print(f"{'kind':18s} {'recall':>7s} {'precision':>9s} {'seconds':>8s}")
    owner = np.concatenate([np.arange(len(base)), sources])
    own_sets = duplicate_sets(natural, len(base))
    for change in CHANGES:
        copies = [change(pictures[source], rng) for source in sources]
        shrunk = np.stack([thumbnail(np.asarray(copy)) for copy in copies])
        features = None
        if extract is not None and base_features is not None:
            features = np.concatenate([base_features, extract(copies)])
        start = time.perf_counter()
        pairs = find(np.concatenate([base, shrunk]), features)
        elapsed_s = time.perf_counter() - start
        sets = duplicate_sets(pairs, len(owner))
        is_found = (sets[sources] == sets[len(base) :]) & (sets[sources] >= 0)
        first, second = owner[pairs["first"]], owner[pairs["second"]]
        is_right = (first == second) | (
            (own_sets[first] == own_sets[second]) & (own_sets[first] >= 0)
        )
        print(
            f"{change.__name__:18s} {is_found.mean():7.3f} {is_right.mean():9.3f} "
            f"{elapsed_s:8.1f}"
        )


def find(thumbnails: NDArray[np.uint8], features: NDArray[np.float32] | None) -> pd.DataFrame:
    """Pairs among thumbnails whose files are all different."""
    names = [hashlib.sha256(b"%d" % row).hexdigest() for row in range(len(thumbnails))]
    return near_duplicates(
        lambda rows: thumbnails[rows], sha256=names, pixel_sha256=names, features=features
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--most", type=int, default=1500)
    parser.add_argument("--copies", type=int, default=300)
    parser.add_argument("--weights", type=Path, help="timm weights as safetensors")
    options = parser.parse_args()
    if options.codes:
        search_a_million(options.codes)
    pictures = pictures_of(options.pictures, options.most)
    plant(pictures, options.copies, None)
    if options.weights:
        print("with features:")
        plant(pictures, options.copies, features_by(options.weights))


if __name__ == "__main__":
    main()
