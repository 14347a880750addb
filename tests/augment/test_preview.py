import numpy as np
import torch

from gorae.augment.plan import POLICIES, resolve_augment
from gorae.augment.preview import CELL_PX, GAP_PX, MARGIN_PX, Cell, Row, describe, draw_sheet


def one_colour(colour: tuple[int, int, int], height: int = 30, width: int = 30) -> Cell:
    pixels = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return Cell(pixels.expand(3, height, width), "caption")


def test_pictures_are_whole_and_not_squashed() -> None:
    rows = [Row("wide", (one_colour((250, 0, 0), 20, 80), one_colour((0, 0, 250), 80, 20)))]
    sheet = np.asarray(draw_sheet("title", ["line"], columns=["a", "b"], rows=rows))
    for colour, height, width in ((0, CELL_PX // 4, CELL_PX), (2, CELL_PX, CELL_PX // 4)):
        wanted = np.zeros(3)
        wanted[colour] = 250
        places = np.nonzero((sheet == wanted).all(axis=2))
        assert [int(np.ptp(p)) + 1 for p in places] == [height, width]


def test_the_sheet_is_as_wide_as_its_widest_row_and_grows_with_rows() -> None:
    def size(*lengths: int) -> tuple[int, int]:
        rows = [Row("row", (one_colour((9, 9, 9)),) * length) for length in lengths]
        return draw_sheet("title", [], columns=["a"], rows=rows).size

    assert size(2)[0] == 2 * MARGIN_PX + 2 * CELL_PX + GAP_PX
    assert size(2, 5)[0] == size(5)[0]
    assert size(2, 2, 2)[1] - size(2, 2)[1] == size(2, 2)[1] - size(2)[1] > CELL_PX


def test_words_of_any_script_and_length_can_be_drawn() -> None:
    row = Row("고래 · 아주 긴 이름 " * 30, (one_colour((1, 2, 3)),))
    sheet = draw_sheet("고래", ["a line " * 50], columns=["x"], rows=[row])
    assert sheet.width == 2 * MARGIN_PX + CELL_PX


def test_plans_are_described_in_the_order_of_their_steps() -> None:
    assert describe(POLICIES["none"]) == "the square that evaluation sees"
    assert describe(POLICIES["standard"]) == (
        "random crop of 35% to 100% of the area; left-right flip (50%)"
    )
    plan = resolve_augment("random", {"transforms": ({"name": "Pad", "padding": 2},)})
    assert describe(plan) == (
        "centre square; random crop of 8% to 100% of the area; RandAugment(2, 9); Pad"
    )
    text = describe(POLICIES["isic2020"])
    assert "turn ± 15 degrees, zoom 0.9 to 1.1, shift ± 10% (85%)" in text
    assert text.endswith("black square of 37.5% of the side (70%)")
