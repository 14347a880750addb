"""Composed labels: which parts make a class, and probabilities of the one from the other.

A class such as mask x 6 + gender x 3 + age group is known by the index of each of its parts: a
table (K, P) of K classes and P parts. Part p has ``1 + the largest index in its column``
values. Not every choice of parts needs to be a class.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from gorae.data.sources import LabelPart
from gorae.errors import ConfigError, list_problems

Indices = NDArray[np.int64]
Floats = NDArray[np.floating]

# Of parts that are no class together each class has at least so much: less than float32 shows,
# enough for the class with most parts right to come first.
PART_FLOOR = 1e-15


def part_indices(parts: Sequence[LabelPart], classes: Sequence[str]) -> Indices:
    """The index of each part in each class, (K, P); P parts.

    Raises:
        ConfigError: An index is negative, or a class is the sum of no indices, or of more than
            one choice of them.
    """
    problems = [
        f"part {part.name!r}: index {index} of {value!r} is below 0"
        for part in parts
        for value, index in part.values.items()
        if index < 0
    ]
    known: dict[str, list[tuple[int, ...]]] = {}
    for indices in itertools.product(*(_indices_of(part) for part in parts)):
        label = sum(part.weight * index for part, index in zip(parts, indices, strict=True))
        known.setdefault(str(label), []).append(indices)
    problems += [
        f"class {name!r}: {len(known.get(name, ()))} choices of "
        f"{', '.join(part.name for part in parts)}"
        for name in classes
        if len(known.get(name, ())) != 1
    ]
    if problems:
        raise ConfigError(
            "The parts of a label need indices from 0, and classes that are each made of the "
            f"parts in one way:\n{list_problems(problems)}\nCorrect `compose` in "
            "competition.toml."
        )
    return np.array([known[name][0] for name in classes], dtype=np.int64)


def _indices_of(part: LabelPart) -> list[int]:
    if part.thresholds:
        return list(range(len(part.thresholds) + 1))
    return sorted(set(part.values.values()))


def part_sizes(parts: Indices) -> tuple[int, ...]:
    """How many values each part has, P numbers."""
    return tuple(int(largest) + 1 for largest in parts.max(axis=0))


def class_indices(indices: Indices, *, parts: Indices) -> Indices:
    """The class of each choice of parts, (N,); -1 where that choice is no class.

    Args:
        indices: Index of each part, (N, P).
        parts: Index of each part in each class, (K, P).
    """
    class_of = {tuple(row): k for k, row in enumerate(parts.tolist())}
    found = [class_of.get(tuple(row), -1) for row in indices.tolist()]
    return np.array(found, dtype=np.int64)


def class_probabilities(part_proba: Sequence[Floats], *, parts: Indices) -> NDArray[np.float64]:
    """Probabilities of classes (N, K): products of those of their parts, as if independent.

    Where some choice of parts is no class, rows are divided by what the classes have together.

    Args:
        part_proba: Probabilities of each part's values, P times (N, S).
        parts: Index of each part in each class, (K, P).
    """
    product = np.ones((len(part_proba[0]), len(parts)))
    for proba, of_class in zip(part_proba, parts.T, strict=True):
        product *= np.maximum(proba.astype(np.float64), PART_FLOOR)[:, of_class]
    shares: NDArray[np.float64] = product / product.sum(axis=1, keepdims=True)
    return shares


def part_probabilities(proba: Floats, *, parts: Indices) -> list[NDArray[np.float64]]:
    """Probabilities of each part's values, P times (N, S): sums over the classes with them.

    Args:
        proba: Probabilities of classes, (N, K).
        parts: Index of each part in each class, (K, P).
    """
    exact = proba.astype(np.float64)
    return [
        exact @ np.eye(size)[of_class]
        for size, of_class in zip(part_sizes(parts), parts.T, strict=True)
    ]


def part_columns(sizes: Sequence[int], *, width: int) -> tuple[slice, list[slice]]:
    """Where a network's outputs hold the classes and where each part.

    Outputs are K logits of classes, or none of them, and then the logits of each part.

    Args:
        sizes: Values of each part, P.
        width: Number of outputs.
    """
    ends = [width - sum(sizes[place:]) for place in range(len(sizes) + 1)]
    return slice(0, ends[0]), [slice(*pair) for pair in itertools.pairwise(ends)]


def composed_probabilities(outputs: Floats, *, parts: Indices) -> NDArray[np.float64]:
    """Probabilities of classes (N, K) from outputs as in ``part_columns``.

    Logits of classes decide alone where there are any; those of the parts were there to learn
    from.
    """
    of_classes, of_parts = part_columns(part_sizes(parts), width=outputs.shape[1])
    exact = outputs.astype(np.float64)
    if of_classes.stop:
        proba: NDArray[np.float64] = softmax(exact[:, of_classes], axis=1)
        return proba
    return class_probabilities(
        [softmax(exact[:, each], axis=1) for each in of_parts], parts=parts
    )
