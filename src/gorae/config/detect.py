"""Settings of `gorae detect`: a detector that finds the box around what is to be classified."""

from typing import Any, Literal

from pydantic import Field, field_validator

from gorae.config.base import Settings
from gorae.models.plan import CENTRE, DETECTORS

BoxFormat = Literal["xyxy", "xywh"]


class DetectSettings(Settings):
    """[detect]: how `gorae detect` reads boxes, learns them and finds them."""

    image_column: str = "image_id"
    """Column of the box table that names the picture, with or without extension or folder."""
    box_columns: tuple[str, str, str, str] = ("left", "top", "right", "bottom")
    """Columns of the box table with a box in pixels of the upright picture."""
    box_format: BoxFormat = "xyxy"
    """Numbers of a box: left, top, right, bottom; or left, top, width, height."""
    model: str = "fasterrcnn_mobilenet_v3_large_320_fpn"
    """A detector of torchvision: ``fasterrcnn_mobilenet_v3_large_320_fpn``,
    ``fasterrcnn_mobilenet_v3_large_fpn``, ``fasterrcnn_resnet50_fpn_v2`` or
    ``retinanet_resnet50_fpn_v2``; or ``centre/NAME``, a small one on the timm network NAME, for
    machines without a GPU."""
    weights: str = "hub"
    """``hub`` (torchvision's detector trained on COCO; timm's backbone for ``centre/NAME``),
    ``none`` (random), or the path of a weight file of the detector or of its backbone."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments for the constructor of the network of ``centre/NAME``."""
    size: int = Field(320, ge=64, le=2048)
    """Side of the square that the detector sees, in pixels; pictures are fitted into it."""
    epochs: int = Field(20, ge=1, le=1000)
    """Passes over the pictures with boxes."""
    batch_size: int = Field(8, ge=2, le=1024)
    """Pictures per step."""
    lr: float = Field(3e-4, gt=0, le=1)
    """Peak learning rate of AdamW, after a linear rise and before a cosine."""
    hflip: float = Field(0.5, ge=0, le=1)
    """Probability of a left-right flip in training."""
    zoom: float = Field(0.3, ge=0, lt=1)
    """In training each picture is shrunk by up to this share and put at a random place."""
    confidence: float = Field(0.5, gt=0, lt=1)
    """Smallest confidence of a box that is taken; 0.5 and 0.04, the area, are those of
    dangnh0611/kaggle_rsna_breast_cancer."""
    area_min: float = Field(0.04, ge=0, lt=1)
    """Smallest share of the picture's area of a box that is taken."""
    keep_table: bool = False
    """Pictures with a box in the table keep it. Off: they get, as test pictures do, what a
    detector finds that has not seen them, so that the score out of fold is of found boxes."""

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in DETECTORS and not name.removeprefix(CENTRE):
            raise ValueError(f"{CENTRE}NAME needs the name of a timm network")
        if name not in DETECTORS and not name.startswith(CENTRE):
            raise ValueError(f"known are {', '.join(DETECTORS)} and {CENTRE}NAME")
        return name
