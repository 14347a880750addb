"""Torch datasets over the prepared store, and the order in which training sees images.

They work in anybody's ``DataLoader``: ``ImageDataset`` with plain indices, ``TrainDataset``
with an ``EpochBatches``, whose keys name the epoch, so that chance depends on nothing else::

    dataset = TrainDataset(store, hashes, transform, seed=0)
    batches = EpochBatches(len(dataset), batch_size=32, seed=0)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=2)
    for batches.epoch in range(10):
        for images, index in loader:          # uint8 (B, 3, S, S), int64 (B,)
            pixels = normalise(images, spec)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from gorae.errors import DataError, list_problems
from gorae.files import sha256_bytes

# Streams of chance that no image and no order uses (they use the seed and the next one).
PARTNER_STREAM = 2
MIX_STREAM = 3

EvalTransform = Callable[[torch.Tensor], torch.Tensor]


class TrainTransform(Protocol):
    """A random change of an image; all chance comes from ``rng``."""

    def __call__(self, image: torch.Tensor, /, *, rng: np.random.Generator) -> torch.Tensor: ...


class Pixels(Protocol):
    """What a dataset needs of a store of decoded images."""

    def read(self, sha256: str) -> NDArray[np.uint8]:
        """The image, (H, W, 3)."""

    def __contains__(self, sha256: str) -> bool: ...


def philox(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The source of chance of one image in one epoch, independent of all others.

    Source: counter-based generator of Salmon et al., 2011; NumPy's ``Philox``.
    """
    key = np.array([seed, (epoch << 32) | index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _order_rng(seed: int, epoch: int) -> np.random.Generator:
    # A key no image has: images use the seed itself.
    key = np.array([seed + 1, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def cut_into_batches(
    order: NDArray[np.int64], batch_size: int, *, least: int = 2
) -> list[NDArray[np.int64]]:
    """``order`` in pieces; a last piece of fewer than ``least`` joins the one before it.

    Batch normalisation has no variance of one value, and no process may go without images.
    """
    cuts = list(range(batch_size, len(order), batch_size))
    if batch_size > 1 and cuts and len(order) - cuts[-1] < least:
        cuts.pop()
    return np.split(order, cuts)


@dataclass(frozen=True)
class Sampling:
    """Which images an epoch shows, and in what order."""

    shuffle: bool = True
    """A new order in every epoch; else the order of the dataset."""
    drop_last: bool = False
    """Leave out a last batch that is not full (an epoch of one batch is never left out)."""
    weights: NDArray[np.float64] | None = None
    """How often each image is drawn, (N,), by their ratios; absent: each image once."""
    partners: NDArray[np.int64] | None = None
    """Images that mixing draws partners from: each batch is followed by as many of them."""


PLAIN = Sampling()


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of keys (epoch, index) of the epoch set in ``epoch``, from batch ``start``.

    Under ``sampling.partners`` the second half of a batch's keys are those of the partners.
    With ``size`` processes, this one (``rank``) takes every ``size``-th image of each batch.
    """

    def __init__(
        self,
        num_images: int,
        *,
        batch_size: int,
        seed: int,
        sampling: Sampling = PLAIN,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.sampling = sampling
        self.rank, self.size = rank, size
        self.epoch = 0
        self.start = 0
        self.num_batches = len(self._cut(np.arange(num_images)))

    def indices(self) -> list[NDArray[np.int64]]:
        """The image indices of each batch of the epoch, of all processes together."""
        sampling, rng = self.sampling, _order_rng(self.seed, self.epoch)
        if sampling.weights is not None:
            shares = sampling.weights / sampling.weights.sum()
            order = rng.choice(self.num_images, size=self.num_images, p=shares)
        elif sampling.shuffle:
            order = rng.permutation(self.num_images)
        else:
            order = np.arange(self.num_images)
        return self._cut(order)

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        if self.sampling.drop_last and len(order) > self.batch_size:
            order = order[: len(order) // self.batch_size * self.batch_size]
        return cut_into_batches(order, self.batch_size, least=max(2, self.size))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, partners = self.epoch, self.sampling.partners
        for number, batch in enumerate(self.indices()):
            if number < self.start:
                continue
            shown = batch[self.rank :: self.size]
            if partners is not None:
                rng = philox(self.seed + PARTNER_STREAM, epoch, number)
                drawn = rng.choice(partners, size=len(batch))
                shown = np.concatenate([shown, drawn[self.rank :: self.size]])
            yield [(epoch, index) for index in shown.tolist()]

    def __len__(self) -> int:
        return self.num_batches - self.start


class ImageDataset(Dataset[tuple[torch.Tensor, int]]):
    """Images by index under a transform without chance: (uint8 (3, S, S), index)."""

    def __init__(self, store: Pixels, hashes: Sequence[str], transform: EvalTransform) -> None:
        """Take the images of ``store`` named by the SHA-256 of their files, in this order.

        Args:
            store: Prepared pixels.
            hashes: SHA-256 of each image's file, N; an image may occur more than once.
            transform: uint8 (3, H, W) to uint8 (3, S, S), such as
                ``functools.partial(eval_transform, spec=spec)``; picklable where worker
                processes are not forked.

        Raises:
            DataError: The store lacks an image.
        """
        self._store = store
        self._hashes = _packed(store, hashes)
        self._transform = transform

    def fingerprint(self) -> str:
        """A name for these images in this order."""
        return sha256_bytes(self._hashes.tobytes())

    def __len__(self) -> int:
        return len(self._hashes)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = _read_image(self._store, self._hashes[index])
        return self._transform(image), index


class TrainDataset(Dataset[tuple[torch.Tensor, int]]):
    """Images by key (epoch, index) under a random transform: (uint8 (3, S, S), index).

    What a key gives depends on the seed and the key alone: not on the order, on the number
    of worker processes, or on which images came before.
    """

    def __init__(
        self,
        store: Pixels,
        hashes: Sequence[str],
        transform: TrainTransform,
        *,
        seed: int,
        later: Sequence[tuple[int, TrainTransform]] = (),
    ) -> None:
        """Take the images of ``store`` named by the SHA-256 of their files, in this order.

        Args:
            store: Prepared pixels.
            hashes: SHA-256 of each image's file, N.
            transform: uint8 (3, H, W) to uint8 (3, S, S), such as
                ``functools.partial(train_transform, spec=spec, scale=..., ...)``.
            seed: Seed of the augmentation.
            later: Transforms that take over at an epoch (from 0), in order of epoch.

        Raises:
            DataError: The store lacks an image.
        """
        self._store = store
        self._hashes = _packed(store, hashes)
        self._transforms = [(0, transform), *later]
        self._seed = seed

    @property
    def hashes(self) -> list[str]:
        """SHA-256 of each image's file, in order."""
        return [sha256.decode("ascii") for sha256 in self._hashes.tolist()]

    def of(self, hashes: Sequence[str]) -> "TrainDataset":
        """The same with other images."""
        (_, first), *later = self._transforms
        return type(self)(self._store, hashes, first, seed=self._seed, later=later)

    def fingerprint(self) -> str:
        """A name for these images in this order under this seed."""
        return sha256_bytes(self._hashes.tobytes() + str(self._seed).encode())

    def __len__(self) -> int:
        return len(self._hashes)

    def stored(self, index: int) -> torch.Tensor:
        """The image of an index before any change, uint8 (3, H, W)."""
        return _read_image(self._store, self._hashes[index])

    def shown(self, epoch: int, index: int) -> torch.Tensor:
        """The image of an index that an epoch begins with: the stored one."""
        return self.stored(index)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, index = key
        image = self.shown(epoch, index)
        transform = [each for first, each in self._transforms if first <= epoch][-1]
        return transform(image, rng=philox(self._seed, epoch, index)), index


def _packed(store: Pixels, hashes: Sequence[str]) -> NDArray[np.bytes_]:
    missing = [sha256 for sha256 in hashes if sha256 not in store]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(hashes)} images are not in the prepared store:\n"
            f"{list_problems(missing)}\nRun `gorae preprocess` to prepare them."
        )
    # One block of bytes: a list of strings would be copied, page by page, into every worker
    # process as its reference counts change.
    return np.array(hashes, dtype="S64")


def _read_image(store: Pixels, sha256: bytes) -> torch.Tensor:
    # A copy: the store's memory is mapped from its file and must not be written to.
    pixels = store.read(sha256.decode("ascii")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)
