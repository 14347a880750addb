"""Pretrained weights of timm and torchvision: from their caches, or the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from gorae.errors import ConfigError
from gorae.models.plan import LENET5, TORCHVISION, is_user_class
from gorae.models.reach import not_fetched, require_answer
from gorae.models.resolve import timm_config
from gorae.models.weights import Weights, hash_state


@dataclass(frozen=True)
class PretrainedLine:
    """Pretrained weights that can be had with ``model.weights = "hub"``."""

    name: str
    """What to write as ``model.name``."""
    is_default: bool
    """Whether the name of the network alone means these."""
    input_size: int
    """Height of the pictures they are made for, in pixels."""
    is_cached: bool
    """Whether they are on this machine, so that nothing is downloaded."""


def list_pretrained(name: str) -> tuple[PretrainedLine, ...]:
    """The pretrained weights of a network's architecture, its default first.

    None for LeNet-5 and a user's own class.
    """
    if name == LENET5 or is_user_class(name):
        return ()
    if name.startswith(TORCHVISION):
        from torchvision import models

        best = models.get_model_weights(name.removeprefix(TORCHVISION)).DEFAULT
        size, is_cached = best.transforms().crop_size[0], _torchvision_file(best).is_file()
        return (PretrainedLine(name, True, size, is_cached),)
    import timm

    architecture = name.partition(".")[0]
    default = timm_config(architecture).get("tag")
    lines = []
    for each in timm.list_models(f"{architecture}.*", pretrained=True):
        config = timm_config(each)
        is_default = config["tag"] == default
        is_cached = _find_cached(config)[0] is not None
        lines.append(PretrainedLine(each, is_default, config["input_size"][-2], is_cached))
    return tuple(sorted(lines, key=lambda line: not line.is_default))


def fetch_weights(name: str, *, kwargs: Mapping[str, Any]) -> Weights:
    """The pretrained weights of a network, from the cache of its library or the network.

    Args:
        name: A timm name, with or without a tag, or ``torchvision/NAME``.
        kwargs: Arguments of the network's constructor; timm fits the weights to them.

    Raises:
        ConfigError: There are no pretrained weights by this name.
        UserError: They are not in the cache and cannot be fetched; the cache is named.
    """
    if name == LENET5 or is_user_class(name):
        raise ConfigError(
            f'model.weights = "hub": there are no pretrained weights for {name}. Set '
            'model.weights to "none" or to the path of a file.'
        )
    if name.startswith(TORCHVISION):
        return _fetch_torchvision(name.removeprefix(TORCHVISION))
    return _fetch_timm(name, kwargs)


def _fetch_timm(name: str, kwargs: Mapping[str, Any]) -> Weights:
    import timm
    from huggingface_hub import constants

    config = timm_config(name)
    repository, url = str(config.get("hf_hub_id") or ""), str(config.get("url") or "")
    if not repository and not url:
        raise ConfigError(
            f'model.weights = "hub": timm has no pretrained weights for {name}. Set '
            'model.weights to "none" or to the path of a file, or choose another network.'
        )
    cached, expected = _find_cached(config)
    overlay: dict[str, Any] = {}
    if cached is not None:
        # Straight from the cache: asking the hub for news would wait for it when offline.
        overlay = {"file": str(cached), "hf_hub_id": None, "url": None}
    else:
        require_answer(constants.ENDPOINT if repository else url, name=name, expected=expected)
    try:
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs
        )
    # The hub's errors are children of OSError; a file that does not fit is a RuntimeError.
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise not_fetched(name, expected, str(error).partition("\n")[0]) from error
    state: dict[str, Tensor] = network.state_dict()
    classifiers = config.get("classifier") or ()
    return Weights(
        state,
        {},
        f"timm's weights {repository or url}",
        hash_state(state),
        (classifiers,) if isinstance(classifiers, str) else tuple(classifiers),
    )


def _find_cached(config: Mapping[str, Any]) -> tuple[Path | None, str]:
    """A cached file of timm's weights, and where it would lie."""
    from huggingface_hub import constants, try_to_load_from_cache

    repository = config.get("hf_hub_id")
    if not repository:
        path = _torch_cache() / urlsplit(str(config.get("url"))).path.rpartition("/")[2]
        return (path if path.is_file() else None), str(path)
    given = config.get("hf_hub_filename")
    names = [given] if given else ["model.safetensors", "pytorch_model.bin"]
    repository, _, revision = str(repository).partition("@")
    for file_name in names:
        cached = try_to_load_from_cache(repository, file_name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached), cached
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    return None, f"{folder}/snapshots/*/{names[0]}"


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _torchvision_file(weights: Any) -> Path:
    return _torch_cache() / str(weights.url).rpartition("/")[2]


def _fetch_torchvision(name: str) -> Weights:
    from torchvision import models

    best = models.get_model_weights(name).DEFAULT
    path = _torchvision_file(best)
    if not path.is_file():
        require_answer(best.url, name=TORCHVISION + name, expected=str(path))
    try:
        state = best.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise not_fetched(TORCHVISION + name, str(path), str(error)) from error
    transforms = best.transforms()
    size = transforms.crop_size[0]
    metadata = {
        "mean": str(list(transforms.mean)),
        "std": str(list(transforms.std)),
        "input_size": str(size),
        "crop_pct": str(size / transforms.resize_size[0]),
        "interpolation": transforms.interpolation.value,
    }
    return Weights(state, metadata, f"torchvision's weights {best}", hash_state(state))
