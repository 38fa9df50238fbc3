"""A drawn thing at a known place has a box whose foot tells where it stands: shared.sight against the renderer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from server.walks import truth
from server.walks.catalogue import KINDS, of_kind
from server.walks.paint import paint
from server.walks.places import place
from server.walks.scene import VIEW_DEG, Pose, Scene, Thing
from shared.sight import Box, Camera
from shared.sight.hazards import Standing, standing

SIZES = {"4:3": (640, 480), "16:9": (960, 540), "portrait": (480, 640)}


def box_of(thing: Thing, pose: Pose, size: tuple[int, int]) -> Box | None:
    """Around the pixels that show it; None where it is not in the picture."""
    scene = Scene(place("square", np.random.default_rng(1)), (thing,), pose=pose)
    _, ids, _ = paint(scene, width_px=size[0], height_px=size[1])
    rows, columns = np.flatnonzero((ids == 1).any(axis=1)), np.flatnonzero((ids == 1).any(axis=0))
    if not rows.size:
        return None
    high, wide = ids.shape
    return Box(thing.object, 0.9, columns[0] / wide, rows[0] / high, (columns[-1] + 1) / wide, (rows[-1] + 1) / high)


def camera_of(pose: Pose) -> Camera:
    return Camera(height_m=pose.y_m, pitch_deg=math.degrees(pose.pitch), fov_deg=VIEW_DEG)


def stands(thing: Thing, pose: Pose, size: tuple[int, int]) -> tuple[Standing, truth.Bearing]:
    """By its box, and in truth."""
    box, at = box_of(thing, pose, size), truth.bearing(thing, pose)
    assert box is not None
    assert at is not None
    found = standing(box, camera_of(pose), aspect=size[0] / size[1])
    assert found is not None
    return found, at


def standing_at(name: str, variant: int, x_m: float, near_m: float) -> Thing:
    """A thing of that kind whose near edge is so far ahead."""
    thing = replace(of_kind(name, variant, np.random.default_rng(variant)), heading=0.0, x_m=x_m)
    return replace(thing, z_m=near_m + thing.reach_z_m())


# Round bins and poles are drawn flat at their middle, a bin on wheels has its foot inside its outline.
SOLID = [("bin", 2), ("furniture", 3), ("barrier", 2), ("vehicle", 0), ("vehicle", 1), ("person", 0)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("pitch_deg", [0.0, 11.0, 20.0])
@pytest.mark.parametrize(("name", "variant"), SOLID)
def test_the_distance_of_a_drawn_thing_is_that_of_its_box(
    name: str, variant: int, pitch_deg: float, shape: str
) -> None:
    pose = Pose(y_m=1.3, pitch=math.radians(pitch_deg))
    for near_m in (2.5, 4.0, 6.0, 8.0):
        found, at = stands(standing_at(name, variant, 0.0, near_m), pose, SIZES[shape])
        if box_cut_off(pose, near_m, SIZES[shape]):
            continue
        assert found.side == at.side == "ahead"
        # a pixel is 2 cm at 2.5 m and 15 cm at 8 m; feet and wheels are a little inside the footprint
        assert found.ahead_m == pytest.approx(at.ahead_m, rel=0.05, abs=0.2), near_m


def box_cut_off(pose: Pose, near_m: float, size: tuple[int, int]) -> bool:
    edge = camera_of(pose).ground(0.5, 1.0, aspect=size[0] / size[1])
    return edge is not None and edge.ahead_m >= near_m


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("yaw_deg", [-8.0, 0.0, 8.0])
@pytest.mark.parametrize("name", ["pole", "bollard", "person", "bin"])
def test_the_side_of_a_drawn_thing_is_that_of_its_box(name: str, yaw_deg: float, shape: str) -> None:
    pose = Pose(y_m=1.3, pitch=math.radians(11), yaw=math.radians(yaw_deg))
    judged = 0
    for x_m in (-1.6, -1.1, 0.0, 1.1, 1.6):
        for near_m in (2.5, 3.3):
            thing = standing_at(name, 0, x_m, near_m)
            at = truth.bearing(thing, pose)
            box = box_of(thing, pose, SIZES[shape])
            if at is None or box is None or box.left == 0 or box.right == 1 or abs(at.lateral_m - 0.45) < 0.12:
                continue
            found = standing(box, camera_of(pose), aspect=SIZES[shape][0] / SIZES[shape][1])
            assert found is not None
            assert found.side == at.side, (x_m, near_m)
            if at.side != "ahead":
                assert found.gap_m == pytest.approx(at.lateral_m, abs=0.25)
            judged += 1
    assert judged >= 5


@pytest.mark.parametrize("shape", SIZES)
def test_a_drawn_thing_whose_foot_is_cut_off_is_no_farther_than_the_lower_edge(shape: str) -> None:
    pose, size = Pose(y_m=1.3, pitch=0.0), SIZES[shape]
    edge = camera_of(pose).ground(0.5, 1.0, aspect=size[0] / size[1])
    assert edge is not None
    thing = standing_at("person", 0, 0.0, edge.ahead_m * 0.7)
    box = box_of(thing, pose, size)
    assert box is not None
    assert box.bottom == 1.0
    found = standing(box, camera_of(pose), aspect=size[0] / size[1])
    assert found is not None
    assert found.side == "ahead"
    assert found.ahead_m == pytest.approx(edge.ahead_m)


@pytest.mark.parametrize("variant", range(len(KINDS["head obstacle"])))
def test_what_hangs_above_the_camera_has_no_foot(variant: int) -> None:
    """It needs a head of its own: a box tells nothing of it."""
    pose = Pose(y_m=1.3, pitch=math.radians(11))
    box = box_of(standing_at("head obstacle", variant, 0.0, 3.0), pose, SIZES["4:3"])
    assert box is not None
    assert standing(box, camera_of(pose), aspect=4 / 3) is None


def test_a_wrong_pitch_of_five_degrees_moves_things_as_much_as_the_camera_module_says() -> None:
    """The figure of its docstring: 0.3 m at 2 m, whether it is the ground that rises or the camera that nods."""
    pose = Pose(y_m=1.3, pitch=math.radians(15))
    box = box_of(standing_at("person", 0, 0.0, 2.0), pose, SIZES["4:3"])
    assert box is not None
    true = standing(box, camera_of(pose), aspect=4 / 3)
    nodded = standing(box, replace(camera_of(pose), pitch_deg=20.0), aspect=4 / 3)
    assert true is not None
    assert nodded is not None
    assert true.ahead_m - nodded.ahead_m == pytest.approx(0.3, abs=0.15)
