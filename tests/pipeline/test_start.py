"""Folds that go on from an earlier run: the same fold, the same weights, or a refusal."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gorae.config import resolve_recipe
from gorae.errors import ConfigError, StorageError, UserError
from gorae.events import Event
from gorae.pipeline.init import init
from gorae.pipeline.start import fitting_parts
from gorae.training.plan import Interrupted
from gorae.workspace import Member, Workspace

from .conftest import SMALL, train_small, write_competition

# What is left where nothing is fine-tuned.
PLAIN = tuple(each for each in SMALL if each.startswith(("model.", "pixels.", "split.")))
# So small that float32 weights do not move: what a training leaves is what it started from.
STILL = ("train.lr=1e-30", "train.backbone_lr=1e-30")


def weights_of(member: Member) -> dict[str, Tensor]:
    name = member.read_record()["used_checkpoints"][0]
    return load_file(member.checkpoints / f"{name}.safetensors")


def are_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition with one trained run, ``0001``, with a refit."""
    folder = tmp_path_factory.mktemp("start") / "shapes"
    write_competition(folder, num_subjects=12, num_test=2)
    init(folder)
    train_small(folder, "refit=true")
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """The same, to change freely."""
    return shutil.copytree(drawn, tmp_path / "shapes")


def test_every_member_starts_from_its_own_fold(folder: Path) -> None:
    events: list[Event] = []
    later = train_small(folder, *STILL, "train.start=0001", "refit=true", events=events)
    earlier = Workspace(folder).run("0001")
    names = [member.name for member in earlier.members()]
    assert names == ["fold-0", "fold-1", "refit"]
    for name in names:
        wanted = weights_of(earlier.member(name))
        assert are_equal(weights_of(later.member(name)), wanted)
        others = [each for each in names if each != name]
        assert not any(are_equal(weights_of(earlier.member(each)), wanted) for each in others)
    said = [event.text for event in events if "starts from" in event.text]
    assert said == [
        f"{name} starts from epoch-0001 of {earlier.run_id}: backbone and head"
        for name in names
    ]


def test_without_a_start_runs_keep_their_identity(folder: Path) -> None:
    """A recipe dumps as before there was the setting, so its run is found again."""
    recipe = resolve_recipe(preset="standard", overrides=SMALL)
    assert "start" not in recipe.train.model_dump(mode="json")
    earlier = Workspace(folder).run("0001")
    assert "start" not in earlier.read_settings()["keys"]
    assert train_small(folder, "refit=true").run_id == earlier.run_id


def test_other_weights_make_another_run(folder: Path) -> None:
    first = train_small(folder, "train.start=0001")
    assert train_small(folder, "train.start=0001").run_id == first.run_id
    # The run that is started from is trained anew, and ends elsewhere.
    fold = Workspace(folder).run("0001").member("fold-0")
    [path] = fold.checkpoints.glob("*.json")
    path.write_text(path.read_text("utf-8").replace('"sha256": "', '"sha256": "0'), "utf-8")
    with pytest.raises(StorageError, match="damaged"):
        train_small(folder, "train.start=0001")
    assert Workspace(folder).run(None).run_id != first.run_id


def test_a_stopped_training_ends_in_the_same_weights(folder: Path) -> None:
    changes = ("train.start=0001", "train.epochs=2")
    whole = train_small(folder, *changes)
    kept = [weights_of(member) for member in whole.members()]
    shutil.rmtree(whole.path)
    with pytest.raises(Interrupted):
        train_small(folder, *changes, stop_after=3)
    again = train_small(folder, *changes)
    assert again.run_id == whole.run_id
    for member, wanted in zip(again.members(), kept, strict=True):
        assert are_equal(weights_of(member), wanted)


def test_the_name_of_a_recipe_is_its_newest_run(folder: Path) -> None:
    later = train_small(folder, "train.start=standard", "name=second")
    assert later.read_settings()["recipe"]["train"]["start"] == "0001-standard-lenet5"
    # Runs of the same name that came later than a run's own start are not its own.
    assert train_small(folder, "train.start=0001", "name=second").run_id == later.run_id
    third = train_small(folder, "train.start=second", "name=third")
    assert third.read_settings()["recipe"]["train"]["start"] == later.run_id


def test_a_head_of_another_kind_stays_new(folder: Path) -> None:
    events: list[Event] = []
    changes = (*STILL, "train.start=0001", "model.head=vanilla", "split.num_folds=2")
    later = train_small(folder, *changes, events=events)
    said = [event.text for event in events if "starts from" in event.text]
    assert said[0].endswith("backbone; head is new, as its tensors are others there")
    earlier = Workspace(folder).run("0001")
    wanted, found = weights_of(earlier.member("fold-0")), weights_of(later.member("fold-0"))
    for name, value in wanted.items():
        assert (name in found and torch.equal(found[name], value)) == ("backbone" in name)


def test_only_whole_parts_are_taken() -> None:
    def tensors(head: int, *, extra: bool = False) -> dict[str, Tensor]:
        found = {"backbone.a": torch.zeros(2), "head.weight": torch.zeros(head)}
        return {**found, "metadata.weight": torch.zeros(1)} if extra else found

    assert fitting_parts(tensors(3), tensors(3)) == (["backbone", "head"], {})
    assert fitting_parts(tensors(3, extra=True), tensors(4)) == (
        ["backbone"],
        {"head": "its tensors are others there", "metadata": "it has none there"},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ("split.seed=1",),
            r"(?s)trained on other folds .*too good\. .*split\.seed: 0 there, 1 here"
            r".*recipe\.toml, or leave train\.start out\.",
        ),
        (("split.num_folds=3",), r"split\.num_folds: 2 there, 3 here"),
        (("model.name=test_resnet",), r"model\.name: 'lenet5' there, 'test_resnet' here"),
        (
            ("model.kwargs={in_chans=1}", "pixels.mean=[0.1, 0.1, 0.1]"),
            r"(?s)model\.kwargs\.in_chans: None there, 1 here.*pixels\.mean: \[.*0\.1\] here",
        ),
    ],
)
def test_weights_of_something_else_are_refused(
    changes: tuple[str, ...], message: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        train_small(folder, "train.start=0001", *changes)
    assert len(Workspace(folder).run_folders()) == 1


def test_pictures_that_changed_since_are_another_split(folder: Path) -> None:
    table = folder / "train.csv"
    lines = table.read_text("utf-8").splitlines()
    table.write_text("\n".join(lines[:-2]) + "\n", "utf-8")
    message = r"settings of \[split\] are equal, so the pictures, labels or groups changed"
    with pytest.raises(ConfigError, match=message):
        train_small(folder, "train.start=0001")


def test_a_run_that_is_missing_or_unfinished_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'0009' is no run here\. Runs: 0001"):
        train_small(folder, "train.start=0009")
    earlier = Workspace(folder).run("0001")
    shutil.rmtree(earlier.path / "refit")
    with pytest.raises(ConfigError, match="has no refit for the refit to start from"):
        train_small(folder, "train.start=0001", "refit=true")
    shutil.rmtree(earlier.path / "fold-1")
    with pytest.raises(ConfigError, match=r"has 1 of 2 folds\. Go on with it first"):
        train_small(folder, "train.start=0001")


@pytest.mark.parametrize("use", ["frozen", "as_is"])
def test_only_fine_tuning_starts_from_a_run(use: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.start has no effect here"):
        resolve_recipe(overrides=[f"model.use={use}", "train.start=0001"])


def test_only_fine_tuned_runs_have_weights_to_start_from(folder: Path) -> None:
    run = train_small(folder, "model.use=frozen", "split.num_folds=2", base=PLAIN)
    with pytest.raises(ConfigError, match=r'made with model\.use = "frozen"'):
        train_small(folder, f"train.start={run.run_id}")


def test_damaged_weights_are_named(folder: Path) -> None:
    [path] = Workspace(folder).run("0001").member("fold-0").checkpoints.glob("*.safetensors")
    save_file({"backbone.a": torch.zeros(1)}, path)
    with pytest.raises(StorageError, match="is damaged"):
        train_small(folder, "train.start=0001")
