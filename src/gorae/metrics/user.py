"""A user's own metric: a function in a Python file beside the competition."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gorae.errors import DataError
from gorae.metrics.scores import Floats, Scorer
from gorae.metrics.table import EVERY_CLASS_TASK, Metric
from gorae.user_code import error_place, load_function


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
    function = load_function(spec, folder, setting="metric")
    path = folder / spec.rpartition(":")[0]
    return Metric(
        spec,
        _prepare_user(spec, path, function),
        "probabilities",
        bool(getattr(function, "greater_is_better", True)),
        (*EVERY_CLASS_TASK, "regression"),
        (function.__doc__ or "A metric of the user's own.").strip().splitlines()[0],
        dict(params or {}),
    )


def _prepare_user(spec: str, path: Path, function: Callable[..., Any]) -> Callable[..., Scorer]:
    def prepare(truth: NDArray[Any], values: Floats, **params: Any) -> Scorer:
        def score(counts: Floats) -> float:
            rows = np.repeat(np.arange(len(values)), counts.astype(np.int64))
            try:
                result = function(truth[rows], values[rows], **params)
            except Exception as error:
                place = error_place(error, path)
                raise DataError(f"metric {spec!r} failed: {place}") from error
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
