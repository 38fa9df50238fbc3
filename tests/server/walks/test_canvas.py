"""The camera and the brush."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.walks.canvas import Canvas, Stand, axes
from server.walks.scene import Pose

SMALL = st.floats(-0.4, 0.4)
METRES = st.floats(-30, 30)


def canvas(pose: Pose | None = None) -> Canvas:
    return Canvas(np.zeros((120, 160, 3), dtype=np.uint8), pose or Pose())


@given(SMALL, SMALL, SMALL)
def test_the_camera_axes_are_at_right_angles(yaw: float, pitch: float, roll: float) -> None:
    right, up, forward = (np.array(axis) for axis in axes(Pose(yaw=yaw, pitch=pitch, roll=roll)))
    for a, b in ((right, up), (up, forward), (forward, right)):
        assert float(a @ b) == pytest.approx(0, abs=1e-9)
    assert float(np.linalg.norm(forward)) == pytest.approx(1)


def test_what_is_in_front_is_in_the_middle_and_right_is_right() -> None:
    brush = canvas(Pose(pitch=0.0))
    column, row, distance = brush.pixel((0.0, 1.3, 5.0))
    assert (column, row, distance) == pytest.approx((79.5, 59.5, 5.0))
    assert brush.pixel((1.0, 1.3, 5.0))[0] > column
    assert brush.pixel((0.0, 0.0, 5.0))[1] > row


def test_75_degrees_fill_the_width() -> None:
    brush = canvas(Pose(pitch=0.0))
    edge = math.tan(math.radians(37.5)) * 4.0
    assert brush.pixel((edge, 1.3, 4.0))[0] == pytest.approx(159.5)


@given(st.lists(st.tuples(METRES, METRES, METRES), min_size=3, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_polygon_can_be_drawn_in_front_behind_or_through_the_camera(
    points: list[tuple[float, float, float]],
) -> None:
    brush = canvas()
    brush.current = 7
    brush.poly(points, (200, 100, 50), convex=False)
    brush.line(points[0], points[1], 0.1, (10, 20, 30))
    brush.ball(points[2], 0.3, (10, 20, 30))
    assert set(np.unique(brush.ids)) <= {0, 7}
    if not any(brush.seen_from(p)[2] > 0 for p in points):
        assert not brush.ids.any()


def test_a_label_lies_where_the_paint_is() -> None:
    brush = canvas()
    brush.current = 3
    brush.box(Stand(0.4, 3.0, 0.5), (-0.3, 0.3), (0.0, 0.9), (-0.3, 0.3), (250, 250, 250))
    painted = brush.image.any(axis=2)
    labelled = brush.ids == 3
    assert labelled.sum() > 200
    assert (painted & labelled).sum() > 0.97 * labelled.sum()
    assert painted.sum() < 1.35 * labelled.sum()  # antialiased edges


def test_later_strokes_cover_earlier_ones() -> None:
    brush = canvas()
    for label, z in ((1, 6.0), (2, 3.0)):
        brush.current = label
        brush.upright(0.0, z, (0.0, 1.0), (1.0, 1.0), (100 * label, 0, 0))
    assert (brush.ids == 2).sum() > (brush.ids == 1).sum()
    column, row, _ = brush.pixel((0.0, 0.5, 3.0))
    assert brush.ids[round(row), round(column)] == 2
