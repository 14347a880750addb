"""Heads against scikit-learn and torch, and on awkward train parts."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from gorae.data.sources import Task
from gorae.errors import StorageError
from gorae.heads import Head, fit_linear, fit_mlp
from gorae.heads.inner import NUM_INNER_FOLDS, inner_folds
from gorae.heads.solve import FINE, rotate, solve

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def draw(
    num_rows: int, num_features: int, num_classes: int, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features like pooled activations (not negative, correlated) and class indices."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_rows)
    centres = rng.normal(size=(num_classes, num_features))
    mixing = rng.normal(size=(num_features, num_features)) / np.sqrt(num_features)
    features = np.maximum(
        centres[truth] * 0.4 + rng.normal(size=(num_rows, num_features)) @ mixing, 0
    )
    return features.astype(np.float32), truth


def fit(features: NDArray[np.float32], truth: NDArray[Any], task: Task, **changed: Any) -> Head:
    given_settings: dict[str, Any] = {
        "groups": np.arange(len(features)),
        "strengths": STRENGTHS,
        "seed": 0,
        "num_classes": int(truth.max()) + 1,
    }
    return fit_linear(features, truth, task=task, **(given_settings | changed))


def standardised(features: NDArray[np.float32]) -> NDArray[np.float64]:
    scaled = features.astype(np.float64)
    centred: NDArray[np.float64] = scaled - scaled.mean(axis=0)
    divided: NDArray[np.float64] = centred / scaled.std(axis=0)
    return divided


@pytest.mark.parametrize(("num_rows", "num_features"), [(60, 150), (300, 40)])
@pytest.mark.parametrize("strength", [0.01, 1.0])
@pytest.mark.parametrize("num_classes", [3, 7])
def test_softmax_regression_equals_scikit_learn(
    num_rows: int, num_features: int, strength: float, num_classes: int
) -> None:
    features, truth = draw(num_rows, num_features, num_classes)
    head = fit(features, truth, "multiclass", strengths=(strength,))
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    expected = reference.fit(standardised(features), truth).predict_proba(
        standardised(features)
    )
    assert head.converged
    np.testing.assert_allclose(head.predict(features), expected, atol=5e-4)


def test_two_classes_are_softmax_regression_with_two_columns() -> None:
    # The penalty of two opposite columns is half that of their difference.
    features, truth = draw(200, 30, 2)
    head = fit(features, truth, "multiclass", strengths=(0.5,))
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
    expected = reference.fit(standardised(features), truth).predict_proba(
        standardised(features)
    )
    np.testing.assert_allclose(head.predict(features), expected, atol=5e-4)


def test_each_label_is_a_logistic_regression_of_its_own() -> None:
    features, classes = draw(150, 20, 4)
    truth = np.stack([classes == 0, classes < 2, classes % 2 == 0], axis=1).astype(np.float32)
    head = fit(features, truth, "multilabel", strengths=(0.3,), num_classes=3)
    predicted = head.predict(features)
    for label in range(3):
        reference = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000)
        reference.fit(standardised(features), truth[:, label])
        expected = reference.predict_proba(standardised(features))[:, 1]
        np.testing.assert_allclose(predicted[:, label], expected, atol=5e-4)


@pytest.mark.parametrize(("num_rows", "num_features"), [(50, 90), (200, 20)])
def test_regression_equals_ridge(num_rows: int, num_features: int) -> None:
    features, classes = draw(num_rows, num_features, 5)
    rng = np.random.default_rng(1)
    truth = (20 + 9 * classes + rng.normal(size=num_rows)).astype(np.float32)
    head = fit(features, truth, "regression", strengths=(0.1,), num_classes=1)
    expected = (
        Ridge(alpha=10.0).fit(standardised(features), truth).predict(standardised(features))
    )
    assert head.predict(features).shape == (num_rows, 1)
    np.testing.assert_allclose(head.predict(features)[:, 0], expected, atol=0.01)


def test_rotation_keeps_all_distances() -> None:
    for num_rows, num_features in [(40, 100), (100, 40)]:
        features, _ = draw(num_rows, num_features, 3)
        scaled = standardised(features)
        rotated = rotate(features).rotated
        assert rotated.shape[1] <= min(num_rows, num_features)
        np.testing.assert_allclose(rotated @ rotated.T, scaled @ scaled.T, atol=1e-6)


def test_start_does_not_change_the_solution() -> None:
    features, truth = draw(80, 30, 3)
    rows, targets = rotate(features).rotated, np.eye(3)[truth]
    cold = solve(rows, targets, output="softmax", strength=0.1)
    far = solve(rows, targets, output="softmax", strength=10.0)
    warm = solve(rows, targets, output="softmax", strength=0.1, start=far, tolerance=FINE)
    np.testing.assert_allclose(cold.weights, warm.weights, atol=1e-3)


def test_weights_load_into_torch_layers() -> None:
    features, truth = draw(90, 24, 3)
    linear = fit(features, truth, "multiclass")
    layers = torch.nn.Sequential(torch.nn.Linear(24, 3))
    check_same(linear, layers, features)
    mlp = fit_mlp(
        features,
        truth,
        task="multiclass",
        groups=np.arange(90),
        strengths=(1.0,),
        seed=0,
        num_classes=3,
        hidden=8,
    )
    deep = torch.nn.Sequential(torch.nn.Linear(24, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    check_same(mlp, deep, features)


def check_same(head: Head, layers: torch.nn.Module, features: NDArray[np.float32]) -> None:
    layers.load_state_dict({name: torch.tensor(t) for name, t in head.tensors().items()})
    with torch.no_grad():
        expected = layers(torch.tensor(features)).softmax(dim=1).numpy()
    np.testing.assert_allclose(head.predict(features), expected, atol=1e-5)


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_head_survives_its_tensors(task: Task) -> None:
    features, truth = draw(40, 6, 3)
    labels = truth if task == "multiclass" else np.eye(3, dtype=np.float32)[truth]
    head = fit(features, labels[:, 0] if task == "regression" else labels, task, num_classes=3)
    again = Head.from_tensors(head.tensors(), head.metadata())
    np.testing.assert_array_equal(again.predict(features), head.predict(features))
    assert (again.strength, again.inner_losses, again.converged, again.output) == (
        head.strength,
        head.inner_losses,
        head.converged,
        head.output,
    )
    with pytest.raises(StorageError, match="not a head of gorae"):
        Head.from_tensors(head.tensors(), {})
    with pytest.raises(StorageError, match=r"0\.bias"):
        Head.from_tensors({"0.weight": head.layers[0][0]}, head.metadata())


def test_probabilities_sum_to_one_over_many_classes() -> None:
    features, truth = draw(400, 30, 200)
    predicted = fit(features, truth, "multiclass", num_classes=200).predict(features)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
    assert (predicted >= 0).all()


@pytest.mark.parametrize("fitted", [fit_linear, fit_mlp])
@pytest.mark.parametrize("task", ["multiclass", "ordinal"])
def test_absent_and_single_classes(fitted: Any, task: Task) -> None:
    features, _ = draw(41, 12, 2)
    truth = np.array([1] * 20 + [3] * 20 + [4])  # 0, 2 and 5 absent, 4 seen once
    extra = {"hidden": 8} if fitted is fit_mlp else {}
    head = fitted(
        features,
        truth,
        task=task,
        groups=np.arange(41),
        strengths=STRENGTHS,
        seed=0,
        num_classes=6,
        **extra,
    )
    predicted = head.predict(features)
    assert predicted.shape == (41, 6)
    assert predicted[:, [0, 2, 5]].max() < 1e-6
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("fitted", [fit_linear, fit_mlp])
def test_one_class_only(fitted: Any) -> None:
    features, _ = draw(12, 5, 2)
    extra = {"hidden": 4} if fitted is fit_mlp else {}
    common = {"groups": np.arange(12), "strengths": STRENGTHS, "seed": 0, "num_classes": 2}
    head = fitted(features, np.ones(12, np.int64), task="multiclass", **common, **extra)
    np.testing.assert_allclose(head.predict(features), [[0, 1]] * 12, atol=1e-6)
    labels = np.tile(np.array([[0, 1]], np.float32), (12, 1))
    head = fitted(features, labels, task="multilabel", **common, **extra)
    np.testing.assert_allclose(head.predict(features), [[0, 1]] * 12, atol=1e-6)
    values = np.full(12, 7.5, np.float32)
    head = fitted(features, values, task="regression", **common, **extra)
    np.testing.assert_allclose(head.predict(features), 7.5, atol=1e-5)


def test_constant_and_nearly_constant_features_do_no_harm() -> None:
    features, truth = draw(100, 10, 2)
    features[:, 0] = 0.3
    features[:, 1] = 0
    features[0, 1] = 1e-20  # a unit that is all but dead in the train part
    head = fit(features, truth, "multiclass")
    alive = features.copy()
    alive[:, 1] = 1.0
    change = np.abs(head.predict(alive) - head.predict(features)).max()
    assert np.isfinite(head.layers[0][0]).all()
    assert change < 0.1
    nothing = fit(np.full((20, 4), 2.5, np.float32), np.arange(20) % 2, "multiclass")
    np.testing.assert_allclose(nothing.predict(np.ones((3, 4), np.float32)), 0.5, atol=1e-6)


@pytest.mark.parametrize("fitted", [fit_linear, fit_mlp])
def test_same_input_same_bytes(fitted: Any) -> None:
    features, truth = draw(60, 20, 3)
    extra = {"hidden": 8} if fitted is fit_mlp else {}
    heads = [
        fitted(
            features,
            truth,
            task="multiclass",
            groups=np.arange(60) // 2,
            strengths=STRENGTHS,
            seed=3,
            num_classes=3,
            **extra,
        )
        for _ in range(2)
    ]
    for name, tensor in heads[0].tensors().items():
        assert tensor.tobytes() == heads[1].tensors()[name].tobytes()


def test_noise_gets_more_regularisation_than_signal() -> None:
    features, truth = draw(300, 40, 2)
    noise = np.random.default_rng(0).permutation(truth)
    learned, guessed = fit(features, truth, "multiclass"), fit(features, noise, "multiclass")
    assert guessed.strength == STRENGTHS[0]
    assert learned.strength > guessed.strength
    losses = dict(learned.inner_losses)
    assert losses[learned.strength] == min(losses.values())


def test_strength_is_chosen_without_groups_of_the_train_side() -> None:
    """Copies of a picture in one group: seen on both sides they would hide over-fitting."""
    features, _ = draw(60, 80, 2)
    rng = np.random.default_rng(2)
    features = np.repeat(features, 4, axis=0)
    truth = np.repeat(rng.integers(0, 2, 60), 4)  # nothing to learn but the copies
    honest = fit(features, truth, "multiclass", groups=np.repeat(np.arange(60), 4))
    fooled = fit(features, truth, "multiclass")
    assert honest.strength == STRENGTHS[0]
    assert fooled.strength > honest.strength


def test_one_group_or_one_strength_leaves_nothing_to_choose() -> None:
    features, truth = draw(30, 5, 2)
    alone = fit(features, truth, "multiclass", groups=np.zeros(30, np.int64))
    assert (alone.strength, alone.inner_losses) == (0.1, ())
    single = fit(features, truth, "multiclass", strengths=(0.7,))
    assert (single.strength, single.inner_losses) == (0.7, ())


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    num_classes=st.integers(1, 5),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_no_group_is_in_two_inner_folds(sizes: list[int], num_classes: int, seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    truth = np.random.default_rng(seed).integers(0, num_classes, len(groups))
    folds = inner_folds(truth, groups, seed=seed)
    for group in range(len(sizes)):
        assert len(np.unique(folds[groups == group])) == 1
    assert set(folds) == set(range(min(NUM_INNER_FOLDS, len(sizes))))


@pytest.mark.parametrize("seed", range(3))
def test_inner_folds_see_every_class(seed: int) -> None:
    truth = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [100, 10, 5]))
    folds = inner_folds(truth, np.arange(115), seed=seed)
    for fold in range(NUM_INNER_FOLDS):
        np.testing.assert_array_equal(np.bincount(truth[folds == fold]), [20, 2, 1])


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_mlp_learns_what_a_line_cannot(task: Task) -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 1, size=(600, 2)).astype(np.float32)
    inside = features[:, 0] * features[:, 1] > 0
    truth: NDArray[Any] = inside.astype(np.int64)
    if task == "multilabel":
        truth = np.stack([inside, ~inside], axis=1).astype(np.float32)
    if task == "regression":
        truth = 50 + 10 * inside.astype(np.float32)
    head = fit_mlp(
        features,
        truth,
        task=task,
        groups=np.arange(600),
        strengths=(1.0, 10.0),
        seed=0,
        num_classes=2,
        hidden=32,
    )
    predicted = head.predict(features)
    if task == "regression":
        assert ((predicted[:, 0] > 55) == inside).mean() > 0.93
    else:
        assert ((predicted[:, -1] > 0.5) == truth.reshape(600, -1)[:, -1]).mean() > 0.93
    assert len(head.inner_losses) == 2


def test_unfinished_mlp_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorae.heads.mlp.MAX_PASSES", 2)
    features, truth = draw(50, 10, 2)
    head = fit_mlp(
        features,
        truth,
        task="multiclass",
        groups=np.arange(50),
        strengths=(1.0,),
        seed=0,
        num_classes=2,
        hidden=4,
    )
    assert not head.converged


def test_unfinished_solver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorae.heads.solve.MAX_ITERATIONS", 2)
    features, truth = draw(50, 10, 2)
    assert not fit(features, truth, "multiclass", strengths=(10.0,)).converged
