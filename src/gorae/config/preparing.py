"""Settings of preprocessing: the steps from a decoded picture to the stored one, in order."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from gorae.config.base import Settings

ColourValue = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[ColourValue, ColourValue, ColourValue]
SidePx = Annotated[int, Field(ge=8, le=8000)]
Share = Annotated[float, Field(ge=0, le=1)]

BLACK: Colour = (0, 0, 0)


class _Step(Settings):
    """One step of ``[[preprocess]]``."""

    step: str

    # Fields that say where a table has boxes or points; the step itself does not see them.
    sources: ClassVar[frozenset[str]] = frozenset()

    def plain(self) -> dict[str, Any]:
        """The step as ``gorae.preprocess.steps`` takes it, ready for JSON."""
        return self.model_dump(mode="json", exclude=set(self.sources))


def _changed(step: _Step) -> set[str]:
    """Fields that are not at their default; run.toml names those at it as well."""
    fields = type(step).model_fields
    return {name for name, field in fields.items() if getattr(step, name) != field.default}


class CropBoxStep(_Step):
    """Cut out a box that is given for each picture; pictures without one stay whole."""

    step: Literal["crop_box"]
    """Boxes are those of ``box_columns`` and ``box_format`` in competition.toml, or of
    ``annotations``."""
    margin: float = Field(0.0, ge=0, le=2)
    """Share of the box's width and height added on each side."""
    aspect: float | None = Field(None, gt=0.05, lt=20)
    """Width divided by height, reached by growing the box as far as the picture allows."""
    annotations: str | None = None
    """CSV file with boxes in the competition's folder; a picture may have several lines."""
    image_column: str | None = None
    """Column of ``annotations`` that names the picture, with or without extension or folder."""
    box_columns: tuple[str, ...] = ()
    """Four columns of ``annotations`` with a box, or one with all its numbers."""
    box_format: Literal["xyxy", "xywh", "points"] | None = None
    """Numbers of a box in ``annotations``: left, top, right, bottom; left, top, width, height;
    or x, y of any number of points, around which the box is drawn."""
    several: Literal["union", "largest", "first"] = "union"
    """Of several boxes of a picture: the box around all, the largest, or the first listed."""

    sources: ClassVar[frozenset[str]] = frozenset(
        ("annotations", "image_column", "box_columns", "box_format", "several")
    )

    @model_validator(mode="after")
    def _whole_source(self) -> "CropBoxStep":
        given = _changed(self) & (self.sources - {"annotations"})
        if self.annotations is None:
            if given:
                raise ValueError(
                    f"{', '.join(sorted(given))} describe annotations, and no file is named: "
                    "name it, or leave them out to take the box columns of competition.toml"
                )
            return self
        missing = [
            name
            for name in ("image_column", "box_columns", "box_format")
            if not getattr(self, name)
        ]
        if missing:
            raise ValueError(f"annotations = {self.annotations!r} needs {', '.join(missing)}")
        if self.box_format != "points" and len(self.box_columns) not in (1, 4):
            raise ValueError("box_columns are four columns, or one with four numbers")
        if self.box_format == "points" and len(self.box_columns) != 1:
            raise ValueError('box_format = "points" takes one column with all numbers')
        return self


WHOLE = "whole"
"""In place of a file with boxes: the picture is not cropped."""


class BoxShare(Settings):
    """Boxes that a share of the training pictures is cropped to, drawn anew in every epoch."""

    boxes: str
    """CSV file with a box of each training picture, or ``whole``: no crop."""
    share: float = Field(gt=0, lt=1)
    """Probability that a picture is cropped to them."""


class AlignStep(_Step):
    """Turn, scale and shift each picture until two landmarks lie where all others' do."""

    step: Literal["align"]
    """Standard pose from two landmarks, such as the eyes."""
    columns: tuple[str, str, str, str]
    """Columns of the tables with x, y of the landmark on the left and x, y of the other one,
    in pixels."""
    size: tuple[SidePx, SidePx]
    """Width and height of the result in pixels."""
    distance: float = Field(0.4, gt=0, le=1)
    """Distance of the landmarks as a share of the width."""
    centre: tuple[Share, Share] = (0.5, 0.4)
    """Where the middle between them lies, as shares of width and height."""
    fill: Colour = BLACK
    """Colour of what lies outside of the picture: red, green, blue."""

    sources: ClassVar[frozenset[str]] = frozenset(("columns",))


class FaceCropStep(_Step):
    """Cut out where the face of an upright portrait is likely to be, without a detector."""

    step: Literal["face_crop"]
    """Found from how grey values are spread (iloveslowfood/ImageClassfication)."""


class FovCropStep(_Step):
    """Cut the square inside a round field of view out of its dark surroundings."""

    step: Literal["fov_crop"]
    """Dermoscopes, fundus cameras, endoscopes (ngessert/isic2019)."""
    margin: float = Field(0.1, ge=0, lt=1)
    """Share of the radius that the square stays inside of the circle."""
    threshold: float = Field(0.2, gt=0, le=1)
    """Share of Otsu's grey value from which a pixel belongs to the field of view."""
    max_ratio: float = Field(0.3, gt=0, le=1)
    """Largest brightness outside the square divided by that inside; else nothing is cut."""


class BorderCropStep(_Step):
    """Cut off borders of one colour, such as letterboxes and frames of scanners."""

    step: Literal["border_crop"]
    """Each side by itself, frames inside frames too."""
    tolerance: int = Field(10, ge=0, le=64)
    """Largest difference of grey values inside a border."""


class PadSquareStep(_Step):
    """Put each picture in the middle of a square as long as its longer side."""

    step: Literal["pad_square"]
    """Nothing is cut and nothing is squashed later."""
    fill: Colour = BLACK
    """Colour of what is added: red, green, blue."""


class ResizeStep(_Step):
    """Bring each picture to a size, in one of four ways."""

    step: Literal["resize"]
    """Before the store, which shrinks what is larger than ``pixels.stored_short_side``."""
    how: Literal["stretch", "fit", "short_side", "long_side"]
    """``stretch`` to ``size``, ``fit`` the whole into ``size`` and pad, or give the
    ``short_side`` or ``long_side`` the length ``side``."""
    size: tuple[SidePx, SidePx] | None = None
    """Width and height in pixels, for ``stretch`` and ``fit``."""
    side: SidePx | None = None
    """Length in pixels, for ``short_side`` and ``long_side``."""
    fill: Colour = BLACK
    """Colour of what ``fit`` adds: red, green, blue."""
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    """Filter; shrinking is antialiased."""

    @model_validator(mode="after")
    def _one_size(self) -> "ResizeStep":
        wanted, other = ("size", "side") if self.how in ("stretch", "fit") else ("side", "size")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f'how = "{self.how}" takes {wanted}, and no {other}')
        if "fill" in _changed(self) and self.how != "fit":
            raise ValueError('fill has no effect: only how = "fit" adds anything')
        return self


class GreyscaleStep(_Step):
    """Replace all three channels by the luma."""

    step: Literal["greyscale"]
    """0.299 red + 0.587 green + 0.114 blue."""


class ClaheStep(_Step):
    """Equalise lightness tile by tile with limited contrast; colours stay."""

    step: Literal["clahe"]
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, 1994)."""
    limit: float = Field(2.0, gt=0, le=100)
    """How many times the mean of its tile's histogram one grey value may count."""
    grid: int = Field(8, ge=1, le=64)
    """Tiles along each side."""


class _FactorStep(_Step):
    factor: float = Field(gt=0, le=10)
    """What is multiplied; 1 would change nothing."""

    @model_validator(mode="after")
    def _changes_something(self) -> "_FactorStep":
        if self.factor == 1:
            raise ValueError("factor = 1 changes nothing: leave the step out")
        return self


class BrightnessStep(_FactorStep):
    """Multiply all values."""

    step: Literal["brightness"]
    """All values times ``factor``."""


class ContrastStep(_FactorStep):
    """Spread values around the mean luma of the picture, or draw them together."""

    step: Literal["contrast"]
    """The distance from the mean times ``factor``."""


class SaturationStep(_FactorStep):
    """Make colours stronger or paler."""

    step: Literal["saturation"]
    """The distance of each pixel from its luma times ``factor``."""


class GammaStep(_Step):
    """Brighten or darken the middle greys; black and white stay."""

    step: Literal["gamma"]
    """``value^power`` of values from 0 to 1."""
    power: float = Field(gt=0, le=10)
    """Above 1 darkens, below 1 brightens; 1 would change nothing."""

    @model_validator(mode="after")
    def _changes_something(self) -> "GammaStep":
        if self.power == 1:
            raise ValueError("power = 1 changes nothing: leave the step out")
        return self


class MinMaxStep(_Step):
    """Stretch the values of each picture to 0 to 255; one of a single colour stays."""

    step: Literal["min_max"]
    """All channels together, so that colours stay."""


class ShadesOfGreyStep(_Step):
    """Take the colour of the light out of each picture."""

    step: Literal["shades_of_grey"]
    """Colour constancy (Finlayson and Trezzi, 2004)."""
    power: float = Field(6.0, ge=1, le=20)
    """Power of the mean that becomes grey; 1: grey world, large: brightest values."""


class OutlineStep(_Step):
    """Find the edges of the picture, and show only them or put them into a channel."""

    step: Literal["outline"]
    """Canny's edges, white on black."""
    into: Literal["mask", "red", "green", "blue"] = "mask"
    """``mask``: nothing but the edges is left; else the channel that they replace."""
    share: float = Field(0.1, gt=0, lt=1)
    """Share of the pixels whose slope is steep enough to begin an edge."""


PrepareStep = Annotated[
    CropBoxStep
    | AlignStep
    | FaceCropStep
    | FovCropStep
    | BorderCropStep
    | PadSquareStep
    | ResizeStep
    | GreyscaleStep
    | ClaheStep
    | BrightnessStep
    | ContrastStep
    | SaturationStep
    | GammaStep
    | MinMaxStep
    | ShadesOfGreyStep
    | OutlineStep,
    Field(discriminator="step"),
]

# What looks for a crop in the values of the picture as it was taken.
_FINDERS = {"face_crop", "fov_crop", "border_crop"}
_ADDS_BORDERS = {"pad_square", "align"}
_CHANGES_VALUES = {
    "greyscale",
    "clahe",
    "brightness",
    "contrast",
    "saturation",
    "gamma",
    "min_max",
    "shades_of_grey",
    "outline",
}
_NEEDS_COLOUR = {"saturation", "shades_of_grey", "greyscale"}


def plain_steps(steps: Sequence[PrepareStep]) -> list[dict[str, Any]]:
    """The steps as ``gorae.preprocess.steps`` takes them, ready for JSON."""
    return [step.plain() for step in steps]


def order_problems(steps: Sequence[PrepareStep]) -> list[str]:
    """One line for each step that has no effect, or the wrong one, where it stands."""
    lines = []
    before: dict[str, PrepareStep] = {}
    for number, step in enumerate(steps, start=1):
        name = step.step
        said = f"step {number}, {name}"
        if name in before:
            lines.append(f"{said}, is there twice: give each step once")
        if name in _FINDERS and (values := [n for n in before if n in _CHANGES_VALUES]):
            lines.append(
                f"{said}, looks for the crop in the values as they were taken: put it before "
                f"{values[0]}"
            )
        if name in _FINDERS and (borders := [n for n in before if _adds_border(before[n])]):
            lines.append(f"{said}, would look at what {borders[0]} added: put it before")
        if name in _NEEDS_COLOUR and (grey := [n for n in before if _leaves_grey(before[n])]):
            lines.append(f"{said}, has no effect: {grey[0]} leaves no colours")
        before.setdefault(name, step)
    return lines


def _adds_border(step: PrepareStep) -> bool:
    return step.step in _ADDS_BORDERS or (isinstance(step, ResizeStep) and step.how == "fit")


def _leaves_grey(step: PrepareStep) -> bool:
    return step.step == "greyscale" or (isinstance(step, OutlineStep) and step.into == "mask")
