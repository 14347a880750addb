"""A network by name: timm, torchvision, LeNet-5, or a user's own class."""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gorae.errors import ConfigError
from gorae.models.network import ImageModel, LeNet5
from gorae.models.parts import has_drop_path, scale_drop_path, use_generalised_mean
from gorae.models.plan import LENET5, TORCHVISION, Parts, is_user_class

# Arguments that fetch weights or change what a network returns: settings of their own do so.
RESERVED_ARGUMENTS = {
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
    *("weights", "weights_backbone", "progress", "num_classes", "features_only", "aux_logits"),
}

# Arguments that a setting gives as well: which one should hold?
CLAIMED_ARGUMENTS = {
    "drop_path": ("drop_path_rate", "stochastic_depth_prob"),
    "pooling": ("global_pool",),
}


def build_model(
    name: str,
    *,
    num_outputs: int,
    kwargs: Mapping[str, Any],
    seed: int,
    folder: Path,
    parts: Parts | None = None,
) -> ImageModel:
    """A network with random weights, the same for the same ``seed``.

    Args:
        name: A timm name, ``torchvision/NAME``, ``lenet5``, or ``file.py:Class``, whose
            class is called with ``num_classes`` and ``kwargs``.
        num_outputs: Outputs of the head, K.
        kwargs: Arguments of the network's constructor.
        seed: Seed of the initial weights; the global generator is left as it was.
        folder: The folder a user's file is looked for in.
        parts: What is put on the backbone and into it; absent: a linear head.

    Raises:
        ConfigError: The name is unknown, the network does not take the arguments, or has no
            place for a part.
    """
    parts = parts or Parts()
    check_name(name, folder=folder)
    _check_claims(kwargs, parts)
    reserved = sorted(RESERVED_ARGUMENTS & set(kwargs))
    if reserved:
        raise ConfigError(
            f"model.kwargs must not hold {', '.join(reserved)}: the number of outputs follows "
            "from the competition, and weights are set by model.weights."
        )
    in_chans = kwargs.get("in_chans", 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_user_class(name):
            _require_plain(name, parts)
            module = _build_user_module(name, num_outputs, kwargs, folder)
            return ImageModel(
                module,
                num_features=0,
                num_outputs=num_outputs,
                in_chans=in_chans,
                is_whole=True,
            )
        backbone, num_features = _build_backbone(name, kwargs, drop_path=parts.drop_path)
        if parts.pooling == "gem" and parts.pool_stages == 1:
            use_generalised_mean(backbone, name=name)
        return ImageModel(
            backbone,
            num_features=num_features,
            num_outputs=num_outputs,
            parts=parts,
            in_chans=in_chans,
        )


def _check_claims(kwargs: Mapping[str, Any], parts: Parts) -> None:
    for setting, arguments in CLAIMED_ARGUMENTS.items():
        value = getattr(parts, setting)
        given = [each for each in arguments if each in kwargs]
        if given and value != getattr(Parts, setting):
            raise ConfigError(
                f"model.{setting} = {value!r} and model.kwargs.{given[0]} = "
                f"{kwargs[given[0]]!r} say the same thing twice. Leave one of them out."
            )


def _require_plain(name: str, parts: Parts) -> None:
    """Refuse parts that a user's whole module would not get."""
    is_coral = parts.head == "coral"
    ways = {
        "head": ('loss.kind = "coral"', 'loss.kind = "cumulative"')
        if is_coral
        else (f'model.head = "{parts.head}"', "a head of its own"),
        "features": ('model.features = "logits"', "a classifier of its own"),
        "drop_path": (f"model.drop_path = {parts.drop_path:g}", "stochastic depth of its own"),
        "pooling": (f'model.pooling = "{parts.pooling}"', "pooling of its own"),
        "pool_stages": (f"model.pool_stages = {parts.pool_stages}", "pooling of its own"),
    }
    for field, (setting, way) in ways.items():
        if getattr(parts, field) != getattr(Parts, field):
            raise ConfigError(
                f"{setting} has no place in {name}: a class of your own is used as it is, up "
                f"to its outputs. Give it {way}."
            )


def check_name(name: str, *, folder: Path) -> None:
    """Refuse a name that no network has, with the nearest names there are.

    Raises:
        ConfigError: The name, its tag or its file is unknown.
    """
    if is_user_class(name):
        file = folder / name.rpartition(":")[0]
        if not file.is_file():
            raise ConfigError(
                f"model.name = {name!r}: there is no file {file}. The form is "
                "file.py:Class, and the file is looked for in the competition's folder."
            )
    elif name.startswith(TORCHVISION):
        known = _torchvision_names()
        if name.removeprefix(TORCHVISION) not in known:
            raise _unknown_name(name, [TORCHVISION + other for other in known])
    elif name != LENET5:
        _check_timm_name(name)


def _check_timm_name(name: str) -> None:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = [*timm.list_models(), *(TORCHVISION + other for other in _torchvision_names())]
        raise _unknown_name(name, [*known, LENET5])
    if tag:
        known = timm.list_models(f"{architecture}.*", pretrained=True)
        if name not in known:
            raise ConfigError(
                f"model.name = {name!r}: {architecture} has no pretrained weights tagged "
                f"{tag!r}. Known: {', '.join(known) or 'none'}."
            )


def _torchvision_names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


def _unknown_name(name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    hint = f" Near it: {', '.join(near)}." if near else ""
    return ConfigError(
        f"model.name = {name!r} is no network of timm.{hint} Other forms: torchvision/NAME, "
        f"{LENET5}, or file.py:Class for a class of your own."
    )


def _build_backbone(
    name: str, kwargs: Mapping[str, Any], *, drop_path: float
) -> tuple[nn.Module, int]:
    """The network without its classifier, and the number of its features."""
    backbone: nn.Module
    try:
        if name == LENET5:
            backbone, num_features = LeNet5(**kwargs), LeNet5.num_features
        elif name.startswith(TORCHVISION):
            backbone, num_features = _build_torchvision(name.removeprefix(TORCHVISION), kwargs)
            if "stochastic_depth_prob" not in kwargs:
                scale_drop_path(backbone, drop_path)
        else:
            backbone, num_features = _build_timm(name, kwargs, drop_path=drop_path)
    # What a network says of arguments it cannot take is its own affair.
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        if "drop_path_rate" in str(error) and drop_path:
            raise _no_drop_path(name, drop_path) from error
        raise ConfigError(
            f"{name} cannot be built with model.kwargs = {dict(kwargs)}: {error or 'refused'}."
        ) from error
    if drop_path and not has_drop_path(backbone):
        raise _no_drop_path(name, drop_path)
    return backbone, num_features


def _no_drop_path(name: str, drop_path: float) -> ConfigError:
    return ConfigError(
        f"model.drop_path = {drop_path:g} has no effect in {name}, which has no residual "
        "branches that can be left out. Set it to 0, or choose a network that has, such as "
        "resnet50, efficientnet_b0, convnext_tiny or vit_small_patch16_224."
    )


def _build_timm(
    name: str, kwargs: Mapping[str, Any], *, drop_path: float
) -> tuple[nn.Module, int]:
    import timm

    arguments = {**kwargs, "num_classes": 0}
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    backbone: Any = timm.create_model(name, **arguments)
    return backbone, int(backbone.head_hidden_size)


def _build_torchvision(name: str, kwargs: Mapping[str, Any]) -> tuple[nn.Module, int]:
    from torchvision import models

    builder = models.get_model_builder(name)
    arguments = dict(kwargs)
    network_class = {"googlenet": models.GoogLeNet, "inception_v3": models.Inception3}.get(name)
    if network_class is not None:
        # Their auxiliary classifiers serve only training from nothing, as the papers did it.
        arguments |= {"aux_logits": False, "init_weights": False}
    backbone = builder(**arguments)
    return backbone, remove_classifier(backbone)


def remove_classifier(network: nn.Module) -> int:
    """Replace the last linear layer by what leaves its input as it is.

    Returns:
        The number of features that layer took.
    """
    name, last = find_classifier(network)[0]
    parent_name, _, attribute = name.rpartition(".")
    parent = network.get_submodule(parent_name)
    if isinstance(last, nn.Linear):
        setattr(parent, attribute, nn.Identity())
        return last.in_features
    # SqueezeNet classifies every place by a 1 x 1 convolution, then averages the places.
    setattr(network, parent_name, nn.AdaptiveAvgPool2d(1))
    return last.in_channels


def find_classifier(network: nn.Module) -> list[tuple[str, nn.Linear | nn.Conv2d]]:
    """Name and module of the last linear layer, or of the last convolution without one.

    Returns:
        One pair, or none where the network has no such layer.
    """
    modules = list(network.named_modules())
    for kind in (nn.Linear, nn.Conv2d):
        found = [(name, module) for name, module in modules if isinstance(module, kind)]
        if found:
            return found[-1:]
    return []


def _build_user_module(
    name: str, num_outputs: int, kwargs: Mapping[str, Any], folder: Path
) -> nn.Module:
    file_name, _, class_name = name.rpartition(":")
    file = folder / file_name
    specification = importlib.util.spec_from_file_location(f"gorae_user_{file.stem}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Dataclasses and type hints of the file look their own module up.
    sys.modules[specification.name] = module
    try:
        specification.loader.exec_module(module)
        maker = getattr(module, class_name, None)
        if not inspect.isclass(maker) or not issubclass(maker, nn.Module):
            raise ConfigError(
                f"model.name = {name!r}: {file} has no class {class_name} made from "
                f"torch.nn.Module. Its classes: {_module_classes(module.__dict__)}."
            )
        network: nn.Module = maker(num_classes=num_outputs, **kwargs)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"model.name = {name!r} failed: {type(error).__name__}: {error} "
            f"({_last_line(error, file)}). It is called as {class_name}(num_classes="
            f"{num_outputs}{''.join(f', {key}={value!r}' for key, value in kwargs.items())})."
        ) from error
    return network


def _module_classes(names: Mapping[str, Any]) -> str:
    classes = [
        name
        for name, value in names.items()
        if inspect.isclass(value) and issubclass(value, nn.Module) and value is not nn.Module
    ]
    return ", ".join(classes) or "none"


def _last_line(error: Exception, file: Path) -> str:
    """The last place in the user's file that the error went through."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"{file}, line {lines[-1]}" if lines else str(file)
