"""A copy of a network for prediction whose convolutions multiply bytes instead of floats.

A processor with AVX-512 VNNI multiplies twice as many of them at a time as bfloat16 numbers,
and maps between convolutions take half the memory. Maps are rounded to 256 steps between the
least and the largest value that was seen there on pictures of training (post-training static
quantisation).

Source: Jacob et al., 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference".
"""

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gorae.errors import ConfigError, DataError
from gorae.models.fold import fold_batch_norms
from gorae.models.int8_conv import Int8Conv, grid_over, to_bytes, to_floats
from gorae.models.network import ImageModel

Ranges = Mapping[str, tuple[float, float]]
"""The least and the largest value of each map of a network, by the map's name in its graph."""

# Channels that a convolution sums at least. Where it sums few, the errors of their weights do
# not cancel out: in the first layer, of 3, and in depthwise ones, of 1 (docs/log.md).
LEAST_SUMMED = 8

# What does nothing in evaluation.
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)
_ADDITIONS = (operator.add, operator.iadd, torch.add)
_RECTIFIERS = (F.relu, torch.relu)


@dataclass(frozen=True)
class _Fused:
    """A convolution of a graph, and the nodes after it that are computed with it."""

    nodes: tuple[fx.Node, ...]
    onto: fx.Node | None
    """The map it is added to."""
    rectifies: bool

    @property
    def convolution(self) -> fx.Node:
        """The first of them."""
        return self.nodes[0]

    @property
    def given(self) -> fx.Node:
        """The map it is of."""
        return cast(fx.Node, self.convolution.args[0])


def traced(model: ImageModel, *, input_size: int) -> ImageModel:
    """A copy of ``model`` in evaluation, its norms folded and its backbone a graph.

    Args:
        model: The network; it is left in evaluation and otherwise unchanged.
        input_size: Side of its input in pixels.

    Raises:
        ConfigError: This network, or this machine, cannot compute with bytes.
    """
    has_kernels = hasattr(torch.ops.onednn, "qconv2d_pointwise")
    if not has_kernels or not torch.cpu._is_vnni_supported():
        raise ConfigError(
            'predict.precision = "int8" needs a processor that multiplies bytes (x86, VNNI). '
            "This one does not: use a machine that does, or train without."
        )
    folded = fold_batch_norms(model, input_size=input_size)
    network = copy.deepcopy(model) if folded is model else folded
    assert network.layer is None, "a graph has no hooks"
    kind = type(network.backbone).__name__
    try:
        graph = fx.GraphModule(network.backbone, _Tracer().trace(network.backbone))
    # What the code of a network does with a symbol in place of a picture is its own affair.
    except (fx.proxy.TraceError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise _misfit(f"{kind} cannot be followed through: {error}.") from error
    _drop_idle(graph)
    _follow_changes(graph)
    network.backbone = graph
    shapes: dict[str, tuple[int, ...]] = {}
    meter = _Meter(graph, lambda node, value: shapes.update({node.name: tuple(value.shape)}))
    with torch.inference_mode():
        meter.run(network.to_input(torch.zeros(1, 3, input_size, input_size)))
    graph.meta[_SHAPES] = shapes
    layers = [_layer(graph, node) for node in graph.graph.nodes]
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in layers)
    fitting = sum(each.rectifies for each in _find_fused(graph).values())
    if not fitting or 2 * fitting < convolutions:
        raise _misfit(f"{fitting} of {convolutions} in {kind} are such.")
    return network


_SHAPES = "gorae_shapes"


def _misfit(why: str) -> ConfigError:
    return ConfigError(
        'predict.precision = "int8" needs a network of convolutions of many channels with '
        f"ReLUs after them, as resnet50 is. {why} Leave it out for this one."
    )


class _Tracer(fx.Tracer):
    """Keeps convolutions whole that pad by the size of what they are given."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one node of the graph."""
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


class _Meter(fx.Interpreter):
    """Runs a graph, and tells of each of its maps by its node."""

    def __init__(self, graph: fx.GraphModule, tell: Callable[[fx.Node, Tensor], None]) -> None:
        super().__init__(graph)
        self.tell = tell

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node."""
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point():
            self.tell(n, value)
        return value


def observe_ranges(network: ImageModel, batches: Iterable[Tensor]) -> Ranges:
    """Between which values, zero included, the maps before and after convolutions are.

    Args:
        network: Of ``traced``.
        batches: Normalised images (B, 3, H, W).

    Raises:
        DataError: A map has values that are not finite.
    """
    graph = _graph(network)
    wanted = _maps_of_bytes(_find_fused(graph))
    ranges: dict[str, tuple[float, float]] = {}

    def widen(node: fx.Node, value: Tensor) -> None:
        if node.name in wanted:
            # One after the other in memory: 20 times as fast.
            values = value.permute(0, 2, 3, 1) if value.ndim == 4 else value
            least, largest = values.reshape(-1).aminmax()
            if not torch.isfinite(least + largest):
                raise DataError(
                    f"The network has no finite numbers at {node.name}. The weights are "
                    "damaged, or the training that made them diverged: lower train.lr, or set "
                    'train.precision = "fp32".'
                )
            low, high = ranges.get(node.name, (0.0, 0.0))
            ranges[node.name] = min(low, least.item()), max(high, largest.item())

    meter = _Meter(graph, widen)
    with torch.inference_mode():
        for images in batches:
            meter.run(network.to_input(images))
    return ranges


def to_int8(
    network: ImageModel,
    ranges: Ranges,
    *,
    batch_size: int,
    dtype: torch.dtype | None = None,
) -> None:
    """Let the convolutions of a network multiply bytes; changed in place.

    What is not a convolution stays in floats, and so does a convolution of maps of one place,
    as in a squeeze-and-excitation.

    Args:
        network: Of ``traced``.
        ranges: Of ``observe_ranges``, for the same weights.
        batch_size: Images at a time; other numbers are computed too, but more slowly.
        dtype: Of floats beside them; out of convolutions come bfloat16 or else float32.

    Raises:
        ConfigError: The ranges are those of another network.
    """
    graph = _graph(network)
    missing = sorted(_maps_of_bytes(_find_fused(graph)) - set(ranges))
    if missing:
        raise ConfigError(
            f"The ranges kept for int8 lack {len(missing)} maps, {missing[0]} first: they are "
            "of another network, or of another version of its library. Train it again."
        )
    made = dtype if dtype == torch.bfloat16 else torch.float32
    network.backbone = _converted(graph, ranges, batch_size=batch_size, dtype=made)


def _graph(network: ImageModel) -> fx.GraphModule:
    assert isinstance(network.backbone, fx.GraphModule), "it comes from traced()"
    return network.backbone


def _drop_idle(graph: fx.GraphModule) -> None:
    """Take out layers that do nothing in evaluation."""
    for node in graph.graph.nodes:
        if node.args and isinstance(_layer(graph, node), _IDLE):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()


def _follow_changes(graph: fx.GraphModule) -> None:
    """Let what reads a map after it was changed in place read what it was changed to."""
    place = {node: number for number, node in enumerate(graph.graph.nodes)}
    for node in graph.graph.nodes:
        given = node.args[0] if node.args else None
        if isinstance(given, fx.Node) and _is_in_place(graph, node):
            for user in list(given.users):
                if place[user] > place[node]:
                    user.replace_input_with(given, node)
    graph.recompile()


def _is_in_place(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function":
        is_told = node.kwargs.get("inplace") or (node.target is F.relu and True in node.args)
        return bool(is_told) or node.target is operator.iadd
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    return bool(getattr(_layer(graph, node), "inplace", False))


def _layer(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_convolution(graph: fx.GraphModule, node: fx.Node) -> bool:
    layer = _layer(graph, node)
    return (
        isinstance(layer, nn.Conv2d)
        and len(node.args) == 1
        and layer.in_channels >= LEAST_SUMMED * layer.groups
        and (type(layer) is nn.Conv2d or _is_of_timm(layer))
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _is_of_timm(layer: nn.Conv2d) -> bool:
    from timm.layers.conv2d_same import Conv2dSame

    return type(layer) is Conv2dSame


def _is_rectifier(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function":
        return node.target in _RECTIFIERS
    return type(_layer(graph, node)) is nn.ReLU


def _is_addition(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in _ADDITIONS and not node.kwargs


def _find_fused(graph: fx.GraphModule) -> dict[fx.Node, _Fused]:
    """Convolutions of bytes with what is computed along, by the node whose value comes out.

    A convolution of maps of one place, as in a squeeze-and-excitation, is not worth it.
    """
    shapes = graph.meta[_SHAPES]
    place = {node: number for number, node in enumerate(graph.graph.nodes)}
    found: dict[fx.Node, _Fused] = {}
    for node in graph.graph.nodes:
        if not _is_convolution(graph, node) or max(shapes[node.args[0].name][2:]) == 1:
            continue
        nodes, onto, user = [node], None, _only_user(node)
        if user is not None and _is_addition(user):
            other = user.args[0] if user.args[1] is node else user.args[1]
            # The sum is written over the other map: it must be there, alike, and not read
            # by this convolution or by anything later.
            if (
                isinstance(other, fx.Node)
                and other is not node.args[0]
                and shapes.get(other.name) == shapes[node.name]
                and place[other] < place[node]
                and max(other.users, key=place.__getitem__) is user
            ):
                nodes.append(user)
                onto, user = other, _only_user(user)
        rectifies = user is not None and _is_rectifier(graph, user)
        if user is not None and rectifies:
            nodes.append(user)
        found[nodes[-1]] = _Fused(tuple(nodes), onto, rectifies)
    return found


def _maps_of_bytes(fused: Mapping[fx.Node, _Fused]) -> set[str]:
    """Names of the maps that are given to convolutions, or come out of them, as bytes."""
    taken = {node for each in fused.values() for node in (each.given, each.onto)}
    sums = {end for end, each in fused.items() if each.onto is not None}
    return {node.name for node in taken | sums if node is not None}


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _converted(
    graph: fx.GraphModule, ranges: Ranges, *, batch_size: int, dtype: torch.dtype
) -> fx.GraphModule:
    """The graph with convolutions of bytes; maps are floats where anything else takes them."""
    shapes, fused = graph.meta[_SHAPES], _find_fused(graph)
    of_bytes = _maps_of_bytes(fused)
    grids = {name: grid_over(*ranges[name]) for name in of_bytes}
    inside = {node for each in fused.values() for node in each.nodes[:-1]}
    made = fx.Graph()
    layers: dict[str, Any] = {}
    floats: dict[fx.Node, fx.Node] = {}
    maps: dict[fx.Node, fx.Node] = {}

    def in_floats(node: fx.Node) -> fx.Node:
        if node not in floats:
            given = (maps[node], *grids[node.name], dtype)
            floats[node] = made.call_function(to_floats, given)
        return floats[node]

    def in_bytes(node: fx.Node) -> fx.Node:
        if node not in maps:
            given = (floats[node], *grids[node.name])
            maps[node] = made.call_function(to_bytes, given)
        return maps[node]

    for node in graph.graph.nodes:
        if node in inside:
            continue
        if node not in fused:
            if node.op in ("call_module", "get_attr"):
                layers[node.target] = operator.attrgetter(node.target)(graph)
            floats[node] = made.node_copy(node, in_floats)
            continue
        # A sum is written over bytes.
        each, is_bytes = fused[node], node.name in of_bytes
        # By node: a layer that is used twice has other ranges the second time.
        layers[node.name] = Int8Conv(
            cast(nn.Conv2d, _layer(graph, each.convolution)),
            given=grids[each.given.name],
            made=grids[node.name] if is_bytes else None,
            onto=None if each.onto is None else grids[each.onto.name],
            rectifies=each.rectifies,
            dtype=dtype,
            shape=(batch_size, *shapes[each.given.name][1:]),
        )
        given = (each.given,) if each.onto is None else (each.given, each.onto)
        output = made.call_module(node.name, tuple(in_bytes(each) for each in given))
        (maps if is_bytes else floats)[node] = output
    return fx.GraphModule(layers, made)
