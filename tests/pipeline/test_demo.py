"""The demo: real digits as a competition whose answers stand in no file."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from gorae.config import resolve_recipe
from gorae.errors import UserError
from gorae.events import Event
from gorae.pipeline.demo import (
    WORDS,
    demo,
    digit_png,
    hidden_accuracy,
    hidden_part,
    write_digits,
)


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
    return folder, write_digits(folder)


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
    assert write_digits(folder, on_event=events.append) == answers
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
    assert hidden_accuracy(path, {"a": "1", "b": "2", "c": "3", "d": "4"}) == 0.5


def test_the_recipe_needs_no_download(digits: tuple[Path, dict[str, str]]) -> None:
    recipe = resolve_recipe(path=digits[0] / "recipes" / "lenet5.toml")
    assert (recipe.model.name, recipe.model.weights) == ("lenet5", "none")
    assert recipe.augment.hflip == 0
    assert recipe.split.num_folds == 5


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(UserError, match=r"holds something else \(thesis\.txt\)"):
        write_digits(tmp_path)
    assert list(tree(tmp_path)) == ["thesis.txt"]
    with pytest.raises(UserError, match=r"thesis\.txt is a file\. Name a new folder"):
        write_digits(tmp_path / "thesis.txt")


def test_a_changed_picture_is_not_overwritten(tmp_path: Path) -> None:
    other = tmp_path / "train" / "digit-0001.png"
    other.parent.mkdir()
    other.write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already with other content"):
        write_digits(tmp_path)
    assert other.read_bytes() == b"mine"


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
