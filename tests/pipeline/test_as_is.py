"""A network's own classes, mapped to the competition's, from the weights to the submission."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import gorae
from gorae.config import resolve_recipe
from gorae.errors import ConfigError, DataError
from gorae.pipeline.run import run
from gorae.workspace import Workspace, read_predictions

Make = Callable[..., Path]

AS_IS = (
    "model.name=test_resnet",
    "model.weights=망.safetensors",
    "model.use=as_is",
    "model.class_table=표.csv",
    "pixels.input_size=32",
    "split.num_folds=2",
    "train.precision=fp32",
    "train.threads=1",
)


def run_as_is(folder: Path, *overrides: str) -> Any:
    return run(folder, preset="quick", overrides=(*AS_IS, *overrides))


def write_table(folder: Path, rows: dict[int, str]) -> None:
    lines = ["model_class,class", *(f"{index},{name}" for index, name in rows.items())]
    (folder / "표.csv").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture
def competition(make_competition: Make) -> Path:
    """Discs and boxes, and a network of five classes of its own."""
    import timm

    folder = make_competition(12, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_resnet", num_classes=5)
        torch.nn.init.normal_(network.state_dict()["fc.weight"])
    save_file(network.state_dict(), folder / "망.safetensors")
    write_table(folder, {0: "원", 1: "상자", 3: "원"})
    return folder


def test_classes_of_the_network_answer_for_those_of_the_competition(competition: Path) -> None:
    result = run_as_is(competition)
    target = Workspace(competition).run(result.run_id)
    oof, test = read_predictions(target.oof), read_predictions(target.test)
    assert sorted(oof.ids) == sorted(
        f"train/{s:03d}_{i}.png" for s in range(12) for i in range(2)
    )
    assert oof.columns == ("상자", "원")
    assert np.ptp(oof.values[:, 0]) > 0.01, "the pictures differ"
    # The other way round: the same probabilities in the other columns.
    write_table(competition, {0: "상자", 1: "원", 3: "상자"})
    again = run_as_is(competition, "seed=1")
    swapped = read_predictions(Workspace(competition).run(again.run_id).test)
    np.testing.assert_allclose(swapped.values, test.values[:, ::-1], atol=1e-6)
    sent = pd.read_csv(result.submission, dtype=str)
    assert sent["label"].tolist() == [test.columns[k] for k in test.values.argmax(axis=1)]


def test_a_loaded_run_needs_neither_table_nor_weight_file(competition: Path) -> None:
    result = run_as_is(competition, 'predict.views=["identity", "hflip"]')
    (competition / "표.csv").unlink()
    (competition / "망.safetensors").unlink()
    target = Workspace(competition).run(result.run_id)
    found = gorae.load_run(target.path).predict(competition / "test")
    np.testing.assert_allclose(found.values, read_predictions(target.test).values, atol=2e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,class\n0,원\n", "lacks the column.*model_class"),
        ("model_class,class\n5,원\n1,상자\n", "row 2: model_class '5' is not 0 to 4"),
        ("model_class,class\n0,원\n-1,상자\n", "row 3: model_class '-1' is not 0 to 4"),
        ("model_class,class\n0,원\n1,별\n", "row 3: class '별' is not one of 상자, 원"),
        ("model_class,class\n0,원\n", "class '상자' has no line"),
        ("model_class,class\n0,원\n0,상자\n", "row 3: model_class 0 is there twice"),
        ("", "표.csv is empty"),
    ],
)
def test_a_class_table_that_cannot_be_used(competition: Path, text: str, words: str) -> None:
    (competition / "표.csv").write_text(text, "utf-8")
    with pytest.raises(DataError, match=f"(?s){words}"):
        run_as_is(competition)


def test_what_as_is_cannot_do_says_so(competition: Path) -> None:
    without = [change for change in AS_IS if "class_table" not in change]
    with pytest.raises(ConfigError, match=r"needs model\.class_table: a CSV with the columns"):
        run(competition, preset="quick", overrides=without)
    with pytest.raises(ConfigError, match=r'nothing is trained with model\.use = "as_is"'):
        run(competition, preset="quick", overrides=AS_IS, refit=True)
    with pytest.raises(ConfigError, match="predicts the classes the weights were made for"):
        run_as_is(competition, "model.weights=none")
    table = pd.read_csv(competition / "train.csv", dtype=str)
    table["label"] = [f"{i}.5" for i in range(len(table))]
    table.to_csv(competition / "train.csv", index=False)
    sample = pd.read_csv(competition / "sample_submission.csv", dtype=str).assign(label="0.5")
    sample.to_csv(competition / "sample_submission.csv", index=False)
    (competition / "competition.toml").unlink()
    with pytest.raises(ConfigError, match='this competition has task = "regression"'):
        run_as_is(competition)
    assert resolve_recipe(preset="quick", overrides=AS_IS).model.use == "as_is"
