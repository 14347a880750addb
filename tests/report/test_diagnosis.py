"""gorae.report.diagnosis: synthetic runs of each kind."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.report.diagnosis import diagnose
from gorae.report.learning import FoldFit, Learning
from gorae.report.page import Diagnosis
from gorae.report.remedies import Facts

RECIPE: dict[str, Any] = {
    "model": {"name": "efficientnet_b0", "weights": "hub", "use": "finetune", "drop_rate": 0.0},
    "split": {"kind": "kfold", "repeats": 1},
    "head": {"kind": "linear", "strengths": [0.1, 1.0, 10.0]},
    "augment": {"policy": "standard", "mixup": 0.0, "cutmix": 0.0, "half_cutmix": 0.0},
    "loss": {"kind": "auto", "label_smoothing": 0.0},
    "train": {"epochs": 12, "lr": 1e-3, "freeze": "none", "ema": False, "swa_epochs": 0},
    "predict": {"views": ["identity"]},
}
FACTS = Facts(task="multiclass", epochs=12, best_epoch=11.0, input_size=224, short_side_px=240)


def curves(valid: Any, train: Any = None, *, num_folds: int = 3) -> pd.DataFrame:
    """The same losses in every fold, a hair apart."""
    epochs = np.arange(1, len(valid) + 1)
    pieces = [
        pd.DataFrame(
            {
                "fold": fold,
                "epoch": epochs,
                "train_loss": valid if train is None else train,
                "valid_loss": np.asarray(valid) + 1e-4 * fold,
            }
        )
        for fold in range(num_folds)
    ]
    return pd.concat(pieces, ignore_index=True)


def learning(train: float | None, valid: float, **changes: Any) -> Learning:
    """Accuracy of two even classes on 300 rows in three folds; ``changes`` to that."""
    epochs = np.arange(12)
    given = {
        "metric": "accuracy",
        "greater_is_better": True,
        "num_rows": 300,
        "interval": (valid - 0.04, valid + 0.04),
        "baseline": 0.5,
        "perfect": 1.0,
        "fits": (FoldFit(train_score=train, valid_score=valid, num_sampled=200),) * 3,
        "folds": pd.DataFrame({"score": [valid - 0.01, valid, valid + 0.01], "num_rows": 100}),
        "curves": curves(0.3 + 0.4 * np.exp(-epochs)),
    }
    return Learning(**{**given, **changes})


def judged(found: Learning, **recipe: Any) -> Diagnosis:
    return diagnose(found, recipe={**RECIPE, **recipe}, facts=FACTS)


def test_a_large_gap_is_overfitting_and_says_its_numbers() -> None:
    found = judged(learning(0.99, 0.7))
    assert found.fit == "overfits"
    # 1.96 * hypot(0.0204, 0.0204 * sqrt(300 / 200)) = 0.0632
    assert found.evidence[0].en == (
        "Accuracy is 0.990 on pictures it learned from and 0.700 on others, mean of 3 folds: a "
        "difference of 0.290, more than the 0.063 that chance explains."
    )
    # 0.29 / (0.99 - 0.5)
    assert "59.2% is lost on new pictures" in found.evidence[1].en


def test_a_gap_inside_the_noise_is_not_overfitting() -> None:
    noisy = learning(0.99, 0.7, interval=(0.5, 0.9))
    assert judged(noisy).fit != "overfits"
    assert "within the 0.316 of chance" in judged(noisy).evidence[0].en


def test_a_sure_but_small_gap_is_not_overfitting() -> None:
    found = learning(1.0, 0.96, num_rows=10**6, interval=(0.9599, 0.9601))
    assert judged(found).fit == "balanced"


def test_the_direction_of_the_metric_changes_nothing() -> None:
    def as_error(score: float) -> float:
        return 1 - score

    for train, valid in ((0.99, 0.7), (0.55, 0.54), (0.9, 0.88)):
        upwards = learning(train, valid)
        downwards = learning(
            as_error(train),
            as_error(valid),
            greater_is_better=False,
            perfect=0.0,
            baseline=0.5,
            metric="log_loss",
        )
        assert judged(upwards).fit == judged(downwards).fit


def test_known_pictures_hardly_known_is_underfitting() -> None:
    found = judged(learning(0.6, 0.58))
    assert found.fit == "underfits"
    assert "only 20% of the way" in found.evidence[1].en


def test_no_better_than_not_looking_is_underfitting_whatever_the_metric() -> None:
    own = learning(0.52, 0.5, perfect=None, metric="metric.py:score")
    assert judged(own).fit == "underfits"
    assert judged(learning(0.9, 0.88, perfect=None)).fit == "balanced"


def test_one_epoch_has_no_curve() -> None:
    found = judged(learning(0.52, 0.5, curves=curves([0.69])))
    assert found.fit == "underfits"
    assert any(sentence.en == "1 epoch is too few for a curve." for sentence in found.evidence)


def test_a_loss_that_still_falls_is_still_learning() -> None:
    falling = curves(1.0 - 0.05 * np.arange(12))
    found = judged(learning(0.8, 0.78, curves=falling))
    assert found.fit == "learning"
    assert "In the last 3 epochs the validation loss still fell" in found.evidence[1].en
    assert found.remedies[0].setting == "train.epochs = 24"


def test_a_loss_that_only_wobbles_is_not_falling() -> None:
    wobble = 0.6 + 0.05 * np.array([0, 1, -1, 1, -1, 1, -1, 1, -1, 1, 0, -1.2])
    assert judged(learning(0.85, 0.83, curves=curves(wobble))).fit == "balanced"


def test_a_loss_that_rises_is_said_and_decides_where_no_score_is_known() -> None:
    epochs = np.arange(12)
    valid, train = 0.4 + 0.02 * (epochs - 3.0) ** 2, 0.7 - 0.05 * epochs
    rising = curves(valid, train)
    found = judged(learning(None, 0.7, curves=rising))
    assert found.fit == "overfits"
    said = "lowest at epoch 4 of 12 (0.400) and rose to 1.680, while the training loss fell"
    assert said in found.evidence[1].en
    # Where known and new pictures are answered alike, a surer answer is no overfitting.
    assert judged(learning(0.86, 0.85, curves=rising)).fit == "balanced"


def test_folds_that_differ_more_than_chance_are_unstable() -> None:
    folds = pd.DataFrame({"score": [0.5, 0.9, 0.88], "num_rows": 100})
    found = judged(learning(0.78, 0.76, folds=folds))
    assert found.fit == "unstable"
    assert "more than chance explains" in found.evidence[-1].en
    assert found.remedies[0].setting == "train.clip_norm = 1.0"


def test_one_fold_has_no_spread() -> None:
    one = learning(
        0.99,
        0.7,
        fits=(FoldFit(train_score=0.99, valid_score=0.7, num_sampled=500),),
        folds=pd.DataFrame({"score": [0.7], "num_rows": [300]}),
        curves=curves(0.3 + 0.4 * np.exp(-np.arange(12.0)), num_folds=1),
    )
    found = judged(one)
    assert found.fit == "overfits"
    assert not any("The folds" in sentence.en for sentence in found.evidence)
    assert "mean of" not in found.evidence[0].en


def test_nothing_known_is_told_as_that() -> None:
    found = judged(learning(None, 0.7, curves=None, folds=None))
    assert found.fit == "unclear"
    assert found.remedies == ()
    assert judged(learning(0.9, 0.7, interval=None, curves=None)).fit == "unclear"


@given(st.floats(0, 1), st.floats(0.01, 0.99), st.floats(0.001, 0.3), st.integers(3, 30))
def test_every_run_gets_a_verdict_in_both_languages(
    train: float, valid: float, half: float, epochs: int
) -> None:
    losses = np.random.default_rng(epochs).random(epochs)
    found = judged(
        learning(train, valid, interval=(valid - half, valid + half), curves=curves(losses))
    )
    assert found.evidence
    assert all(text.en and re.search("[가-힣]", text.ko) for text in found.evidence)
    assert not any(re.search("[가-힣]|nan", text.en) for text in found.evidence)
    # A gap that chance explains is never called overfitting.
    if abs(train - valid) < half:
        assert found.fit != "overfits"


def strengths(losses: Any, *, noise: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"fold": fold, "strength": 10.0**place, "score": -(loss + noise * rng.normal())}
        for fold in range(5)
        for place, loss in enumerate(losses)
    ]
    return pd.DataFrame(rows).assign(chosen=False)


@pytest.mark.parametrize(
    ("losses", "fit"),
    [
        ((0.5, 0.3, 0.4), "balanced"),
        ((0.5, 0.3, 0.2), "underfits"),
        ((0.2, 0.3, 0.5), "overfits"),
        ((0.5, 0.3, 0.2999), "balanced"),
    ],
)
def test_a_head_is_judged_by_the_strength_it_wants(losses: Any, fit: str) -> None:
    frozen = {**RECIPE["model"], "use": "frozen"}
    run = learning(None, 0.9, curves=None, fits=(), strengths=strengths(losses, noise=1e-4))
    found = judged(run, model=frozen)
    assert found.fit == fit
    asked = {"underfits": "head.strengths = [10, 100, 1000]", "overfits": "head.strengths = "}
    if fit in asked:
        assert found.remedies[0].setting.startswith(asked[fit])


def test_a_search_that_ended_early_in_one_fold_is_no_edge() -> None:
    tried = strengths((0.5, 0.3, 0.2))
    short = tried[(tried["fold"] > 0) | (tried["strength"] < 100)]
    frozen = {**RECIPE["model"], "use": "frozen"}
    run = learning(None, 0.9, curves=None, fits=(), strengths=short)
    found = judged(run, model=frozen)
    assert found.fit == "balanced"
    assert (
        "lowest at strength 10 (weakest tried): 0.300, against 0.500 at 1 (strongest)"
        in found.evidence[0].en
    )


def test_an_edge_that_chance_chose_is_no_verdict() -> None:
    run = learning(
        None, 0.9, curves=None, fits=(), strengths=strengths((0.5, 0.3, 0.29), noise=0.05)
    )
    assert judged(run).fit == "balanced"


def test_features_that_say_nothing_are_underfitting() -> None:
    run = learning(None, 0.51, curves=None, fits=(), strengths=strengths((0.5, 0.3, 0.4)))
    assert judged(run).fit == "underfits"


def test_one_strength_says_nothing() -> None:
    run = learning(None, 0.9, curves=None, fits=(), strengths=strengths((0.5,)))
    assert judged(run).fit == "unclear"
