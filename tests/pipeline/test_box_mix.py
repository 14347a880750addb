"""Boxes of several sources: which are drawn, who sees them, and what a run is known by."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch.utils.data import DataLoader

from gorae.config import Recipe, resolve_recipe
from gorae.data.boxes_drawn import BoxMix, BoxMixDataset, drawn_source
from gorae.data.dataset import EpochBatches, TrainDataset
from gorae.data.pixels import read_arguments
from gorae.data.store import PixelStore
from gorae.errors import ConfigError, DataError
from gorae.events import Event
from gorae.inference import Execution
from gorae.pipeline.augment import describe_augment, preview
from gorae.pipeline.box_mix import box_mix_notes, box_sources
from gorae.pipeline.context import open_context, read_scan, usable
from gorae.pipeline.contract import read_split
from gorae.pipeline.find_lr import find_lr
from gorae.pipeline.init import init
from gorae.pipeline.job import Job, train_table
from gorae.pipeline.job import test_table as table_of_test
from gorae.pipeline.learning import fold_data
from gorae.pipeline.pixels import input_pixels
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import run
from gorae.pipeline.scores import competition_metric
from gorae.pipeline.split import split
from gorae.pipeline.train import train
from gorae.stopping import never_stopped
from gorae.training.plan import FoldData, Interrupted
from gorae.workspace import RunFolder

from .conftest import write_competition

BASE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=2",
    "split.near_duplicates=false",
    "train.precision=fp32",
    "train.channels_last=true",
    "train.compile=false",
    "predict.compile=false",
    "train.threads=1",
    "train.workers=0",
    "train.epochs=2",
    "train.batch_size=8",
)
CROP = (
    'preprocess=[{step="crop_box", annotations="first.csv", image_column="image_id", '
    'box_columns=["left", "top", "right", "bottom"], box_format="xyxy"}]'
)
MIX = 'augment.box_mix=[{boxes="second.csv", share=0.3}, {boxes="whole", share=0.1}]'
HAPPYWHALE = (0.15, 0.15, 0.05, 0.05)
FIRST, SECOND = (2, 2, 34, 34), (10, 8, 40, 38)
LACKING = "000_0"


def write_boxes(path: Path, names: list[str], box: tuple[int, ...]) -> None:
    lines = [f"{name},{','.join(map(str, box))}" for name in names]
    path.write_text("\n".join(["image_id,left,top,right,bottom", *lines]) + "\n", "utf-8")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_competition(
        tmp_path_factory.mktemp("boxes") / "도형", num_subjects=10, num_test=4
    )
    init(folder)
    names = {
        part: sorted(path.stem for path in (folder / part).iterdir())
        for part in ("train", "test")
    }
    write_boxes(folder / "first.csv", [*names["train"], *names["test"]], FIRST)
    # Boxes of training pictures alone, and not of all.
    write_boxes(folder / "second.csv", [n for n in names["train"] if n != LACKING], SECOND)
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """The same, to change freely."""
    return shutil.copytree(drawn, tmp_path / "도형")


def recipe_of(*changes: str) -> Recipe:
    keys = {change.split("=")[0] for change in changes}
    kept = [each for each in (*BASE, CROP, MIX) if each.split("=")[0] not in keys]
    asked = [each for each in changes if each != "augment.box_mix="]
    return resolve_recipe(preset="standard", overrides=[*kept, *asked])


def unmixed(*changes: str) -> Recipe:
    return recipe_of("augment.box_mix=", *changes)


def trained(
    folder: Path, recipe: Recipe, *, events: list[Event] | None = None, stop_after: int = 0
) -> RunFolder:
    steps = itertools.count(1)
    preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        yield lambda: next(steps) == stop_after

    heard: list[Event] = [] if events is None else events
    return train(folder, recipe=recipe, on_event=heard.append, stopping=stopping).run


def kept(target: RunFolder) -> dict[str, bytes]:
    """Weights and predictions of all folds."""
    files = [
        path
        for member in target.members()
        for path in (*member.checkpoints.glob("*.safetensors"), *member.path.glob("pred*/*"))
    ]
    assert files
    return {str(path.relative_to(target.path)): path.read_bytes() for path in files}


def fold_of(folder: Path, recipe: Recipe) -> tuple[Job, FoldData]:
    """The first fold as training is given it."""
    result = preprocess(folder, recipe=recipe)
    split(folder, recipe=recipe)
    context = open_context(folder)
    scan = read_scan(context)
    made = read_split(context, scan, recipe.split)
    job = Job(
        context=context,
        recipe=recipe,
        run=RunFolder(context.workspace.runs / "0000-none"),
        split=made,
        metric=competition_metric(context),
        spec=input_pixels(context, recipe),
        pixels=PixelStore(result.prepared),
        execution=Execution(),
        train=train_table(context, recipe, scan, made),
        truth=context.truth[usable(scan, context.tables.train["image_id"])],
        test=table_of_test(context, recipe, scan),
        workers=0,
        deadline=None,
        on_event=lambda event: None,
        stopping=never_stopped,
    )
    parts = made.parts(0, 0, job.train["image_id"].tolist())
    return job, fold_data(job, *parts, epochs=recipe.train.epochs)


# Which source is drawn.


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shares", [HAPPYWHALE, (0.5,), (0.1, 0.8)])
def test_sources_are_drawn_as_often_as_asked(shares: tuple[float, ...], seed: int) -> None:
    drawn = [
        drawn_source(shares, seed=seed, epoch=epoch, index=index)
        for epoch in range(20)
        for index in range(100)
    ]
    counts = np.bincount(drawn, minlength=len(shares) + 1)
    expected = len(drawn) * np.array([1 - sum(shares), *shares])
    off = ((counts - expected) ** 2 / expected).sum()
    assert off < chi2.isf(1e-4, df=len(shares))


def test_a_picture_changes_its_box_from_epoch_to_epoch() -> None:
    by_epoch = np.array(
        [
            [drawn_source((0.5,), seed=0, epoch=epoch, index=index) for index in range(200)]
            for epoch in range(2)
        ]
    )
    assert 0.4 < (by_epoch[0] == by_epoch[1]).mean() < 0.6


class Flat:
    """Pictures of one colour each: the number that their key begins with."""

    def read(self, sha256: str) -> NDArray[np.uint8]:
        return np.full((2, 2, 3), int(sha256[:3]), np.uint8)

    def __contains__(self, sha256: str) -> bool:
        return sha256 != "gone"


def as_it_is(image: torch.Tensor, *, rng: np.random.Generator) -> torch.Tensor:
    return image


def flat_key(source: int, index: int) -> str:
    return f"{100 * source + index:03d}" + "0" * 61


def flat_dataset(*, epochs: int | None = None) -> BoxMixDataset:
    hashes = [flat_key(0, index) for index in range(20)]
    others = {key: (flat_key(1, i), flat_key(2, i)) for i, key in enumerate(hashes)}
    # This one has no other boxes.
    del others[hashes[3]]
    mix = BoxMix(shares=(0.4, 0.3), others=others, epochs=epochs)
    return BoxMixDataset(Flat(), hashes, as_it_is, seed=5, mix=mix)


def shown_by(dataset: TrainDataset, *, workers: int) -> list[list[int]]:
    batches = EpochBatches(len(dataset), batch_size=6, seed=5)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers)
    shown = []
    for batches.epoch in range(3):
        for images, index in loader:
            shown += [
                [batches.epoch, int(i), int(image[0, 0, 0])]
                for image, i in zip(images, index, strict=True)
            ]
    return shown


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_box_depends_on_seed_epoch_and_index_alone() -> None:
    shown = shown_by(flat_dataset(), workers=0)
    for epoch, index, value in shown:
        source = drawn_source((0.4, 0.3), seed=5, epoch=epoch, index=index)
        assert value == (index if index == 3 else 100 * source + index)
    assert len({value // 100 for _, _, value in shown}) == 3
    assert shown_by(flat_dataset(), workers=2) == shown


def test_pictures_of_another_list_are_known_by_their_key() -> None:
    dataset = flat_dataset()
    # As a picture with a pseudo-label: no other box is known.
    unknown = flat_key(2, 50)
    longer = dataset.of([*dataset.hashes[10:], unknown])
    assert len(longer) == 11
    for epoch in range(20):
        source = drawn_source((0.4, 0.3), seed=5, epoch=epoch, index=0)
        assert int(longer[epoch, 0][0][0, 0, 0]) == 100 * source + 10
        assert int(longer[epoch, 10][0][0, 0, 0]) == 250
    assert longer.hashes == [*dataset.hashes[10:], unknown]


def test_epochs_as_evaluated_see_the_first_boxes() -> None:
    dataset = flat_dataset(epochs=2)
    values = [int(dataset[2, index][0][0, 0, 0]) for index in range(20)]
    assert values == list(range(20))
    assert any(int(dataset[1, index][0][0, 0, 0]) >= 100 for index in range(20))


def test_a_resumed_training_would_notice_other_boxes() -> None:
    dataset = flat_dataset()
    mix = dataset._mix
    hashes, make = dataset.hashes, partial(BoxMixDataset, Flat(), seed=5)
    swapped = replace(mix, others={key: pair[::-1] for key, pair in mix.others.items()})
    shared = replace(mix, shares=(0.3, 0.4))
    plain = TrainDataset(Flat(), hashes, as_it_is, seed=5)
    prints = [make(hashes, as_it_is, mix=each).fingerprint() for each in (mix, swapped, shared)]
    assert len({plain.fingerprint(), *prints}) == 4
    assert prints[0] == dataset.fingerprint()
    with pytest.raises(DataError, match="not in the prepared store"):
        make(hashes, as_it_is, mix=replace(mix, others={hashes[0]: ("gone", "gone")}))


# What a fold sees.


def test_training_alone_sees_other_boxes(folder: Path) -> None:
    recipe = recipe_of("augment.policy=none")
    job, data = fold_of(folder, recipe)
    plain_job, plain = fold_of(folder, unmixed("augment.policy=none"))
    for images in ("train", "test"):
        same = ["image_id", "sha256"]
        assert getattr(job, images)[same].equals(getattr(plain_job, images)[same])
    assert data.valid is not None
    assert plain.valid is not None
    assert data.valid.fingerprint() == plain.valid.fingerprint()
    names = data.train_ids
    lacking = next((i for i, name in enumerate(names) if LACKING in name), None)
    sources = set()
    for epoch, index in itertools.product(range(10), range(len(names))):
        source = drawn_source((0.3, 0.1), seed=recipe.seed, epoch=epoch, index=index)
        size = {0: (32, 32), 1: (30, 30), 2: (40, 48)}[source]
        if index == lacking and source == 1:
            size = (32, 32)
        # Stored pictures are shrunk to a short side of 37 pixels.
        scale = min(1, 37 / min(size))
        shape = tuple(round(side * scale) for side in size)
        assert tuple(data.train.shown(epoch, index).shape[1:]) == shape
        sources.add(source)
    assert sources == {0, 1, 2}


def test_lacking_boxes_are_told_and_recorded(folder: Path) -> None:
    events: list[Event] = []
    target = trained(folder, recipe_of(), events=events)
    said = [event.text for event in events if event.kind == "warning"]
    text = "1 of 20 training pictures have no box in second.csv, first train/000_0.png"
    assert sum(text in each for each in said) == 1
    choices = target.read_settings()["choices"]
    assert choices["box_mix"]["missing"] == {"second.csv": 1, "whole": 0}
    assert box_mix_notes(choices) == (
        "Training pictures are cropped by 60% first.csv, 30% second.csv, 10% whole, drawn in "
        "every epoch; validation and test pictures by the first. Pictures without a box keep "
        "their first one: 1 in second.csv.",
    )
    assert box_mix_notes({}) == ()


def test_boxes_outside_of_their_picture_are_told(folder: Path) -> None:
    write_boxes(folder / "second.csv", ["001_0", "elsewhere"], (900, 900, 950, 950))
    events: list[Event] = []
    preprocess(folder, recipe=recipe_of(), on_event=events.append)
    said = "\n".join(event.text for event in events if event.kind == "warning")
    assert "1 boxes of second.csv lie outside of their picture, first train/001_0.png" in said
    assert "19 of 20 training pictures have no box in second.csv" in said
    assert "1 names of second.csv are no pictures of the tables, first 'elsewhere'" in said


def test_boxes_of_the_tables_may_be_mixed_with_found_ones(folder: Path) -> None:
    for part in ("train", "test"):
        names = sorted(path.stem for path in (folder / part).iterdir())
        labels = ["a", "b"] * (len(names) // 2)
        table = pd.DataFrame({"id": names, "label": labels, "box": "[1, 1, 20, 20]"})
        table.to_csv(folder / f"{part}.csv", index=False)
    (folder / "competition.toml").write_text(
        'name = "b"\ntask = "multiclass"\nmetric = "accuracy"\n'
        '[train]\nimages = "train"\ntable = "train.csv"\nimage_column = "id"\n'
        'label_columns = ["label"]\nbox_columns = ["box"]\nbox_format = "xyxy"\n'
        '[test]\nimages = "test"\ntable = "test.csv"\nimage_column = "id"\n'
        'box_columns = ["box"]\nbox_format = "xyxy"\n',
        "utf-8",
    )
    second, whole = box_sources(
        open_context(folder), recipe_of('preprocess=[{step="crop_box"}]')
    )
    found = second.pictures.set_index("image_id")["arguments"].map(read_arguments)
    boxes = {image_id: tuple(values["box"]) for image_id, values in found.items()}
    lacking = next(image_id for image_id in boxes if LACKING in str(image_id))
    assert boxes.pop(lacking) == (1, 1, 20, 20)
    assert set(boxes.values()) == {SECOND}
    assert set(whole.pictures["arguments"]) == {""}


# What a run is known by.


def test_other_boxes_are_another_run(folder: Path) -> None:
    recipe = recipe_of("train.epochs=1")
    first = trained(folder, recipe)
    text = (folder / "second.csv").read_text("utf-8")
    # Boxes of pictures that never train change nothing.
    (folder / "second.csv").write_text(text + "t0,5,5,20,20\n", "utf-8")
    assert trained(folder, recipe).run_id == first.run_id
    (folder / "second.csv").write_text(text.replace("40,38", "41,38", 1), "utf-8")
    assert trained(folder, recipe).run_id != first.run_id


def test_a_run_without_it_is_known_as_before(folder: Path) -> None:
    recipe = unmixed("train.epochs=1")
    assert "box_mix" not in recipe.augment.model_dump(mode="json")
    settings = trained(folder, recipe).read_settings()
    assert "boxes" not in settings["keys"]
    assert "box_mix" not in settings["choices"]


def test_a_resumed_training_is_the_undisturbed_one(drawn: Path, tmp_path: Path) -> None:
    recipe = recipe_of("train.epochs=3")
    ends = []
    for stop_after in (0, 4):
        folder = shutil.copytree(drawn, tmp_path / f"stop-{stop_after}" / "도형")
        if stop_after:
            with pytest.raises(Interrupted):
                trained(folder, recipe, stop_after=stop_after)
        ends.append(kept(trained(folder, recipe)))
    assert ends[0] == ends[1]


def test_a_whole_run_reports_its_boxes(folder: Path) -> None:
    changes = [*BASE, CROP, MIX, "train.epochs=1", "split.kind=holdout"]
    kept = [each for each in changes if each not in ("train.epochs=2", "split.num_folds=2")]
    result = run(folder, preset="standard", overrides=kept, looks=False)
    page = (folder / ".gorae" / "runs" / result.run_id / "report.html").read_text("utf-8")
    assert "60% first.csv, 30% second.csv, 10% whole, drawn in every epoch" in page


# What else looks at training pictures.


def test_a_rate_is_looked_for_with_the_mixture(folder: Path) -> None:
    recipe = recipe_of()
    # What else the mixture needs is prepared when it is asked for.
    preprocess(folder, recipe=unmixed())
    split(folder, recipe=recipe)
    mixed = find_lr(folder, recipe=recipe).sweep.losses
    assert not np.array_equal(mixed, find_lr(folder, recipe=unmixed()).sweep.losses)


def test_the_sheet_shows_the_mixture(folder: Path) -> None:
    text = describe_augment(folder, recipe=recipe_of()).text
    assert text.startswith("boxes: 60% first.csv, 30% second.csv, 10% whole; random crop")
    drawn = preview(folder, recipe=recipe_of(), num_images=2, num_draws=8)
    assert drawn.path is not None
    assert drawn.text == text
    sheet = drawn.path.read_bytes()
    plain = preview(folder, recipe=unmixed(), num_images=2, num_draws=4)
    assert plain.path is not None
    assert "boxes" not in plain.text
    text = (folder / "second.csv").read_text("utf-8")
    (folder / "second.csv").write_text(text.replace("10,8,40,38", "1,1,12,12"), "utf-8")
    moved = preview(folder, recipe=recipe_of(), num_images=2, num_draws=8)
    assert moved.path is not None
    assert moved.path.read_bytes() != sheet


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("preprocess=[]",), r"crop_box, and there is no such step: add it"),
        (("augment.flip_identities=true", "augment.hflip=0"), "leave one of them out"),
        ((MIX.replace("second", "first"),), "names first.csv, which the step crop_box has"),
        ((MIX.replace("0.1", "0.7"),), r"add up to 1: they must stay below 1"),
        ((MIX.replace("whole", "second.csv"),), "each once, with its whole share"),
        ((MIX.replace("0.1", "0"),), "greater than 0"),
        (("model.use=frozen",), r"augment\.box_mix has no effect here: the backbone is frozen"),
    ],
)
def test_what_cannot_be_mixed_is_refused(changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_of(*changes)


def test_files_that_cannot_be_used_are_refused(folder: Path) -> None:
    recipe, file = recipe_of(), folder / "second.csv"
    write_boxes(file, ["t0", "t1"], SECOND)
    with pytest.raises(ConfigError, match=r"second.csv has a box of no training picture"):
        preprocess(folder, recipe=recipe)
    file.write_text("name,box\n000_0,1\n", "utf-8")
    with pytest.raises(ConfigError, match=r"second.csv lacks the columns image_id, left"):
        preprocess(folder, recipe=recipe)
    file.unlink()
    with pytest.raises(DataError, match=r"second.csv does not exist"):
        preprocess(folder, recipe=recipe)
