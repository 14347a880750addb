"""Labels made of parts, their heads, and heads of cosines, from pictures to a submission."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gorae.config import resolve_recipe
from gorae.errors import ConfigError
from gorae.models import build_model, write_weights
from gorae.pipeline.check import check
from gorae.pipeline.eda import eda
from gorae.pipeline.init import init
from gorae.pipeline.predict import load_run
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import run
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.training.checkpoint import read_checkpoints
from gorae.workspace import Workspace, read_predictions

FILES = (*(f"mask{number}" for number in range(1, 6)), "incorrect_mask", "normal")
BASE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "train.batch_size=16",
    "train.precision=fp32",
    "train.compile=false",
    "predict.compile=false",
    "train.threads=1",
    "train.workers=0",
    "augment.policy=none",
)
HOLDOUT = ("split.kind=holdout", "split.holdout_share=0.5", "train.epochs=1")


def draw_people(folder: Path) -> Path:
    """12 people of all six kinds: red tells the mask, green the gender, blue the age."""
    rng = np.random.default_rng(0)
    lines = ["id,gender,race,age,path"]

    def draw(path: Path, mask: int, gender: int, age: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.array([30 + 90 * mask, 60 + 120 * gender, 30 + 90 * age])
        pixels = colour + rng.integers(-15, 15, (40, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for person in range(12):
        gender, age = person % 2, person // 2 % 3
        years, name = (25, 45, 65)[age], ("male", "female")[gender]
        place = f"{person:06d}_{name}_Asian_{years}"
        lines.append(f"{person:06d},{name},Asian,{years},{place}")
        for number, file in enumerate(FILES):
            mask = max(0, number - 4)
            draw(folder / f"train/images/{place}/{file}.png", mask, gender, age)
    (folder / "train/train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    for number in range(6):
        draw(folder / f"eval/images/{number:04x}.png", number % 3, number % 2, number % 3)
    asked = ["ImageID,ans", *(f"{number:04x}.png,0" for number in range(6))]
    (folder / "eval/info.csv").write_text("\n".join(asked) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw_people(tmp_path_factory.mktemp("people"))
    init(folder)
    # A classifier of nine classes, as published weights bring one.
    model = build_model("test_resnet", num_outputs=9, kwargs={}, seed=3, folder=folder)
    state = {**model.backbone.state_dict()}
    state |= {f"head.fc.{name}": value for name, value in model.head.state_dict().items()}
    write_weights(folder / "nine.safetensors", state)
    return folder


def test_what_a_label_is_made_of_is_no_leak(people: Path) -> None:
    found = eda(people, recipe=resolve_recipe(overrides=["model.weights=none", *BASE[:1]]))
    tested = {line["column"] for line in found.record["leaks"]}
    assert "meta.race" in tested
    assert not tested & {"meta.age", "meta.gender", "name_length", "name_letters", "extension"}


def run_recipe(folder: Path, text: str, *overrides: str) -> Any:
    (folder / "recipe.toml").write_text(f'preset = "standard"\n{text}', "utf-8")
    return run(
        folder, recipe=folder / "recipe.toml", overrides=(*BASE, *overrides), looks=False
    )


THANET = """
[split]
num_folds = 2
[model]
head = "thanet"
outputs = "parts"
drop_rate = 0.2
[loss]
kind = "focal"
label_smoothing = 0.1
class_weight_power = 0.5
part_weights = {age = 2.0, mask = 0.5}
[augment]
mixup = 0.2
[train]
epochs = 12
lr = 0.01
schedule = "constant"
[predict]
views = ["identity", "hflip"]
vote = "subtask"
"""

ARCFACE = """
[split]
num_folds = 2
[model]
head = "cosine"
neck = "bn_linear_bn"
embedding = 16
centres = 2
scale = 12.0
[loss]
margin_power = [0.27126, -0.364399, 0.05]
[train]
epochs = 20
lr = 0.01
schedule = "constant"
[predict]
views = ["identity"]
"""


@pytest.mark.parametrize(("text", "least"), [(THANET, 0.4), (ARCFACE, 0.4)])
def test_from_pictures_to_a_submission(text: str, least: float, tmp_path: Path) -> None:
    folder = draw_people(tmp_path)
    result = run_recipe(folder, text)
    assert result.metric == "macro_f1"
    assert result.score > least, "by chance it is below 0.05"
    assert check(folder, file=result.submission).is_accepted
    finished = Workspace(folder).run(result.run_id)
    for path, num_rows in ((finished.oof, 84), (finished.test, 6)):
        found = read_predictions(path)
        assert found.columns == tuple(map(str, range(18)))
        assert len(found.ids) == num_rows
        np.testing.assert_allclose(found.values.sum(axis=1), 1, atol=1e-6)
    # The finished run predicts the same of the same pictures.
    again = load_run(finished.path).predict(folder / "eval/images")
    test = read_predictions(finished.test).select(again.ids)
    np.testing.assert_allclose(again.values, test.values, atol=1e-6)


def trained(folder: Path, *changes: str) -> Any:
    keys = {change.split("=")[0] for change in changes}
    kept = [each for each in (*BASE, *HOLDOUT) if each.split("=")[0] not in keys]
    recipe = resolve_recipe(preset="standard", overrides=[*kept, *changes])
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    return train(folder, recipe=recipe).run


LOGITS = ("model.name=test_resnet", "model.weights=nine.safetensors", "model.features=logits")


@pytest.mark.parametrize(
    ("changes", "width"),
    [
        (("model.outputs=parts",), 8),
        (("model.outputs=both",), 26),
        (("model.head=vanilla", "model.drop_rate=0.5"), 18),
        (("model.head=vanilla", "model.outputs=parts"), 8),
        (("model.head=thanet",), 18),
        (("model.head=thanet", "model.outputs=both"), 26),
        (("model.head=thanet", "model.outputs=parts", "loss.part_weights={age=3}"), 8),
        ((*LOGITS, "model.head=vanilla", "model.drop_rate=0.5"), 18),
        ((*LOGITS, "model.head=thanet", "train.unfreeze_every=1"), 18),
        (("model.head=cosine", "model.neck=none", "loss.margin=0.3", "augment.cutmix=1"), 18),
        (("model.head=cosine", "loss.margin_range=[0.05, 0.5]", "loss.kind=focal"), 18),
    ],
)
def test_every_head_trains_and_predicts_the_classes(
    changes: tuple[str, ...], width: int, people: Path
) -> None:
    target = trained(people, *changes)
    choices = target.read_settings()["choices"]
    assert choices["num_outputs"] == width
    [member] = target.members()
    record = member.read_record()
    [checkpoint], _ = read_checkpoints(member.checkpoints)
    is_of_parts = width != 18
    assert (checkpoint.form.activation == "composed") == is_of_parts
    assert len(checkpoint.form.parts) == (18 if is_of_parts else 0)
    for part, num_images in (("valid", record["num_valid"]), ("test", 6)):
        found = read_predictions(member.predictions(part, checkpoint.name, "identity"))
        assert found.columns == tuple(map(str, range(18)))
        assert found.values.shape == (num_images, 18)
        np.testing.assert_allclose(found.values.sum(axis=1), 1, atol=1e-6)


def test_a_network_on_logits_is_built_again_without_its_weight_file(people: Path) -> None:
    from gorae.pipeline.ensemble import ensemble

    target = trained(people, *LOGITS, "model.head=vanilla", "seed=5")
    assert target.read_settings()["choices"]["num_logits"] == 9
    ensemble(people, run=target.run_id)
    hidden = people / "nine.safetensors"
    hidden.rename(people / "moved.safetensors")
    try:
        again = load_run(target.path).predict(people / "eval/images")
    finally:
        (people / "moved.safetensors").rename(hidden)
    test = read_predictions(target.test).select(again.ids)
    np.testing.assert_allclose(again.values, test.values, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.outputs=parts", r'outputs = "parts" needs classes that are made of parts'),
        ("model.outputs=both", r"(?s)declares none .*\[\[train.compose\]\]\nname = "),
        ("model.head=thanet", r'head = "thanet" needs .*'),
    ],
)
def test_parts_are_asked_for_in_competition_toml(
    change: str, message: str, make_competition: Callable[..., Path]
) -> None:
    folder = make_competition()
    init(folder)
    with pytest.raises(ConfigError, match=message):
        trained(folder, change)
    assert not (folder / ".gorae/prepared").exists(), "before any picture is decoded"


def test_unknown_parts_and_classifiers_that_are_missing_are_named(people: Path) -> None:
    with pytest.raises(ConfigError, match=r"names hat; .* are: mask, gender, age\."):
        trained(people, "model.outputs=parts", "loss.part_weights={hat=2}")
    model = build_model("test_resnet", num_outputs=2, kwargs={}, seed=0, folder=people)
    write_weights(people / "bare.safetensors", model.backbone.state_dict())
    with pytest.raises(ConfigError, match=r'features = "logits" need the classifier .* none'):
        trained(people, *LOGITS[::2], "model.weights=bare.safetensors")


def test_one_seed_gives_one_training_and_other_weights_of_parts_another(
    people: Path, tmp_path: Path
) -> None:
    changes = ("model.head=thanet", "model.outputs=both", "seed=3")
    target = trained(people, *changes)
    [member] = target.members()
    [checkpoint], _ = read_checkpoints(member.checkpoints)
    path = member.checkpoints / f"{checkpoint.name}.safetensors"
    first = path.read_bytes()
    target.path.rename(tmp_path / "first")
    [member] = trained(people, *changes).members()
    assert (member.checkpoints / path.name).read_bytes() == first
    [member] = trained(people, *changes, "loss.part_weights={age=3}").members()
    assert (member.checkpoints / path.name).read_bytes() != first
