"""From pictures to an encoder, and from it to runs that see its maps."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from gorae.augment.geometry import eval_transform, normalise
from gorae.cli import main
from gorae.config import Recipe, resolve_recipe
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError, DataError
from gorae.events import Event
from gorae.files import read_json
from gorae.models.autoencoder import Autoencoder, EncodedBackbone
from gorae.models.network import as_grey
from gorae.pipeline.autoencoder import (
    AutoencoderResult,
    autoencoder_pixels,
    held_out,
    train_autoencoder,
)
from gorae.pipeline.context import open_context
from gorae.pipeline.encoders import find_encoder
from gorae.pipeline.init import init
from gorae.pipeline.model import describe_model
from gorae.pipeline.network import load_network
from gorae.pipeline.pixels import input_pixels
from gorae.pipeline.predict import load_run
from gorae.pipeline.run import run
from gorae.workspace import RunFolder, Workspace

BASE = (
    "pixels.input_size=32",
    "pixels.stored_short_side=32",
    'preprocess=[{step="greyscale"}]',
    "train.threads=1",
    "train.workers=0",
    "train.precision=fp32",
    "autoencoder.batch_size=8",
    "autoencoder.epochs=8",
    "autoencoder.lr=0.01",
    "autoencoder.valid_share=0.25",
)
NETWORK = (
    "model.name=lenet5",
    "model.kwargs={}",
    "model.weights=none",
    "pixels.input_size=64",
    "pixels.stored_short_side=64",
    "split.kind=holdout",
    "train.epochs=1",
    "train.batch_size=16",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    'predict.views=["identity"]',
)


def recipe_of(*changes: str, base: Sequence[str] = BASE) -> Recipe:
    given = {change.split("=")[0] for change in changes}
    kept = [each for each in base if each.split("=")[0] not in given]
    return resolve_recipe(preset="standard", overrides=[*kept, *changes])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty digits of 0 and 1; each second pair is one subject's."""
    folder = tmp_path_factory.mktemp("digits")
    found = load_digits()
    chosen = np.flatnonzero(found.target < 2)[:72]
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    lines, sample = ["id,label,subject"], ["id,label"]
    for place, number in enumerate(chosen):
        pixels = (found.images[number] / 16 * 255).astype(np.uint8)
        part = "train" if place < 60 else "test"
        large = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
        large.convert("RGB").save(folder / part / f"d{place}.png")
        if part == "train":
            lines.append(f"d{place},{found.target[number]},s{place // 2}")
        else:
            sample.append(f"d{place},0")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n")
    init(folder)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> AutoencoderResult:
    return train_autoencoder(folder, recipe=recipe_of())


@pytest.fixture(scope="module")
def runs(folder: Path, trained: AutoencoderResult) -> dict[str, RunFolder]:
    """Runs behind the encoder, by ``train.freeze``."""
    return {
        freeze: run_encoded(folder, trained, f"train.freeze={freeze}")
        for freeze in ("none", "encoder", "backbone")
    }


def run_encoded(folder: Path, trained: AutoencoderResult, *changes: str) -> RunFolder:
    """A run of LeNet-5 behind the encoder."""
    given = {change.split("=")[0] for change in changes}
    base = [
        *(each for each in BASE if not each.startswith(("pixels", "autoencoder"))),
        *NETWORK,
        f"model.encoder={trained.name}",
    ]
    kept = [each for each in base if each.split("=")[0] not in given]
    result = run(folder, preset="standard", overrides=[*kept, *changes], looks=False)
    return Workspace(folder).run(result.run_id)


def lenet_behind(trained: AutoencoderResult, *changes: str) -> Recipe:
    """LeNet-5 of random weights, which sees the 16 x 16 map of 64 pixels."""
    return recipe_of(
        f"model.encoder={trained.name}",
        "model.weights=none",
        "model.name=lenet5",
        "pixels.input_size=64",
        "pixels.stored_short_side=64",
        *changes,
    )


def encoder_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    prefix = "backbone."
    return {
        name.removeprefix(prefix): value
        for name, value in load_file(checkpoint).items()
        if name.startswith((prefix + "encoder.", prefix + "map_"))
    }


def best_weights(run: RunFolder) -> Path:
    (member,) = run.members()
    (name,) = member.read_record()["used_checkpoints"]
    return member.checkpoints / f"{name}.safetensors"


def test_it_beats_the_mean_image_and_writes_all_it_promises(trained: AutoencoderResult) -> None:
    assert trained.record["mse"] < trained.record["mean_image_mse"]
    written = {path.name for path in trained.folder.iterdir()} - {"lock"}
    assert written == {
        "autoencoder.safetensors",
        "encoder.safetensors",
        "history.csv",
        "record.json",
        "sheet.png",
    }
    with Image.open(trained.sheet) as sheet:
        # Six pictures of six columns.
        assert sheet.width > 6 * 150
        assert sheet.height > 6 * 150
    assert trained.record["num_train"] + trained.record["num_valid"] == 60
    assert trained.record["num_valid"] == pytest.approx(15, abs=2)
    assert not trained.record["is_transductive"]


def test_the_same_call_finds_it_done(folder: Path, trained: AutoencoderResult) -> None:
    events: list[Event] = []
    again = train_autoencoder(folder, recipe=recipe_of(), on_event=events.append)
    assert again == trained
    assert any("is there already" in event.text for event in events)


def test_test_pictures_are_learned_from_only_when_asked_and_flagged(folder: Path) -> None:
    events: list[Event] = []
    found = train_autoencoder(
        folder,
        recipe=recipe_of("autoencoder.uses_test=true", "autoencoder.epochs=1"),
        on_event=events.append,
    )
    assert found.record["is_transductive"]
    assert found.record["num_test"] == 12
    assert any("transductive" in e.text for e in events if e.kind == "warning")
    network = load_network(open_context(folder), lenet_behind(found))
    assert any("test pictures" in note for note in network.notes)


@pytest.mark.parametrize(
    "change",
    [
        "autoencoder.channels=3",
        "autoencoder.epochs=2",
        "autoencoder.batch_size=9",
        "autoencoder.lr=0.005",
        "autoencoder.valid_share=0.5",
        "seed=1",
        "augment.policy=none",
    ],
)
def test_each_setting_changes_what_is_learned(change: str, folder: Path) -> None:
    short = "autoencoder.epochs=1"
    changes = [change] if change.startswith("autoencoder.epochs") else [short, change]
    one = train_autoencoder(folder, recipe=recipe_of(short))
    other = train_autoencoder(folder, recipe=recipe_of(*changes))
    assert one.name != other.name
    assert one.record["mse"] != other.record["mse"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_no_group_is_in_both_parts(seed: int, share: float) -> None:
    groups = np.random.default_rng(seed).integers(0, 20, 100)
    is_valid = held_out(groups, share=share, seed=seed)
    assert not set(groups[is_valid]) & set(groups[~is_valid])
    assert 0 < is_valid.sum() < 100


def test_pictures_of_one_group_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="All pictures belong to one group"):
        held_out(np.zeros(9, np.int64), share=0.5, seed=0)


def test_the_map_of_a_run_is_that_of_the_autoencoder(
    folder: Path, trained: AutoencoderResult
) -> None:
    """The trap: pixels normalised for the network and shown to an encoder of 0 to 1."""
    loaded = load_network(open_context(folder), lenet_behind(trained))
    backbone = loaded.model.backbone
    assert isinstance(backbone, EncodedBackbone)
    with Image.open(folder / "train" / "d0.png") as picture:
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    batch = eval_transform(image, loaded.spec)[None]
    seen: list[torch.Tensor] = []
    backbone.encoder.register_forward_hook(lambda _m, _i, output: seen.append(output))
    inputs: list[torch.Tensor] = []
    backbone.network.register_forward_pre_hook(lambda _m, given: inputs.append(given[0]))
    autoencoder = Autoencoder()
    autoencoder.load_state_dict(load_file(trained.folder / "autoencoder.safetensors"))
    with torch.inference_mode():
        loaded.model.eval().features(normalise(batch, loaded.spec))
        wanted = autoencoder.eval().encoder(as_grey(batch / 255))
    torch.testing.assert_close(seen[0], wanted, atol=1e-5, rtol=0)
    # And what the network sees is spread around 0.
    mean, std = (
        torch.tensor(trained.record[k]).reshape(3, 1, 1) for k in ("map_mean", "map_std")
    )
    std = torch.where(std > 0, std, 1.0)
    torch.testing.assert_close(inputs[0], (wanted - mean) / std, atol=1e-4, rtol=1e-4)


def test_pixels_come_from_the_encoder(folder: Path, trained: AutoencoderResult) -> None:
    overrides = [
        "model.name=lenet5",
        "model.weights=none",
        f"model.encoder={trained.name}",
        'preprocess=[{step="greyscale"}]',
    ]
    spec = input_pixels(
        open_context(folder), resolve_recipe(preset="standard", overrides=overrides)
    )
    wanted = PixelSpec((0.0,) * 3, (1.0,) * 3, 32, "bicubic", 1.0)
    assert spec == wanted
    assert set(spec.sources.values()) == {"encoder"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("pixels.mean=[0.5, 0.5, 0.5]",), "pixels.mean has no effect here: the encoder"),
        (("model.use=as_is",), 'model.use = "as_is" keeps the network'),
        (("model.encoder=none-such",), None),
    ],
)
def test_settings_that_an_encoder_makes_idle_are_refused(
    changes: tuple[str, ...], says: str | None, folder: Path, trained: AutoencoderResult
) -> None:
    if says is None:
        with pytest.raises(ConfigError, match=rf"no autoencoder.*{trained.name}"):
            find_encoder(Workspace(folder), "none-such")
        return
    with pytest.raises(ConfigError, match=says):
        recipe_of(f"model.encoder={trained.name}", *changes)


def test_freezing_an_encoder_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs the encoder that model\.encoder names"):
        recipe_of("train.freeze=encoder")


def test_sides_that_are_no_multiples_of_four_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 4, not 30"):
        autoencoder_pixels(recipe_of("pixels.input_size=30"))
    assert autoencoder_pixels(resolve_recipe(preset="standard")).input_size == 896


def test_several_devices_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="is trained on one device"):
        train_autoencoder(folder, recipe=recipe_of("train.devices=cuda:0,1"))


def test_a_frozen_encoder_stays_as_it_is_and_else_it_learns(
    runs: dict[str, RunFolder], trained: AutoencoderResult
) -> None:
    before = load_file(trained.encoder)
    for freeze in ("encoder", "backbone"):
        after = encoder_of(best_weights(runs[freeze]))
        assert before.keys() == after.keys()
        for name, value in before.items():
            assert torch.equal(after[name], value), (freeze, name)
    after = encoder_of(best_weights(runs["none"]))
    learned = [name for name in before if not torch.equal(after[name], before[name])]
    assert {name for name in before if name.startswith("encoder.0")} <= set(learned)
    assert "encoder.1.running_mean" in learned


def test_all_but_a_frozen_encoder_learns(runs: dict[str, RunFolder]) -> None:
    encoder, backbone = (
        load_file(best_weights(runs[name])) for name in ("encoder", "backbone")
    )
    # What rests in the one is as it began, and moved in the other.
    for name in ("backbone.network.conv1.weight", "head.weight"):
        assert not torch.equal(encoder[name], backbone[name]), name


def test_a_finished_run_predicts_without_the_encoders_file(
    runs: dict[str, RunFolder], folder: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    shutil.rmtree(moved / ".gorae" / "autoencoders")
    for run_folder in runs.values():
        pictures = [np.array(Image.open(folder / "test" / f"d{n}.png")) for n in (60, 61)]
        wanted = load_run(run_folder.path).predict(pictures)
        found = load_run(moved / run_folder.path.relative_to(folder)).predict(pictures)
        np.testing.assert_array_equal(found.values, wanted.values)


def test_features_behind_an_encoder_and_at_its_layers(
    folder: Path, trained: AutoencoderResult
) -> None:
    ways = {"end": (), "map": ("model.layer=encoder",), "layer": ("model.layer=network.conv1",)}
    for name, changes in ways.items():
        overrides = [
            *(each for each in NETWORK if not each.startswith(("train.epochs", "train.batch"))),
            'preprocess=[{step="greyscale"}]',
            "train.threads=1",
            "head.strengths=[1.0]",
            "train.precision=fp32",
            f"model.encoder={trained.name}",
            *changes,
        ]
        overrides = [o for o in overrides if o != "train.compile=false"]
        result = run(
            folder, preset="quick", overrides=[*overrides, f"name={name}"], looks=False
        )
        assert result.score > 0.6, name
        found = load_run(Workspace(folder).run(result.run_id).path)
        assert len(found.predict([np.array(Image.open(folder / "test" / "d60.png"))]).ids) == 1


def test_the_layers_behind_an_encoder_are_listed(
    folder: Path, trained: AutoencoderResult
) -> None:
    found = describe_model(folder, name="resnet18", size=256, encoder=trained.name)
    plain = describe_model(folder, name="resnet18", size=64)
    shapes = {line.name: line.shape for line in found.architecture.layers}
    assert shapes["encoder"] == (3, 64, 64)
    assert shapes["network.layer4"] == (512, 2, 2)
    assert found.architecture.num_features == 512
    assert found.architecture.num_parameters == plain.architecture.num_parameters + 3945


def test_another_encoder_is_another_run(folder: Path, trained: AutoencoderResult) -> None:
    # A seed that no other test has, so that it is the newest.
    other = train_autoencoder(folder, recipe=recipe_of("autoencoder.epochs=1", "seed=77"))
    ids = {
        run_encoded(folder, each, "train.freeze=encoder").run_id for each in (trained, other)
    }
    assert len(ids) == 2
    # By the name it has now, so that a newer one does not change a run.
    named = run_encoded(folder, other, "model.encoder=newest", "train.freeze=encoder")
    assert named.run_id in ids


def test_other_preparation_than_the_encoders_is_told(
    folder: Path, trained: AutoencoderResult
) -> None:
    notes = load_network(open_context(folder), lenet_behind(trained, "preprocess=[]")).notes
    assert any("prepared by greyscale, and these are prepared by no step" in n for n in notes)


def test_weights_of_a_network_are_no_encoder(folder: Path, trained: AutoencoderResult) -> None:
    file = trained.folder / "autoencoder.safetensors"
    with pytest.raises(DataError, match="holds no encoder"):
        load_network(open_context(folder), recipe_of(f"model.encoder={file}"))


def test_a_class_of_ones_own_has_no_place_for_an_encoder(
    folder: Path, trained: AutoencoderResult
) -> None:
    (folder / "own.py").write_text(
        "from torch import nn\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(3, num_classes)\n"
        "    def forward(self, x):\n"
        "        return self.fc(x.mean(dim=(2, 3)))\n"
    )
    recipe = recipe_of(
        f"model.encoder={trained.name}", "model.name=own.py:Own", "model.weights=none"
    )
    with pytest.raises(ConfigError, match="has no place before"):
        load_network(open_context(folder), recipe)


def test_the_command_tells_both_errors_and_what_comes_next(
    folder: Path, trained: AutoencoderResult, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["autoencoder", str(folder), "--preset", "standard"]
    for change in BASE:
        arguments += ["--set", change]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"{trained.record['mse']:.5f}" in out
    assert f"{trained.record['mean_image_mse']:.5f}, the error to beat" in out
    assert f"model.encoder={trained.name}" in out
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == trained.name
    assert told["mse"] == read_json(trained.folder / "record.json")["mse"]
