import pytest

from gorae.augment.plan import (
    POLICIES,
    SETTABLE,
    NamedTransform,
    idle_fields,
    is_identity,
    resolve_augment,
)
from gorae.config.training import AugmentSettings
from gorae.errors import ConfigError

MIXING = {
    *("mixup", "cutmix", "half_cutmix", "rare_classes", "mix_share"),
    *("flip_identities", "box_mix"),
}


def test_settings_and_plan_have_the_same_fields_and_policies() -> None:
    fields = AugmentSettings.model_fields
    assert set(SETTABLE) == set(fields) - MIXING - {"policy"}
    for policy in POLICIES:
        settings = AugmentSettings.model_validate({"policy": policy})
        given = settings.model_dump(include=set(SETTABLE))
        assert resolve_augment(policy, given) == POLICIES[policy]


def test_a_given_field_replaces_the_policys_and_no_other() -> None:
    plan = resolve_augment("isic2020", {"hflip": 0.0, "scale": None})
    assert (plan.hflip, plan.vflip, plan.scale) == (0.0, 0.5, None)
    assert plan.affine == POLICIES["isic2020"].affine


def test_the_numbers_of_the_sources() -> None:
    base, random = POLICIES["base"], POLICIES["random"]
    assert (base.scale, base.ratio, base.center_square) == ((0.08, 1), (3 / 4, 4 / 3), True)
    assert (random.rand_ops, random.rand_magnitude) == (2, 9)
    assert POLICIES["facecrop"].scale == pytest.approx((0.687267, 0.687267), abs=1e-6)
    isic = POLICIES["isic2020"]
    assert (isic.cutout, isic.cutout_side, isic.clahe) == (0.7, 0.375, (0.7, 4))
    assert POLICIES["isic2019"].cutout_side * 224 == 16
    standard = POLICIES["standard"]
    assert (standard.scale, standard.hflip) == ((0.35, 1.0), 0.5)


def test_all_that_is_wrong_is_said_at_once() -> None:
    given = {
        "scale": (0.5, 1.5),
        "ratio": (2.0, 1.0),
        "transforms": ({"p": 0.5}, {"name": "Pad", "p": 2}, {"name": "Pad", "fill": {"a": 1}}),
    }
    with pytest.raises(ConfigError) as caught:
        resolve_augment("standard", given)
    for words in (
        r"scale = (0.5, 1.5) must be two numbers above 0 up to 1, the smaller first",
        "ratio = (2, 1) must be",
        "transforms, number 1: a name is missing",
        "transforms, number 2: p = 2 must be from 0 to 1",
        "transforms, number 3: fill is a table",
    ):
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match=r"'heavy' is not known\. Policies: none, standard,"):
        resolve_augment("heavy", {})


def test_transforms_become_hashable() -> None:
    tables = ({"name": "RandomAffine", "degrees": 5, "scale": [0.9, 1.1]},)
    plan = resolve_augment("none", {"transforms": tables})
    wanted = NamedTransform("RandomAffine", None, (("degrees", 5), ("scale", (0.9, 1.1))))
    assert plan.transforms == (wanted,)
    assert hash(plan)


def test_settings_that_are_never_looked_at() -> None:
    assert set(idle_fields(POLICIES["none"])) == {"ratio", "rand_magnitude", "cutout_side"}
    assert set(idle_fields(POLICIES["random"])) == {"cutout_side"}
    assert idle_fields(resolve_augment("random", {"cutout": 0.1})) == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_only_none_is_the_identity(policy: str) -> None:
    assert is_identity(POLICIES[policy]) == (policy == "none")


@pytest.mark.parametrize(
    "given",
    [{name: 0.1} for name in ("hflip", "vflip", "transpose", "cutout", "erasing", "face_crop")]
    + [{"rand_ops": 1}, {"scale": (0.9, 1.0)}, {"transforms": ({"name": "Pad"},)}],
)
def test_every_setting_that_draws_is_a_change(given: dict[str, object]) -> None:
    assert not is_identity(resolve_augment("none", given))
