"""The sheet of an autoencoder: pictures, what is restored of them, and their maps."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gorae.augment.preview import Cell, Row, draw_sheet
from gorae.files import write_bytes
from gorae.models.autoencoder import Autoencoder, reconstruction_loss
from gorae.models.network import as_grey
from gorae.training.autoencode import AutoencoderData, AutoencoderFit
from gorae.training.evaluate import Arithmetic, to_pixels

NUM_PICTURES = 6

COLUMNS = ("picture", "restored", "map as colours", "channel 1", "channel 2", "channel 3")

# A map is shown as the network sees it: its mean is middle grey, black and white lie this many
# standard deviations away.
SHOWN_DEVIATIONS = 2.5


def write_autoencoder_sheet(
    path: Path,
    network: Autoencoder,
    data: AutoencoderData,
    found: AutoencoderFit,
    *,
    valid_ids: Sequence[str],
) -> None:
    """Draw held-out pictures, evenly over their list, into a PNG.

    Args:
        path: The file.
        network: The trained autoencoder.
        data: Its pictures.
        found: What its training came to.
        valid_ids: Names of the held-out pictures.
    """
    num_valid = len(data.valid)
    places = np.linspace(0, num_valid - 1, min(NUM_PICTURES, num_valid)).round().astype(int)
    rows = [
        Row(valid_ids[place], _cells(network, data, found, place)) for place in places.tolist()
    ]
    side = data.spec.input_size
    lines = [
        f"Held-out pictures. Mean squared error {found.mse:.5f} at epoch {found.epoch}, values "
        f"from 0 to 1; the mean picture of the train part: {found.mean_image_mse:.5f}.",
        f"{network.in_chans} x {side} x {side} values become 3 x {side // 4} x {side // 4}. "
        "Maps are shown standardised, as the network after the encoder sees them: middle grey "
        f"is the mean, black and white are {SHOWN_DEVIATIONS:g} deviations away.",
    ]
    sheet = draw_sheet("autoencoder", lines, columns=COLUMNS, rows=rows)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def _cells(
    network: Autoencoder, data: AutoencoderData, found: AutoencoderFit, place: int
) -> tuple[Cell, ...]:
    image, _ = data.valid[place]
    device = str(next(network.parameters()).device)
    pixels = to_pixels(image[None], data.spec, Arithmetic(device))
    pixels = as_grey(pixels) if network.in_chans == 1 else pixels
    network.eval()
    with torch.inference_mode():
        maps = network.encoder(pixels)
        restored = network.decoder(maps)
        error = float(reconstruction_loss(restored, pixels))
    mean, std = (
        torch.tensor(each).reshape(3, 1, 1) for each in (found.map_mean, found.map_std)
    )
    deviations = (maps[0].cpu().float() - mean) / std.clamp(min=1e-12)
    shown = 0.5 + deviations / (2 * SHOWN_DEVIATIONS)
    side = maps.shape[-1]
    channels = [Cell(_bytes(each[None])) for each in shown]
    return (
        Cell(_bytes(pixels[0]), f"{pixels.shape[-1]} x {pixels.shape[-2]}"),
        Cell(_bytes(restored[0]), f"error {error:.5f}"),
        Cell(_bytes(shown), f"{side} x {side} x 3"),
        *channels,
    )


def _bytes(values: Tensor) -> Tensor:
    """uint8 (3, H, W) of values (1 or 3, H, W) from 0 to 1; what is beyond is cut."""
    levels = (values.cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.expand(3, -1, -1).contiguous()
