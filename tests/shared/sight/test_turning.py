"""How far a camera turned, on drawn walks whose turns are known and on windows of real pictures."""

from __future__ import annotations

import numpy as np
import pytest

from server.walks.places import place
from server.walks.scene import VIEW_DEG, Weather
from server.walks.sky import light
from server.walks.walk import Leg, Walk, pose_at, render_frame
from shared.jpeg import decode_picture
from shared.sight import Camera
from shared.sight.turning import WIDTH_PX, thumb, turned
from tests.paths import DATA

CAMERA = Camera(fov_deg=VIEW_DEG)


def test_turns_on_a_drawn_walk_are_found() -> None:
    rng = np.random.default_rng(3)
    swing = Leg(0.0, 6.0, "street", place("street", rng), light("day", rng), turn=1.0, came=-1.0)
    walk = Walk("turns", 3, 6.0, (swing,), Weather(noise=2.5))
    errors, unknown, before = list[float](), 0, None
    for number in range(1, 24):
        at_s = number / 4
        leg = walk.leg_at(at_s)
        here = (leg, pose_at(leg, at_s).yaw, thumb(render_frame(walk, at_s).image))
        if before is not None and before[0] is leg:
            found = turned(before[2], here[2], CAMERA, aspect=4 / 3)
            unknown += found is None
            errors += [] if found is None else [abs(found[0] - (here[1] - before[1]))]
        before = here
    assert len(errors) > 15
    assert unknown <= 2
    assert np.median(errors) < 0.006
    assert np.quantile(errors, 0.95) < 0.03


def test_pictures_of_two_places_have_no_turn_between_them() -> None:
    rng = np.random.default_rng(1)
    one, other = (rng.integers(0, 255, (120, 160, 3), dtype=np.uint8) for _ in range(2))
    assert turned(thumb(one), thumb(other), CAMERA, aspect=4 / 3) is None
    blank = np.zeros((120, 160, 3), np.uint8)
    assert turned(thumb(blank), thumb(blank), CAMERA, aspect=4 / 3) is None


@pytest.mark.skipif(not (DATA / "stills").is_dir(), reason="the real data (../shared/data) is not here")
@pytest.mark.parametrize("share", [0.05, -0.15, 0.3])
def test_a_window_of_a_real_picture_that_moves_is_a_turn(share: float) -> None:
    for file in sorted((DATA / "stills").glob("*.jpg"))[:6]:
        image = decode_picture(file.read_bytes())
        assert image is not None
        wide = round(image.shape[1] * 0.75)
        moves = round(wide * abs(share))
        first, second = image[:, :wide], image[:, moves : moves + wide]
        if share < 0:
            first, second = second, first
        found = turned(thumb(first), thumb(second), CAMERA, aspect=4 / 3)
        assert found is not None
        assert found[0] == pytest.approx(np.arctan(share * CAMERA.across), abs=CAMERA.across * 1.5 / WIDTH_PX)
