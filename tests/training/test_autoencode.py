"""The autoencoder learns to restore, is measured against the mean picture, and resumes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from gorae.augment.geometry import eval_transform
from gorae.augment.plan import AugmentPlan
from gorae.augment.policies import augmented
from gorae.data.dataset import ImageDataset, TrainDataset
from gorae.data.pixels import PixelSpec
from gorae.errors import ConfigError, DataError
from gorae.models.autoencoder import Autoencoder, reconstruction_loss
from gorae.models.network import as_grey
from gorae.training.autoencode import (
    AutoencoderData,
    AutoencoderFit,
    AutoencoderPlan,
    autoencoder_rate_warnings,
    fit_autoencoder,
)
from gorae.training.evaluate import Arithmetic
from gorae.training.plan import Control, Interrupted
from gorae.training.reconstruct import map_statistics, mean_image_error

SPEC = PixelSpec((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 32, "bilinear", 1.0)
NUM_TRAIN, NUM_VALID = 96, 32


class DigitStore:
    """Handwritten digits of 8 x 8, by their number as text."""

    def __init__(self) -> None:
        levels = load_digits().images / 16 * 255
        self.pixels = np.repeat(levels.astype(np.uint8)[..., None], 3, axis=3)

    def read(self, sha256: str) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self.pixels[int(sha256)]
        return found

    def __contains__(self, sha256: object) -> bool:
        return isinstance(sha256, str) and int(sha256) < len(self.pixels)


def digits() -> AutoencoderData:
    store = DigitStore()
    train = [str(number) for number in range(NUM_TRAIN)]
    valid = [str(NUM_TRAIN + number) for number in range(NUM_VALID)]
    plain = partial(eval_transform, spec=SPEC)
    change = partial(augmented, spec=SPEC, plan=AugmentPlan(hflip=0.5))
    return AutoencoderData(
        spec=SPEC,
        train=TrainDataset(store, train, change, seed=3),
        train_ids=[f"digit {name}" for name in train],
        plain=ImageDataset(store, train, plain),
        valid=ImageDataset(store, valid, plain),
    )


def stacked(images: ImageDataset) -> Tensor:
    return torch.stack([images[number][0] for number in range(len(images))])


def network(seed: int = 0) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder()


def fit(
    folder: Path,
    *,
    epochs: int = 2,
    lr: float = 1e-2,
    control: Control | None = None,
    into: Autoencoder | None = None,
) -> AutoencoderFit:
    plan = AutoencoderPlan(
        epochs, 16, lr, arithmetic=Arithmetic(channels_last=False), identity={"of": "a test"}
    )
    control = control or Control(workers=0)
    return fit_autoencoder(
        into or network(), digits(), plan=plan, folder=folder, control=control
    )


def weights(model: Autoencoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def stop_after(steps: int) -> Control:
    count = 0

    def should_stop() -> bool:
        nonlocal count
        count += 1
        return count > steps

    return Control(workers=0, should_stop=should_stop)


def test_it_beats_the_mean_image_and_keeps_its_best_weights(tmp_path: Path) -> None:
    model = network()
    found = fit(tmp_path, epochs=12, into=model)
    assert found.mse < 0.5 * found.mean_image_mse
    assert found.mse == min(row["valid_mse"] for row in found.history)
    assert found.history[found.epoch - 1]["valid_mse"] == found.mse
    valid = stacked(digits().valid)
    pixels = as_grey(valid.float() / 255)
    with torch.inference_mode():
        restored = model.eval()(pixels)
    kept = float(reconstruction_loss(restored, pixels).double().mean())
    assert kept == pytest.approx(found.mse, rel=1e-5)


def test_the_error_of_the_mean_image_is_that_of_numpy(tmp_path: Path) -> None:
    data = digits()
    train, valid = (
        stacked(part)[:, 0].double().numpy() / 255 for part in (data.plain, data.valid)
    )
    wanted = float(((valid - train.mean(axis=0)) ** 2).mean())
    assert fit(tmp_path, epochs=1).mean_image_mse == pytest.approx(wanted, rel=1e-5)


def test_a_mean_image_of_batches_of_any_size() -> None:
    train = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    valid = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    one = mean_image_error([train], [valid])
    assert one == pytest.approx(mean_image_error(train.split(2), valid.split(1)))  # type: ignore[no-untyped-call]


def test_statistics_of_maps_are_those_of_all_their_places() -> None:
    model = network().eval()
    pixels = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = model.encoder(pixels).double()
    mean, std = map_statistics(model, [pixels[:3], pixels[3:]], arithmetic=Arithmetic())
    torch.testing.assert_close(
        torch.tensor(mean, dtype=torch.float64), maps.mean(dim=(0, 2, 3)), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        torch.tensor(std, dtype=torch.float64),
        maps.std(dim=(0, 2, 3), correction=0),
        atol=1e-6,
        rtol=0,
    )


# Six steps an epoch and two batches of validation: in an epoch, at its end, in the second.
@pytest.mark.parametrize("steps", [0, 3, 7, 11])
def test_stopped_anywhere_it_ends_in_the_same_weights(tmp_path: Path, steps: int) -> None:
    whole, resumed = network(), network()
    wanted = fit(tmp_path / "whole", into=whole)
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", control=stop_after(steps))
    found = fit(tmp_path / "stopped", into=resumed)
    assert found == wanted
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    histories = [
        (tmp_path / name / "history.csv").read_bytes() for name in ("whole", "stopped")
    ]
    assert histories[0] == histories[1]


def test_two_trainings_end_in_the_same_weights(tmp_path: Path) -> None:
    one, other = network(), network()
    assert fit(tmp_path / "one", into=one) == fit(tmp_path / "other", into=other)
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


def test_only_the_best_weights_stay(tmp_path: Path) -> None:
    found = fit(tmp_path, epochs=4)
    kept = [path.stem for path in (tmp_path / "checkpoints").glob("*.safetensors")]
    assert kept == [f"epoch-{found.epoch:04d}"]


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    fit(tmp_path, epochs=1)
    with pytest.raises(ConfigError, match=r"lr was 0\.01, now 0\.001"):
        fit(tmp_path, epochs=1, lr=1e-3)


def test_numbers_that_are_not_finite_are_refused_before_they_are_kept(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.decoder[0].weight.fill_(torch.inf)  # type: ignore[operator]
    with pytest.raises(DataError, match=r"no longer a finite number \(epoch 1, pictures digit"):
        fit(tmp_path, into=model)
    assert not (tmp_path / "checkpoints").exists()


def test_batches_that_do_not_fit_memory_are_computed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward: Callable[[Autoencoder, Tensor], Tensor] = Autoencoder.forward

    def limited(self: Autoencoder, images: Tensor) -> Tensor:
        if len(images) > 8:
            raise torch.OutOfMemoryError("drawn")
        return forward(self, images)

    monkeypatch.setattr(Autoencoder, "forward", limited)
    found = fit(tmp_path, epochs=1)
    assert found.notes == ("Memory ran out: batches are computed in 2 parts.",)


def test_the_rate_of_the_source_is_warned_of() -> None:
    assert autoencoder_rate_warnings(1e-3) == ()
    (text,) = autoencoder_rate_warnings(0.5)
    assert text.startswith("autoencoder.lr = 0.5 is very high for adam")
