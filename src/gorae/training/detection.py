"""A detector learns boxes, and finds them on pictures it has not seen.

All chance is a function of the seed, the epoch and the picture, or of the seed and the step:
two trainings of the same pictures end in the same weights.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gorae.data.boxed import BoxedPictures, from_square
from gorae.data.dataset import EpochBatches
from gorae.errors import DataError
from gorae.preprocess.boxes import Candidates
from gorae.training.plan import Interrupted
from gorae.training.schedules import Course, SchedulePlan, course_share

# Part of an epoch's worth of steps over which the learning rate rises; a detector that starts
# at full speed leaves what its weights knew.
_WARMUP_SHARE = 0.1

_WEIGHT_DECAY = 1e-4

# Detectors lose themselves in one bad step: their boxes have no upper bound.
_CLIP_NORM = 10.0

_THE_THING = 1


@dataclass(frozen=True, kw_only=True)
class DetectionPlan:
    """The numbers of a training."""

    epochs: int
    batch_size: int
    lr: float
    """Peak learning rate."""
    hflip: float
    """Probability of a left-right flip."""
    zoom: float
    """Largest share by which a picture is shrunk."""
    seed: int
    device: str = "cpu"


def _never() -> bool:
    return False


def _ignore(done: int, total: int) -> None:
    pass


def train_detector(
    network: nn.Module,
    pictures: BoxedPictures,
    plan: DetectionPlan,
    *,
    should_stop: Callable[[], bool] = _never,
    on_step: Callable[[int, int], None] = _ignore,
) -> list[float]:
    """Train a detector in place.

    Args:
        network: Called as torchvision's detectors are; changed in place.
        pictures: All with boxes, two or more.
        plan: The numbers.
        should_stop: Asked before each step.
        on_step: Told the steps done and the steps in all.

    Returns:
        Mean loss of each epoch.

    Raises:
        Interrupted: It was asked to stop.
        DataError: The loss is not finite.
    """
    device = torch.device(plan.device)
    network.to(device).train()
    parameters = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=plan.lr, weight_decay=_WEIGHT_DECAY)
    batches = EpochBatches(len(pictures), batch_size=plan.batch_size, seed=plan.seed)
    course = Course(SchedulePlan(warmup_epochs=_WARMUP_SHARE * plan.epochs), plan.epochs)
    total, step, history = plan.epochs * batches.num_batches, 0, []
    for epoch in range(plan.epochs):
        batches.epoch, losses = epoch, []
        for keys in batches:
            if should_stop():
                raise Interrupted(f"stopped in epoch {epoch + 1}")
            for group in optimizer.param_groups:
                share = course_share(course, step, steps_per_epoch=batches.num_batches)
                group["lr"] = plan.lr * share
            images, targets = _batch(pictures, keys, plan)
            # torchvision draws the places it learns from out of the global generator.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_step_seed(plan.seed, step))
                parts = network(images, targets)
            loss = torch.stack(list(parts.values())).sum()
            _require_finite(loss, parts, epoch)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
            optimizer.step()
            losses.append(float(loss.detach()))
            step += 1
            on_step(step, total)
        history.append(float(np.mean(losses, dtype=np.float64)))
    return history


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def _batch(
    pictures: BoxedPictures, keys: list[tuple[int, int]], plan: DetectionPlan
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images, targets = [], []
    for epoch, index in keys:
        image, box = pictures.drawn(
            index, epoch=epoch, seed=plan.seed, hflip=plan.hflip, zoom=plan.zoom
        )
        images.append(_as_input(image, plan.device))
        boxes = torch.from_numpy(box[None]).float().to(plan.device)
        labels = torch.full((1,), _THE_THING, device=plan.device)
        targets.append({"boxes": boxes, "labels": labels})
    return images, targets


def _as_input(image: Tensor, device: str) -> Tensor:
    return image.to(device).float() / 255


def _require_finite(loss: Tensor, parts: dict[str, Tensor], epoch: int) -> None:
    if not bool(torch.isfinite(loss)):
        values = ", ".join(f"{name} {float(value.detach()):g}" for name, value in parts.items())
        raise DataError(
            f"The loss of the detector is not finite in epoch {epoch + 1} ({values}): it "
            "learns too fast. Set detect.lr to a third of what it is."
        )


def find_boxes(
    network: nn.Module,
    pictures: BoxedPictures,
    *,
    batch_size: int,
    device: str = "cpu",
    should_stop: Callable[[], bool] = _never,
) -> Candidates:
    """All boxes that a detector takes into account, in pixels of the originals.

    Args:
        network: A trained detector.
        pictures: N of them; what boxes they have is not looked at.
        batch_size: Pictures per pass.
        device: Where it computes.
        should_stop: Asked before each batch.

    Raises:
        Interrupted: It was asked to stop.
    """
    places, boxes, scores = [], [np.zeros((0, 4))], [np.zeros(0)]
    network.to(torch.device(device)).eval()
    for indices in _chunks(len(pictures), batch_size):
        if should_stop():
            raise Interrupted("stopped while boxes were looked for")
        shown = [pictures.whole(index) for index in indices]
        with torch.inference_mode():
            outputs = network([_as_input(image, device) for image, _ in shown])
        for index, (_, fit), output in zip(indices, shown, outputs, strict=True):
            found = output["boxes"].cpu().double().numpy()
            places += [index] * len(found)
            boxes.append(from_square(found, pictures.size(index), fit))
            scores.append(output["scores"].cpu().double().numpy())
    return Candidates(np.array(places, np.int64), np.concatenate(boxes), np.concatenate(scores))


def _chunks(total: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, total)) for start in range(0, total, size))
