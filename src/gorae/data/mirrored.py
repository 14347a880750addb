"""Pictures that training sees both ways: as they are, and mirrored."""

import torch

from gorae.data.dataset import TrainDataset


class TwoSidedDataset(TrainDataset):
    """The N images of a ``TrainDataset``, and from index N on their mirror images.

    Chance is drawn for each by its own index; the mirror image is made before it is changed.
    Source: earhian/Humpback-Whale-Identification-1st-.
    """

    def fingerprint(self) -> str:
        """A name for these images in this order under this seed."""
        return f"two-sided-{super().fingerprint()}"

    def __len__(self) -> int:
        return 2 * super().__len__()

    def stored(self, index: int) -> torch.Tensor:
        """The image of an index before any change, uint8 (3, H, W)."""
        side, place = divmod(index, super().__len__())
        image = super().stored(place)
        return image.flip(2) if side else image
