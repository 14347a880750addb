"""The flags of the mask competition's source: each is a setting, a check or refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gorae.cli import main
from gorae.config import resolve_recipe
from gorae.config.reading import validated
from gorae.config.recipe import Recipe
from gorae.errors import ConfigError
from gorae.pipeline.init import init
from gorae.pipeline.mask_flags import (
    FLAGS,
    MODELS,
    TRAIN,
    VIEWS,
    describe_flags,
    parse_flags,
    train_recipe,
)
from gorae.workspace import Workspace, read_predictions

SETTINGS = (
    *("model.name=lenet5", "model.weights=none", "pixels.input_size=32"),
    *("train.precision=fp32", "train.compile=false", "predict.compile=false"),
    *("train.threads=1", "train.workers=0", "augment.policy=none"),
)


def look_up(recipe: Recipe, name: str) -> Any:
    value: Any = recipe
    for part in name.split("."):
        value = getattr(value, part)
    return value


def recipe_of(*words: str) -> Recipe:
    table = train_recipe(parse_flags(TRAIN, words))
    preset = table.pop("preset")
    base = resolve_recipe(preset=preset).model_dump(exclude_unset=True)
    merged = {**base, **table}
    return validated(Recipe, merged, origin="the flags")


MAPPED: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "task": [
        ("main", {"target.part": None}),
        ("mask", {"target.part": "mask"}),
        ("gender", {"target.part": "gender"}),
        ("ageg", {"target.part": "age", "target.part_as": "classes"}),
        ("age", {"target.part": "age", "target.part_as": "number", "loss.kind": "mse"}),
        ("age_clf", {"target.part": "age", "target.part_as": "each"}),
    ],
    "model_type": [
        (
            "VanillaEfficientNet",
            {"model.name": "tf_efficientnet_b3.aa_in1k", "model.head": "vanilla"},
        ),
        ("vanillaresnet", {"model.name": "resnet50.tv_in1k", "model.drop_rate": 0.5}),
        ("MultiClassTHANet_MK1", {"model.head": "thanet", "model.outputs": "classes"}),
        ("MultiLabelTHANet", {"model.head": "thanet", "model.outputs": "parts"}),
        ("THANet", {"model.head": "linear", "model.outputs": "both"}),
    ],
    "load_state_dict": [
        ("weights/b3.pth", {"model.weights": "weights/b3.pth", "train.start": None}),
        ("0003", {"train.start": "0003", "model.weights": "hub"}),
    ],
    "transform_type": [
        (name, {"augment.policy": name}) for name in FLAGS["transform_type"].choices
    ],
    "age_filter": [
        ("58", {"train.part_thresholds": {"age": (30.0, 58.0)}}),
        ("60", {"train.part_thresholds": {}}),
    ],
    "epochs": [("7", {"train.epochs": 7})],
    "cv": [
        ("4", {"split.kind": "kfold", "split.num_folds": 4}),
        ("1", {"split.kind": "holdout", "split.holdout_share": 0.1}),
    ],
    "batch_size": [("16", {"train.batch_size": 16})],
    "val_batch_size": [("64", {"predict.batch_size": 64})],
    "optim_type": [
        ("adam", {"train.optimizer": "adam", "train.weight_decay": 0.0}),
        ("SGD", {"train.optimizer": "sgd", "train.weight_decay": 0.0}),
        ("momentum", {"train.optimizer": "momentum", "train.momentum": 0.9}),
        ("AdamP", {"train.optimizer": "adamp", "train.weight_decay": 0.01}),
        ("adamw", {"train.optimizer": "adamw", "train.weight_decay": 0.01}),
    ],
    "loss_type": [
        *(
            (name, {"loss.kind": "cross_entropy", "loss.label_smoothing": 0.2})
            for name in ("labelsmoothing", "labelsmootingloss", "labelsmoothingLoss")
        ),
        ("labelsmoothing", {"loss.smoothing_form": "others"}),
        ("crossentropy", {"loss.kind": "cross_entropy", "loss.label_smoothing": 0.0}),
        ("focal", {"loss.kind": "focal", "loss.focal_gamma": 5.0}),
    ],
    "lr": [("5e-3", {"train.lr": 5e-3, "train.backbone_lr": 5e-3})],
    "lr_scheduler": [
        (name, {"train.schedule": name}) for name in FLAGS["lr_scheduler"].choices
    ],
    "seed": [("7", {"seed": 7})],
    "top_k": [("2", {"train.keep_checkpoints": 2, "predict.use_checkpoints": 2})],
    "tta": [("2", {"predict.views": ("identity", "hflip")}), ("10", {"predict.views": VIEWS})],
}

# What each does is shown by the runs below.
ON_DISK = {"train_root", "data_root", "save_path", "root", "method", "valid_root"}


def test_every_flag_is_in_a_table_here() -> None:
    assert set(MAPPED) | ON_DISK == set(FLAGS)
    assert set(MODELS) == set(FLAGS["model_type"].choices)
    told = dict(describe_flags())
    assert set(told) == {f"--{name}" for name in FLAGS}


@pytest.mark.parametrize("name", MAPPED)
def test_a_flag_is_its_settings(name: str) -> None:
    for value, wanted in MAPPED[name]:
        for words in ([f"--{name}", value], [f"--{name.replace('_', '-')}={value}"]):
            recipe = recipe_of(*words)
            assert {key: look_up(recipe, key) for key in wanted} == wanted, value


@pytest.mark.parametrize(("value", "kind"), [("mse", "mse"), ("SmoothL1", "smooth_l1")])
def test_losses_of_numbers_are_for_the_age(value: str, kind: str) -> None:
    assert recipe_of("--task=age", "--loss_type", value).loss.kind == kind
    with pytest.raises(ConfigError, match=r"--task main is a class; it fits labelsmoothing"):
        recipe_of("--loss_type", value)


def test_the_best_flags_of_the_source_make_the_shipped_recipe() -> None:
    made = recipe_of("--transform_type=tta", "--top_k=2", "--tta=2").model_dump()
    shipped = resolve_recipe(path=Path("mask")).model_dump()
    assert {**made, "name": "mask"} == shipped


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("train", ["--batchsize", "3"], r"--batchsize: no such flag; near: --batch_size"),
        ("train", ["--lr"], r"--lr needs a value"),
        ("train", ["--lr", "--cv", "3"], r"--lr needs a value"),
        ("train", ["--cv=3", "--cv=4"], r"--cv is given twice"),
        ("train", ["--task", "hat"], r"--task hat: one of main, mask"),
        ("train", ["--valid_root", "x"], r"whole persons are held out .* \[holdout\]"),
        ("train", ["--method", "hard"], r"a vote is chosen when submitting"),
        ("train", ["--save_path", "x"], r"\.gorae/runs/RUN"),
        ("submit_singular", ["--top_k", "3"], r"it sends one checkpoint"),
        ("submit_ensemble", ["--lr", "1"], r"it belongs to the training"),
        ("submit_ensemble", ["--transform_type", "base"], r"never drawn; see --tta"),
        ("submit_ensemble", ["--load_state_dict", "x"], r"name it by --root"),
    ],
)
def test_a_flag_that_has_no_effect_is_refused_with_the_reason(
    command: str, words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_flags(command, words)


def test_every_command_takes_or_refuses_every_flag_with_a_reason() -> None:
    for command in ("train", "submit_singular", "submit_ensemble"):
        for name, flag in FLAGS.items():
            assert (command in flag.commands) != (command in (flag.refused or {})), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], r"--epochs 0: a whole number from 1"),
        (["--epochs", "two"], r"--epochs two: "),
        (["--lr", "-1"], r"--lr -1: a number above 0"),
        (["--tta", "11"], r"--tta 11: a whole number from 1 to 10"),
        (["--task", "age", "--loss_type", "focal"], r"--task age is a number; it fits mse"),
        (["--task", "mask", "--model_type", "THANet"], r"needs --task main"),
        (["--task", "mask", "--age_filter", "58"], r"--task mask has no age groups"),
        (["--train_root", "a", "--data_root", "b"], r"both name the competition"),
    ],
)
def test_flags_that_do_not_fit_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_recipe(parse_flags(TRAIN, words))


@dataclass(frozen=True)
class Spoken:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def gorae_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Spoken]:
    """The command line in this process."""

    def command(*words: str | Path | int) -> Spoken:
        capsys.readouterr()
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.out + shown.err
        # Lines are broken to fit the screen.
        return Spoken(code, shown.out, " ".join(shown.err.split()))

    return command


def draw_people(folder: Path) -> Path:
    """12 people with 7 pictures each: red tells the mask, green the gender, blue the age."""
    rng = np.random.default_rng(0)
    lines, asked = ["id,gender,race,age,path"], ["ImageID,ans"]

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
        for number, file in enumerate(
            ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
        ):
            draw(folder / f"train/images/{place}/{file}.png", max(0, number - 4), gender, age)
    (folder / "train/train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    for number in range(6):
        draw(folder / f"eval/images/{number:04x}.png", number % 3, number % 2, number % 3)
        asked.append(f"{number:04x}.png,0")
    (folder / "eval/info.csv").write_text("\n".join(asked) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition with a run of two folds, two checkpoints and two views each."""
    folder = draw_people(tmp_path_factory.mktemp("people"))
    init(folder)
    words = ["--cv=2", "--top-k=2", "--tta=2", "--epochs=12", "--lr=0.01", "--batch_size=16"]
    words += ["--loss_type", "crossentropy", "--lr_scheduler", "constant"]
    changes = [word for change in SETTINGS for word in ("--set", change)]
    # A folder within the competition, as the source's data_root is one.
    place = ["--data_root", str(folder / "train" / "images")]
    assert main(["mask", "train", *words, *changes, *place, "--json"]) == 0
    return folder


def test_every_ensemble_of_the_source_is_built(
    people: Path, gorae_cli: Callable[..., Any], tmp_path: Path
) -> None:
    [run] = Workspace(people).run_folders()
    assert run.run_id == "0001-mask-main-vanillaefficientnet-lenet5"
    assert (people / ".gorae/recipes/mask-main-vanillaefficientnet.toml").exists()
    base = ("mask", "submit_ensemble", "--folder", people, "--json", "--save_path")
    every = gorae_cli(*base, tmp_path / "all", "--method", "all").json
    names = {Path(line["path"]).name for line in every["files"]}
    assert names == {
        f"submission_ens_{name}.csv"
        for name in ("arithmetic", "geometric", "weighted_avg", "hardvoting")
    }
    for line in every["files"]:
        found = pd.read_csv(line["path"])
        assert list(found.columns) == ["ImageID", "ans"]
        assert found["ImageID"].tolist() == [f"{number:04x}.png" for number in range(6)]
        assert found["ans"].between(0, 17).all()
        assert line["score"] > 0.1, "by chance it is below 0.05"
    soft = gorae_cli(*base, tmp_path / "soft", "--root", run.path).json
    assert [line["what"] for line in soft["files"]] == ["arithmetic", "geometric", "weighted"]
    hard = gorae_cli(*base, tmp_path / "hard", "--method", "hardvoting").json
    assert [Path(line["path"]).name for line in hard["files"]] == [
        "submission_ens_hardvoting.csv"
    ]
    # The same vote as the run's own, of the same voters.
    own = read_predictions(run.test)
    labels = pd.read_csv(soft["files"][0]["path"], dtype=str).set_index("ImageID")["ans"]
    assert labels.loc[list(own.ids)].tolist() == [own.columns[i] for i in own.values.argmax(1)]
    result = run.read_result()
    assert result is not None
    assert soft["files"][0]["score"] == pytest.approx(result["score"], abs=1e-12)


def test_fewer_checkpoints_and_views_vote_and_more_are_refused(
    people: Path, gorae_cli: Callable[..., Any], tmp_path: Path
) -> None:
    base = ("mask", "submit_ensemble", "--folder", people, "--save_path")
    fewer = gorae_cli(*base, tmp_path / "few", "--top_k", 1, "--tta", 1, "--json").json
    every = gorae_cli(*base, tmp_path / "all", "--json").json
    assert [line["score"] for line in fewer["files"]] != [
        line["score"] for line in every["files"]
    ]
    more = gorae_cli(*base, tmp_path / "more", "--top_k", 3)
    assert more.code != 0
    assert "predicted with 2 checkpoints per fold, so 1 to 2" in more.err
    other = gorae_cli(*base, tmp_path / "other", "--model_type", "THANet")
    assert "model.outputs = 'both', the run 'classes'" in other.err
    part = gorae_cli(*base, tmp_path / "part", "--task", "gender")
    assert "the run learned the classes, --task main" in part.err
    assert not (tmp_path / "more").exists()


def test_one_checkpoint_is_sent_by_its_name_or_the_best(
    people: Path, gorae_cli: Callable[..., Any], tmp_path: Path
) -> None:
    [run] = Workspace(people).run_folders()
    base = ("mask", "submit_singular", "--folder", people, "--json", "--tta", 1)
    member = run.member("fold-1")
    second = member.read_record()["used_checkpoints"][1]
    file = member.checkpoints / f"{second}.safetensors"
    for named in (file, f"{run.run_id}/fold-1"):
        where = tmp_path / str(Path(named).name)
        [line] = gorae_cli(*base, "--load_state_dict", named, "--save_path", where).json[
            "files"
        ]
        wanted = second if named == file else member.read_record()["used_checkpoints"][0]
        assert line["what"] == f"fold-1, {wanted}"
        test = read_predictions(member.predictions("test", wanted, "identity"))
        answers = pd.read_csv(line["path"], dtype=str)["ans"].tolist()
        assert answers == [test.columns[index] for index in test.values.argmax(axis=1)]
    [best] = gorae_cli(*base, "--save_path", tmp_path / "best").json["files"]
    [first] = gorae_cli(
        *base, "--load_state_dict", f"{run.run_id}/fold-0", "--save_path", tmp_path / "first"
    ).json["files"]
    [other] = gorae_cli(
        *base, "--load_state_dict", f"{run.run_id}/fold-1", "--save_path", tmp_path / "again"
    ).json["files"]
    assert best["score"] == max(first["score"], other["score"])
    missing = gorae_cli(*base, "--load_state_dict", f"{run.run_id}/fold-7")
    assert "its trained models are fold-0, fold-1" in missing.err


def test_the_recipe_alone_and_the_mapping_are_shown(
    people: Path, gorae_cli: Callable[..., Any]
) -> None:
    shown = gorae_cli("mask", "train", "--folder", people, "--task", "ageg", "--only-recipe")
    assert shown.code == 0
    assert 'part = "age"' in shown.out
    recipe = resolve_recipe(path=people / ".gorae/recipes/mask-ageg-vanillaefficientnet.toml")
    assert recipe.target.part == "age"
    for words in (("mask", "--help"), ("mask", "train", "--help")):
        text = gorae_cli(*words).out
        assert "--age_filter" in text
        assert "train.part_thresholds" in text
