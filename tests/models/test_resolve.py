"""Pixels of a network: who says what, and what is refused."""

import pytest

from gorae.errors import ConfigError, DataError
from gorae.models.resolve import library_pixels, resolve_pixels

METADATA = {
    "mean": "[0.5, 0.4, 0.3]",
    "std": "[0.5, 0.5, 0.5]",
    "input_size": "192",
    "interpolation": "bicubic",
    "crop_pct": "0.9",
}


def test_each_value_comes_from_the_first_who_gives_it() -> None:
    spec, notes = resolve_pixels(
        {"input_size": 160, "mean": None},
        {"mean": METADATA["mean"], "std": METADATA["std"]},
        library_pixels("vgg11"),
    )
    assert (spec.input_size, spec.mean, spec.std) == (160, (0.5, 0.4, 0.3), (0.5, 0.5, 0.5))
    assert (spec.interpolation, spec.crop_pct) == ("bilinear", 0.875)
    assert spec.sources == {
        "mean": "weights",
        "std": "weights",
        "input_size": "recipe",
        "interpolation": "timm",
        "crop_pct": "timm",
    }
    assert notes == []


def test_a_recipe_that_contradicts_the_weights_wins_and_is_noted() -> None:
    recipe = {"input_size": 192, "mean": (0.5, 0.4, 0.2), "interpolation": "bilinear"}
    spec, notes = resolve_pixels(recipe, METADATA, library_pixels("lenet5"))
    assert spec.mean == (0.5, 0.4, 0.2)
    assert notes == [
        "pixels.mean = (0.5, 0.4, 0.2) of the recipe overrides [0.5, 0.4, 0.3] of the weights.",
        "pixels.interpolation = bilinear of the recipe overrides bicubic of the weights.",
    ]


def test_networks_of_no_library_have_stated_defaults() -> None:
    for name, size in (("lenet5", 32), ("torchvision/alexnet", 224), ("net.py:Net", 224)):
        spec, _ = resolve_pixels({}, {}, library_pixels(name))
        assert spec.input_size == size
        assert set(spec.sources.values()) == {"default"}


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("mean", "[0.5, 0.5]", r"mean = '\[0.5, 0.5\]', which is no mean gorae understands"),
        ("mean", "0.5,0.5,0.5", "mean = '0.5,0.5,0.5', which is not JSON"),
        ("std", "[0.5, 0.5, 0]", "which is no std gorae understands"),
        ("input_size", "224.5", "which is no input_size"),
        ("input_size", "true", "which is no input_size"),
        ("input_size", "[3, 224, 224]", "which is no input_size"),
        ("interpolation", "lanczos", "which is no interpolation"),
        ("crop_pct", "1.5", "Set pixels.crop_pct in the recipe"),
        ("crop_pct", "NaN", "which is no crop_pct"),
    ],
)
def test_metadata_that_cannot_be_understood_stops(field: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        resolve_pixels({}, {**METADATA, field: text}, library_pixels("lenet5"))


def test_a_library_size_that_is_not_square_needs_a_word_from_the_user() -> None:
    library = {**library_pixels("lenet5"), "input_size": (1024, 768)}
    with pytest.raises(ConfigError, match="1024 x 768, which are not square"):
        resolve_pixels({}, {}, library)
    assert resolve_pixels({"input_size": 768}, {}, library)[0].input_size == 768


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pixels.std = .* must be above 0"):
        resolve_pixels({"std": (0.2, 0.0, 0.2)}, {}, library_pixels("lenet5"))
