"""State dicts in torch's own formats (.pth, .pt), read without trusting them.

A pickle can run code, and a file of some hundred bytes can unpack to gigabytes. So the
archive is measured first, the pickle's opcodes are read without running them, the tensors
are built once without memory to see their shapes, and only then is the file loaded, with
an explicit ``weights_only=True`` that never falls back.
"""

import mmap
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gorae.errors import DataError

# What a state dict of plain tensors is made of; nothing else may be named in the pickle.
ALLOWED_GLOBALS = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch\.nn\.parameter Parameter"
    r"|torch\.storage (Untyped|Typed)Storage"
    r"|torch (Size|[A-Z][A-Za-z0-9]*Storage|(b?float|u?int)\d+|bool)"
)

# Opcodes that name a class or function in another way than GLOBAL; torch.save writes none.
HIDDEN_GLOBALS = {"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX"}

# A legacy file begins with pickles of a magic number, a version, the system, and the data.
LEGACY_PICKLES = 4

WRAPPER_KEYS = ("state_dict", "model")


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """The tensors by name in a ``.pth`` or ``.pt`` file, on the CPU.

    A wrapper ``{"state_dict": ...}`` or ``{"model": ...}`` is taken off.

    Raises:
        DataError: The file is damaged, holds anything but tensors by name, would run code,
            or unpacks to more than it is.
    """
    _check_file(path)
    _check_tensors(_unwrap(_load(path, "meta"), path), path)
    return _unwrap(_load(path, "cpu"), path)


def _refusal(path: Path, reason: str) -> DataError:
    return DataError(
        f"Refused to load {path}: {reason}. Weights are read from safetensors files, or from "
        ".pth and .pt files that hold a plain state dict; save yours with "
        "torch.save(model.state_dict(), FILE) or as safetensors."
    )


def _check_file(path: Path) -> None:
    """Measure the archive and read the names its pickle would import."""
    size_bytes = path.stat().st_size
    try:
        with path.open("rb") as handle:
            # By the first bytes, as torch decides; zipfile would look at the end.
            is_archive = handle.read(4) == b"PK\x03\x04"
            handle.seek(0)
            if not is_archive and size_bytes:
                # Mapped: a file's own read would first make room for any length it is told.
                with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
                    for _ in range(LEGACY_PICKLES):
                        _check_pickle(view, path)
                return
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
            # torch.save stores without compression, so an honest file is the sum of its parts.
            if unpacked_bytes > size_bytes:
                raise _refusal(
                    path,
                    f"it has {size_bytes:,} bytes and unpacks to {unpacked_bytes:,}, "
                    "which torch.save never does",
                )
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if len(pickles) != 1:
                raise _refusal(path, f"its archive has {len(pickles)} entries data.pkl, not 1")
            _check_pickle(archive.read(pickles[0]), path)
    except DataError:
        raise
    # zipfile and pickletools fail in a dozen ways on damaged bytes.
    except Exception as error:
        raise _refusal(path, f"it is damaged or no torch file ({error})") from error


def _check_pickle(handle: Any, path: Path) -> None:
    for opcode, argument, _ in pickletools.genops(handle):
        if opcode.name in HIDDEN_GLOBALS:
            raise _refusal(path, f"its pickle uses {opcode.name}, which state dicts never do")
        if opcode.name == "GLOBAL" and not ALLOWED_GLOBALS.fullmatch(str(argument)):
            raise _refusal(path, f"its pickle asks for {str(argument).replace(' ', '.')}")


def _load(path: Path, device: str) -> Any:
    try:
        with path.open("rb") as handle:
            return torch.load(handle, map_location=device, weights_only=True)
    # A hostile or damaged pickle may fail in any way; none of them may reach the user raw.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise _refusal(path, f"it is damaged or no state dict ({reason})") from error


def _unwrap(value: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(value, Mapping):
        for key in WRAPPER_KEYS:
            if isinstance(value.get(key), Mapping):
                value = value[key]
                break
    if not isinstance(value, Mapping) or not value:
        raise _refusal(path, f"it holds a {type(value).__name__}, not tensors by name")
    other = [str(key) for key, each in value.items() if not isinstance(each, Tensor)]
    if other:
        raise _refusal(
            path, f"{len(other)} of its entries are no tensors, first {', '.join(other[:3])!r}"
        )
    return {str(key): each.detach() for key, each in value.items()}


def _check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse shapes without the bytes behind them; ``state`` is on the meta device."""
    storages: dict[int, int] = {}
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise _refusal(path, f"{key} is a sparse or quantised tensor")
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
        # A stride of zero shows one number as millions, which a copy then makes real.
        if tensor.numel() * tensor.element_size() > storage.nbytes():
            raise _refusal(
                path,
                f"{key} claims {tensor.numel() * tensor.element_size():,} bytes and has "
                f"{storage.nbytes():,}",
            )
    claimed_bytes = sum(storages.values())
    if claimed_bytes > path.stat().st_size:
        raise _refusal(
            path,
            f"its tensors claim {claimed_bytes:,} bytes and the file has "
            f"{path.stat().st_size:,}",
        )
