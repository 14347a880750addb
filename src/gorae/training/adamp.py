"""AdamP: Adam whose steps do not lengthen weights that a normalisation follows."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

State = dict[str, Tensor]


class AdamP(torch.optim.Optimizer):
    """Adam with decoupled decay, without the part of a step that only changes a length.

    Where a normalisation follows, the length of a weight has no effect, and its gradient is
    at right angles to it. Momentum still lengthens such a weight and so shrinks all later
    steps. Where gradient and weight are at right angles (the cosine between them is below
    ``delta / sqrt(n)``, first per output channel, then over the whole tensor), the part of
    the step along the weight is taken away, and the decay is multiplied by ``wd_ratio``.

    Biases and other vectors take the plain step. ``weight_decay`` shrinks a weight by
    ``lr * weight_decay`` per step. Every state is a tensor: ``step``, ``exp_avg`` and
    ``exp_avg_sq``.

    Source: Heo et al., "AdamP: Slowing Down the Slowdown for Momentum Optimizers on
    Scale-invariant Weights", 2021 (clovaai/AdamP).
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "delta": delta,
                "wd_ratio": wd_ratio,
            },
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    _move(weight, weight.grad, self._state_of(weight), group)
        return loss

    def _state_of(self, weight: Tensor) -> State:
        state: State = self.state[weight]
        if not state:
            # float64 and on the weight's device: 1 - 0.999 in float32 has four digits left, and
            # a number on the host would make a GPU wait.
            state["step"] = torch.zeros((), dtype=torch.float64, device=weight.device)
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        return state


def _move(weight: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
    (beta1, beta2), eps = group["betas"], group["eps"]
    step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
    step += 1
    mean.lerp_(grad, 1 - beta1)
    square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    spread = (square / (1 - beta2**step)).sqrt_().add_(eps)
    update = mean / (1 - beta1**step) / spread
    decay: Tensor | float = group["lr"] * group["weight_decay"]
    if weight.ndim > 1:
        update, is_along = _without_lengthening(
            update, weight, grad, delta=group["delta"], eps=eps
        )
        # In float64: where() of two plain numbers would be float32.
        decay = decay * (1 - (1 - group["wd_ratio"]) * is_along.double())
    weight.mul_(1 - decay).sub_(update, alpha=group["lr"])


def _without_lengthening(
    update: Tensor, weight: Tensor, grad: Tensor, *, delta: float, eps: float
) -> tuple[Tensor, Tensor]:
    """The update at right angles to the weight, where the gradient is so.

    Chosen by ``where``: an ``if`` would make a GPU wait for each weight.

    Returns:
        The update, and whether it was changed (a scalar).
    """
    every = tuple(range(weight.ndim))
    by_channel, channels = _projected(
        update, weight, grad, dims=every[1:], delta=delta, eps=eps
    )
    by_tensor, whole = _projected(update, weight, grad, dims=every, delta=delta, eps=eps)
    # The channels are asked first.
    chosen = torch.where(channels, by_channel, torch.where(whole, by_tensor, update))
    return chosen, channels | whole


def _projected(
    update: Tensor,
    weight: Tensor,
    grad: Tensor,
    *,
    dims: tuple[int, ...],
    delta: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """The update less its part along the weight, both seen as vectors over ``dims``.

    Returns:
        That, and whether every such vector of the gradient is at right angles to its weight.
    """
    length = torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
    grad_length = torch.linalg.vector_norm(grad, dim=dims, keepdim=True)
    dot = (weight * grad).sum(dim=dims, keepdim=True)
    cosine = dot.abs() / (length.clamp_min(eps) * grad_length.clamp_min(eps))
    num_values = weight.numel() // length.numel()
    direction = weight / (length + eps)
    along = (direction * update).sum(dim=dims, keepdim=True)
    return update - direction * along, cosine.max() < delta / num_values**0.5
