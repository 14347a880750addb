"""`gorae run --preset quick` against five folds of one fastai head epoch, as whole processes.

Same pictures, weights and folds; wall time and out-of-fold accuracy of both. fastai lives in
an environment of its own below .bench/.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import pandas as pd

from common import GORAE, ROOT, copied, shared_folder, timed

PEER = ROOT / ".bench" / "venv"


def install_peer() -> Path:
    """An environment with fastai and timm; returns its Python."""
    python = PEER / "bin" / "python"
    if not python.exists():
        uv = str(ROOT / ".venv" / "bin" / "uv")
        own = str(ROOT / ".venv" / "bin" / "python")
        subprocess.run([uv, "venv", "--quiet", "--python", own, str(PEER)], check=True)
        packages = ["fastai==2.8.12", "timm==1.0.31", "safetensors"]
        command = [uv, "pip", "install", "--quiet", "--compile-bytecode"]
        subprocess.run([*command, "--python", str(python), *packages], check=True)
    return python


def main() -> None:
    """Print both times, their ratio and both accuracies."""
    shared = shared_folder()
    peer = install_peer()
    weights = shared / "weights" / "mobilenetv2_100.safetensors"
    with tempfile.TemporaryDirectory() as scratch:
        folder = copied(shared / "data" / "cats-and-dogs", Path(scratch) / "cats-and-dogs")
        command = [str(GORAE), "run", str(folder), "--preset", "quick", "--no-eda", "--json"]
        for setting in (
            "model.name=mobilenetv2_100",
            f"model.weights={weights}",
            'model.kwargs={pad_type="same"}',
        ):
            command += ["--set", setting]
        own_s, printed = timed(command)
        result = json.loads(printed)
        folds = next((folder / ".gorae" / "splits").glob("*/folds.parquet"))
        table = pd.read_parquet(folds)
        table["path"] = table["image_id"]
        table["label"] = table["image_id"].str.extract(r"(cat|dog)\.\d+", expand=False)
        listing = Path(scratch) / "folds.csv"
        table[["path", "label", "fold"]].to_csv(listing, index=False)
        peer_s, printed = timed(
            [
                str(peer),
                str(Path(__file__).with_name("fastai_head.py")),
                *("--folds", str(listing), "--root", str(folder), "--weights", str(weights)),
            ]
        )
    theirs = json.loads(printed.strip().splitlines()[-1])
    accuracy = result["oof"]["score"]
    print(f"gorae quick: {own_s:7.1f} s, 5-fold OOF accuracy {accuracy:.4f}, test set too")
    print(f"fastai head: {peer_s:7.1f} s, 5-fold OOF accuracy {theirs['accuracy']:.4f}")
    print(f"ratio: {peer_s / own_s:.1f}")


if __name__ == "__main__":
    main()
