"""What a mask says of the cells of a coarse grid."""

from __future__ import annotations

import numpy as np

from server.dataset.mask_cells import UNTOLD, told
from shared.sight.ground import GROUND

WALKABLE, ROAD, CURB, OBSTACLE = map(GROUND.index, ("walkable", "road", "curb", "obstacle"))


def test_cells_say_what_the_mask_says_and_nothing_where_it_says_nothing() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[30:, :40], mask[30:, 40:] = WALKABLE, ROAD
    cells = told(mask, 10)
    assert (cells[:5] == UNTOLD).all()
    assert (cells[5:, :5] == WALKABLE).all()
    assert (cells[5:, 5:] == ROAD).all()


def test_where_road_meets_pavement_only_a_set_with_curbs_says_what_is_there() -> None:
    mask = np.full((40, 40), WALKABLE, np.uint8)
    mask[:, 22:] = ROAD  # the border runs through the sixth of ten columns
    assert (told(mask, 10)[:, 5] == UNTOLD).all()
    mask[:, 21:23] = CURB
    assert (told(mask, 10)[:, 5] == CURB).all()
    mask[:, 21:23] = OBSTACLE
    assert (told(mask, 10)[:, 5] == OBSTACLE).all()
