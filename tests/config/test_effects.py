"""No dead option: a setting that is never looked at is refused."""

from pathlib import Path

import pytest

from gorae.config import resolve_recipe
from gorae.config.effects import loss_problems
from gorae.data.sources import Task
from gorae.errors import ConfigError


@pytest.mark.parametrize(
    ("preset", "override", "reason"),
    [
        ("quick", "augment.hflip=0", 'use model.use = "finetune"'),
        ("quick", "train.epochs=3", 'use model.use = "finetune"'),
        ("quick", "model.drop_rate=0.1", "dropout belongs to"),
        ("quick", "head.hidden=8", 'only head.kind = "mlp"'),
        ("quick", "predict.use_checkpoints=2", "several checkpoints"),
        ("quick", "model.class_table=a.csv", 'only model.use = "as_is"'),
        ("quick", "split.holdout_share=0.3", 'only split.kind = "holdout"'),
        ("standard", "head.kind=mlp", "a head on fixed features belongs to"),
        ("quick", "model.head=vanilla", 'it belongs to model.use = "finetune"'),
        ("quick", "model.outputs=parts", 'it belongs to model.use = "finetune"'),
        ("quick", "model.features=logits", 'it belongs to model.use = "finetune"'),
        ("quick", "loss.margin=0.3", 'it belongs to model.use = "finetune"'),
        ("standard", "model.centres=2", 'model.head is "linear"'),
        ("standard", "model.scale=10", 'model.head is "linear"'),
        ("standard", "model.neck=none", 'model.head is "linear"'),
        ("standard", "model.embedding=64", 'model.head is "linear"'),
        ("standard", "loss.margin=0.3", 'only "cosine" has angles to classes'),
        ("standard", "loss.margin_range=[0.1,0.3]", 'only "cosine" has angles'),
        ("standard", "loss.margin_power=[0.3,-0.4,0.05]", 'only "cosine" has angles'),
        ("standard", "loss.part_weights={age=2}", 'model.outputs is "classes"'),
        (
            "standard",
            "predict.use_checkpoints=3",
            "3 are used but only train.keep_checkpoints = 1",
        ),
    ],
)
def test_a_setting_without_effect_is_refused_with_its_reason(
    preset: str, override: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=r"has no effect here") as caught:
        resolve_recipe(preset=preset, overrides=[override])
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("quick", ["train.precision=fp32", "train.threads=1"]),
        ("quick", ["head.kind=mlp", "head.hidden=8"]),
        ("quick", ["model.use=finetune", "train.epochs=3"]),
        ("standard", ["model.use=frozen", "head.kind=mlp"]),
        ("standard", ["train.keep_checkpoints=3", "predict.use_checkpoints=3"]),
        ("standard", ["split.kind=holdout", "split.holdout_share=0.3"]),
        ("standard", ["model.head=vanilla", "model.drop_rate=0.5", "model.features=logits"]),
        ("standard", ["model.outputs=both", "loss.part_weights={age=2}", "loss.kind=focal"]),
        ("standard", ["model.head=cosine", "model.embedding=64", "loss.margin=0.3"]),
    ],
)
def test_settings_with_effect_pass(preset: str, overrides: list[str]) -> None:
    resolve_recipe(preset=preset, overrides=overrides)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model.head=vanilla", "model.drop_copies=2"], "dropout behind a norm of its own"),
        (["model.head=cosine", "model.neck=none", "model.embedding=8"], 'neck is "none"'),
        (["model.features=logits", "model.weights=none"], 'model.weights is "none"'),
        (
            ["model.head=cosine", "loss.margin=0.3", "loss.margin_range=[0.1, 0.3]"],
            "loss.margin and loss.margin_range say the same thing twice",
        ),
        (["model.head=cosine", "model.outputs=parts"], 'set model.outputs to "classes"'),
        (["model.head=cosine", "loss.kind=bce"], "It fits cross_entropy, focal, soft_f1"),
        (["model.head=vanilla", "loss.kind=coral"], "coral brings a head of its own"),
        (["model.outputs=both", "loss.kind=soft_f1"], "It fits cross_entropy, focal"),
        (["loss.margin_range=[0.5, 0.1]"], "must rise and be radians"),
        (["loss.margin_power=[0.3, 0.4, 0.05]"], "a power below 0"),
    ],
)
def test_heads_that_do_not_fit_are_refused_with_their_reason(
    overrides: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_recipe(preset="standard", overrides=overrides)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("task", "overrides", "reason"),
    [
        ("regression", ["model.head=cosine"], "the loss mse asks something else"),
        ("multilabel", ["model.outputs=both"], "the loss bce cannot be split into"),
        ("multiclass", ["model.outputs=both"], None),
    ],
)
def test_what_auto_stands_for_must_fit_the_head(
    task: Task, overrides: list[str], reason: str | None
) -> None:
    recipe = resolve_recipe(preset="standard", overrides=overrides)
    problems = loss_problems(recipe, task)
    assert len(problems) == (0 if reason is None else 1)
    assert reason is None or reason in problems[0]


def test_a_recipe_file_is_held_to_the_same_rule(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('preset = "quick"\n[train]\nepochs = 5\n[augment]\npolicy = "none"\n')
    with pytest.raises(ConfigError, match=r"2 setting\(s\) of .*r.toml"):
        resolve_recipe(path=path)
