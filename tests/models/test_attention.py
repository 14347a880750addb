"""THANet's attention against torch's own, and its heads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gorae.models.attention import THANetHead, TokenAttention, merge_heads

SIZES = (3, 2, 3)


def test_heads_merge_by_token() -> None:
    # Value 10 * head + token, as in the source's analysis: slot t is {t, 10 + t, ..., 70 + t}.
    heads, tokens = torch.arange(8)[:, None], torch.arange(3)[None, :]
    values = (10 * heads + tokens)[None, :, :, None]
    merged = merge_heads(values)
    assert merged.shape == (1, 3, 8)
    for token in range(3):
        assert merged[0, token].tolist() == [token + 10 * head for head in range(8)]


@given(seed=st.integers(0, 20), num_tokens=st.integers(1, 5), batch=st.integers(1, 4))
def test_attention_equals_torchs_with_the_same_weights(
    seed: int, num_tokens: int, batch: int
) -> None:
    torch.manual_seed(seed)
    ours = TokenAttention(64, num_heads=8)
    reference = nn.MultiheadAttention(64, 8, batch_first=True)
    zero = torch.zeros(64)
    reference.load_state_dict(
        {
            "in_proj_weight": torch.cat(
                [ours.query.weight, ours.key.weight, ours.value.weight]
            ),
            "in_proj_bias": torch.cat([ours.query.bias, zero, ours.value.bias]),
            "out_proj.weight": ours.project.weight,
            "out_proj.bias": ours.project.bias,
        }
    )
    tokens = torch.randn(batch, num_tokens, 64)
    expected, _ = reference(tokens, tokens, tokens, need_weights=False)
    torch.testing.assert_close(ours(tokens), expected, atol=1e-6, rtol=0)


def test_a_bias_of_keys_would_change_nothing() -> None:
    torch.manual_seed(0)
    attention = TokenAttention(64, num_heads=8)
    tokens = torch.randn(2, 3, 64)
    before = attention(tokens)
    attention.key.bias = nn.Parameter(torch.randn(64))
    torch.testing.assert_close(attention(tokens), before)


@pytest.mark.parametrize(
    ("num_classes", "auxiliary", "num_outputs"),
    [(18, False, 18), (18, True, 26), (0, False, 8)],
)
def test_a_head_gives_what_is_asked_and_all_of_it_learns(
    num_classes: int, auxiliary: bool, num_outputs: int
) -> None:
    torch.manual_seed(0)
    head = THANetHead(40, sizes=SIZES, num_classes=num_classes, auxiliary=auxiliary)
    outputs = head(torch.randn(32, 40))
    assert outputs.shape == (32, num_outputs)
    outputs.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        # More than rounding leaves of a gradient that is nothing.
        assert float(parameter.grad.abs().max()) > 1e-5, name


@pytest.mark.parametrize("num_features", [1536, 1280, 1000])
@pytest.mark.parametrize("num_classes", [18, 0])
def test_the_number_of_parameters_by_hand(num_features: int, num_classes: int) -> None:
    head = THANetHead(num_features, sizes=SIZES, num_classes=num_classes)
    counted = sum(each.numel() for each in head.parameters())
    norms = 2 * num_features + 2 * 64
    tokens = 3 * (num_features + 1) * 64
    attention = 4 * 64 * 64 + 3 * 64
    parts = 65 * (3 + 2 + 3)
    fuse = 9 * 18 if num_classes else 0
    assert counted == norms + tokens + attention + parts + fuse


def test_classes_are_the_same_with_and_without_their_parts_beside_them() -> None:
    torch.manual_seed(0)
    alone = THANetHead(10, sizes=SIZES, num_classes=18).eval()
    beside = THANetHead(10, sizes=SIZES, num_classes=18, auxiliary=True).eval()
    beside.load_state_dict(alone.state_dict())
    features = torch.randn(4, 10)
    outputs = beside(features)
    torch.testing.assert_close(outputs[:, :18], alone(features))
    assert beside.fuse is not None
    torch.testing.assert_close(outputs[:, :18], beside.fuse(outputs[:, 18:].relu()))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_any_parts_will_do(sizes: list[int]) -> None:
    head = THANetHead(12, sizes=sizes, num_classes=7, auxiliary=True)
    assert head(torch.randn(3, 12)).shape == (3, 7 + sum(sizes))
