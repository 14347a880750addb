"""A user's own metric: a function in a Python file beside the competition."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.errors import ConfigError, DataError
from gorae.metrics.scores import Floats, Scorer
from gorae.metrics.table import EVERY_CLASS_TASK, Metric


def load_metric(spec: str, folder: Path, *, params: Mapping[str, Any] | None = None) -> Metric:
    """Load ``file.py:function``, where ``function(truth, values) -> float``.

    ``truth`` holds class indices (N,), 0/1 labels (N, K) or numbers (N,); ``values`` the
    predictions as float64 (N, K). The function's attribute ``greater_is_better = False``, set
    in the file, says that less is better. The file is run as it is: it is the user's own code.

    Args:
        spec: The file, relative to ``folder``, a colon, and the function's name.
        folder: The competition's folder.
        params: Further keyword arguments of the function.

    Raises:
        ConfigError: The file or the function is missing, or the file cannot be run.
    """
    file_name, _, function_name = spec.rpartition(":")
    path = folder / file_name
    if not file_name or not path.is_file():
        raise ConfigError(
            f"metric {spec!r}: there is no file {path}. A metric of your own is given as "
            "'file.py:function', the file in the competition's folder."
        )
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        # Not imported: that would write __pycache__ into the user's folder.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own code, asked for by name
    except Exception as error:
        raise ConfigError(
            f"metric {spec!r}: {path.name} cannot be run: {_place(error, path)}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [name for name, item in vars(module).items() if _is_own(item, module)]
        raise ConfigError(
            f"metric {spec!r}: {path.name} has no function {function_name!r}; it has "
            f"{', '.join(known) or 'none'}."
        )
    return Metric(
        spec,
        _prepare_user(spec, path, function),
        "probabilities",
        bool(getattr(function, "greater_is_better", True)),
        (*EVERY_CLASS_TASK, "regression"),
        (function.__doc__ or "A metric of the user's own.").strip().splitlines()[0],
        dict(params or {}),
    )


def _is_own(item: object, module: ModuleType) -> bool:
    return callable(item) and getattr(item, "__module__", None) == module.__name__


def _place(error: Exception, path: Path) -> str:
    """The error and the last line of the user's file it passed through."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"


def _prepare_user(spec: str, path: Path, function: Callable[..., Any]) -> Callable[..., Scorer]:
    def prepare(truth: NDArray[Any], values: Floats, **params: Any) -> Scorer:
        def score(counts: Floats) -> float:
            rows = np.repeat(np.arange(len(values)), counts.astype(np.int64))
            try:
                result = function(truth[rows], values[rows], **params)
            except Exception as error:
                raise DataError(f"metric {spec!r} failed: {_place(error, path)}") from error
            is_number = np.ndim(result) == 0 and np.issubdtype(
                np.asarray(result).dtype, np.number
            )
            if not is_number or not np.isfinite(float(result)):
                raise DataError(
                    f"metric {spec!r} must return one finite number, got {result!r:.80}."
                )
            return float(result)

        return score

    return prepare
