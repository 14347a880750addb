"""Pictures that training sees cropped to boxes of several sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gorae.data.dataset import Pixels, TrainDataset, TrainTransform, philox
from gorae.files import sha256_bytes

# A stream of chance that nothing else uses; see ``gorae.data.dataset``.
BOX_STREAM = 4


@dataclass(frozen=True, eq=False)
class BoxMix:
    """Further sources of boxes, S of them, beside the one that pictures usually have."""

    shares: tuple[float, ...]
    """Probability of each further source, (S,), together below 1."""
    others: Mapping[str, Sequence[str]]
    """Under which keys a picture lies as the further sources crop it, (S,), by its usual key;
    a picture that is not named has its usual box always."""
    epochs: int | None = None
    """From this epoch on all have their usual box; None: never."""


def drawn_source(shares: Sequence[float], *, seed: int, epoch: int, index: int) -> int:
    """Which source an image is cropped by in an epoch: 0 the usual, s + 1 that of share s."""
    at = philox(seed + BOX_STREAM, epoch, index).random()
    place = int(np.searchsorted(np.cumsum(shares), at, side="right"))
    return (place + 1) % (len(shares) + 1)


class BoxMixDataset(TrainDataset):
    """A ``TrainDataset`` that draws, by (seed, epoch, index), whose box an image is cropped to.

    Source: training of knshnb/kaggle-happywhale-1st-place.
    """

    def __init__(
        self,
        store: Pixels,
        hashes: Sequence[str],
        transform: TrainTransform,
        *,
        seed: int,
        later: Sequence[tuple[int, TrainTransform]] = (),
        mix: BoxMix,
    ) -> None:
        """As ``TrainDataset``; ``hashes`` are the usual keys.

        Raises:
            DataError: The store lacks an image of any source.
        """
        super().__init__(store, hashes, transform, seed=seed, later=later)
        self._mix = mix
        self._sources = [
            TrainDataset(
                store, [_key_of(mix, key, source) for key in hashes], transform, seed=seed
            )
            for source in range(len(mix.shares))
        ]

    def of(self, hashes: Sequence[str]) -> "BoxMixDataset":
        """The same with other images."""
        (_, first), *later = self._transforms
        return BoxMixDataset(
            self._store, hashes, first, seed=self._seed, later=later, mix=self._mix
        )

    def fingerprint(self) -> str:
        """A name for these images in this order under this seed, with all their boxes."""
        parts = [super().fingerprint(), *(source.fingerprint() for source in self._sources)]
        drawn = f"{self._mix.shares} {self._mix.epochs}"
        return sha256_bytes("\n".join([*parts, drawn]).encode())

    def shown(self, epoch: int, index: int) -> torch.Tensor:
        """The image of an index cropped as drawn for an epoch, uint8 (3, H, W)."""
        mix = self._mix
        if mix.epochs is not None and epoch >= mix.epochs:
            return self.stored(index)
        place = drawn_source(mix.shares, seed=self._seed, epoch=epoch, index=index)
        return self._sources[place - 1].stored(index) if place else self.stored(index)


def _key_of(mix: BoxMix, key: str, source: int) -> str:
    others = mix.others.get(key)
    return key if others is None else others[source]
