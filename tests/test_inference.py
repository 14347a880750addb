"""Features and probabilities: equal whatever the batches, the order and the repetitions."""

import copy
import hashlib
import threading
import zlib
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch._inductor import config as inductor

from gorae.augment.geometry import normalise
from gorae.augment.names import expand_views
from gorae.augment.views import view_square
from gorae.data.pixels import PixelSpec
from gorae.data.store import PixelStore, append_to, create_store
from gorae.errors import ConfigError, DataError
from gorae.inference import (
    Execution,
    NamedWeights,
    Pictures,
    extract_features,
    measure_ranges,
    picture_keys,
    predict_checkpoints,
    predict_probabilities,
)
from gorae.inference.network import build_forward
from gorae.models import ImageModel, build_model
from gorae.training.evaluate import Arithmetic, Precision
from gorae.training.outputs import Activation, OutputForm

SPEC = PixelSpec(
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
    input_size=32,
    interpolation="bilinear",
    crop_pct=0.9,
)
RAW = OutputForm("value")
SOFTMAX = OutputForm("softmax")

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
    ids = [f"image {index}" for index in order]
    return Pictures(store, [hashes[index] for index in order], SPEC, ids)


def _by_hand(
    model: ImageModel, stored: tuple[PixelStore, list[str]], *, view: str = "identity"
) -> torch.Tensor:
    """Outputs of each image alone, without any of ``gorae.inference``."""
    store, hashes = stored
    model.eval()
    outputs = []
    for index, sha256 in enumerate(hashes):
        pixels = torch.from_numpy(store.read(sha256).copy()).permute(2, 0, 1)
        square = view_square(pixels, spec=SPEC, view=view, image_id=f"image {index}")
        with torch.inference_mode():
            outputs.append(model(normalise(square.unsqueeze(0), SPEC)))
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


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "value"])
def test_probabilities_are_what_the_form_says(
    stored: tuple[PixelStore, list[str]], model: ImageModel, activation: Activation
) -> None:
    views = ("identity", "hflip")
    form = OutputForm(activation, shift=100.0, scale=20.0)
    got = predict_probabilities(
        model, _pictures(stored, list(range(len(SIZES)))), form=form, views=views
    )
    assert tuple(got) == views
    for view in views:
        outputs = _by_hand(model, stored, view=view)
        if activation == "sigmoid":
            outputs = 1 / (1 + torch.exp(-outputs))
        elif activation == "softmax":
            exponents = torch.exp(outputs - outputs.max(dim=1, keepdim=True).values)
            outputs = exponents / exponents.sum(dim=1, keepdim=True)
        else:
            outputs = 100 + 20 * outputs
        np.testing.assert_allclose(got[view], outputs.numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(got["identity"], got["hflip"])


@pytest.mark.parametrize("batch_size", [2, 32])
def test_every_view_is_what_the_network_says_of_its_square(
    stored: tuple[PixelStore, list[str]], model: ImageModel, batch_size: int
) -> None:
    views = expand_views(
        ["dihedral8", "scale0.5", "scale0.5+rot90", "corner_br", "grid9.2", "rrc2", "facecrop"]
    )
    got = predict_probabilities(
        model,
        _pictures(stored, list(range(len(SIZES)))),
        form=RAW,
        views=views,
        execution=Execution(batch_size),
    )
    for view in views:
        expected = _by_hand(model, stored, view=view).numpy()
        np.testing.assert_allclose(got[view], expected, rtol=1e-4, atol=1e-4)


def test_random_views_tell_images_of_one_file_apart_and_repeat_bit_for_bit(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    store, hashes = stored
    reads = _Reads(store)
    pictures = Pictures(reads, [hashes[0], hashes[0], hashes[0]], SPEC, ["a", "b", "a"])
    one, other = (
        predict_probabilities(model, pictures, form=RAW, views=("identity", "rrc.1"))
        for _ in range(2)
    )
    assert np.array_equal(one["rrc.1"], other["rrc.1"])
    assert np.array_equal(one["rrc.1"][0], one["rrc.1"][2])
    assert not np.allclose(one["rrc.1"][0], one["rrc.1"][1])
    np.testing.assert_allclose(one["identity"][0], one["identity"][1], rtol=1e-5, atol=1e-5)
    # Twice two different pictures: "a" is read once.
    assert len(reads.names) == 4


def test_keys_are_hashes_until_a_view_asks_for_the_id(
    stored: tuple[PixelStore, list[str]],
) -> None:
    pictures = _pictures(stored, [0, 1, 0])
    assert picture_keys(pictures, ["hflip", "scale0.5"]) == list(pictures.hashes)
    by_id = picture_keys(pictures, ["hflip", "rrc.1"])
    assert by_id[0] == by_id[2] != by_id[1]
    assert all(len(key) == 64 and int(key, 16) for key in by_id)
    nameless = Pictures(pictures.store, pictures.hashes, SPEC)
    with pytest.raises(ConfigError, match=r"The view rrc\.1 .* have no ids"):
        picture_keys(nameless, ["rrc.1"])


def _member(model: ImageModel, seed: int, loads: list[int]) -> NamedWeights:
    def load(network: ImageModel) -> None:
        loads.append(seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in network.parameters():
                value.copy_(0.05 * torch.randn(value.shape, generator=generator))

    return NamedWeights(f"epoch-{seed}", OutputForm("value", shift=seed), load)


@pytest.mark.parametrize(("buffer_bytes", "num_parts"), [(2**30, 1), (1, 3)])
def test_many_checkpoints_share_one_reading_and_agree_with_each_alone(
    stored: tuple[PixelStore, list[str]],
    model: ImageModel,
    buffer_bytes: int,
    num_parts: int,
) -> None:
    store, hashes = stored
    network = copy.deepcopy(model)
    views = ("identity", "hflip", "scale0.5")
    loads: list[int] = []
    members = [_member(network, seed, loads) for seed in (1, 2, 3)]
    execution = Execution(batch_size=3, buffer_bytes=buffer_bytes)
    expected = {}
    for member in members:
        member.load(network)
        expected[member.name] = predict_probabilities(
            network,
            Pictures(store, hashes, SPEC),
            form=member.form,
            views=views,
            execution=execution,
        )
    loads.clear()
    reads = _Reads(store)
    progress: list[tuple[int, int]] = []
    got = dict(
        predict_checkpoints(
            network,
            members,
            Pictures(reads, hashes, SPEC),
            views=views,
            execution=execution,
            on_progress=lambda done, total: progress.append((done, total)),
        )
    )
    assert list(got) == ["epoch-1", "epoch-2", "epoch-3"]
    for name, values in got.items():
        for view in views:
            assert np.array_equal(values[view], expected[name][view])
    assert sorted(reads.names) == sorted(hashes)
    assert loads == [1, 2, 3] * num_parts
    assert progress[-1] == (21, 21)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_checkpoints_that_are_damaged_are_named(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    def damage(network: ImageModel) -> None:
        with torch.no_grad():
            network.get_parameter("head.bias").fill_(torch.nan)

    network = copy.deepcopy(model)
    members = [
        NamedWeights("good", RAW, lambda network: None),
        NamedWeights("epoch-0007", RAW, damage),
    ]
    found = predict_checkpoints(network, members, _pictures(stored, [0, 1]))
    assert next(found)[0] == "good"
    with pytest.raises(DataError, match="Checkpoint epoch-0007 gives no finite numbers for 2"):
        next(found)


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [pytest.param("fp32", 1e-4, marks=pytest.mark.long), ("bf16", 2e-2)],
)
def test_compiled_networks_agree_with_plain_ones_for_every_checkpoint(
    stored: tuple[PixelStore, list[str]], precision: Precision, tolerance: float
) -> None:
    network = build_model("lenet5", num_outputs=3, kwargs={}, seed=0, folder=Path())
    members = [_member(network, seed, []) for seed in (1, 2)]
    pictures = _pictures(stored, [3, 0, 1, 2, 5])
    notes: list[str] = []
    plain, compiled = (
        dict(
            predict_checkpoints(
                network,
                members,
                pictures,
                views=("identity", "hflip"),
                execution=Execution(
                    # Five pictures in batches of 3: the last batch is filled up.
                    3,
                    Arithmetic(precision=precision),
                    compile=compile_it,
                    on_note=notes.append,
                ),
            )
        )
        for compile_it in (False, True)
    )
    assert not notes
    for name, view in product(plain, ("identity", "hflip")):
        one, other = plain[name][view], compiled[name][view]
        np.testing.assert_allclose(other, one, rtol=0, atol=tolerance * float(np.ptp(one)))
    assert not np.allclose(compiled["epoch-1"]["hflip"], compiled["epoch-2"]["hflip"])


def test_a_pass_in_bf16_leaves_the_weights_of_the_network_as_they_are() -> None:
    # Without norms nothing is folded, and what is not folded is not copied by that.
    network = build_model("lenet5", num_outputs=3, kwargs={}, seed=0, folder=Path())
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    arithmetic = Arithmetic(precision="bf16")
    build_forward(network, SPEC, execution=Execution(arithmetic=arithmetic))
    for name, weights in network.state_dict().items():
        assert torch.equal(weights, before[name])
        assert weights.dtype == before[name].dtype


def test_compiling_freezes_the_weights_in() -> None:
    network = build_model("lenet5", num_outputs=3, kwargs={}, seed=0, folder=Path())
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    forward = build_forward(network, SPEC, execution=Execution(3, compile=True))
    before = forward(images)
    with torch.no_grad():
        network.get_parameter("backbone.conv1.weight").mul_(3)
    assert torch.equal(forward(images), before)
    assert torch.equal(forward(images[:2]), before[:2])
    assert not torch.allclose(
        build_forward(network, SPEC, execution=Execution())(images), before
    )


def test_without_a_compiler_the_network_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network = build_model("lenet5", num_outputs=2, kwargs={}, seed=0, folder=Path())
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    plain = build_forward(network, SPEC, execution=Execution(3))
    notes: list[str] = []
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        got = build_forward(
            network, SPEC, execution=Execution(3, compile=True, on_note=notes.append)
        )
    assert torch.equal(got(images), plain(images))
    assert len(notes) == 1
    assert "could not be compiled and runs as it is" in notes[0]
    assert "predict.compile = false" in notes[0]


def test_softmax_rows_sum_to_one_in_bf16(
    stored: tuple[PixelStore, list[str]], model: ImageModel
) -> None:
    got = predict_probabilities(
        model,
        _pictures(stored, list(range(len(SIZES)))),
        form=SOFTMAX,
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
        form=SOFTMAX,
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
    got = predict_probabilities(whole, _pictures(stored, [0, 1]), form=SOFTMAX)
    assert got["identity"].shape == (2, 2)


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="needs a processor with VNNI")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_checkpoints_in_bytes_are_close_to_floats_in_any_batch(
    stored: tuple[PixelStore, list[str]], precision: Precision, channels_last: bool
) -> None:
    # Maps of one place stay floats: at 32 pixels half of the network.
    spec = replace(SPEC, input_size=64)
    network = build_model("resnet10t", num_outputs=4, kwargs={}, seed=0, folder=Path())
    pictures = replace(_pictures(stored, [3, 0, 1, 2, 5]), spec=spec)
    arithmetic = Arithmetic(precision=precision, channels_last=channels_last)
    execution = Execution(3, arithmetic, compile=True, on_note=pytest.fail)
    plain = [_member(network, seed, []) for seed in (1, 2)]
    members = []
    for member in plain:
        member.load(network)
        ranges = measure_ranges(network, pictures, execution=execution)
        members.append(replace(member, ranges=ranges))
    views = ("identity", "hflip")
    without = replace(execution, compile=False)
    expected = dict(
        predict_checkpoints(network, plain, pictures, views=views, execution=without)
    )
    got = dict(
        predict_checkpoints(network, members, pictures, views=views, execution=execution)
    )
    [(_, alone)] = predict_checkpoints(
        network,
        members[1:],
        pictures,
        views=("hflip",),
        execution=replace(execution, batch_size=1),
    )
    for name, view in product(expected, views):
        one, other = expected[name][view], got[name][view]
        assert not np.array_equal(one, other)
        np.testing.assert_allclose(other, one, rtol=0, atol=0.1 * float(np.ptp(one)))
    tolerance = {"fp32": 1e-5, "bf16": 1e-2, "fp16": 1e-2}[precision]
    np.testing.assert_allclose(
        alone["hflip"], got["epoch-2"]["hflip"], atol=tolerance, rtol=tolerance
    )
