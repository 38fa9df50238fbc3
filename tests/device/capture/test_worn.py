"""Which angle distances are told by: the one that was set, else the one that the camera tells, else a likely one."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from device.capture.settings import CaptureSettings
from device.capture.source import VideoFrame
from device.capture.worn import WornCamera

IMAGE = np.zeros((48, 64, 3), np.uint8)


def frame(fov_deg: float | None) -> VideoFrame:
    return VideoFrame(IMAGE, 0.0, fov_deg=fov_deg)


def test_without_a_word_of_it_a_likely_angle_is_taken_and_not_passed_for_known() -> None:
    worn = WornCamera(CaptureSettings())
    worn.saw(frame(None))
    assert worn().fov_deg == 62.0
    assert worn.known_deg == 0.0


def test_what_the_camera_tells_is_used_from_its_first_picture_on(caplog: pytest.LogCaptureFixture) -> None:
    worn = WornCamera(CaptureSettings(camera_height_m=1.1))
    with caplog.at_level(logging.INFO):
        worn.saw(frame(102.0))
        worn.saw(frame(102.0))
    assert (worn().fov_deg, worn().height_m, worn.known_deg) == (102.0, 1.1, 102.0)
    assert caplog.text.count("sees 102 degrees") == 1


def test_another_camera_on_the_way_brings_its_own_angle() -> None:
    worn = WornCamera(CaptureSettings())
    worn.saw(frame(102.0))
    worn.saw(frame(66.0))
    assert worn().fov_deg == 66.0


def test_what_was_set_by_hand_stays() -> None:
    worn = WornCamera(CaptureSettings(camera_fov_deg=70.0))
    worn.saw(frame(102.0))
    assert (worn().fov_deg, worn.known_deg) == (70.0, 70.0)


@pytest.mark.parametrize("fov_deg", [5.0, 179.0])
def test_an_angle_that_no_camera_has_changes_nothing(fov_deg: float, caplog: pytest.LogCaptureFixture) -> None:
    worn = WornCamera(CaptureSettings())
    worn.saw(frame(fov_deg))
    assert worn().fov_deg == 62.0
    assert "as if the camera saw 62 degrees" in caplog.text


def test_an_angle_by_which_no_ground_is_seen_changes_nothing() -> None:
    worn = WornCamera(CaptureSettings(camera_pitch_deg=-8.0))
    worn.saw(frame(20.0))
    assert worn().fov_deg == 62.0
