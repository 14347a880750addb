"""The demos: real pictures as competitions whose answers stand in no file."""

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, roc_auc_score

from gorae.cli.job import DEMOS, demo_place
from gorae.config import resolve_recipe
from gorae.config.shipped import shipped_recipes
from gorae.errors import UserError
from gorae.events import Event
from gorae.pipeline.demo import SYSTEMS, demo
from gorae.pipeline.demo.cats import cats_set
from gorae.pipeline.demo.digits import WORDS, digit_png, digits_set
from gorae.pipeline.demo.mask import SHOTS, mask_set
from gorae.pipeline.demo.melanoma import melanoma_set
from gorae.pipeline.demo.sets import DemoSet, hidden_part, hidden_score, write_set
from gorae.pipeline.demo.whales import NEW, whales_set
from gorae.pipeline.init import init
from gorae.pipeline.run import run

# Each set with few pictures.
SMALL: dict[str, Callable[[], DemoSet]] = {
    "melanoma": lambda: melanoma_set(num_train=90, num_test=60),
    "cats": lambda: cats_set(num_train=40, num_test=16),
    "mask": lambda: mask_set(num_train=16, num_test=12),
    "whales": lambda: whales_set(num_individuals=24, num_new=6),
}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("digits") / "숫자"
    made = digits_set()
    write_set(folder, made)
    return folder, dict(made.answers)


def test_every_digit_is_in_one_part(digits: tuple[Path, dict[str, str]]) -> None:
    folder, answers = digits
    train = read_table(folder / "train.csv")
    sample = read_table(folder / "sample_submission.csv")
    train_ids = {line["id"] for line in train}
    assert len(train_ids) == len(train) == 1438
    assert {line["id"] for line in sample} == answers.keys()
    assert len(answers) == 359
    assert not train_ids & answers.keys()
    assert {path.stem for path in (folder / "train").iterdir()} == train_ids
    assert {path.stem for path in (folder / "test").iterdir()} == answers.keys()
    target = load_digits().target
    known = {line["id"]: line["label"] for line in train} | answers
    assert [known[f"digit-{index:04d}"] for index in range(1797)] == [
        WORDS[digit] for digit in target
    ]


def test_no_file_tells_the_answers(digits: tuple[Path, dict[str, str]]) -> None:
    folder, answers = digits
    tables = {name: data for name, data in tree(folder).items() if not name.endswith(".png")}
    assert sorted(tables) == ["recipes/lenet5.toml", "sample_submission.csv", "train.csv"]
    for id_ in answers:
        assert id_.encode() not in tables["train.csv"]
    sample = csv.DictReader(io.StringIO(tables["sample_submission.csv"].decode()))
    assert {line["label"] for line in sample} == {"zero"}


def test_writing_again_changes_nothing(digits: tuple[Path, dict[str, str]]) -> None:
    folder, answers = digits
    before = tree(folder)
    (folder / "test" / f"{next(iter(answers))}.png").unlink()
    events: list[Event] = []
    made = digits_set()
    write_set(folder, made, on_event=events.append)
    assert made.answers == answers
    assert tree(folder) == before
    assert (events[-1].done, events[-1].total) == (1797, 1797)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    seed=st.integers(0, 9),
    share=st.floats(0, 1),
)
@settings(max_examples=50)
def test_the_hidden_part_holds_the_share_of_each_class(
    labels: list[int], seed: int, share: float
) -> None:
    target = np.array(labels)
    mask = hidden_part(target, share=share, seed=seed)
    np.testing.assert_array_equal(mask, hidden_part(target, share=share, seed=seed))
    for label in np.unique(target):
        members = target == label
        assert mask[members].sum() == round(share * members.sum())


def test_a_digit_keeps_its_shape() -> None:
    values = load_digits().images[0]
    picture = np.asarray(Image.open(io.BytesIO(digit_png(values))))
    assert picture.shape == (32, 32)
    assert picture.dtype == np.uint8
    # The mean of each block of 4 x 4 pixels is about the value it was made of.
    blocks = picture.reshape(8, 4, 8, 4).mean(axis=(1, 3))
    assert np.corrcoef(blocks.ravel(), values.ravel())[0, 1] > 0.98


def test_accuracy_is_joined_on_ids(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text("id,label\nc,3\na,1\nb,9\nd,0\n", "utf-8")
    answers = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert hidden_score(path, answers, score="accuracy") == 0.5


def test_the_recipe_needs_no_download(digits: tuple[Path, dict[str, str]]) -> None:
    recipe = resolve_recipe(path=digits[0] / "recipes" / "lenet5.toml")
    assert (recipe.model.name, recipe.model.weights) == ("lenet5", "none")
    assert recipe.augment.hflip == 0
    assert recipe.split.num_folds == 5


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(UserError, match=r"holds something else \(thesis\.txt\)"):
        write_set(tmp_path, digits_set())
    assert list(tree(tmp_path)) == ["thesis.txt"]
    with pytest.raises(UserError, match=r"thesis\.txt is a file\. Name a new folder"):
        write_set(tmp_path / "thesis.txt", digits_set())


def test_a_changed_picture_is_not_overwritten(tmp_path: Path) -> None:
    other = tmp_path / "train" / "digit-0001.png"
    other.parent.mkdir()
    other.write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already with other content"):
        write_set(tmp_path, digits_set())
    assert other.read_bytes() == b"mine"


def test_scores_are_those_of_the_competitions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "submission.csv"

    def scored(given: list[str], truth: list[str], score: str) -> float:
        lines = [f"{i},{text}" for i, text in enumerate(given)]
        path.write_text("\n".join(["id,answer", *lines[::-1]]) + "\n", "utf-8")
        return hidden_score(path, {f"{i}": text for i, text in enumerate(truth)}, score=score)

    flags, shares = rng.integers(0, 2, 50), rng.random(50).round(2)
    found = scored([f"{share}" for share in shares], [f"{flag}" for flag in flags], "roc_auc")
    assert found == pytest.approx(roc_auc_score(flags, shares))
    truth, said = rng.integers(0, 18, (2, 200))
    found = scored([f"{k}" for k in said], [f"{k}" for k in truth], "macro_f1")
    assert found == pytest.approx(f1_score(truth, said, average="macro"))
    guesses = ["a b c d e", "b a c d e", "b c d e f"]
    assert scored(guesses, ["a", "a", "a"], "map_at_5") == pytest.approx(0.5)


@pytest.mark.parametrize("name", SMALL)
def test_a_set_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    first, second = SMALL[name](), SMALL[name]()
    assert first == second
    write_set(tmp_path, first)
    before = tree(tmp_path)
    write_set(tmp_path, second)
    assert tree(tmp_path) == before
    assert len(set(first.pictures.values())) == len(first.pictures)


@pytest.mark.parametrize("name", SMALL)
def test_a_set_hides_its_answers(name: str) -> None:
    made = SMALL[name]()
    shown = [path for path in made.pictures if path.startswith(("test", "eval"))]
    # Names are those of the answers; no file but the sample and the test table knows them.
    assert {Path(path).stem for path in shown} == {Path(id_).stem for id_ in made.answers}
    for path, text in made.tables.items():
        lines = list(csv.reader(io.StringIO(text)))
        of_test = [line for line in lines if line[0] in made.answers]
        if path.endswith("train.csv"):
            assert not of_test
        elif "target" in lines[0] or len(lines[0]) == 2:
            assert len(of_test) == len(made.answers)
            assert len({line[1] for line in of_test}) == 1, "one answer for all"
        else:
            assert lines[0] == [column for column in lines[0] if column != "diagnosis"]
    # Neither does the order of the files.
    in_order = [made.answers[id_] for id_ in sorted(made.answers)]
    assert in_order != sorted(in_order)


RECOGNISED: dict[str, dict[str, Any]] = {
    "melanoma": {
        "metric": "roc_auc",
        "train.label_columns": ("target",),
        "train.group_columns": ("patient_id",),
        "submission.kind": "probability",
        "submission.column_classes": {"target": "1"},
    },
    "cats": {
        "metric": "accuracy",
        "train.images": "train/train",
        "submission.kind": "label",
        "submission.written": {"cat": "0", "dog": "1"},
    },
    "mask": {
        "metric": "macro_f1",
        "train.group_columns": ("id",),
        "submission.kind": "label",
        "submission.sample": "eval/info.csv",
    },
    "whales": {
        "metric": "map_at_k",
        "metric_params": {"k": 5},
        "submission.kind": "ranked",
        "submission.unknown_label": NEW,
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_a_set_is_recognised(name: str, tmp_path: Path) -> None:
    write_set(tmp_path, SMALL[name]())
    found = init(tmp_path)
    assert not found.notes
    assert found.competition.task == "multiclass"
    for place, wanted in RECOGNISED[name].items():
        value: Any = found.competition
        for part in place.split("."):
            value = getattr(value, part)
        assert value == wanted, place


def test_each_person_has_seven_pictures() -> None:
    made = mask_set(num_train=16, num_test=12)
    folders = Counter(Path(path).parent.name for path in made.pictures if "train" in path)
    lines = read_csv(made.tables["train/train.csv"])
    assert folders == dict.fromkeys([line["path"] for line in lines], 7)
    groups = {(line["gender"], np.digitize(int(line["age"]), (30, 60))) for line in lines}
    assert len(groups) == 6
    # Worn, worn wrongly, not worn: 5 : 1 : 1, of all 18 classes.
    counts = Counter(int(answer) // 6 for answer in made.answers.values())
    assert counts == {0: 60, 1: 12, 2: 12}
    assert len(set(made.answers.values())) == 18
    assert len(SHOTS) == 7


def test_half_of_the_whales_are_seen_once() -> None:
    made = whales_set()
    counts = Counter(line["Id"] for line in read_csv(made.tables["train.csv"]))
    assert sum(count == 1 for count in counts.values()) == len(counts) / 2
    assert NEW not in counts
    assert set(made.answers.values()) <= {NEW, *counts}
    assert 0.2 < Counter(made.answers.values())[NEW] / len(made.answers) < 0.5


def test_patients_of_the_test_set_are_not_in_train() -> None:
    made = melanoma_set()
    train, test = (read_csv(made.tables[f"{part}.csv"]) for part in ("train", "test"))
    assert not {line["patient_id"] for line in train} & {line["patient_id"] for line in test}
    share = np.mean([line["target"] == "1" for line in train])
    assert 0.04 < share < 0.15
    assert all((line["diagnosis"] == "melanoma") == (line["target"] == "1") for line in train)
    assert "diagnosis" not in test[0]


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "digits"])
def test_a_demo_uses_a_shipped_recipe_without_a_dead_setting(name: str) -> None:
    system = SYSTEMS[name]
    assert system.recipe in shipped_recipes()
    recipe = resolve_recipe(path=Path(system.recipe), overrides=system.overrides)
    assert recipe.model.weights == "none"


@pytest.mark.parametrize("name", SMALL)
def test_a_small_demo_from_the_set_to_its_score(name: str, tmp_path: Path) -> None:
    made, system = SMALL[name](), SYSTEMS[name]
    write_set(tmp_path, made)
    given = dict(text.split("=", 1) for text in system.overrides)
    given |= {"train.epochs": "2", "split.num_folds": "2"}
    if "train.swa_epochs" in given:
        given["train.swa_epochs"] = "1"
    shorter = tuple(f"{setting}={value}" for setting, value in given.items())
    result = run(tmp_path, recipe=system.recipe, overrides=shorter, looks=False)
    assert result.submission is not None
    assert 0 <= hidden_score(result.submission, made.answers, score=system.score) <= 1


def test_an_unknown_demo_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no demo 'dogs'\. Demos: digits, melanoma, cats"):
        demo(tmp_path, system="dogs")


def test_the_first_word_is_a_system_or_a_folder() -> None:
    assert tuple(SYSTEMS) == DEMOS
    assert demo_place(None, None) == ("digits", Path("demo"))
    assert demo_place("cats", None) == ("cats", Path("demo-cats"))
    assert demo_place("cats", Path("here")) == ("cats", Path("here"))
    assert demo_place("/tmp/여기", None) == ("digits", Path("/tmp/여기"))
    for slip in (("whale", None), ("dogs", Path("here"))):
        with pytest.raises(typer.BadParameter, match="Demos: digits, melanoma, cats, mask"):
            demo_place(*slip)


@pytest.mark.long
def test_the_whole_demo(tmp_path: Path) -> None:
    result = demo(tmp_path / "demo")
    assert result.run.score > 0.97
    assert result.hidden_score > 0.95
    assert result.run.elapsed_s < 300
    assert result.run.expected is not None
    low, high = result.run.expected
    assert low <= result.hidden_score <= high
    assert result.to_json()["num_hidden"] == 359
