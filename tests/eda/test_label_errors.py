"""Wrong labels come first: by hand, against the paper's definitions, and on real digits."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from gorae.eda.label_errors import (
    SCORES,
    SUSPECTS,
    class_suspects,
    confident_joint,
    estimated_joint,
    far_labels,
    grade_suspects,
    multilabel_suspects,
    neighbour_shares,
    noise_share,
    number_suspects,
)
from gorae.heads.linear import fit_linear
from gorae.splits import make_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Means of the own class: 0 -> (0.9 + 0.8 + 0.1) / 3 = 0.6; 1 -> (0.9 + 0.7 + 0.4) / 3 = 2 / 3.
TRUTH = np.array([0, 0, 0, 1, 1, 1])
PROBA = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4]])


def test_confident_joint_by_hand() -> None:
    # Row 2 is given as 0 and confidently 1 (0.9 >= 2/3); row 5 confidently 0 (0.6 >= 0.6).
    assert confident_joint(TRUTH, PROBA).tolist() == [[2, 1], [1, 2]]
    assert np.allclose(estimated_joint(TRUTH, PROBA), np.array([[2, 1], [1, 2]]) / 6)
    assert noise_share(TRUTH, PROBA) == pytest.approx(1 / 3)


def test_a_row_that_is_confidently_nothing_is_not_counted_but_scaled_back() -> None:
    # Class 0: mean 0.75; class 1: mean (0.55 + 0.95) / 2 = 0.75: row 2 reaches neither.
    truth = np.array([0, 0, 1, 1])
    proba = np.array([[0.75, 0.25], [0.75, 0.25], [0.45, 0.55], [0.05, 0.95]])
    assert confident_joint(truth, proba).tolist() == [[2, 0], [0, 1]]
    assert np.allclose(estimated_joint(truth, proba), [[0.5, 0], [0, 0.5]])


def reference_joint(truth: Ints, proba: Floats) -> Floats:
    """Equations 1 and 2 and the threshold of the paper, entry by entry."""
    k = proba.shape[1]
    threshold = [
        np.mean([p[j] for p, y in zip(proba, truth, strict=True) if y == j]) for j in range(k)
    ]
    counts = np.zeros((k, k))
    for p, y in zip(proba, truth, strict=True):
        above = [j for j in range(k) if p[j] >= threshold[j] - 1e-12]
        if above:
            counts[y, max(above, key=lambda j: p[j])] += 1
    return counts


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 6))
def test_the_joint_agrees_with_the_definitions_of_the_paper(
    seed: int, num_classes: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = np.r_[np.arange(num_classes), rng.integers(0, num_classes, 40)]
    proba = rng.dirichlet(np.ones(num_classes), len(truth))
    counts = reference_joint(truth, proba)

    assert np.array_equal(confident_joint(truth, proba), counts)

    joint = estimated_joint(truth, proba)
    assert joint.sum() == pytest.approx(1)
    shares = np.bincount(truth, minlength=num_classes) / len(truth)
    assert np.allclose(joint.sum(axis=1), shares)
    table = class_suspects(truth, proba)
    assert table["is_flagged"].sum() <= counts.sum() - np.trace(counts)
    assert (table.loc[table["is_flagged"], "score"] > 0.5).all()


def test_perfect_predictions_flag_nothing_and_an_absent_class_does_no_harm() -> None:
    truth = np.array([0, 1, 0, 1])
    proba = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    assert not class_suspects(truth, proba)["is_flagged"].any()
    assert noise_share(truth, proba) == 0


def test_suspects_are_ranked_by_score_with_what_they_seem_to_be() -> None:
    table = class_suspects(TRUTH, PROBA)
    assert table.columns.tolist() == [
        "image", "given", "suggested", "score", "is_flagged", "rank",
    ]  # fmt: skip
    assert table["image"].tolist() == [2, 5, 4, 1, 0, 3]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["suggested"].tolist() == [1, 0, 0, 1, 1, 0]
    assert np.allclose(table["score"], [0.9, 0.6, 0.3, 0.2, 0.1, 0.1])
    assert table["is_flagged"].tolist() == [True, True, False, False, False, False]


def test_self_confidence_looks_at_the_given_class_only() -> None:
    truth = np.array([0, 0])
    proba = np.array([[0.34, 0.33, 0.33], [0.4, 0.6, 0.0]])
    assert class_suspects(truth, proba, score="self_confidence")["image"].tolist() == [0, 1]
    assert class_suspects(truth, proba, score="margin")["image"].tolist() == [1, 0]
    assert set(SCORES) == {"self_confidence", "margin"}


def test_several_labels_are_judged_one_by_one() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    proba = np.array([[0.9, 0.2], [0.8, 0.95], [0.2, 0.9], [0.6, 0.9]], dtype=np.float32)
    table = multilabel_suspects(truth, proba)
    assert table[["image", "label", "given", "suggested"]].to_numpy().tolist() == [
        [1, 1, 0, 1],
        [3, 0, 0, 1],
    ]
    assert np.allclose(table["score"], [0.95, 0.6])
    assert table["rank"].tolist() == [1, 2]


def test_numbers_far_from_their_prediction_come_first() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    truth = values + np.array([0.1, -0.1, 0.2, -0.2, 9.0])
    table = number_suspects(truth, values)
    # Residuals around their median 0.1: 0, 0.2, 0.1, 0.3, 8.9, whose median is 0.2.
    assert table["image"].tolist() == [4, 3, 1, 2, 0]
    assert table["score"].iloc[0] == pytest.approx(0.6745 * 8.9 / 0.2)
    assert table["is_flagged"].tolist() == [True, False, False, False, False]
    assert table["suggested"].iloc[0] == 5


def test_equal_residuals_do_not_divide_by_zero() -> None:
    values = np.zeros(6)
    assert (number_suspects(values + 2, values)["score"] == 0).all()
    table = number_suspects(np.array([0, 0, 0, 0, 0, 3.0]), values)
    assert table["image"].iloc[0] == 5
    assert np.isfinite(table["score"]).all()


def test_grades_are_judged_by_their_distance_in_grades() -> None:
    proba = np.array([[0, 0, 0, 1.0], [0.5, 0.5, 0, 0], [0, 0.2, 0.8, 0]])
    table = grade_suspects(np.array([0, 0, 3]), proba)
    assert table["image"].tolist() == [0, 2, 1]
    assert np.allclose(table["score"], [3, 1.2, 0.5])
    assert table["suggested"].tolist() == [3, 2, 1]
    assert table["is_flagged"].tolist() == [True, False, False]


def test_the_rule_of_panda_takes_what_is_further_than_the_threshold() -> None:
    far = far_labels(np.array([0, 5, 2]), np.array([1.6, 3.3, 2.0]), threshold=1.6)
    assert far.tolist() == [False, True, False]


def test_every_task_has_its_suspects() -> None:
    assert set(SUSPECTS) == {"multiclass", "multilabel", "ordinal", "regression"}


def test_neighbours_never_vote_for_their_own_group() -> None:
    features = np.array([[0.0, 1], [0, 1.01], [0, 1.02], [1, 0], [1.01, 0], [1.02, 0]])
    truth = np.array([0, 0, 1, 1, 1, 0])
    apart = neighbour_shares(
        features, truth, np.array([0, 0, 1, 2, 2, 3]), num_classes=2, num_neighbours=1
    )
    assert apart.argmax(axis=1).tolist() == [1, 1, 0, 0, 0, 1]
    alone = neighbour_shares(features, truth, np.zeros(6, dtype=np.int64), num_classes=2)
    assert np.allclose(alone, 0.5)


def test_neighbours_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_digits()
    rows = slice(0, 300)
    groups = np.arange(300) // 3
    args = (digits.data[rows], digits.target[rows].astype(np.int64), groups)
    whole = neighbour_shares(*args, num_classes=10)
    monkeypatch.setattr("gorae.eda.label_errors.BLOCK_CELLS", 300 * 7)
    assert np.allclose(neighbour_shares(*args, num_classes=10), whole, atol=1e-5)
    assert np.allclose(whole.sum(axis=1), 1)


def planted(truth: Ints, seed: int, share: float = 0.05) -> tuple[Ints, NDArray[np.bool_]]:
    """Labels of which ``share`` are another class, and which they are."""
    rng = np.random.default_rng(seed)
    num_classes, num_wrong = int(truth.max()) + 1, round(share * len(truth))
    is_wrong = np.zeros(len(truth), dtype=bool)
    is_wrong[rng.choice(len(truth), num_wrong, replace=False)] = True
    moved = (truth + rng.integers(1, num_classes, len(truth))) % num_classes
    return np.where(is_wrong, moved, truth), is_wrong


def test_planted_errors_on_digits_are_among_the_first_twice_as_many() -> None:
    digits = load_digits()
    truth, is_wrong = planted(digits.target.astype(np.int64), seed=0)
    features = StandardScaler().fit_transform(digits.data)
    proba = cross_val_predict(
        LogisticRegression(C=0.1, max_iter=500), features, truth, cv=5, method="predict_proba"
    )
    shares = neighbour_shares(features, truth, np.arange(len(truth)), num_classes=10)

    num_wrong = int(is_wrong.sum())
    recalls = {}
    for name, values in (("model", proba), ("both", (proba + shares) / 2)):
        first = class_suspects(truth, values)["image"][: 2 * num_wrong]
        recalls[name] = is_wrong[first].sum() / num_wrong
    assert recalls["model"] >= 0.8
    assert recalls["both"] >= 0.95
    assert noise_share(truth, proba) == pytest.approx(0.05, abs=0.02)


def features_of(paths: list[Path], shared: Path) -> NDArray[np.float32]:
    """Features of a real network at 128 px, which is enough here, (N, 1280)."""
    model: Any = timm.create_model("mobilenetv2_100", pad_type="same").eval()
    model.load_state_dict(load_file(shared / "weights" / "mobilenetv2_100.safetensors"))
    parts = []
    for start in range(0, len(paths), 50):
        pictures = [
            np.asarray(Image.open(path).convert("RGB").resize((128, 128)))
            for path in paths[start : start + 50]
        ]
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.inference_mode():
            features = model.forward_head(model.forward_features(batch), pre_logits=True)
        parts.append(features.numpy())
    return np.concatenate(parts)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cats-and-dogs", "sign-digits"])
def test_planted_errors_on_real_pictures_are_among_the_first_twice_as_many(
    shared: Path, name: str
) -> None:
    """A part of the sets, for time; ``benchmarks/label_errors.py`` takes them whole."""
    folder = shared / "data" / name / "train"
    if name == "cats-and-dogs":
        paths = sorted(folder.glob("*.jpg"))[::2]
        truth = np.array([path.name.startswith("dog") for path in paths], dtype=np.int64)
        groups = np.arange(len(paths))
    else:
        table = pd.read_csv(folder.with_name("train.csv"), dtype=str).iloc[:700]
        paths = [folder / image for image in table["image"]]
        truth = table["label"].to_numpy(dtype=np.int64)
        groups = pd.factorize(table["person"])[0].astype(np.int64)
    noisy, is_wrong = planted(truth, seed=0)
    features = features_of(paths, shared)
    num_classes = int(truth.max()) + 1
    folds = make_folds(noisy, groups, num_folds=5, seed=0)
    proba = np.zeros((len(truth), num_classes))
    for fold in range(5):
        train = folds != fold
        head = fit_linear(
            features[train],
            noisy[train],
            task="multiclass",
            groups=groups[train],
            strengths=[0.003],
            seed=0,
            num_classes=num_classes,
        )
        proba[~train] = head.predict(features[~train])
    shares = neighbour_shares(features, noisy, groups, num_classes=num_classes)

    first = class_suspects(noisy, (proba + shares) / 2)["image"][: 2 * is_wrong.sum()]
    assert is_wrong[first].sum() / is_wrong.sum() >= 0.8
