"""A frozen camera behind a video codec is told from one whose wearer stands still, whatever the codec does to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from server.walks.frames import random_frame
from shared import lens
from tests.device.capture import films
from tests.paths import ROOT

Image = NDArray[np.uint8]
FPS = 10.0
WALKS = 20  # pictures of walking before
CASES = ROOT.parent / "shared" / "cases"
CODECS = {
    "a key frame a second": ("libx264", 10, {"crf": "23", "preset": "veryfast"}),
    "few bits": ("libx264", 15, {"b": "300k", "preset": "veryfast"}),
    "two key frames a second": ("libx264", 5, {"crf": "25", "preset": "veryfast"}),
    "one key frame": ("libx264", 250, {"crf": "28"}),
    "MPEG-4": ("mpeg4", 12, {"b": "800k"}),
    "JPEG": ("mjpeg", 1, {"qmin": "3", "qmax": "8"}),
}


class Street:
    """A drawn street seen by a worn camera: where it looks, and a sensor's noise."""

    def __init__(self) -> None:
        drawn = random_frame(np.random.default_rng(3), want="curb", width_px=400, height_px=300).image
        self.wide = cv2.resize(drawn, (480, 360), interpolation=cv2.INTER_CUBIC)
        self.rng = np.random.default_rng(0)

    def seen(self, x: float, y: float, noise: float = 2.0) -> Image:
        moved = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        image = cv2.warpAffine(self.wide, moved, (400, 300)).astype(np.float64)
        return np.clip(image + self.rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)

    def walked(self) -> list[Image]:
        return [self.seen(10 + 3 * n % 40, 10 + 2 * n % 30) for n in range(WALKS)]

    def standing(self, count: int) -> list[Image]:
        """A wearer sways by two pixels and more."""
        return [self.seen(25 + 2 * np.sin(n / 5), 23 + 2 * np.cos(n / 7)) for n in range(count)]


def clocked(images: list[Image]) -> Iterator[Image]:
    for number, image in enumerate(images):
        drawn = image.copy()
        cv2.putText(drawn, f"12:00:{number / FPS:05.2f}", (230, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
        yield drawn


def looked(path: Path, *, every_s: float = 0.25) -> list[tuple[float, bool]]:
    """When it was looked at, and whether the camera was taken for frozen."""
    history, due_s, found = lens.LensHistory(), 0.0, []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            if frame.time + 1e-6 >= due_s:
                due_s = frame.time + every_s
                image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                history, trouble = lens.examine(history, image, frame.time)
                found.append((frame.time, trouble is lens.LensTrouble.FROZEN))
    return found


FROZEN = [*((name, False) for name in CODECS), ("MPEG-4", True), ("few bits", True)]


@pytest.mark.parametrize(("codec", "clock"), FROZEN)
def test_a_frozen_camera_is_noticed_in_time_and_stays_so_until_the_scene_moves(
    tmp_path: Path, codec: str, clock: bool
) -> None:
    name, key_every, options = CODECS[codec]
    street = Street()
    before = street.walked()
    images = [*before, *[before[-1]] * 60, *street.walked()]
    film = tmp_path / "walk.mkv"
    films.of(film, clocked(images) if clock else images, fps=FPS, codec=name, key_every=key_every, options=options)
    froze_s, moved_s = WALKS / FPS, WALKS / FPS + 6.0
    found = looked(film)
    first_s = next(t_s for t_s, frozen in found if frozen)
    assert froze_s < first_s <= froze_s + 2.25  # and then three quarters of a second until it is said
    assert [t_s for t_s, frozen in found if first_s < t_s < moved_s and not frozen] == []
    assert [t_s for t_s, frozen in found if t_s > moved_s + 0.3 and frozen] == []


@pytest.mark.parametrize("codec", ["a key frame a second", "few bits", "two key frames a second", "one key frame"])
def test_a_wearer_who_stands_still_is_no_frozen_camera(tmp_path: Path, codec: str) -> None:
    name, key_every, options = CODECS[codec]
    street = Street()
    images = [*street.walked(), *street.standing(60)]
    films.of(tmp_path / "walk.mkv", images, fps=FPS, codec=name, key_every=key_every, options=options)
    assert not any(frozen for _, frozen in looked(tmp_path / "walk.mkv"))


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases that were seen in the field are not beside this checkout")
def test_the_frozen_camera_that_was_never_announced_is() -> None:
    found = looked(CASES / "frozen_gop1s.mp4")
    assert not any(frozen for t_s, frozen in found if t_s < 9.4)
    assert all(frozen for t_s, frozen in found if t_s > 10.3)
