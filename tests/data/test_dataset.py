import hashlib
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from gorae.augment.geometry import eval_transform, train_transform
from gorae.data.dataset import (
    EpochBatches,
    ImageDataset,
    Sampling,
    TrainDataset,
    TrainTransform,
    philox,
)
from gorae.data.pixels import PixelSpec
from gorae.errors import DataError

SPEC = PixelSpec((0.5,) * 3, (0.25,) * 3, 16, "bilinear", 1.0)


class MemoryStore(dict[str, NDArray[np.uint8]]):
    """Images in memory, read-only like the memory map of a prepared store."""

    def read(self, sha256: str) -> NDArray[np.uint8]:
        pixels = self[sha256]
        pixels.flags.writeable = False
        return pixels


def drawn_store(num_images: int) -> tuple[MemoryStore, list[str]]:
    rng = np.random.default_rng(0)
    store = MemoryStore()
    for index in range(num_images):
        name = hashlib.sha256(str(index).encode()).hexdigest()
        height, width = rng.integers(18, 30, 2)
        store[name] = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return store, list(store)


def train_dataset(num_images: int, seed: int = 0) -> TrainDataset:
    store, hashes = drawn_store(num_images)
    transform = partial(train_transform, spec=SPEC, scale=(0.3, 1), ratio=(0.8, 1.2), hflip=0.5)
    return TrainDataset(store, hashes, transform, seed=seed)


@given(
    num_images=st.integers(1, 200),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 10_000),
)
def test_an_epoch_holds_every_image_once(
    num_images: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = EpochBatches(num_images, batch_size=batch_size, seed=seed)
    batches.epoch = epoch
    pieces = batches.indices()
    assert len(pieces) == len(batches) == batches.num_batches
    assert sorted(np.concatenate(pieces).tolist()) == list(range(num_images))
    sizes = [len(piece) for piece in pieces]
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size + 1
    if batch_size > 1 and num_images > 1:
        assert min(sizes) > 1


def order_of(seed: int, epoch: int, sampling: Sampling) -> tuple[int, ...]:
    batches = EpochBatches(50, batch_size=50, seed=seed, sampling=sampling)
    batches.epoch = epoch
    return tuple(np.concatenate(batches.indices()).tolist())


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(weights=np.linspace(1, 2, 50))])
def test_order_depends_on_seed_and_epoch(sampling: Sampling) -> None:
    orders = {order_of(seed, epoch, sampling) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert order_of(1, 2, sampling) == order_of(1, 2, sampling)


def test_without_shuffling_the_order_is_the_datasets() -> None:
    sampling = Sampling(shuffle=False)
    assert order_of(0, 0, sampling) == order_of(5, 3, sampling) == tuple(range(50))


@pytest.mark.parametrize(("num_images", "sizes"), [(21, [4] * 5), (24, [4] * 6), (3, [3])])
def test_a_last_batch_that_is_not_full_can_be_left_out(
    num_images: int, sizes: list[int]
) -> None:
    batches = EpochBatches(num_images, batch_size=4, seed=0, sampling=Sampling(drop_last=True))
    assert [len(piece) for piece in batches.indices()] == sizes


def test_images_are_drawn_as_often_as_their_weights_say() -> None:
    weights = np.array([1.0, 1.0, 2.0, 0.0])
    drawn = np.zeros(4)
    batches = EpochBatches(4, batch_size=4, seed=0, sampling=Sampling(weights=weights))
    for batches.epoch in range(2000):
        drawn += np.bincount(np.concatenate(batches.indices()), minlength=4)
    np.testing.assert_allclose(drawn / drawn.sum(), weights / weights.sum(), atol=0.02)
    assert drawn[3] == 0


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_every_batch(size: int) -> None:
    def keys(rank: int, size: int) -> list[list[tuple[int, int]]]:
        return list(EpochBatches(22, batch_size=5, seed=1, rank=rank, size=size))

    shared = zip(*(keys(rank, size) for rank in range(size)), strict=True)
    assert all(all(parts) for parts in shared), "no process goes without images"
    flat = [key for rank in range(size) for batch in keys(rank, size) for key in batch]
    assert sorted(index for _, index in flat) == list(range(22))


def test_partners_follow_their_batch_and_come_from_the_pool() -> None:
    pool = np.array([3, 7])
    batches = EpochBatches(21, batch_size=4, seed=0, sampling=Sampling(partners=pool))
    found = list(batches)
    for keys, shown in zip(found, batches.indices(), strict=True):
        indices = [index for _, index in keys]
        assert indices[: len(shown)] == shown.tolist()
        assert len(indices) == 2 * len(shown)
        assert set(indices[len(shown) :]) <= {3, 7}
    batches.start = 2
    assert list(batches) == found[2:]


def test_a_later_transform_takes_over_at_its_epoch() -> None:
    store, hashes = drawn_store(1)
    small = PixelSpec((0.5,) * 3, (0.25,) * 3, 8, "bilinear", 1.0)

    def change(spec: PixelSpec) -> TrainTransform:
        return partial(train_transform, spec=spec, scale=(1, 1), ratio=(1, 1), hflip=0)

    dataset = TrainDataset(store, hashes, change(small), seed=0, later=[(2, change(SPEC))])
    assert [dataset[epoch, 0][0].shape[-1] for epoch in range(4)] == [8, 8, 16, 16]


def test_philox_streams_differ_and_repeat() -> None:
    keys = [(s, e, i) for s in range(3) for e in range(3) for i in range(3)]
    draws = [philox(*key).random() for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws == [philox(*key).random() for key in keys]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # fewer cores than workers
def test_workers_change_nothing(num_workers: int) -> None:
    dataset = train_dataset(21)
    batches = EpochBatches(21, batch_size=4, seed=5)
    loader = DataLoader(
        dataset, batch_sampler=batches, num_workers=num_workers, timeout=60 * bool(num_workers)
    )
    for epoch in (3, 0):
        batches.epoch = epoch
        for (images, index), expected in zip(loader, batches.indices(), strict=True):
            assert index.tolist() == expected.tolist()
            for image, i in zip(images, index.tolist(), strict=True):
                assert torch.equal(image, dataset[epoch, i][0])


def test_batches_can_start_in_the_middle_of_an_epoch() -> None:
    batches = EpochBatches(21, batch_size=4, seed=5)
    whole = list(batches)
    batches.start = 3
    assert list(batches) == whole[3:]
    assert len(batches) == len(whole) - 3


def test_evaluation_shows_each_image_as_it_is() -> None:
    store, hashes = drawn_store(6)
    twice = [*hashes, hashes[0]]
    dataset = ImageDataset(store, twice, partial(eval_transform, spec=SPEC))
    loader = DataLoader(dataset, batch_size=4)
    images = torch.cat([batch for batch, _ in loader])
    assert torch.cat([index for _, index in loader]).tolist() == list(range(7))
    for image, name in zip(images, twice, strict=True):
        stored = torch.from_numpy(store[name].copy()).permute(2, 0, 1)
        assert torch.equal(image, eval_transform(stored, SPEC))


def test_a_transform_that_writes_to_its_input_leaves_the_store_alone() -> None:
    store, hashes = drawn_store(1)
    before = store[hashes[0]].copy()
    ImageDataset(store, hashes, lambda image: image.zero_())[0]
    assert np.array_equal(store[hashes[0]], before)


def test_datasets_travel_to_other_processes() -> None:
    dataset = pickle.loads(pickle.dumps(train_dataset(3)))
    assert torch.equal(dataset[1, 2][0], train_dataset(3)[1, 2][0])


def test_missing_images_are_all_named() -> None:
    store, hashes = drawn_store(3)
    absent = ["0" * 64, "f" * 64]
    with pytest.raises(DataError, match=r"2 of 5 images are not in the prepared store") as info:
        ImageDataset(store, [*hashes, *absent], partial(eval_transform, spec=SPEC))
    assert all(name in str(info.value) for name in absent)


def test_the_same_dataset_of_other_images_changes_them_alike() -> None:
    dataset = train_dataset(4)
    turned = dataset.of([*dataset.hashes[::-1], dataset.hashes[0]])
    assert len(turned) == 5
    assert turned.hashes == [*dataset.hashes[::-1], dataset.hashes[0]]
    assert torch.equal(turned.of(dataset.hashes)[3, 2][0], dataset[3, 2][0])
    assert dataset.of(dataset.hashes).fingerprint() == dataset.fingerprint()
