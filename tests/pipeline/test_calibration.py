"""What a recipe leaves open is measured once, kept, and never measured for nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gorae.config import Recipe
from gorae.config.reading import validated
from gorae.errors import ConfigError, StorageError
from gorae.models import LoadedModel, load_model
from gorae.models.plan import ModelPlan
from gorae.pipeline.calibration import LEAST_IMAGES, Samples, Work, measure_speeds, work_ahead
from gorae.pipeline.network import as_arithmetic, choose_arithmetic, devices

WORK = Work(num_trained=200_000, num_predicted=50_000)
RECORD = {
    "device",
    "devices",
    "precision",
    "channels_last",
    "compile",
    "predict_compile",
    "threads",
    "workers",
    "origin",
}


def recipe_of(**changes: Any) -> Recipe:
    model = {"name": "lenet5", "weights": "none"} | changes.pop("model", {})
    return validated(Recipe, {"model": model} | changes, origin="a test")


@pytest.fixture(scope="module")
def lenet() -> LoadedModel:
    plan = ModelPlan(
        name="lenet5",
        weights="none",
        num_outputs=2,
        kwargs={},
        pixels={"input_size": 32},
        drop_rate=0.0,
        seed=0,
    )
    return load_model(plan, folder=Path())


def prepare(number: int) -> Tensor:
    return torch.full((3, 32, 32), number, dtype=torch.uint8)


@pytest.mark.parametrize("use", ["finetune", "frozen"])
def test_what_was_measured_is_kept_and_used_again(
    use: str, lenet: LoadedModel, tmp_path: Path
) -> None:
    recipe = recipe_of(model={"use": use}, train={"threads": 1} if use == "finetune" else {})
    cache = tmp_path / "calibration.json"
    first = choose_arithmetic(
        recipe, lenet, work=WORK, cache=cache, samples=Samples(prepare, 4)
    )
    assert set(first) - {"impossible"} == RECORD | {"images_per_s"}
    assert first["origin"].startswith("measured in")
    assert all(speed > 0 for speed in first["images_per_s"].values())
    kept = cache.read_bytes()
    second = choose_arithmetic(recipe, lenet, work=WORK, cache=cache)
    assert second["origin"] == "measured before, kept in calibration.json"
    assert {**second, "origin": ""} == {**first, "origin": ""}
    assert cache.read_bytes() == kept


def test_another_setting_of_the_recipe_is_measured_for_itself(
    lenet: LoadedModel, tmp_path: Path
) -> None:
    cache = tmp_path / "calibration.json"
    work = Work(num_trained=1000, num_predicted=10)
    for threads in (1, 1, 2):  # the second is found again
        recipe = recipe_of(train={"threads": threads})
        chosen = choose_arithmetic(recipe, lenet, work=work, cache=cache)
        assert chosen["threads"] == threads
    assert cache.read_text("utf-8").count('"chosen"') == 2


def test_more_than_twice_the_work_is_measured_anew(lenet: LoadedModel, tmp_path: Path) -> None:
    cache, origins = tmp_path / "calibration.json", []
    for num_trained in (1000, 1900, 2100, 1000):
        work = Work(num_trained, 10)
        chosen = choose_arithmetic(recipe_of(), lenet, work=work, cache=cache)
        origins.append(chosen["origin"].split()[1])
    assert origins == ["in", "before,", "in", "before,"]


def test_too_little_work_is_not_measured(lenet: LoadedModel, tmp_path: Path) -> None:
    cache = tmp_path / "calibration.json"
    work = Work(LEAST_IMAGES["cpu"] - 1, 10)
    chosen = choose_arithmetic(recipe_of(), lenet, work=work, cache=cache)
    assert chosen == {
        "device": devices("auto")[0],
        "devices": devices("auto"),
        "precision": "fp32",
        "channels_last": True,
        "compile": False,
        "predict_compile": False,
        "threads": torch.get_num_threads(),
        "workers": 1,
        "origin": "not measured: too little work ahead",
    }
    assert not cache.exists()


def test_what_the_recipe_says_is_not_changed(lenet: LoadedModel, tmp_path: Path) -> None:
    given = {
        "precision": "bf16",
        "channels_last": False,
        "compile": True,
        "threads": 1,
        "workers": 3,
        "devices": "cpu",
    }
    recipe = recipe_of(train=given, predict={"compile": True})
    for work in (WORK, Work(10, 10)):
        chosen = choose_arithmetic(recipe, lenet, work=work, cache=tmp_path / "c.json")
        assert {name: chosen[name] for name in given if name != "devices"} == {
            name: value for name, value in given.items() if name != "devices"
        }
        assert (chosen["device"], chosen["predict_compile"]) == ("cpu", True)


def test_a_damaged_cache_is_named(lenet: LoadedModel, tmp_path: Path) -> None:
    cache = tmp_path / "calibration.json"
    cache.write_text("{")
    with pytest.raises(StorageError, match=r"calibration\.json.*Remove it"):
        choose_arithmetic(recipe_of(), lenet, work=WORK, cache=cache)


def test_the_record_becomes_an_arithmetic() -> None:
    threads = torch.get_num_threads()
    chosen = {
        "device": "cpu",
        "precision": "bf16",
        "channels_last": False,
        "compile": True,
        "threads": 1,
    }
    try:
        arithmetic = as_arithmetic(chosen)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert (arithmetic.precision, arithmetic.channels_last) == ("bf16", False)
    assert arithmetic.compile


def test_speeds_for_a_budget_are_those_of_the_choice(
    lenet: LoadedModel, tmp_path: Path
) -> None:
    chosen = choose_arithmetic(
        recipe_of(), lenet, work=Work(10, 10), cache=tmp_path / "calibration.json"
    )
    training, prediction = measure_speeds(lenet, chosen)
    assert min(training, prediction) > 0


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "cuda:98,99", "cuda:0,0", "cuda:x", ""])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(wanted: str) -> None:
    with pytest.raises(ConfigError, match=r"train.devices = .* It has: cpu"):
        devices(wanted)


def test_devices_are_those_named() -> None:
    num_gpus = torch.cuda.device_count()
    assert devices("cpu") == ["cpu"]
    assert devices("auto") == (["cuda:0"] if num_gpus else ["cpu"])
    for index in range(num_gpus):
        assert devices(f"cuda:{index}") == [f"cuda:{index}"]
    if num_gpus > 1:
        assert devices("cuda:1,0") == ["cuda:1", "cuda:0"]


def test_the_work_of_a_fine_tuning_worked_by_hand() -> None:
    recipe = recipe_of(
        train={"epochs": 3, "keep_checkpoints": 2},
        split={"num_folds": 5},
        predict={"views": ["identity", "hflip"], "use_checkpoints": 2},
        refit=True,
    )
    work = work_ahead(recipe, num_train=100, num_test=10, num_folds=5)
    # Six models see 80 images in 3 epochs; each evaluates 20 thrice, and predicts 20 and 10
    # with two checkpoints in two views.
    assert (work.num_trained, work.num_predicted) == (6 * 3 * 80, 6 * (3 * 20 + 4 * 30))
    assert (work.num_models, work.num_checkpoints) == (6, 12)
    assert work.num_images == work.num_trained


def test_the_work_of_frozen_features_is_one_pass_per_view() -> None:
    recipe = recipe_of(model={"use": "frozen"}, predict={"views": ["identity", "hflip"]})
    work = work_ahead(recipe, num_train=100, num_test=10, num_folds=5)
    assert work.num_images == work.num_predicted == 220
    assert np.isclose(work.num_trained, 0)
