"""What the ground of a drawn scene is: places by their geometry, things by their masks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from server import walks
from server.walks import ground
from server.walks.paint import render
from server.walks.scene import Place, Pose, Scene, Thing
from shared.sight.ground import GROUND

GRID = 10
STREET = Place(path="slabs0", left="grass0", right="asphalt1", path_left_m=-1.0, path_right_m=1.0, end_m=60.0)


def seen(place: Place, *things: Thing) -> NDArray[np.uint8]:
    scene = Scene(place=place, things=things, pose=Pose(pitch=0.2))
    return ground.cells(render(scene, width_px=320, height_px=240).ground, GRID)


def names(cells: NDArray[np.uint8]) -> list[str]:
    return [GROUND[at] for at in cells]


def test_the_path_lies_between_what_is_beside_it() -> None:
    near = names(seen(STREET)[8])
    assert (near[0], near[5], near[-1]) == ("grass", "walkable", "road")


def test_the_sky_is_unknown_and_a_wall_stands_upright() -> None:
    walled = Place(path="tiles0", left="tiles0", right="tiles0", left_wall_m=-1.5, right_wall_m=1.5, end_m=60.0)
    assert set(names(seen(STREET)[0])) == {"unknown"}
    assert {names(seen(walled)[5])[0], names(seen(walled)[5])[-1]} == {"obstacle"}


def test_asphalt_beside_an_asphalt_path_is_more_of_it() -> None:
    wide = Place(path="asphalt2", left="asphalt1", right="asphalt1", path_left_m=-0.5, path_right_m=0.5)
    assert set(names(seen(wide)[-1])) == {"walkable"}


def test_a_road_across_begins_where_the_place_says() -> None:
    crossed = Place(path="slabs0", left="slabs0", right="slabs0", cross_from_m=4.0, cross_to_m=9.0, end_m=60.0)
    column = names(seen(crossed)[:, 5])
    assert column[-1] == "walkable"
    assert "road" in column[5:8]


@pytest.mark.parametrize(
    ("name", "due"),
    [("curb", "curb"), ("stairs down", "step down"), ("stairs up", "step up"), ("drop-off", "drop"),
     ("crosswalk", "crosswalk"), ("slippery ground", "water"), ("bollard", "obstacle"), ("vehicle", "obstacle")],
)  # fmt: skip
def test_what_is_named_in_a_frame_is_in_its_ground(name: str, due: str) -> None:
    shot = walks.random_frame(np.random.default_rng(4), want=name, width_px=320, height_px=240)
    cells = ground.cells(shot.ground, GRID)
    mask = shot.mask == walks.DRAWN.index(name) + 1
    rows, columns = np.nonzero(mask)
    at = int(np.median(rows) * GRID / mask.shape[0]), int(np.median(columns) * GRID / mask.shape[1])
    around = cells[max(0, at[0] - 1) : at[0] + 2, max(0, at[1] - 1) : at[1] + 2]
    assert GROUND.index(due) in around


def test_a_thin_thing_is_what_its_cell_is() -> None:
    rays = np.full((ground.RAYS, ground.RAYS), GROUND.index("walkable"), np.uint8)
    rays[:, 2] = GROUND.index("obstacle")  # a quarter of the first column of cells
    rays[4, 9] = GROUND.index("obstacle")  # a sixteenth of another cell
    cells = ground.cells(rays, GRID)
    assert set(names(cells[:, 0])) == {"obstacle"}
    assert set(names(cells[:, 1:].ravel())) == {"walkable"}


def test_a_grid_that_does_not_divide_the_rays_covers_them_all() -> None:
    rays = np.full((ground.RAYS, ground.RAYS), GROUND.index("road"), np.uint8)
    assert ground.cells(rays, 19).shape == (19, 19)
    assert set(ground.cells(rays, 19).ravel()) == {GROUND.index("road")}
    with pytest.raises(ValueError, match="make no 41 cells"):
        ground.cells(rays, 41)
