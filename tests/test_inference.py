"""Features and probabilities: equal whatever the batches, the order and the repetitions."""

import hashlib
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from gorae.augment import View, eval_transform, normalise
from gorae.data.pixels import PixelSpec
from gorae.data.sources import Task
from gorae.data.store import PixelStore, append_to, create_store
from gorae.errors import ConfigError, DataError
from gorae.inference import (
    Execution,
    Pictures,
    extract_features,
    predict_probabilities,
)
from gorae.models import ImageModel, build_model
from gorae.training.evaluate import Arithmetic
from gorae.training.losses import TargetScale

SPEC = PixelSpec(
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
    input_size=32,
    interpolation="bilinear",
    crop_pct=0.9,
)
SIZES = [(40, 50), (64, 36), (20, 20), (37, 90), (45, 45), (33, 70), (80, 41)]


def _write_store(folder: Path, images: list[NDArray[np.uint8]]) -> tuple[PixelStore, list[str]]:
    store = create_store(folder)
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    with append_to(store) as writer:
        for sha256, image in zip(hashes, images, strict=True):
            data = image.tobytes()
            writer.add(
                sha256, memoryview(data), shape=image.shape[:2], pixel_crc32=zlib.crc32(data)
            )
    return store, hashes


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[PixelStore, list[str]]:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    return _write_store(tmp_path_factory.mktemp("store"), images)


@pytest.fixture(scope="module")
def model() -> ImageModel:
    model = build_model("resnet10t", num_outputs=4, kwargs={}, seed=0, folder=Path())
    nn.init.normal_(model.head.weight)  # type: ignore[arg-type]  # a Linear here
    return model


def _pictures(stored: tuple[PixelStore, list[str]], order: list[int]) -> Pictures:
    store, hashes = stored
    return Pictures(store, [hashes[index] for index in order], SPEC)


def _by_hand(
    model: ImageModel, stored: tuple[PixelStore, list[str]], *, flip: bool = False
) -> torch.Tensor:
    """Outputs of each image alone, without any of inference.py."""
    store, hashes = stored
    model.eval()
    outputs = []
    for sha256 in hashes:
        pixels = torch.from_numpy(store.read(sha256).copy()).permute(2, 0, 1)
        square = eval_transform(pixels, SPEC)
        batch = normalise((square.flip(-1) if flip else square).unsqueeze(0), SPEC)
        with torch.inference_mode():
            outputs.append(model(batch))
    return torch.cat(outputs)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("channels_last", [True, False])
def test_features_do_not_depend_on_batches_order_or_repetition(
    stored: tuple[PixelStore, list[str]],
    model: ImageModel,
    batch_size: int,
    num_threads: int,
    channels_last: bool,
) -> None:
    order = [3, 0, 6, 3, 1, 2, 5, 4, 0]
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    execution = Execution(
        batch_size=batch_size, arithmetic=Arithmetic(channels_last=channels_last)
    )
    reference = extract_features(model, _pictures(stored, list(range(len(SIZES)))))
    got = extract_features(model, _pictures(stored, order), execution=execution)
    torch.set_num_threads(before)
    assert got.dtype == np.float32
    assert got.shape == (len(order), model.num_features)
    np.testing.assert_allclose(got, reference[order], rtol=1e-5, atol=1e-5)


def test_features_are_the_models_own(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    features = extract_features(model, _pictures(stored, list(range(len(SIZES)))))
    with torch.inference_mode():
        outputs = model.head(torch.from_numpy(features))
    torch.testing.assert_close(outputs, _by_hand(model, stored), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_passes_are_bit_equal(
    stored: tuple[PixelStore, list[str]], model: ImageModel, precision: str
) -> None:
    execution = Execution(3, Arithmetic(precision="bf16" if precision == "bf16" else "fp32"))
    pictures = _pictures(stored, list(range(len(SIZES))))
    one, other = (extract_features(model, pictures, execution=execution) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("task", ["multiclass", "ordinal", "multilabel", "regression"])
def test_probabilities_are_what_the_task_says(
    stored: tuple[PixelStore, list[str]], model: ImageModel, task: Task
) -> None:
    views: tuple[View, ...] = ("identity", "hflip")
    got = predict_probabilities(
        model, _pictures(stored, list(range(len(SIZES)))), task=task, views=views
    )
    assert tuple(got) == views
    for view in views:
        outputs = _by_hand(model, stored, flip=view == "hflip")
        if task == "multilabel":
            outputs = 1 / (1 + torch.exp(-outputs))
        elif task != "regression":
            exponents = torch.exp(outputs - outputs.max(dim=1, keepdim=True).values)
            outputs = exponents / exponents.sum(dim=1, keepdim=True)
        np.testing.assert_allclose(got[view], outputs.numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(got["identity"], got["hflip"])


def test_a_regression_answers_in_the_unit_of_its_target(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    pictures = _pictures(stored, [0, 1, 2])
    raw, scaled = (
        predict_probabilities(model, pictures, task="regression", target=target)["identity"]
        for target in (None, TargetScale(shift=100.0, scale=20.0))
    )
    np.testing.assert_allclose(scaled, 100 + 20 * raw, rtol=1e-5)


def test_softmax_rows_sum_to_one_in_bf16(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    got = predict_probabilities(
        model,
        _pictures(stored, list(range(len(SIZES)))),
        task="multiclass",
        execution=Execution(arithmetic=Arithmetic(precision="bf16")),
    )
    np.testing.assert_allclose(got["identity"].sum(axis=1), 1, atol=1e-6)


class _Reads:
    """A store that counts what is read."""

    def __init__(self, store: PixelStore) -> None:
        self.store = store
        self.names: list[str] = []
        self.lock = threading.Lock()

    def read(self, sha256: str) -> NDArray[np.uint8]:
        with self.lock:
            self.names.append(sha256)
        return self.store.read(sha256)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self.store


def test_an_image_is_read_once_for_all_views_and_repetitions(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    store, hashes = stored
    reads = _Reads(store)
    progress: list[tuple[int, int]] = []
    predict_probabilities(
        model,
        Pictures(reads, [*hashes, *hashes[:3]], SPEC),
        task="multiclass",
        views=("identity", "hflip"),
        execution=Execution(batch_size=3),
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert sorted(reads.names) == sorted(hashes)
    assert progress == [(3, 7), (6, 7), (7, 7)]


def test_no_images_give_no_rows(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    assert len(extract_features(model, _pictures(stored, []))) == 0


def test_the_number_of_threads_is_left_as_it_was(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    before = torch.get_num_threads()
    extract_features(model, _pictures(stored, [0, 1]), execution=Execution(batch_size=1))
    assert torch.get_num_threads() == before
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [before]


def test_numbers_that_are_not_finite_name_the_images(
    stored: tuple[PixelStore, list[str]],
) -> None:
    broken = build_model("lenet5", num_outputs=2, kwargs={}, seed=0, folder=Path())
    with torch.no_grad():
        broken.get_parameter("backbone.fc2.bias").fill_(torch.inf)
    pictures = _pictures(stored, [0, 1])
    with pytest.raises(DataError, match=r"no finite numbers for 2 of 2 images") as caught:
        extract_features(broken, pictures)
    assert pictures.hashes[1] in str(caught.value)
    assert "the training that made them diverged" in str(caught.value)
    with pytest.raises(DataError, match=r'Set train\.precision = "fp32"'):
        extract_features(
            broken, pictures, execution=Execution(arithmetic=Arithmetic(precision="bf16"))
        )


def test_an_image_outside_the_store_stops_the_pass(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    store, hashes = stored
    with pytest.raises(Exception, match="do not hold file 000000"):
        extract_features(model, Pictures(store, [hashes[0], "0" * 64], SPEC))
    assert torch.get_num_threads() >= 1


def test_a_whole_module_without_features_is_a_message(
    stored: tuple[PixelStore, list[str]],
) -> None:
    whole = ImageModel(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)),
        num_features=0,
        num_outputs=2,
        is_whole=True,
    )
    with pytest.raises(ConfigError, match="has no method features"):
        extract_features(whole, _pictures(stored, [0]))
    got = predict_probabilities(whole, _pictures(stored, [0, 1]), task="multiclass")
    assert got["identity"].shape == (2, 2)
