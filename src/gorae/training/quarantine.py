"""The images a training leaves out, because reading them ends the process that does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gorae.errors import DataError, list_problems

# TRUST T8.
MAX_LEFT_OUT_SHARE = 0.01


def index_of(key: Any) -> int:
    """The index a dataset's key names: the key itself, or the last part of a tuple."""
    return int(key[-1] if isinstance(key, tuple) else key)


@dataclass(frozen=True)
class Quarantine:
    """The images a feed leaves out, because reading them ends the process that does."""

    ids: Sequence[str] = ()
    """Name of each image of the dataset, N, for messages."""
    max_share: float = MAX_LEFT_OUT_SHARE
    """More than this share of the N images is an error; 0: none may be left out."""
    indices: set[int] = field(default_factory=set)
    """The images left out, found so far or given; not read again."""

    def add(self, index: int, reason: str) -> str:
        """Leave out one more image; a note that names it.

        Raises:
            DataError: That is one too many.
        """
        self.indices.add(index)
        named = [self._name(index) for index in sorted(self.indices)]
        if len(self.indices) > self.max_share * len(self.ids):
            limit = f"more than {self.max_share:.0%} of {len(self.ids)}" if self.ids else "all"
            raise DataError(
                f"{len(named)} pictures end the process that reads them, {limit} are needed; "
                f"the last one: {reason}.\n{list_problems(named)}\n"
                "Take these files out, or mend them, and run the same command again; when they "
                "open elsewhere, this machine has too little memory: lower train.batch_size."
            )
        return f"{self._name(index)} is left out of training: its reader twice {reason}."

    def with_stand_ins(self, keys: list[Any]) -> list[Any]:
        """The keys of a batch; for one left out, the next of the batch stands in.

        So a batch keeps its size: halves of it may be mixed with each other, processes may
        share it, and batch normalisation needs two images.

        Raises:
            DataError: All are left out.
        """
        good = [key for key in keys if index_of(key) not in self.indices]
        if len(good) == len(keys):
            return keys
        if not good:
            names = ", ".join(self._name(index_of(key)) for key in keys)
            raise DataError(
                f"Nothing is left of a batch, as its pictures end the process that reads them: "
                f"{names}. Take these files out, or set train.batch_size higher."
            )
        filled, stand_in = [], good[0]
        for key in reversed(keys):
            stand_in = stand_in if index_of(key) in self.indices else key
            filled.append(stand_in)
        return filled[::-1]

    def _name(self, index: int) -> str:
        return self.ids[index] if index < len(self.ids) else f"picture number {index}"
