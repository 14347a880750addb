"""Shipped recipes: each resolves, keeps its meaning as text, and no group crosses its folds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gorae.config import Recipe, resolve_recipe, settings_to_toml
from gorae.config.pseudo import PseudoSettings
from gorae.config.shipped import shipped_recipes
from gorae.data.dataset import EpochBatches
from gorae.data.pixels import PixelSpec
from gorae.data.store import PixelStore
from gorae.inference import Execution
from gorae.models.resolve import library_pixels, resolve_pixels
from gorae.pipeline.augment import describe_augment
from gorae.pipeline.context import Context, open_context, read_scan, usable
from gorae.pipeline.contract import Split
from gorae.pipeline.demo.mask import mask_set
from gorae.pipeline.demo.melanoma import melanoma_set
from gorae.pipeline.demo.sets import DemoSet, write_set
from gorae.pipeline.demo.whales import whales_set
from gorae.pipeline.init import init
from gorae.pipeline.job import Job, train_table
from gorae.pipeline.job import test_table as table_of_test
from gorae.pipeline.learning import first_change, fold_course, fold_data, fold_optim, loss_plan
from gorae.pipeline.pixels import input_pixels, prepare, steps_for, stored_short_side
from gorae.pipeline.pseudo import pseudo
from gorae.pipeline.pseudo_rows import with_pseudo_rows
from gorae.pipeline.scores import competition_metric
from gorae.pipeline.split import split
from gorae.stopping import never_stopped
from gorae.training.losses import build_objective
from gorae.training.plan import FoldData
from gorae.workspace import RunFolder

SHIPPED = shipped_recipes()

# The sets whose columns a recipe may name.
SETS: dict[str, Callable[[], DemoSet]] = {
    "melanoma": lambda: melanoma_set(num_train=70, num_test=4),
    "whales": lambda: whales_set(num_individuals=30, num_new=2),
    "mask": lambda: mask_set(num_train=18, num_test=12),
}

# What a network of random weights on 32 pixels has no place for, or needs another run for.
PLAIN_MODEL: dict[str, Any] = {
    "name": "lenet5",
    "weights": "none",
    "kwargs": {},
    "features": "pooled",
    "drop_path": 0.0,
    "encoder": None,
    "layer": None,
    # A recipe names the columns of its own competition.
    "metadata_columns": None,
}


@pytest.fixture(params=list(SHIPPED))
def name(request: pytest.FixtureRequest) -> str:
    """Each shipped recipe."""
    given: str = request.param
    return given


@pytest.fixture
def recipe(name: str) -> Recipe:
    return resolve_recipe(path=Path(name))


def as_small(recipe: Recipe, **update: Any) -> Recipe:
    """The recipe with another network and without steps that need boxes."""
    pixels = {"input_size": 32, "train_size": None, "stored_short_side": None}
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update=PLAIN_MODEL),
            "pixels": recipe.pixels.model_copy(update=pixels),
            "preprocess": (),
            "train": recipe.train.model_copy(update={"progressive": (), "start": None}),
            **update,
        }
    )


def test_the_first_line_says_what_it_is(name: str) -> None:
    first = SHIPPED[name].path.read_text("utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith((".", ")"))
    assert len(first) > 30, "one sentence: what it is, and its source"


def test_its_text_gives_it_again(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    path.write_text(settings_to_toml(recipe, only_set=True), "utf-8")
    assert resolve_recipe(path=path) == recipe
    # What run.toml keeps says everything by itself.
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_its_plans_are_built_without_a_network(recipe: Recipe, tmp_path: Path) -> None:
    assert describe_augment(tmp_path, recipe=recipe).text
    pixels = recipe.pixels.model_dump(exclude={"stored_short_side", "train_size"})
    spec, _ = resolve_pixels(pixels, {}, library_pixels("lenet5"))
    short_side = stored_short_side(recipe, spec)
    assert short_side >= spec.input_size
    assert len(steps_for(recipe, short_side)) >= len(recipe.preprocess)
    if recipe.model.use != "finetune":
        return
    epochs = recipe.train.epochs
    assert fold_course(recipe, epochs=epochs).epochs == epochs
    assert fold_optim(recipe, is_pretrained=True).lr == recipe.train.lr
    side = recipe.pixels.train_size or spec.input_size
    picture = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (3, short_side, short_side + 20), np.uint8)
    )
    shown = first_change(recipe, spec)(picture, rng=np.random.default_rng(0))
    assert (shown.dtype, shown.shape) == (torch.uint8, (3, side, side))


@pytest.fixture(scope="module")
def make_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Path]:
    """The set that fits a recipe, written once."""
    made: dict[str, Path] = {}

    def make(recipe: Recipe) -> Path:
        is_melanoma = recipe.target.column is not None or recipe.model.metadata != "none"
        kind = "melanoma" if is_melanoma else "mask"
        kind = "whales" if recipe.split.unknown_share else kind
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            write_set(made[kind], SETS[kind]())
            init(made[kind])
        return made[kind]

    return make


def open_small(folder: Path, recipe: Recipe) -> tuple[Context, Split, PixelSpec, PixelStore]:
    """Prepared pictures, and the folds that ``recipe`` makes of them."""
    context = open_context(folder)
    spec = input_pixels(context, recipe)
    prepared = prepare(context, recipe, spec, on_event=lambda event: None)
    return context, split(folder, recipe=recipe), spec, prepared.pixels


def subjects_of(context: Context) -> dict[str, str]:
    """Who is on each train picture, by the table alone; each its own where nobody is named."""
    table, columns = context.tables.train, context.tables.group_columns
    named = table[columns[0]] if columns else table["image_id"]
    return dict(zip(table["image_id"], named, strict=True))


def fold_datas(folder: Path, recipe: Recipe) -> Iterator[tuple[Job, FoldData, set[str]]]:
    """What each fold of the recipe trains on, and the ids it validates on."""
    context, made, spec, pixels = open_small(folder, recipe)
    scan = read_scan(context)
    job = Job(
        context=context,
        recipe=recipe,
        run=RunFolder(context.workspace.runs / "0000-none"),
        split=made,
        metric=competition_metric(context),
        spec=spec,
        pixels=pixels,
        execution=Execution(),
        train=train_table(context, recipe, scan, made),
        truth=context.truth[usable(scan, context.tables.train["image_id"])],
        test=table_of_test(context, recipe, scan),
        workers=0,
        deadline=None,
        on_event=lambda event: None,
        stopping=never_stopped,
    )
    for repeat, fold in made.members():
        train, valid = made.parts(repeat, fold, job.train["image_id"].tolist())
        data = fold_data(job, train, valid, epochs=recipe.train.epochs)
        data = with_pseudo_rows(job, data, place=(repeat, fold))
        yield job, data, set(job.train["image_id"][valid])


def test_no_group_is_in_two_folds(recipe: Recipe, make_set: Callable[[Recipe], Path]) -> None:
    context, made, _, _ = open_small(
        make_set(recipe), as_small(recipe, pseudo=PseudoSettings())
    )
    subjects = subjects_of(context)
    for _, folds in made.folds.groupby("repeat"):
        validating = folds[folds["fold"] >= 0]
        assert len(validating), "somebody validates"
        for groups in (validating["group"], validating["image_id"].map(subjects)):
            assert validating["fold"].groupby(groups).nunique().max() == 1


def require_apart(job: Job, data: FoldData, valid: set[str]) -> set[str]:
    """Nothing of a group that validates is learned from; the ids that are."""
    subjects = subjects_of(job.context)
    held_out = {subjects[image] for image in valid}
    # A mirrored picture that counts as another individual is the same picture.
    ids = [image.removesuffix(" (mirrored)") for image in data.train_ids]
    assert ids
    assert len(ids) == len(data.train) == len(data.train_truth)
    assert not held_out & {subjects.get(image, image) for image in ids}
    # The dataset shows the pictures of these ids and of no others.
    hashes = pd.concat([job.train, job.test]).set_index("image_id")["sha256"]
    shown = data.train.hashes * (len(ids) // len(data.train.hashes))
    assert shown == hashes.loc[ids].tolist()
    # Draws by weight and partners of mixing are rows of these ids, too.
    batches = EpochBatches(len(ids), batch_size=16, seed=0, sampling=data.sampling)
    drawn = set()
    for batches.epoch in range(2):
        drawn |= {ids[index] for batch in batches for _, index in batch}
    assert drawn
    assert not held_out & {subjects.get(image, image) for image in drawn}
    return set(ids)


def test_nothing_of_a_group_trains_where_it_validates(
    recipe: Recipe, make_set: Callable[[Recipe], Path]
) -> None:
    if recipe.model.use != "finetune":
        pytest.skip("no rows are drawn for training")
    validated: list[str] = []
    subjects: dict[str, str] = {}
    for job, data, valid in fold_datas(
        make_set(recipe), as_small(recipe, pseudo=PseudoSettings())
    ):
        require_apart(job, data, valid)
        subjects = subjects_of(job.context)
        validated += sorted(valid)
    assert validated, "somebody validates"
    # Each picture validates once per repeat, but in a hold-out split.
    if recipe.split.kind != "holdout":
        assert sorted(validated) == sorted([*subjects] * recipe.split.repeats)


def test_extra_pictures_stay_out_where_their_subject_validates(
    make_competition: Callable[..., Path],
) -> None:
    folder = make_competition(num_subjects=12)
    lines = (folder / "train.csv").read_text("utf-8").splitlines()
    # The second pictures of subjects 0 to 5, and all of 10 and 11.
    extra = [line for line in lines[1:] if line[4] == "1" and line[:3] < "006"]
    extra += [line for line in lines[1:] if line[:3] >= "010"]
    train = [line for line in lines if line not in extra]
    (folder / "train.csv").write_text("\n".join(train) + "\n", "utf-8")
    (folder / "extra.csv").write_text("\n".join([lines[0], *extra]) + "\n", "utf-8")
    init(folder)
    mixing = (
        "train.sampler=weighted",
        "augment.half_cutmix=1",
        'augment.rare_classes=["원"]',
        "split.near_duplicates=false",
        "split.num_folds=3",
    )
    small = as_small(resolve_recipe(preset="standard", overrides=mixing))
    trained = [require_apart(*fold) for fold in fold_datas(folder, small)]
    always = {line.partition(",")[0] for line in extra if line[:3] >= "010"}
    assert all(always <= {Path(image).stem for image in ids} for ids in trained)
    rest = {line.partition(",")[0] for line in extra} - always
    assert not all(rest <= {Path(image).stem for image in ids} for ids in trained)


def test_a_class_of_extra_pictures_alone_is_learned_and_never_validates(
    make_competition: Callable[..., Path], clouds: Callable[[int], Any]
) -> None:
    folder = make_competition(num_subjects=12)
    init(folder)
    (folder / "foreign").mkdir()
    for number in range(6):
        clouds(number).save(folder / "foreign" / f"x{number}.png")
    lines = ["id,label,subject", *(f"x{number},unknown,y{number}" for number in range(6))]
    (folder / "extra.csv").write_text("\n".join(lines) + "\n", "utf-8")
    file = folder / "competition.toml"
    file.write_text(
        file.read_text("utf-8").replace(
            'metric = "accuracy"',
            'metric = "balanced_accuracy"\nclasses = ["상자", "원", "unknown"]',
        )
        + '[[extra]]\nimages = "foreign"\ntable = "extra.csv"\nimage_column = "id"\n'
        'label_columns = ["label"]\ngroup_columns = ["subject"]\n',
        "utf-8",
    )
    weighing = ("loss.class_weight_power=1", 'loss.class_weight_as_max=["unknown"]')
    small = as_small(resolve_recipe(preset="standard", overrides=weighing))
    for job, data, valid in fold_datas(folder, small):
        ids = require_apart(job, data, valid)
        assert sum(image.startswith("foreign/") for image in ids) == 6
        assert not any(image.startswith("foreign/") for image in valid)
        assert (data.train_truth == 2).sum() == 6
        objective = build_objective(
            loss_plan(job), data.train_truth, task="multiclass", num_classes=data.num_classes
        )
        weights = objective.class_weights
        assert weights is not None
        # Half of the others are discs: by its own number its pictures would weigh more.
        assert weights[2] == weights[:2].max() < 1.3


def test_pictures_with_pseudo_labels_train_beside_their_fold(
    make_competition: Callable[..., Path], run_quick: Callable[..., Any]
) -> None:
    folder = make_competition(num_subjects=12, num_test=6)
    # A test picture that also lies in train would bring its subject into every fold.
    twin = folder / "train" / "003_0.png"
    (folder / "test" / "t0.png").write_bytes(twin.read_bytes())
    run_quick(folder)
    name = pseudo(folder).name
    changes = (f"pseudo.labels={name}", "split.num_folds=2", "train.sampler=weighted")
    small = as_small(resolve_recipe(preset="standard", overrides=changes))
    added = []
    for job, data, valid in fold_datas(folder, small):
        ids = require_apart(job, data, valid)
        shown = {Path(image).name for image in ids if image.startswith("test/")}
        added.append(shown)
        assert ("t0.png" in shown) == ("train/003_0.png" not in valid)
    assert all(len(shown) >= 5 for shown in added)
