"""A network's parameters in blocks, from its input to its output.

Learning rates that fall with the depth, thawing block by block and FixRes all ask which
parameters stand how far from the output.
"""

from collections.abc import Iterator

from torch import nn

from gorae.models.autoencoder import EncodedBackbone
from gorae.models.network import ImageModel, LogitBackbone
from gorae.models.parts import StagedBackbone

BACKBONE = "backbone."

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

# A child with this share of its parent's parameters is the network itself in a wrapping.
DOMINATING_SHARE = 0.9


def backbone_blocks(model: ImageModel) -> list[list[str]]:
    """Names of the backbone's parameters by block, from the input (stem) to the output.

    Each parameter is in exactly one block. timm's networks say themselves what a block is:
    mostly one residual block. Elsewhere the children of the network, in the order of their
    definition, are the blocks; plain containers, and children that hold nearly everything,
    are opened. Norms that stand alone belong to the block before them, or to the first.

    Returns:
        Full names (``backbone.conv1.weight``); empty where nothing has parameters.
    """
    backbone = model.backbone
    blocks = _blocks_of(backbone)
    # A parameter used in two places has two names, of which torch lists the first.
    num_axes = {name: each.ndim for name, each in backbone.named_parameters()}
    joined: list[list[str]] = []
    for names in blocks:
        block = [name for name in names if name in num_axes]
        pair = (joined[-1], block) if joined else ()
        if any(all(num_axes[name] < 2 for name in each) for each in pair):
            joined[-1] += block
        else:
            joined.append(block)
    return [[BACKBONE + name for name in block] for block in joined]


def _blocks_of(backbone: nn.Module) -> list[list[str]]:
    """Blocks as the network says itself, or as it is defined; some may be norms alone."""
    if isinstance(backbone, LogitBackbone):
        blocks = [[f"network.{name}" for name in each] for each in _blocks_of(backbone.network)]
        return [
            *blocks,
            [f"classifier.{name}" for name, _ in backbone.classifier.named_parameters()],
        ]
    if isinstance(backbone, EncodedBackbone):
        return [
            [f"encoder.{name}" for name, _ in backbone.encoder.named_parameters()],
            *([f"network.{name}" for name in each] for each in _blocks_of(backbone.network)),
        ]
    if isinstance(backbone, StagedBackbone):
        blocks = [[f"network.{name}" for name in each] for each in _blocks_of(backbone.network)]
        pools = [f"pools.{name}" for name, _ in backbone.pools.named_parameters()]
        return [*blocks[:-1], blocks[-1] + pools]
    matcher = getattr(backbone, "group_matcher", None)
    if not callable(matcher):
        return list(_defined_blocks(backbone, ""))
    from timm.models import group_parameters

    groups = group_parameters(backbone, matcher(coarse=False))
    return [groups[index] for index in sorted(groups)]


def _defined_blocks(module: nn.Module, prefix: str) -> Iterator[list[str]]:
    """Names by child; what an opened module owns itself comes with its first child."""
    pending = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    total = _num_parameters(module)
    for name, child in module.named_children():
        count = _num_parameters(child)
        if not count:
            continue
        place = f"{prefix}{name}."
        if type(child) in CONTAINERS or count >= DOMINATING_SHARE * total:
            blocks = list(_defined_blocks(child, place))
        else:
            blocks = [[place + each for each, _ in child.named_parameters()]]
        blocks[0] = pending + blocks[0]
        pending = []
        yield from blocks
    if pending:
        yield pending


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def last_norms(model: ImageModel) -> list[str]:
    """Names of the normalisation modules in the last block of the backbone that has any.

    A final norm after the blocks is part of the last. These and the head are what FixRes
    adapts to another input size; a network without norms gives none.

    Source: Touvron et al., 2019, who take the batch norm before the global pooling alone; it
    is among these.
    """
    blocks = enumerate(backbone_blocks(model))
    # A layer, to the block it is in.
    owners = {name.rpartition(".")[0]: index for index, block in blocks for name in block}
    norms: dict[int, list[str]] = {}
    index = 0
    for name, module in model.named_modules():
        # A norm without parameters of its own belongs to the layer before it.
        index = owners.get(name, index)
        if name.startswith(BACKBONE) and _is_norm(module):
            norms.setdefault(index, []).append(name)
    return norms[max(norms)] if norms else []


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: torch's, timm's or a user's own, by its class's name."""
    has_parts = any(True for child in module.children() for _ in child.parameters())
    owned = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return "norm" in type(module).__name__.lower() and bool(owned) and not has_parts
