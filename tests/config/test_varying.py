"""gorae.config.varying."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gorae.config.varying import parse_variants
from gorae.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("train.lr=1e-3", [("train.lr=1e-3",)]),
        ("train.lr=1e-3,1e-4", [("train.lr=1e-3",), ("train.lr=1e-4",)]),
        ("model.name=a, b", [("model.name=a",), ("model.name=b",)]),
        ("augment.mixup=0.2 augment.cutmix=1", [("augment.mixup=0.2", "augment.cutmix=1")]),
        ("a.b=1,2 c.d=3", [("a.b=1", "c.d=3"), ("a.b=2", "c.d=3")]),
        ("a.b=1,2 c.d=3,4", [(f"a.b={b}", f"c.d={d}") for b in (1, 2) for d in (3, 4)]),
        ('a.b=[1, 2], [3, 4] c.d={x = 1, y = 2}', [
            ("a.b=[1, 2]", "c.d={x = 1, y = 2}"), ("a.b=[3, 4]", "c.d={x = 1, y = 2}"),
        ]),
        ('train.devices="cuda:0,1"', [('train.devices="cuda:0,1"',)]),
        ("model.weights=/o'neil/w.pt x.y=1", [("model.weights=/o'neil/w.pt", "x.y=1")]),
        ("model.weights=my file.pt", [("model.weights=my file.pt",)]),
    ],
)  # fmt: skip
def test_commas_separate_variants_and_spaces_settings(
    text: str, variants: list[tuple[str, ...]]
) -> None:
    assert parse_variants([text]) == variants
    assert parse_variants([text, text]) == variants, "none stands twice"


@given(values=st.lists(st.text('abc[]{}," =.', min_size=1, max_size=12), max_size=4))
def test_no_text_is_read_halfway(values: list[str]) -> None:
    try:
        found = parse_variants([f"a.b={value}" for value in values])
    except ConfigError:
        return
    for first, *_ in found:
        assert first.startswith("a.b=")
        assert len(first) > 4


@pytest.mark.parametrize(
    "text", ["train.lr", "=3", "train.lr=", "train.lr=1,,2", "train.lr=1,"]
)
def test_a_setting_without_value_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not of the form name=value"):
        parse_variants([text])


@pytest.mark.parametrize("text", ["a.b=[1, 2", 'a.b="x', "a.b={c = [1}"])
def test_brackets_that_do_not_close_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="do not close"):
        parse_variants([text])
