"""What an autoencoder is measured by: the mean picture's error, and its maps."""

from collections.abc import Iterable

import torch
from torch import Tensor

from gorae.models.autoencoder import Autoencoder
from gorae.training.evaluate import Arithmetic, forward


def mean_image_error(train: Iterable[Tensor], valid: Iterable[Tensor]) -> float:
    """Mean squared error on ``valid`` of always answering the mean picture of ``train``.

    What restores pictures no better than this has learned nothing of the single picture.

    Args:
        train: Batches (B, C, H, W) of one size, values from 0 to 1.
        valid: Batches of the same size.
    """
    sums, num_train = torch.zeros((), dtype=torch.float64), 0
    for pixels in train:
        sums = sums + pixels.double().sum(dim=0).cpu()
        num_train += len(pixels)
    mean = sums / num_train  # (C, H, W)
    total, num_valid = 0.0, 0
    for pixels in valid:
        errors = (pixels.double().cpu() - mean).square().flatten(1).mean(dim=1)
        total += float(errors.sum())
        num_valid += len(pixels)
    return total / num_valid


def map_statistics(
    network: Autoencoder, batches: Iterable[Tensor], *, arithmetic: Arithmetic
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of the maps of pictures, 3 numbers each.

    Args:
        network: Already placed; it is put in evaluation mode.
        batches: What it sees (B, C, H, W), values from 0 to 1.
        arithmetic: Where and in which numbers.
    """
    sums: list[Tensor] = []
    num_places = 0
    network.eval()
    with torch.inference_mode():
        for pixels in batches:
            # One by one: a batch of training may be computed in parts for want of memory.
            for place in range(len(pixels)):
                maps = forward(network.encoder, pixels[place : place + 1], arithmetic)
                rows = maps[0].double().flatten(1).cpu()  # (3, places)
                sums.append(torch.stack([rows.sum(dim=1), rows.square().sum(dim=1)]))
                num_places += rows.shape[1]
    mean, square = torch.stack(sums).sum(dim=0) / num_places
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    return tuple(mean.tolist()), tuple(deviation.tolist())
