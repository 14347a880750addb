"""Command ``model`` as a person sees it."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from gorae.cli import main
from gorae.cli.look import _short, show_model
from gorae.pipeline.model import describe_model


def _drawn(name: str, folder: Path, *, depth: int | None = 2, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    show_model(console, describe_model(folder, name=name), depth=depth)
    return out.getvalue()


def test_numbers_layers_and_weights_are_shown(tmp_path: Path) -> None:
    text = _drawn("lenet5", tmp_path)
    for part in (
        "61,156 without a head",
        "features       84",
        "651 k at 32 px",
        "mean 0.5 0.5 0.5",
        "conv2  Conv2d  16 x 10 x 10       2,416",
        "weights        none to be had",
        "gorae run --set model.name=lenet5 --set model.weights=none  trains it",
    ):
        assert part in text, part
    weights = _drawn("test_resnet", tmp_path)
    assert "test_resnet.r160_in1k  160 px, default" in weights
    assert "gorae run --set model.name=test_resnet  trains it" in weights


def test_depth_limits_the_layers_and_says_how_many_are_left(tmp_path: Path) -> None:
    shallow, deep, whole = (
        _drawn("test_resnet", tmp_path, depth=depth) for depth in (1, 2, None)
    )
    assert "layer1.0" not in shallow
    assert "layer1.0.bn1" not in deep
    assert "layer1.0.bn1" in whole
    assert "layers inside these; --layers lists all" in shallow
    assert "inside these" not in whole


@pytest.mark.parametrize("width", [40, 100])
def test_names_are_whole_in_a_pipe_of_any_width(width: int, tmp_path: Path) -> None:
    text = _drawn("test_vit", tmp_path, depth=None, width=width)
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    found = describe_model(tmp_path, name="test_vit").architecture.layers
    shown = {each.name for each in found if each.kind not in ("Identity", "Dropout")}
    assert shown <= set(names)


def test_a_class_without_features_says_so(tmp_path: Path) -> None:
    (tmp_path / "my net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Conv2d(3, num_classes, 3), nn.AdaptiveAvgPool2d(1))\n",
        "utf-8",
    )
    text = _drawn("my net.py:Net", tmp_path)
    assert "56 with outputs for two classes" in text
    assert "the class has no method features(x)" in text
    assert "--set 'model.name=my net.py:Net' --set model.weights=none" in text


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (7, "7"),
        (999, "999"),
        (651_000, "651 k"),
        (56_480_000, "56.5 M"),
        (299_494_272, "299 M"),
        (4_087_136_256, "4.09 G"),
        (999_600_000, "1.00 G"),
    ],
)
def test_large_numbers_have_three_digits(number: int, expected: str) -> None:
    assert _short(number) == expected


def test_arguments_of_the_network_are_given_as_in_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []
    for changes in ([], ["--set", "model.kwargs.stem_type=deep"]):
        assert main(["model", "resnet18", "--folder", str(tmp_path), "--json", *changes]) == 0
        sizes.append(json.loads(capsys.readouterr().out)["num_parameters"])
    assert sizes[1] != sizes[0]
    assert main(["model", "resnet18", "--set", "train.lr=1"]) == 64
    assert "model.kwargs.NAME=VALUE" in " ".join(capsys.readouterr().err.split())
