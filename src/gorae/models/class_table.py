"""A network's own classes turned into the competition's by a given table."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gorae.errors import ConfigError, list_problems


def map_class_probabilities(
    probabilities: NDArray[np.float32], table: Mapping[int, str], classes: Sequence[str]
) -> NDArray[np.float32]:
    """Probabilities of the competition's classes from those of a network's own.

    A class gets the sum of the network's classes that the table maps to it; rows are
    normalised over the mapped ones. A row without any mass there becomes even.

    Args:
        probabilities: Of the network's own classes, (N, M).
        table: Index of a network's class, 0 to M - 1, to the name of a competition's class.
        classes: Names of the competition's classes in order, K.

    Returns:
        (N, K), rows sum to 1.

    Raises:
        ConfigError: The table names an unknown class, an index out of range, or leaves a
            class of the competition without any.
    """
    num_own = probabilities.shape[1]
    position = {name: index for index, name in enumerate(classes)}
    problems = [
        f"model_class {index} is not within 0 to {num_own - 1}"
        for index in table
        if not 0 <= index < num_own
    ]
    problems += [
        f"model_class {index} is mapped to {name!r}, which is no class of the competition"
        for index, name in table.items()
        if name not in position
    ]
    problems += [
        f"class {name!r} has no model_class" for name in classes if name not in table.values()
    ]
    if problems:
        raise ConfigError(
            f"model.class_table does not fit:\n{list_problems(problems)}\n"
            f"Its columns are model_class and class; the classes are {', '.join(classes)}."
        )
    summed = np.zeros((len(probabilities), len(classes)), dtype=np.float64)
    for index, name in table.items():
        summed[:, position[name]] += probabilities[:, index]
    totals = summed.sum(axis=1, keepdims=True)
    even = np.full_like(summed, 1 / len(classes))
    np.divide(summed, totals, out=even, where=totals > 0)
    return even.astype(np.float32)
