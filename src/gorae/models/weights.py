"""Weights as a value, the safetensors files they are kept in, and putting them to use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gorae.errors import ConfigError, DataError, StorageError
from gorae.files import atomic_path, sha256_bytes, sha256_file
from gorae.models.build import find_classifier
from gorae.models.network import ImageModel
from gorae.models.parts import GeneralisedMean
from gorae.models.pickled import read_torch_file

# What wrappers put before every name: data parallel, torch.compile, and ImageModel.
PREFIXES = ("module.", "_orig_mod.", "backbone.")

# How timm and torchvision name what turns features into classes, and their helpers for
# training from nothing.
CLASSIFIER_NAMES = {
    *("classifier", "fc", "head", "heads", "head_dist", "last_linear"),
    *("aux1", "aux2", "AuxLogits"),
}

MAX_SHOWN_KEYS = 20


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what their file says of them."""

    state: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    """What the file says of its network and its pixels, as text."""
    origin: str
    """Where they came from: a path, or a hub and its name there."""
    sha256: str
    """Hash of the file, or of the tensors where a hub gave them."""
    classifiers: tuple[str, ...] = ()
    """Names of the classification layers, where known."""


def write_weights(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name and text metadata as safetensors, atomically and durably."""
    # Views and tied tensors are refused by the format, so each gets memory of its own.
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in state.items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", **(metadata or {})})


def read_weights(path: Path) -> Weights:
    """The weights in a safetensors file, on the CPU.

    Raises:
        StorageError: The file is damaged or cannot be read; the reason is named.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no dict
            metadata = dict(handle.metadata() or {})
        return Weights(state, metadata, str(path), sha256_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise StorageError(
            f"Cannot read the weights in {path}: {error}. The file is damaged or no "
            "safetensors file; copy or download it again."
        ) from error


def read_any_weights(path: Path) -> Weights:
    """The weights in a file of any format we read, told apart by its name.

    Raises:
        StorageError: A safetensors file is damaged.
        DataError: A ``.pth`` or ``.pt`` file is damaged or unsafe, or the format unknown.
    """
    if path.suffix == ".safetensors":
        return read_weights(path)
    if path.suffix in (".pth", ".pt"):
        return Weights(read_torch_file(path), {}, str(path), sha256_file(path))
    raise DataError(
        f"{path} is no weight file gorae reads: it must end in .safetensors, .pth or .pt."
    )


def hash_state(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes of tensors, in the order of their names."""
    parts = []
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        data = tensor.reshape(-1).view(torch.uint8).numpy()
        parts.append(f"{name} {tensor.dtype} {tuple(tensor.shape)} {sha256_bytes(data.data)}")
    return sha256_bytes("\n".join(parts).encode())


def use_weights(
    model: ImageModel, weights: Weights, *, name: str, keep_classifier: bool = False
) -> list[str]:
    """Copy ``weights`` into ``model``, in place, in the model's own number format.

    Every tensor of the backbone must be given and fit, and nothing may be left over but
    the classifier, which belongs to other classes and is left out; with
    ``keep_classifier`` it becomes the head.

    Args:
        model: The network.
        weights: Tensors by name, in the naming of timm, torchvision or the user's module.
        name: The network's name, for messages and against the file's own word.
        keep_classifier: Take the classifier too, where its classes are to be predicted.

    Returns:
        Notes for the user: what was left out or is doubtful.

    Raises:
        DataError: Tensors are missing, left over, of other shapes or not finite.
    """
    notes = []
    architecture = weights.metadata.get("architecture")
    if architecture and architecture.partition(".")[0] != name.partition(".")[0]:
        notes.append(f"The weight file says it is for {architecture}; it is used for {name}.")
    state = _strip_prefixes(weights.state)
    target = model.backbone.state_dict()
    classifiers = _classifier_names(model, weights, state, target)
    classifier = {key: state.pop(key) for key in list(state) if _is_part_of(key, classifiers)}
    if model.is_whole and all(_fits(target, key, classifier) for key in classifier):
        state.update(classifier)
    elif classifier and not keep_classifier:
        rows = max(tensor.shape[0] for tensor in classifier.values() if tensor.ndim)
        notes.append(f"The file's classifier of {rows} classes is left out; the head is new.")
    # Pooling with a learned power is ours: no published file has it.
    pooled = (
        each for each, part in model.backbone.named_modules() if type(part) is GeneralisedMean
    )
    optional = (*pooled, *(classifiers if model.is_whole else ()))
    _check_keys(state, target, weights, optional=optional)
    model.backbone.load_state_dict(state, strict=False)
    if keep_classifier:
        _use_classifier(model, classifier, weights)
    return notes


def _strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stripped = dict(state)
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            # Our own files keep the head beside the backbone.
            own_head = prefix == "backbone."
            if any(key.startswith(prefix) for key in stripped) and all(
                key.startswith((prefix, "head.") if own_head else prefix) for key in stripped
            ):
                stripped = {key.removeprefix(prefix): each for key, each in stripped.items()}
                changed = True
    return stripped


def _classifier_names(
    model: ImageModel,
    weights: Weights,
    state: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
) -> tuple[str, ...]:
    """The layers of the file that classify."""
    if model.is_whole:
        return tuple(name for name, _ in find_classifier(model.backbone))
    if weights.classifiers:
        return weights.classifiers
    # Without a word on it: the layers the backbone has no place for, by their usual names.
    layers = {key.rpartition(".")[0] for key in state if key not in target}
    return tuple(sorted(each for each in layers if each.partition(".")[0] in CLASSIFIER_NAMES))


def _is_part_of(key: str, layers: tuple[str, ...]) -> bool:
    return any(key.startswith(f"{layer}.") for layer in layers)


def _fits(target: Mapping[str, Tensor], key: str, given: Mapping[str, Tensor]) -> bool:
    return key in target and target[key].shape == given[key].shape


def _check_keys(
    state: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    weights: Weights,
    *,
    optional: tuple[str, ...],
) -> None:
    # BatchNorm's counter is absent from files older than torch 0.4 and used by no default.
    missing = [
        key
        for key in target
        if key not in state
        and not key.endswith("num_batches_tracked")
        and not _is_part_of(key, optional)
    ]
    extra = [key for key in state if key not in target]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(target[key].shape)}"
        for key in state
        if key in target and state[key].shape != target[key].shape
    ]
    infinite = [key for key in state if not torch.isfinite(state[key]).all()]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:MAX_SHOWN_KEYS])}"
        + (f" and {len(keys) - MAX_SHOWN_KEYS} more" if len(keys) > MAX_SHOWN_KEYS else "")
        for what, keys in (
            (f"missing of {len(target)}", missing),
            ("left over", extra),
            ("of another shape", shapes),
            ("not finite", infinite),
        )
        if keys
    ]
    if problems:
        said = weights.metadata.get("architecture")
        raise DataError(
            f"The weights of {weights.origin} do not fit the network.\n  "
            + "\n  ".join(problems)
            + (f"\nThe file says it is for {said}." if said else "")
            + "\nSet model.name and model.kwargs to what the weights were made with."
        )


def _use_classifier(
    model: ImageModel, classifier: Mapping[str, Tensor], weights: Weights
) -> None:
    """Make the head out of the weights' own classifier, with its own number of outputs."""
    weight = next((each for key, each in classifier.items() if key.endswith(".weight")), None)
    bias = next((each for key, each in classifier.items() if key.endswith(".bias")), None)
    if (
        len(classifier) != 2
        or weight is None
        or bias is None
        or weight.numel() != len(bias) * model.num_features
    ):
        found = ", ".join(f"{key} {tuple(each.shape)}" for key, each in classifier.items())
        raise ConfigError(
            'model.use = "as_is" and model.features = "logits" need the classifier of '
            f"{weights.origin}: one linear layer of {model.num_features} features. It has "
            f"{found or 'none'}."
        )
    head = nn.Linear(model.num_features, len(bias))
    # A classifier of 1 x 1 convolutions is the same product.
    head.load_state_dict({"weight": weight.reshape(len(bias), -1), "bias": bias})
    model.head = head
    model.num_outputs = len(bias)
