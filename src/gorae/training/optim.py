"""How gradients become steps: parameter groups with rates of their own, and the optimiser."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from gorae.errors import ConfigError
from gorae.models.blocks import backbone_blocks
from gorae.models.network import ImageModel
from gorae.training.adamp import AdamP

HEAD_PREFIX = "head."

OptimizerName = Literal["adamw", "adam", "adamp", "sgd", "momentum"]

# Adam moves a weight by about its learning rate in every step (Kingma and Ba, 2015, section
# 2.1). New weights of a layer with 400 inputs are about 1/sqrt(400) = 0.05 in size: at this
# rate a single step replaces them.
LARGEST_ADAM_RATE = 0.05


@dataclass(frozen=True)
class OptimPlan:
    """The optimiser and its rates.

    What ``weight_decay`` means depends on ``name``. ``adamw`` and ``adamp`` shrink a weight by
    ``lr * weight_decay`` per step, beside the gradient (decoupled; Loshchilov and Hutter,
    2019); ``adamp`` does so by a tenth of it where a weight's length has no effect. ``adam``,
    ``sgd`` and ``momentum`` add ``weight_decay`` times the weight to the gradient (L2): with
    ``adam`` it is then divided by the gradient's own size, so that 0.01 decays a weight of
    small gradients strongly and one of large gradients hardly.
    """

    name: OptimizerName = "adamw"
    lr: float = 1e-3
    """Peak learning rate of the head."""
    backbone_lr: float = 1e-4
    """Peak learning rate of the backbone, of its topmost block with ``layer_decay``."""
    weight_decay: float = 0.01
    momentum: float = 0.9
    """Of ``momentum`` only."""
    layer_decay: float | None = None
    """What the rate is multiplied by from each block of the backbone to the one below it."""


def build_optimizer(model: nn.Module, plan: OptimPlan) -> torch.optim.Optimizer:
    """The optimiser of ``plan`` over the trainable parameters of ``model``.

    Each group carries the ``names`` of its parameters and its ``peak_lr``. Betas and epsilon
    are those of the papers: 0.9, 0.999 and 1e-8.

    Args:
        model: Its head's parameters begin with ``head.``; without any, all is backbone. An
            ``ImageModel`` where ``layer_decay`` is set.
        plan: The optimiser and its rates.

    Raises:
        ConfigError: Nothing of the model is trainable.
    """
    blocks: list[list[str]] = []
    if plan.layer_decay is not None:
        assert isinstance(model, ImageModel), "other modules have no known blocks"
        blocks = backbone_blocks(model)
    groups = parameter_groups(model, plan, blocks=blocks)
    if not groups:
        raise ConfigError(
            "Nothing of this network can be trained: all its parameters are frozen. Set "
            'train.freeze to "none", or use a network with a head of its own.'
        )
    optimizer = _BUILDERS[plan.name](groups, plan)
    if plan.name == "momentum":
        # Of zeros, the first step is as without; torch's fused step wants all or none of them,
        # and a part of the network may join later.
        for group in groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


# torch's fused step is one pass over memory: 33 ms against 70 (loop) and 85 (foreach) for AdamW
# and mobilenetv2_100 on two busy cores.
_BUILDERS: dict[
    OptimizerName, Callable[[list[dict[str, Any]], OptimPlan], torch.optim.Optimizer]
] = {
    "adamw": lambda groups, _: torch.optim.AdamW(groups, fused=True),
    "adam": lambda groups, _: torch.optim.Adam(groups, fused=True),
    "adamp": lambda groups, _: AdamP(groups),
    "sgd": lambda groups, _: torch.optim.SGD(groups, fused=True),
    "momentum": lambda groups, plan: torch.optim.SGD(
        groups, momentum=plan.momentum, fused=True
    ),
}
assert tuple(_BUILDERS) == get_args(OptimizerName)


def parameter_groups(
    model: nn.Module, plan: OptimPlan, *, blocks: Sequence[Sequence[str]] = ()
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group, by its rate and whether it is decayed.

    Biases, norms and other vectors are not decayed, nor is what the backbone itself names
    in ``no_weight_decay`` (position embeddings of timm's transformers).

    Args:
        model: Its head's parameters begin with ``head.``; without any, all is backbone.
        plan: The rates and the decay.
        blocks: Names of the backbone's parameters from input to output, for ``layer_decay``.

    Returns:
        Groups for an optimiser, each with its ``names`` and its ``peak_lr``; from the input
        to the output.

    Source: groups as in timm; layer-wise rates of Howard and Ruder, 2018.
    """
    exempt = _exempt_names(model)
    rates = _backbone_rates(plan, blocks)
    groups: dict[tuple[bool, float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = name.startswith(HEAD_PREFIX)
        is_decayed = parameter.ndim > 1 and name not in exempt
        peak_lr = plan.lr if is_head else rates.get(name, plan.backbone_lr)
        group = groups.setdefault(
            (is_head, peak_lr, is_decayed),
            {
                "params": [],
                "names": [],
                "lr": peak_lr,
                "peak_lr": peak_lr,
                "weight_decay": plan.weight_decay if is_decayed else 0.0,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def _backbone_rates(plan: OptimPlan, blocks: Sequence[Sequence[str]]) -> Mapping[str, float]:
    """The peak learning rate of each parameter that a block names."""
    decay = 1.0 if plan.layer_decay is None else plan.layer_decay
    return {
        name: plan.backbone_lr * decay**depth
        for depth, block in enumerate(reversed(blocks))
        for name in block
    }


def _exempt_names(model: nn.Module) -> set[str]:
    names: set[str] = set()
    for prefix, module in model.named_modules():
        list_names = getattr(module, "no_weight_decay", None)
        if callable(list_names):
            names |= {f"{prefix}.{name}" if prefix else name for name in list_names()}
    return names


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group its share of its own peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share


def rate_warnings(plan: OptimPlan) -> tuple[str, ...]:
    """What a user should know before a training with these rates begins."""
    if not plan.name.startswith("adam"):
        return ()
    return tuple(
        f"{name} = {rate:g} is very high for {plan.name}, which moves every weight by about "
        "the learning rate in each step; 0.0001 to 0.003 is usual."
        for name, rate in (("train.lr", plan.lr), ("train.backbone_lr", plan.backbone_lr))
        if rate >= LARGEST_ADAM_RATE
    )
