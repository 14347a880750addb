"""Which detector finds the box of a train picture: one that has seen nothing of its fold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gorae.pipeline.contract import Split

# Parts that the train pictures of a single hold-out are divided into.
NUM_OWN_PARTS = 4


@dataclass(frozen=True)
class DetectorFolds:
    """Who finds whom."""

    folds: NDArray[np.int64]
    """Detector that finds the box of each train picture, (N,): the fold it is held out of."""
    may_train: NDArray[np.bool_]
    """Which pictures a detector may learn from at all, (N,)."""

    @property
    def names(self) -> list[int]:
        """Numbers of the detectors."""
        return [int(fold) for fold in np.unique(self.folds)]

    def training(self, fold: int) -> NDArray[np.bool_]:
        """The pictures that the detector of ``fold`` may learn from, (N,)."""
        trains: NDArray[np.bool_] = self.may_train & (self.folds != fold)
        return trains


def detector_folds(split: Split, image_ids: Sequence[str]) -> DetectorFolds:
    """Who finds whom, by the folds of the first repeat.

    A picture that validates belongs to its own fold, and so does everything of its group. One
    that only ever trains (extra pictures, the train part of a hold-out) is left out of one
    detector as well, group by group in turn: else its box would be one that was learned by
    heart, and better than those of pictures to come. With a single hold-out there are four
    further detectors for that, and what is held out trains none of them.
    """
    first = split.folds[split.folds["repeat"] == 0].set_index("image_id")
    table = first.reindex(list(image_ids))
    assert bool(table["group"].notna().all()), "pictures outside of the split"
    fold_of_group = first.groupby("group")["fold"].max()
    made = sorted(int(fold) for fold in fold_of_group.unique() if fold >= 0)
    is_single = len(made) < 2
    own = [made[0] + 1 + part for part in range(NUM_OWN_PARTS)] if is_single else made
    free = sorted(fold_of_group.index[fold_of_group < 0])
    turn = {group: own[place % len(own)] for place, group in enumerate(free)}
    known = pd.concat([fold_of_group[fold_of_group >= 0], pd.Series(turn, dtype="int64")])
    folds = known.reindex(table["group"]).to_numpy(np.int64)
    may_train = (table["role"] != "holdout").to_numpy(bool) & ~table.index.isin(split.idle)
    if is_single:
        may_train = may_train & (folds != made[0])
    return DetectorFolds(folds, may_train)
