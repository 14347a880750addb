"""Individuals and open sets: who is held out, what is scored, how the unknown are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from gorae.config import Recipe, resolve_recipe
from gorae.data.mirrored import TwoSidedDataset
from gorae.ensemble.retrieval import UNKNOWN
from gorae.errors import ConfigError, UserError
from gorae.metrics import average_precision_at_k
from gorae.pipeline.blend import Blend, blend
from gorae.pipeline.context import open_context, read_scan
from gorae.pipeline.contract import read_split
from gorae.pipeline.individuals import individuals_of
from gorae.pipeline.init import init
from gorae.pipeline.open_set import OpenSet, scored_context, with_unknown
from gorae.pipeline.predict import load_run
from gorae.pipeline.preprocess import preprocess
from gorae.pipeline.run import RunResult, run
from gorae.pipeline.scores import row_truth
from gorae.pipeline.split import split
from gorae.predictions import Predictions
from gorae.stores.gallery import Gallery, read_gallery
from gorae.training.outputs import OutputForm
from gorae.workspace import RunFolder, read_predictions

BASE = (
    "model.name=lenet5",
    "model.weights=none",
    "pixels.input_size=32",
    "split.num_folds=3",
    "split.near_duplicates=false",
    "head.strengths=[1.0]",
    "train.precision=fp32",
    "train.threads=1",
    "train.compile=false",
    "predict.compile=false",
    "train.workers=0",
    "train.epochs=2",
    "train.batch_size=16",
)
FROZEN = ("model.use=frozen", 'predict.views=["identity", "hflip"]')
NUM_KNOWN = 8
NEW = "new_digit"


def write_digits(folder: Path) -> Path:
    """Digits 0 to 7 as individuals, 8 and 9 on the test set only; one known by one picture."""
    digits = load_digits()
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    lines, asked = ["Image,Id"], ["Image,Id"]

    def draw(path: Path, pixels: NDArray[np.float64]) -> None:
        gray = Image.fromarray((pixels * 15).astype(np.uint8)).resize((32, 32))
        gray.convert("RGB").save(path)

    for digit in range(10):
        images = digits.images[digits.target == digit]
        num_train = 0 if digit >= NUM_KNOWN else 1 if digit == 7 else 6 + digit
        for number, pixels in enumerate(images[: num_train + 4]):
            name = f"{digit}_{number}.png"
            if number < num_train:
                draw(folder / "train" / name, pixels)
                lines.append(f"{name},d{digit}")
            else:
                draw(folder / "test" / name, pixels)
                asked.append(f"{name},{NEW} d0 d1 d2 d3")
    (folder / "train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "sample_submission.csv").write_text("\n".join(asked) + "\n", "utf-8")
    init(folder)
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"))


def recipe_of(*overrides: str) -> Recipe:
    given = {change.split("=")[0] for change in overrides}
    kept = [change for change in BASE if change.split("=")[0] not in given]
    return resolve_recipe(preset="standard", overrides=[*_fitting(kept, overrides), *overrides])


def _fitting(base: Any, overrides: Any) -> list[str]:
    """Without settings that a frozen backbone or a fine-tuned one does not have."""
    is_frozen = "model.use=frozen" in overrides
    drop: tuple[str, ...] = (
        "train.epochs",
        "train.batch_size",
        "train.compile",
        "train.workers",
    )
    if not is_frozen or "predict.retrieval_share=1" in overrides:
        drop = (*(drop if is_frozen else ()), "head.strengths")
    if "split.kind=holdout" in overrides:
        drop = (*drop, "split.num_folds")
    return [change for change in base if change.split("=")[0] not in drop]


def run_digits(folder: Path, *overrides: str) -> RunResult:
    given = {change.split("=")[0] for change in overrides}
    kept = [change for change in BASE if change.split("=")[0] not in given]
    changes = (*_fitting(kept, overrides), *overrides)
    return run(folder, preset="standard", overrides=changes, looks=False)


def folder_of(folder: Path, result: RunResult) -> RunFolder:
    return RunFolder(folder / ".gorae" / "runs" / result.run_id)


# Open-set splits.


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["kfold", "holdout"])
def test_unknown_individuals_have_no_picture_in_the_train_part(
    kind: str, seed: int, digits: Path
) -> None:
    more = ("split.num_folds=3",) if kind == "kfold" else ("split.holdout_share=0.4",)
    recipe = recipe_of(
        f"split.kind={kind}", f"split.seed={seed}", "split.unknown_share=0.4", *more
    )
    preprocess(digits, recipe=recipe)
    made = split(digits, recipe=recipe)
    train = open_context(digits).tables.train
    ids, labels = train["image_id"].tolist(), train["label"].to_numpy(object)
    known = made.is_known(0, ids)
    times = np.zeros(len(ids), dtype=int)
    for repeat, fold in made.members():
        trains, validates = made.parts(repeat, fold, ids)
        assert not (trains & validates).any()
        times += validates
        held_out = set(labels[validates & ~known])
        assert not held_out & set(labels[trains])
        assert set(labels[validates & known]) <= set(labels[trains])
    if kind == "kfold":
        assert (times == 1).all()
    share = (~known).sum() / times.sum()
    assert 0.25 < share < 0.55
    groups = made.folds.groupby("group")["fold"].nunique()
    assert (groups == 1).all()


def test_the_open_split_is_the_same_again_and_another_by_seed(digits: Path) -> None:
    recipe = recipe_of("split.unknown_share=0.4")
    preprocess(digits, recipe=recipe)
    first = split(digits, recipe=recipe)
    (digits / ".gorae" / "splits" / first.key / "folds.json").unlink()
    assert split(digits, recipe=recipe).folds.equals(first.folds)
    other = split(digits, recipe=recipe_of("split.unknown_share=0.4", "split.seed=1"))
    assert not other.folds["unknown"].equals(first.folds["unknown"])


def test_a_split_without_unknown_individuals_stays_what_it_was(digits: Path) -> None:
    recipe = recipe_of()
    assert "unknown_share" not in recipe.split.model_dump(mode="json")
    preprocess(digits, recipe=recipe)
    assert "unknown" not in split(digits, recipe=recipe).folds


def test_a_single_group_is_unknown_wherever_it_validates(digits: Path) -> None:
    recipe = recipe_of("split.unknown_share=0.05")
    preprocess(digits, recipe=recipe)
    folds = split(digits, recipe=recipe).folds
    train = open_context(digits).tables.train
    alone = train.loc[train["label"] == "d7", "image_id"]
    assert folds.set_index("image_id")["unknown"][alone].all()


# Scores.


def test_neighbours_are_those_of_scikit_learn_and_the_test_set_sees_every_fold(
    digits: Path,
) -> None:
    made = run_digits(
        digits, *FROZEN, "predict.retrieval_share=1", "predict.retrieval_neighbours=7"
    )
    target = folder_of(digits, made)
    context = open_context(digits)
    label_of = context.tables.train.set_index("image_id")["label"]
    classes = context.tables.classes
    for member in target.members():
        whole = read_gallery(member.path / "galleries" / "head.safetensors")
        found = read_predictions(member.predictions("valid", "head", "hflip"))
        assert found.kind == "score"
        assert set(whole.embeddings) == {"identity", "hflip"}
        # New pictures are compared with all that is labelled, held-out ones with the rest.
        num_train = len(label_of) - len(found.ids)
        assert len(whole.labels) == len(label_of)
        features, labels = whole.embeddings["hflip"], whole.labels[:num_train]
        known = NearestNeighbors(n_neighbors=7, metric="cosine").fit(features[:num_train])
        best = found.values.argmax(axis=1)
        queries = features[num_train:]
        distances, places = known.kneighbors(queries)
        for row in range(len(found.ids)):
            expected = np.full(len(classes), -1.0)
            np.maximum.at(expected, labels[places[row]], 1 - distances[row])
            np.testing.assert_allclose(found.values[row], expected, atol=1e-5)
            assert best[row] == expected.argmax()
    test = read_predictions(target.test)
    parts = [
        read_predictions(m.predictions("test", "head", view)).values
        for m in target.members()
        for view in ("identity", "hflip")
    ]
    np.testing.assert_allclose(test.values, np.mean(parts, axis=0), atol=1e-6)


def test_the_unknown_column_is_scored_as_worked_by_hand() -> None:
    columns = ("a", "b")
    rows = Predictions(
        ("r0", "r1", "r2", "r3"),
        columns,
        np.array([[0.9, 0.1], [0.2, 0.6], [0.4, 0.3], [0.7, 0.1]], dtype=np.float32),
        "score",
    )
    # r0 is a, r1 is b, r2 is unknown, r3 is unknown. In each part the other chooses: of r1
    # and r3 the threshold 0.65 would be between 0.6 and 0.7 only if r1 were unknown.
    opened = OpenSet(
        label="new",
        how=0.5,
        is_added=True,
        fixed=0.5,
        num_guesses=5,
        truth={"r0": 0, "r1": 1, "r2": UNKNOWN, "r3": UNKNOWN},
        part={"r0": 0, "r1": 1, "r2": 0, "r3": 1},
        unlearned={},
    )
    found = opened.oof(rows)
    assert found.columns == ("a", "b", "new")
    assert found.kind == "score"
    # Half of each part is first taken for unknown: midway between 0.9 and 0.4, 0.6 and 0.7.
    np.testing.assert_allclose(found.values[:, 2], [0.65, 0.65, 0.65, 0.65])
    orders = [
        [found.columns[k] for k in np.argsort(-row, kind="stable")] for row in found.values
    ]
    assert orders == [
        ["a", "new", "b"],
        ["new", "b", "a"],
        ["new", "a", "b"],
        ["a", "new", "b"],
    ]
    truth = ["a", "b", "new", "new"]
    each = [
        average_precision_at_k([t], order, k=5) for t, order in zip(truth, orders, strict=True)
    ]
    assert each == [1, 0.5, 1, 0.5]


def test_a_validated_threshold_is_chosen_on_the_other_folds() -> None:
    ids = ("k0", "u0", "k1", "u1")
    rows = Predictions(
        ids, ("a",), np.array([[0.9], [0.5], [0.4], [0.2]], dtype=np.float32), "score"
    )
    opened = OpenSet(
        label="new",
        how="validation",
        is_added=True,
        fixed=0.5,
        num_guesses=1,
        truth={"k0": 0, "u0": UNKNOWN, "k1": 0, "u1": UNKNOWN},
        part={"k0": 0, "u0": 0, "k1": 1, "u1": 1},
        unlearned={},
    )
    values = opened.oof(rows).values[:, 1]
    # Fold 0 is scored by the threshold between 0.2 and 0.4, fold 1 by that of 0.5 and 0.9.
    np.testing.assert_allclose(values, [0.3, 0.3, 0.7, 0.7], atol=1e-6)
    assert with_unknown(opened.oof(rows), "new", 2.0).columns == ("a", "new")


# Whole runs.


@pytest.fixture(scope="module")
def frozen(digits: Path) -> RunFolder:
    made = run_digits(
        digits,
        *FROZEN,
        "split.unknown_share=0.4",
        "predict.retrieval_share=1",
        "predict.unknown=0.25",
    )
    assert not [w for w in made.warnings if "out-of-fold score knows labels" in w]
    return folder_of(digits, made)


def test_a_rate_is_the_share_of_first_guesses_and_each_row_holds_the_unknown_once(
    digits: Path, frozen: RunFolder
) -> None:
    sent = sorted((digits / ".gorae" / "submissions").glob("*.csv"))[-1]
    cells = [cell.split(" ") for cell in pd.read_csv(sent, dtype=str)["Id"]]
    assert {len(cell) for cell in cells} == {len(set(cell)) for cell in cells} == {5}
    test = read_predictions(frozen.test)
    assert test.columns[-1] == NEW
    assert (test.values.argmax(axis=1) == NUM_KNOWN).sum() == round(0.25 * len(test.ids))
    first = {cell[0] for cell in cells}
    assert NEW in first
    result = frozen.read_result()
    assert result is not None
    assert result["unknown"]["first_share_test"] == 0.25


def test_the_score_counts_held_out_individuals_as_unknown(
    digits: Path, frozen: RunFolder
) -> None:
    oof, context = read_predictions(frozen.oof), open_context(digits)
    result = frozen.read_result()
    assert result is not None
    recipe = resolve_recipe(path=frozen.recipe)
    folds = read_split(context, read_scan(context), recipe.split).folds.set_index("image_id")
    table = context.tables.train.set_index("row_id").loc[list(oof.ids)]
    truth = np.where(folds.loc[table["image_id"], "unknown"], NEW, table["label"])
    scores = []
    for row, name in zip(oof.values, truth, strict=True):
        guesses = [oof.columns[k] for k in np.argsort(-row, kind="stable")]
        scores.append(average_precision_at_k([name], guesses, k=5))
    assert result["score"] == pytest.approx(np.mean(scores))
    seen = scored_context(context, frozen)
    assert seen.columns == oof.columns
    assert (row_truth(seen, oof.ids) == NUM_KNOWN).sum() == result["unknown"]["num_rows"]
    assert (frozen.path / "report.html").exists()


def test_an_individual_held_out_in_a_fold_is_found_among_test_pictures_all_the_same(
    frozen: RunFolder,
) -> None:
    for member in frozen.members():
        said = read_predictions(member.predictions("test", "head", "identity")).values
        held_out = read_predictions(member.predictions("valid", "head", "identity")).values
        assert (said > -1).all()
        assert (held_out == -1).all(axis=0).any()


def test_new_pictures_are_predicted_as_the_test_set_was(
    digits: Path, frozen: RunFolder
) -> None:
    test = read_predictions(frozen.test)
    again = load_run(frozen.path).predict(digits / "test")
    np.testing.assert_allclose(again.select(list(test.ids)).values, test.values, atol=1e-5)
    assert again.columns == test.columns


def test_without_neighbours_a_held_out_individual_is_judged_by_folds_that_know_it(
    digits: Path,
) -> None:
    made = run_digits(digits, *FROZEN, "split.unknown_share=0.4", 'predict.views=["identity"]')
    trained = folder_of(digits, made)
    result = trained.read_result()
    assert result is not None
    unlearned = result["unknown"]["unlearned"]
    assert unlearned
    test = read_predictions(trained.test)
    said = {
        member.name: read_predictions(member.predictions("test", "head", "identity"))
        for member in trained.members()
    }
    for name, classes in unlearned.items():
        for each in classes:
            place = test.columns.index(each)
            plain = np.mean([one.values[:, place] for one in said.values()], axis=0)
            # Next to nothing from the fold that held it out, which is no opinion.
            assert said[name].values[:, place].max() < 0.05
            assert test.values[:, place].sum() > plain.sum() * 1.05
    again = load_run(trained.path).predict(digits / "test")
    np.testing.assert_allclose(again.select(list(test.ids)).values, test.values, atol=1e-5)


def test_runs_with_unknown_individuals_are_joined(digits: Path, frozen: RunFolder) -> None:
    other = run_digits(digits, *FROZEN, "split.unknown_share=0.4", "predict.unknown=validation")
    joined = blend(digits, runs=[frozen.run_id, other.run_id], plan=Blend())
    assert joined.result["unknown"]["label"] == NEW
    assert read_predictions(joined.run.test).columns[-1] == NEW
    plain = run_digits(digits, *FROZEN)
    with pytest.raises(UserError, match="has other folds"):
        blend(digits, runs=[frozen.run_id, plain.run_id], plan=Blend())


COSINE = (
    "model.head=cosine",
    "model.neck=bn_linear_bn",
    "model.embedding=8",
    "loss.margin=0.3",
    "augment.policy=none",
)


def test_margins_mirrored_individuals_and_neighbours_work_together(digits: Path) -> None:
    made = run_digits(
        digits,
        *COSINE,
        "augment.flip_identities=true",
        "split.unknown_share=0.3",
        "predict.retrieval_share=0.5",
        "predict.unknown=validation",
    )
    target = folder_of(digits, made)
    assert target.read_settings()["choices"]["num_outputs"] == 2 * NUM_KNOWN
    test = read_predictions(target.test)
    again = load_run(target.path).predict(digits / "test").select(list(test.ids))
    np.testing.assert_allclose(again.values, test.values, atol=1e-4)
    gallery = read_gallery(next((target.members()[0].path / "galleries").iterdir()))
    assert gallery.embeddings["identity"].shape[1] == 8
    np.testing.assert_allclose(
        np.linalg.norm(gallery.embeddings["hflip"], axis=1), 1, atol=1e-5
    )
    assert (np.abs(read_predictions(target.oof).values[:, :NUM_KNOWN]) <= 1).all()


def test_a_view_is_answered_by_its_half_of_doubled_individuals() -> None:
    recipe = recipe_of("augment.flip_identities=true", "augment.hflip=0")
    speaker = individuals_of(recipe, num_classes=2)
    assert speaker is not None
    raw = {"identity": np.array([[5.0, 1, 3, 2]]), "hflip": np.array([[5.0, 1, 3, 2]])}
    as_float = {view: rows.astype(np.float32) for view, rows in raw.items()}
    said = speaker.judge(as_float, OutputForm("softmax"), gallery=None)
    expected = {"identity": torch.tensor([5.0, 1]), "hflip": torch.tensor([3.0, 2])}
    for view, logits in expected.items():
        np.testing.assert_allclose(said[view][0], logits.softmax(0), atol=1e-6)


def test_the_share_mixes_cosines_of_the_head_and_of_the_nearest() -> None:
    recipe = recipe_of(*COSINE, "model.scale=10", "predict.retrieval_share=0.25")
    speaker = individuals_of(recipe, num_classes=2)
    assert speaker is not None
    raw = {"identity": np.array([[8.0, -4, 0, 2]], dtype=np.float32)}
    known = np.array([[3.0, 0], [3, 3]], dtype=np.float32)
    gallery = Gallery({"identity": known}, np.array([0, 1]), np.array([True, True]))
    said = speaker.judge(raw, OutputForm("softmax"), gallery=gallery)["identity"]
    expected = [0.25 * 0 + 0.75 * 0.8, 0.25 * np.sqrt(0.5) + 0.75 * -0.4]
    np.testing.assert_allclose(said[0], expected, atol=1e-6)
    # Whom the head was never trained on, the neighbours alone know.
    unlearned = Gallery({"identity": known}, np.array([0, 1]), np.array([False, True]))
    said = speaker.judge(raw, OutputForm("softmax"), gallery=unlearned)["identity"]
    np.testing.assert_allclose(said[0], [0, expected[1]], atol=1e-6)


def test_training_sees_each_picture_both_ways() -> None:
    pixels = {"a" * 64: np.arange(12, dtype=np.uint8).reshape(2, 2, 3)}

    class Store:
        def read(self, sha256: str) -> NDArray[np.uint8]:
            return pixels[sha256]

        def __contains__(self, sha256: str) -> bool:
            return sha256 in pixels

    def as_is(image: torch.Tensor, *, rng: np.random.Generator) -> torch.Tensor:
        return image

    dataset = TwoSidedDataset(Store(), ["a" * 64], as_is, seed=0)
    assert len(dataset) == 2
    plain, mirrored = dataset[0, 0], dataset[0, 1]
    assert (plain[1], mirrored[1]) == (0, 1)
    assert torch.equal(plain[0].flip(2), mirrored[0])


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("augment.flip_identities=true",), r"set augment\.hflip = 0"),
        (
            (
                "augment.flip_identities=true",
                "augment.hflip=0",
                'predict.views=["identity", "corner_tl"]',
            ),
            "corner_tl show neither",
        ),
        (("split.repeats=2", "predict.unknown=0.1"), r"split\.repeats = 2"),
        (("predict.retrieval_neighbours=3",), r"predict\.retrieval_share is 0"),
        (
            ("model.use=frozen", "predict.retrieval_share=1", "head.kind=mlp"),
            "neighbours alone decide",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_recipe(preset="standard", overrides=changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("split.unknown_share=0.3", "split.unknown_share needs the label"),
        ("predict.unknown=0.3", "predict.unknown needs the label"),
    ],
)
def test_the_unknown_need_a_label(
    change: str, message: str, make_competition: Callable[..., Path]
) -> None:
    folder = make_competition(num_subjects=8, num_test=2)
    with pytest.raises(ConfigError, match=message):
        run_digits(folder, *FROZEN, change)


def test_validation_without_unknown_pictures_is_refused(digits: Path) -> None:
    with pytest.raises(ConfigError, match=r"set split\.unknown_share to the share"):
        run_digits(digits, *FROZEN, "predict.unknown=validation")


def test_too_large_a_share_is_refused(digits: Path) -> None:
    with pytest.raises(UserError, match=r"0\.99 leaves [01] individuals"):
        run_digits(digits, *FROZEN, "split.unknown_share=0.99")
