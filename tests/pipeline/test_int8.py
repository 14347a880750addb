"""A run that predicts in bytes: measured after training, kept, and the same ever after."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gorae.config import resolve_recipe
from gorae.errors import ConfigError
from gorae.events import Event
from gorae.files import sha256_file
from gorae.pipeline import int8
from gorae.pipeline.ensemble import ensemble
from gorae.pipeline.init import init
from gorae.pipeline.predict import load_run
from gorae.workspace import read_predictions

from .conftest import train_small

NETWORK = ("model.name=resnet10t", "pixels.input_size=64", "predict.precision=int8")
TWO = (
    "train.epochs=2",
    'predict.views=["identity"]',
    "train.keep_checkpoints=2",
    "predict.use_checkpoints=2",
)


@pytest.fixture
def folder(make_competition: Callable[..., Path]) -> Path:
    """A competition that is known already."""
    folder = make_competition()
    init(folder)
    return folder


needs_vnni = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(), reason="needs a processor with VNNI"
)


@needs_vnni
def test_held_out_and_new_pictures_are_predicted_in_bytes(
    folder: Path,
) -> None:
    events: list[Event] = []
    run = train_small(folder, *NETWORK, *TWO, events=events)
    floats = train_small(folder, *NETWORK[:2], *TWO[:2])
    said = [event.text for event in events if event.text.startswith("int8: ")]
    assert len(said) == len(run.members()) == 2
    # Half of 40 pictures are held out of each fold.
    assert "int8: values of 20 pictures change by 0.0" in said[0]
    choices = run.read_settings()["choices"]["arithmetic"]
    assert (choices["predict_precision"], choices["predict_compile"]) == ("int8", False)
    assert "predict_precision" not in floats.read_settings()["choices"]["arithmetic"]
    # What was learned is the same; what is said of held-out pictures is not, by little.
    one, other = (each.members()[0].read_record() for each in (run, floats))
    assert other["used_checkpoints"][0] in one["used_checkpoints"]
    record = one["int8"]
    assert sorted(record["ranges"]) == sorted(one["used_checkpoints"])
    assert record["num_pictures"] == 20
    assert 0 < record["largest_change"] < 0.05
    assert 0.9 <= record["same_answer"] <= 1
    assert "int8" not in other
    # The same pictures again, asked of the finished run.
    ensemble(folder, run=run.run_id)
    loaded = load_run(run.path)
    ids = [f"{name}.png" for name in ("t0", "t3", "t5")]
    asked = loaded.predict([folder / "test" / name for name in ids])
    everything = loaded.predict(folder / "test")
    rows = []
    for member in run.members():
        for checkpoint in member.read_record()["used_checkpoints"]:
            kept = read_predictions(member.predictions("test", checkpoint, "identity"))
            places = [Path(each).stem for each in kept.ids]
            rows.append(kept.values[[places.index(Path(name).stem) for name in ids]])
    np.testing.assert_allclose(asked.values, np.mean(rows, axis=0), rtol=1e-6)
    order = [everything.ids.index(name) for name in ids]
    np.testing.assert_array_equal(everything.values[order], asked.values)


@needs_vnni
def test_what_is_measured_again_is_the_same(folder: Path) -> None:
    run = train_small(folder, *NETWORK)
    member = run.members()[0]
    record = member.read_record()
    files = sorted(member.path.glob("predictions/*"))
    before = [sha256_file(path) for path in files]
    # As after a stop between the last step of training and the record.
    member.record.unlink()
    for path in files:
        path.unlink()
    train_small(folder, *NETWORK)
    assert member.read_record()["int8"] == record["int8"]
    assert [sha256_file(path) for path in files] == before


@needs_vnni
def test_answers_that_change_are_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "LEAST_EQUAL", 1.01)
    events: list[Event] = []
    train_small(folder, *NETWORK, events=events)
    warnings = [event.text for event in events if event.kind == "warning"]
    assert any(
        "Bytes are coarse for this network: compare the score" in text for text in warnings
    )


@needs_vnni
def test_a_network_that_does_not_fit_is_refused_before_a_run_is_made(
    folder: Path,
) -> None:
    with pytest.raises(ConfigError, match="needs a network of convolutions of many channels"):
        train_small(folder, "predict.precision=int8")
    assert not list((folder / ".gorae" / "runs").glob("*"))


def test_a_gpu_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"int8. is for a CPU, .* would compute on cuda:0"):
        train_small(folder, *NETWORK)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("predict.compile=true", "leaves predict.compile nothing: choose one"),
        (
            "model.use=frozen",
            'predict.precision has no effect here: it belongs to .*"finetune"',
        ),
    ],
)
def test_settings_that_contradict_it_are_refused(change: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        resolve_recipe(preset="standard", overrides=[*NETWORK, change])
