"""Fine-tuning by `gorae run` against fastai and timm's train.py as they come.

The same photographs, parts, network, epochs and batches for each, one after the other; ratios
are of whole processes (decoding, evaluation and, with gorae, the report and the predictions of
ten test pictures included) and of the training loops from the second epoch on. The peers live
in an environment of their own below .bench/ (see benchmarks/quick.py).
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common import GORAE, copied, shared_folder, timed
from quick import install_peer

PEERS = {"fastai": "fastai_train.py", "timm": "timm_train.py"}
NUM_TEST = 10
VALID_SHARE = 0.25


@dataclass(frozen=True)
class Training:
    """One network and how long it is trained."""

    model: str
    size: int
    batch_size: int
    epochs: int
    num_images: int
    """Train and validation part together."""
    seeds: tuple[int, ...] = (0,)
    is_pretrained: bool = False
    """With the weights of the shared folder; else random ones."""


TRAININGS = (
    Training("resnet50", 224, 16, 2, 288),
    Training("resnet18", 224, 32, 3, 256),
    Training("mobilenetv2_100", 128, 32, 4, 400, seeds=(0, 1), is_pretrained=True),
)


@dataclass(frozen=True)
class Outcome:
    """What one training came to."""

    process_s: float
    images_per_s: float
    accuracy: float


def cut_folder(source: Path, target: Path, num_images: int) -> Path:
    """A copy of cats-and-dogs with ``num_images``, half of each class, and few to predict."""
    folder = copied(source, target)
    kept = 0
    for kind in ("cat", "dog"):
        pictures = sorted((folder / "train").glob(f"{kind}.*.jpg"))
        for path in pictures[num_images // 2 :]:
            path.unlink()
        kept += min(len(pictures), num_images // 2)
    sample = pd.read_csv(folder / "sample_submission.csv").head(NUM_TEST)
    sample.to_csv(folder / "sample_submission.csv", index=False)
    names = {f"{number}.jpg" for number in sample["id"]}
    for path in (folder / "test").iterdir():
        if path.name not in names:
            path.unlink()
    print(f"{kept} photographs, {VALID_SHARE:.0%} of them for validation")
    return folder


def run_gorae(folder: Path, training: Training, seed: int, weights: Path) -> Outcome:
    """`gorae run --preset standard` with a hold-out part, as a whole process."""
    settings = [
        f"seed={seed}",
        "split.kind=holdout",
        f"split.holdout_share={VALID_SHARE}",
        f"model.name={training.model}",
        f"model.weights={weights if training.is_pretrained else 'none'}",
        f"pixels.input_size={training.size}",
        f"train.batch_size={training.batch_size}",
        f"train.epochs={training.epochs}",
    ]
    if training.is_pretrained:
        settings.append('model.kwargs={pad_type="same"}')
    # A user's second run finds pictures and calibration ready; this is the first one.
    shutil.rmtree(folder / ".gorae", ignore_errors=True)
    command = [str(GORAE), "run", str(folder), "--preset", "standard", "--no-eda", "--json"]
    process_s, printed = timed(
        command + [part for each in settings for part in ("--set", each)]
    )
    result = json.loads(printed)
    run = folder / ".gorae" / "runs" / result["run_id"]
    history = pd.read_csv(next(run.glob("fold-0/history.csv")))
    return Outcome(
        process_s,
        float(history["images_per_s"].iloc[1:].median()),
        # The peers keep their last weights, not their best.
        float(history["score"].iloc[-1]),
    )


def lay_out_parts(folder: Path, target: Path) -> Path:
    """The same parts as class folders, which both peers read."""
    folds = pd.read_parquet(next((folder / ".gorae" / "splits").glob("*/folds.parquet")))
    for name, fold in zip(folds["image_id"], folds["fold"], strict=True):
        part = "validation" if fold == 0 else "train"
        picture = folder / name
        place = target / part / picture.name.partition(".")[0] / picture.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(picture)
    return target


def run_peer(
    peer: str, python: Path, root: Path, training: Training, seed: int, weights: Path
) -> Outcome:
    """A peer's training, as a whole process."""
    options = {
        "root": str(root),
        "model": training.model,
        "weights": str(weights) if training.is_pretrained else None,
        "mean": 0.5 if training.is_pretrained else None,
        "size": training.size,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
        "seed": seed,
    }
    script = Path(__file__).parent / "peers" / PEERS[peer]
    command = [str(python), str(script), json.dumps(options)]
    process_s, printed = timed(command)
    said = json.loads(printed.strip().splitlines()[-1])
    speed = statistics.median(said["images_per_s"][1:])
    return Outcome(process_s, speed, float(said["accuracy"]))


def compare(training: Training, python: Path, shared: Path) -> None:
    """Train with all three and print one line for each, and the ratios."""
    weights = shared / "weights" / "mobilenetv2_100.safetensors"
    start = "pretrained" if training.is_pretrained else "random weights"
    print(
        f"-- {training.model}, {start}, {training.size} px, batches of {training.batch_size}, "
        f"{training.epochs} epochs, {len(training.seeds)} seed(s)",
        flush=True,
    )
    outcomes: dict[str, list[Outcome]] = {"gorae": [], **{peer: [] for peer in PEERS}}
    with tempfile.TemporaryDirectory() as scratch:
        source = shared / "data" / "cats-and-dogs"
        folder = cut_folder(source, Path(scratch) / "cats-and-dogs", training.num_images)
        for seed in training.seeds:
            outcomes["gorae"].append(run_gorae(folder, training, seed, weights))
            root = lay_out_parts(folder, Path(scratch) / f"parts-{seed}")
            for peer in PEERS:
                outcome = run_peer(peer, python, root, training, seed, weights)
                outcomes[peer].append(outcome)
    for name, found in outcomes.items():
        accuracies = ", ".join(f"{each.accuracy:.4f}" for each in found)
        print(
            f"{name:6s} {median_of(found, 'process_s'):7.1f} s, "
            f"{median_of(found, 'images_per_s'):6.1f} images/s, accuracy {accuracies}"
        )
    own = outcomes["gorae"]
    for peer in PEERS:
        whole = median_of(outcomes[peer], "process_s") / median_of(own, "process_s")
        loop = median_of(own, "images_per_s") / median_of(outcomes[peer], "images_per_s")
        print(f"ratio to {peer}: whole process {whole:.2f}, training loop {loop:.2f}")
    sys.stdout.flush()


def median_of(outcomes: Sequence[Outcome], name: str) -> float:
    """Median of one figure over the seeds."""
    return float(statistics.median(getattr(each, name) for each in outcomes))


def main() -> None:
    """Compare every network, or the ones asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [training.model for training in TRAININGS]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--images", type=int, help="fewer photographs, to try it out")
    parser.add_argument("--size", type=int, help="smaller pictures, to try it out")
    options = parser.parse_args()
    shared = shared_folder()
    try:
        python = install_peer()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"skipped: fastai and timm could not be installed ({error})")
        return
    info = Path("/proc/cpuinfo")
    has_amx = info.exists() and "amx_bf16" in info.read_text("utf-8")
    print(f"the processor has {'' if has_amx else 'no '}AMX")
    for training in TRAININGS:
        if training.model in options.models:
            changes = {"num_images": options.images, "size": options.size}
            given = {name: value for name, value in changes.items() if value is not None}
            compare(Training(**{**vars(training), **given}), python, shared)


if __name__ == "__main__":
    main()
