"""No dead option: a setting that is never looked at is refused."""

from pathlib import Path

import pytest

from gorae.config import resolve_recipe
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
    ],
)
def test_settings_with_effect_pass(preset: str, overrides: list[str]) -> None:
    resolve_recipe(preset=preset, overrides=overrides)


def test_a_recipe_file_is_held_to_the_same_rule(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('preset = "quick"\n[train]\nepochs = 5\n[augment]\npolicy = "none"\n')
    with pytest.raises(ConfigError, match=r"2 setting\(s\) of .*r.toml"):
        resolve_recipe(path=path)
