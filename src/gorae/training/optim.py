"""The optimiser's parameter groups and the learning rate of each step."""

import math
from typing import Any

import torch
from torch import nn

HEAD_PREFIX = "head."


def parameter_groups(
    model: nn.Module, *, lr: float, backbone_lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group: head or backbone, decayed or not.

    Biases, norms and other vectors are not decayed, nor is what the backbone itself names
    in ``no_weight_decay`` (position embeddings of timm's transformers).

    Args:
        model: Its head's parameters begin with ``head.``; without any, all is backbone.
        lr: Peak learning rate of the head.
        backbone_lr: Peak learning rate of everything else.
        weight_decay: Decoupled decay.

    Returns:
        Groups for an optimiser, each with its ``names`` and its ``peak_lr``.

    Source: Loshchilov and Hutter, 2019; groups as in timm.
    """
    exempt = _exempt_names(model)
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = name.startswith(HEAD_PREFIX)
        is_decayed = parameter.ndim > 1 and name not in exempt
        peak_lr = lr if is_head else backbone_lr
        group = groups.setdefault(
            (is_head, is_decayed),
            {
                "params": [],
                "names": [],
                "lr": peak_lr,
                "peak_lr": peak_lr,
                "weight_decay": weight_decay if is_decayed else 0.0,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _exempt_names(model: nn.Module) -> set[str]:
    names: set[str] = set()
    for prefix, module in model.named_modules():
        list_names = getattr(module, "no_weight_decay", None)
        if callable(list_names):
            names |= {f"{prefix}.{name}" if prefix else name for name in list_names()}
    return names


def build_adamw(
    model: nn.Module, *, lr: float, backbone_lr: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over the groups of ``parameter_groups``."""
    groups = parameter_groups(model, lr=lr, backbone_lr=backbone_lr, weight_decay=weight_decay)
    # The fused step is one pass over memory: 33 ms against 70 (loop) and 85 (foreach) for
    # mobilenetv2_100 on two busy cores.
    return torch.optim.AdamW(groups, fused=True)


def learning_rate_share(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The share of the peak learning rate at a step (from 0): linear warm-up, then cosine.

    Source: Goyal et al., 2017 (warm-up); Loshchilov and Hutter, 2017 (cosine).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return cosine_share(step - warmup_steps, total_steps - warmup_steps)


def cosine_share(step: float, period: float) -> float:
    """Half a cosine from 1 at step 0 to 0 at step ``period``."""
    return 0.5 * (1 + math.cos(math.pi * step / period))


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group its share of its own peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share
