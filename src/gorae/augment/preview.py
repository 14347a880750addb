"""A sheet of pictures that shows what a plan does, to be looked at before training."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont

from gorae.augment.plan import Affine, AugmentPlan, Share

CELL_PX = 168
GAP_PX = 8
MARGIN_PX = 24
CAPTION_PX = 20
TITLE_PX = 22
LINE_PX = 19
GROUP_PX = 16

PAPER, INK, MUTED, EMPTY = "#ffffff", "#1b2733", "#5b6876", "#eef1f4"

# Fonts with Hangul and more where they are: Linux, macOS, Windows. Pillow's own has Latin only.
WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NanumGothic.ttf",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
)


@dataclass(frozen=True)
class Cell:
    """One picture of the sheet, uint8 (3, H, W), and the line under it."""

    image: torch.Tensor
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Pictures beside each other under one heading."""

    heading: str
    cells: tuple[Cell, ...]


def draw_sheet(
    title: str, lines: Sequence[str], *, columns: Sequence[str], rows: Sequence[Row]
) -> Image.Image:
    """Rows of pictures with words.

    Args:
        title: First line, large.
        lines: What the plan does, a line each.
        columns: What stands above each column of the first rows.
        rows: As many rows as wanted; one may be shorter or longer than the others.
    """
    widest = max(len(columns), *(len(row.cells) for row in rows))
    width = 2 * MARGIN_PX + widest * (CELL_PX + GAP_PX) - GAP_PX
    title_font, font = _font(title, TITLE_PX), ImageFont.load_default(LINE_PX - 5)
    wrapped = [part for line in lines for part in _wrapped(line, font, width - 2 * MARGIN_PX)]
    head = MARGIN_PX + TITLE_PX + 12 + len(wrapped) * LINE_PX + GROUP_PX
    height = head + LINE_PX + 4 + sum(_height_px(row) for row in rows) + MARGIN_PX - GROUP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN_PX, MARGIN_PX), _drawable(title), fill=INK, font=title_font)
    for number, line in enumerate(wrapped):
        place = MARGIN_PX, MARGIN_PX + TITLE_PX + 12 + number * LINE_PX
        pen.text(place, line, fill=MUTED, font=font)
    for number, column in enumerate(columns):
        left = MARGIN_PX + number * (CELL_PX + GAP_PX)
        pen.text((left, head), column, fill=MUTED, font=font)
    top = head + LINE_PX + 4
    for row in rows:
        _draw_row(sheet, row, top=top)
        top += _height_px(row)
    return sheet


def _height_px(row: Row) -> int:
    has_captions = any(cell.caption for cell in row.cells)
    return CAPTION_PX * (1 + has_captions) + CELL_PX + GROUP_PX


def _draw_row(sheet: Image.Image, row: Row, *, top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    heading = _fitted(row.heading, LINE_PX - 4, sheet.width - 2 * MARGIN_PX)
    font = _font(heading, LINE_PX - 4)
    pen.text((MARGIN_PX, top), heading, fill=INK, font=font)
    for number, cell in enumerate(row.cells):
        left = MARGIN_PX + number * (CELL_PX + GAP_PX)
        corner = left, top + CAPTION_PX
        sheet.paste(_fitted_picture(cell.image), corner)
        caption = _fitted(cell.caption, LINE_PX - 6, CELL_PX)
        place = left, corner[1] + CELL_PX + 2
        pen.text(place, caption, fill=MUTED, font=_font(caption, LINE_PX - 6))


def _fitted_picture(image: torch.Tensor) -> Image.Image:
    """The whole image in a cell, never squashed; what it leaves free is light grey."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    scale = CELL_PX / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    cell = Image.new("RGB", (CELL_PX, CELL_PX), EMPTY)
    small = picture.resize(size, Image.Resampling.BICUBIC)
    cell.paste(small, ((CELL_PX - size[0]) // 2, (CELL_PX - size[1]) // 2))
    return cell


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that has the letters of ``text``, as far as one is found."""
    wide = None if _is_latin(text) else _wide_font(size)
    return wide or ImageFont.load_default(size)


def _wide_font(size: int) -> ImageFont.FreeTypeFont | None:
    for name in WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        # Not on this machine; the next one may be.
        except OSError:
            continue
    return None


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 0x250 or letter in "–·" for letter in text)


def _drawable(text: str) -> str:
    """The text; letters that no font here has, as a dot each."""
    if _is_latin(text) or _wide_font(LINE_PX):
        return text
    return "".join(letter if _is_latin(letter) else "·" for letter in text)


def _fitted(text: str, size: int, width_px: int) -> str:
    """The text, its middle left out where it is longer than ``width_px``."""
    text = _drawable(text)
    font = _font(text, size)
    kept = len(text)
    shown = text
    while font.getlength(shown) > width_px and kept > 2:
        kept -= 1
        shown = text[: (kept + 1) // 2] + "..." + text[len(text) - kept // 2 :]
    return shown


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width_px and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def describe(plan: AugmentPlan) -> str:
    """What may happen to a picture, in the order in which it happens."""
    parts = [
        *_framing(plan),
        *_often("transpose", plan.transpose),
        *_often("upside-down flip", plan.vflip),
        *_often("left-right flip", plan.hflip),
        *_often(f"brightness ± {plan.shift.limit:.0%}", plan.shift.p),
        *_often(f"all values {_around(plan.gain.limit)} times", plan.gain.p),
        *_often(f"saturation {_around(plan.saturation.limit)} times", plan.saturation.p),
        *_often("blur or noise", plan.blur_noise),
        *_often("lens, grid or wave distortion", plan.distortion),
        *_often(f"local contrast up to {plan.clahe.limit:g} times", plan.clahe.p),
        *_often("hue, saturation and value", plan.hsv),
    ]
    if plan.affine is not None:
        parts += _often(_affine(plan.affine), plan.affine.p)
    if plan.rand_ops:
        parts.append(f"RandAugment({plan.rand_ops}, {plan.rand_magnitude:g})")
    parts += [transform.name for transform in plan.transforms]
    parts += _often(f"black square of {plan.cutout_side:.1%} of the side", plan.cutout)
    parts += _often("random erasing", plan.erasing)
    return "; ".join(parts)


def _framing(plan: AugmentPlan) -> list[str]:
    parts = _often("face crop", plan.face_crop)
    if plan.center_square:
        parts.append("centre square")
    if plan.scale is None:
        return [*parts, "the square that evaluation sees"]
    return [*parts, f"random crop of {_percent(plan.scale)} of the area"]


def _affine(affine: Affine) -> str:
    low, high = affine.scale
    parts = [f"turn ± {affine.rotate_deg:g} degrees", f"zoom {low:g} to {high:g}"]
    if affine.shift:
        parts.append(f"shift ± {affine.shift:.0%}")
    if affine.shear_deg:
        parts.append(f"slant ± {affine.shear_deg:g} degrees")
    return ", ".join(parts)


def _often(what: str, p: float) -> list[str]:
    if p == 0:
        return []
    return [what if p == 1 else f"{what} ({p:.0%})"]


def _around(limit: float) -> str:
    return f"{1 - limit:.2g} to {1 + limit:.3g}"


def _percent(share: Share) -> str:
    low, high = share
    return f"{high:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
