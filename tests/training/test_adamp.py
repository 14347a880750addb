"""gorae.training.adamp against the algorithm of the paper, written out number by number."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from timm.optim.adamp import AdamP as TimmsAdamP
from torch import Tensor, nn

from gorae.training.adamp import AdamP
from gorae.training.state import optimizer_tensors, restore_optimizer

DELTA, WD_RATIO, EPS = 0.1, 0.1, 1e-8

SHAPES = {"linear": (5, 40), "conv": (4, 3, 3, 3), "bias": (6,), "wide": (2, 300)}


def dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def length(a: list[float]) -> float:
    return math.sqrt(dot(a, a))


def are_all_at_right_angles(weights: list[list[float]], grads: list[list[float]]) -> bool:
    return all(
        abs(dot(w, g)) / (max(length(w), EPS) * max(length(g), EPS)) < DELTA / math.sqrt(len(w))
        for w, g in zip(weights, grads, strict=True)
    )


def without_radial_part(weight: list[float], update: list[float]) -> list[float]:
    unit = [w / (length(weight) + EPS) for w in weight]
    along = dot(unit, update)
    return [u - along * e for u, e in zip(update, unit, strict=True)]


class PaperAdamP:
    """Algorithm 2 of Heo et al. for one weight of C rows, one number after the other."""

    def __init__(self, weight: np.ndarray[Any, Any], *, lr: float, weight_decay: float) -> None:
        self.shape = weight.shape
        self.lr, self.weight_decay = lr, weight_decay
        self.weight = weight.reshape(len(weight), -1).tolist()
        self.mean = [[0.0] * len(row) for row in self.weight]
        self.square = [[0.0] * len(row) for row in self.weight]
        self.steps = 0
        self.projected: list[str] = []

    def step(self, grad: np.ndarray[Any, Any]) -> None:
        rows = grad.reshape(len(grad), -1).tolist()
        self.steps += 1
        update: list[list[float]] = []
        for c, row in enumerate(rows):
            update.append([])
            for i, g in enumerate(row):
                self.mean[c][i] = 0.9 * self.mean[c][i] + 0.1 * g
                self.square[c][i] = 0.999 * self.square[c][i] + 0.001 * g * g
                mean = self.mean[c][i] / (1 - 0.9**self.steps)
                square = self.square[c][i] / (1 - 0.999**self.steps)
                update[-1].append(mean / (math.sqrt(square) + EPS))
        decay = self.lr * self.weight_decay
        how = "plain"
        if len(self.shape) > 1:
            flat = [w for row in self.weight for w in row]
            if are_all_at_right_angles(self.weight, rows):
                how = "channels"
                update = [
                    without_radial_part(w, u) for w, u in zip(self.weight, update, strict=True)
                ]
            elif are_all_at_right_angles([flat], [[g for row in rows for g in row]]):
                how = "tensor"
                left = iter(without_radial_part(flat, [u for row in update for u in row]))
                update = [[next(left) for _ in row] for row in self.weight]
            if how != "plain":
                decay *= WD_RATIO
        self.projected.append(how)
        self.weight = [
            [w * (1 - decay) - self.lr * u for w, u in zip(row, moved, strict=True)]
            for row, moved in zip(self.weight, update, strict=True)
        ]


def at_right_angles(grad: Tensor, weight: Tensor, dims: tuple[int, ...]) -> Tensor:
    share = (grad * weight).sum(dims, keepdim=True) / (weight * weight).sum(dims, keepdim=True)
    return grad - share * weight


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("how", ["plain", "channels", "tensor"])
def test_steps_are_the_papers(name: str, how: str) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(SHAPES[name], generator=generator, dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    optimizer = AdamP([weight], lr=0.01, weight_decay=0.5)
    paper = PaperAdamP(start.numpy(), lr=0.01, weight_decay=0.5)
    for _ in range(6):
        grad = torch.randn(start.shape, generator=generator, dtype=torch.float64)
        if how == "plain":
            grad += weight.detach()
        elif start.ndim > 1:
            every = tuple(range(start.ndim))
            # Along the weight in one channel and against it in the next.
            grad[::2] += weight.detach()[::2]
            grad[1::2] -= weight.detach()[1::2]
            grad = at_right_angles(
                grad, weight.detach(), every[1:] if how == "channels" else every
            )
        weight.grad = grad
        optimizer.step()
        paper.step(grad.numpy())
        expected = np.array(paper.weight).reshape(start.shape)
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    if start.ndim > 1:
        assert set(paper.projected) == {how}


def test_a_normalised_weight_keeps_its_length() -> None:
    """Momentum lengthens it under AdamW, and far less here."""

    def grown(optimizer_of: Any) -> float:
        generator = torch.Generator().manual_seed(1)
        weight = nn.Parameter(torch.randn(16, 64, generator=generator))
        target = torch.randn(16, 64, generator=generator)
        before = float(weight.detach().norm())
        optimizer = optimizer_of([weight])
        for _ in range(100):
            optimizer.zero_grad()
            unit = weight / weight.norm(dim=1, keepdim=True)
            (-(unit * target).sum()).backward()
            optimizer.step()
        return float(weight.detach().norm()) / before

    ours = grown(lambda params: AdamP(params, lr=0.1))
    theirs = grown(lambda params: torch.optim.AdamW(params, lr=0.1, weight_decay=0))
    assert ours < 1.1 < 1.4 < theirs


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_steps_are_timms(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(SHAPES[name], generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = AdamP([ours], lr=0.01, weight_decay=0.1)
    build: Any = TimmsAdamP
    reference = build([theirs], lr=0.01, weight_decay=0.1)
    for step in range(20):
        grad = torch.randn(start.shape, generator=generator)
        if step % 2 and start.ndim > 1:
            grad = at_right_angles(grad, ours.detach(), tuple(range(1, start.ndim)))
        ours.grad, theirs.grad = grad, grad.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_weight_of_zeros_stays_finite() -> None:
    weight = nn.Parameter(torch.zeros(3, 4))
    weight.grad = torch.ones(3, 4)
    optimizer = AdamP([weight], lr=0.1)
    optimizer.step()
    assert bool(weight.isfinite().all())
    assert bool((weight < 0).all())


def test_a_weight_without_gradient_stays() -> None:
    moved, still = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    moved.grad = torch.ones(2, 2)
    optimizer = AdamP([moved, still], lr=0.1, weight_decay=0.1)
    optimizer.step()
    assert still.tolist() == [[1, 1], [1, 1]]
    assert moved.tolist() != [[1, 1], [1, 1]]


def test_a_closure_is_evaluated_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = AdamP([weight], lr=0.1)

    def loss() -> float:
        value = weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    assert optimizer.step(loss) == 4.0
    assert float(weight.detach().sum()) < 4


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_restored_state_goes_on_bit_by_bit(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(2)
    grads = [torch.randn(4, 3, 3, 3, generator=generator) for _ in range(6)]
    start = torch.randn(4, 3, 3, 3, generator=generator)

    def begin(values: Tensor) -> tuple[nn.Parameter, AdamP]:
        weight = nn.Parameter(values.clone().to(memory_format=layout))
        return weight, AdamP([{"params": [weight], "names": ["w"]}], weight_decay=0.1)

    def go_on(weight: nn.Parameter, optimizer: AdamP, part: list[Tensor]) -> None:
        for grad in part:
            weight.grad = grad.to(memory_format=layout)
            optimizer.step()

    whole, optimizer = begin(start)
    go_on(whole, optimizer, grads[:3])
    saved = {key: value.clone() for key, value in optimizer_tensors(optimizer).items()}
    resumed, other = begin(whole.detach())
    restore_optimizer(other, saved)
    go_on(whole, optimizer, grads[3:])
    go_on(resumed, other, grads[3:])
    assert torch.equal(whole, resumed)
