"""Capture functions that misbehave in one way each, as real devices do. They run in a capture process."""

from __future__ import annotations

import ctypes
import os
import threading
from itertools import count
from pathlib import Path

import numpy as np

from device.capture.pipe import Outlet
from device.capture.source import SeveralCameras
from shared.clock import SystemClock
from shared.errors import MediaError

HELLO = {"width_px": 32, "height_px": 24, "fps": 10.0}


def _hang() -> None:
    threading.Event().wait()


def never_starts(out: Outlet) -> None:
    """Hangs while it opens its device."""
    _hang()


def hangs_after(out: Outlet, *, pictures: int) -> None:
    """Gives some pictures, then hangs."""
    out.hello(HELLO)
    for _ in range(pictures):
        out.picture(np.zeros((24, 32, 3), np.uint8), SystemClock().monotonic_s())
    _hang()


def hangs_inside_a_picture(out: Outlet) -> None:
    """Writes half of a picture, then hangs: a write that the driver's buffer went away under."""
    out.hello(HELLO)
    halved = np.zeros((24, 32, 3), np.uint8)
    read_end, write_end = os.pipe()
    Outlet(write_end).picture(halved, SystemClock().monotonic_s())
    os.write(out.fd, os.read(read_end, 1000))
    _hang()


def fails(out: Outlet, *, text: str, hint: str = "") -> None:
    """Says that its device is not there."""
    raise MediaError(text, hint=hint)


def one_of_several(out: Outlet, *, second: str) -> None:
    """Gives pictures, except while the file is there that stands for a second camera."""
    if Path(second).exists():
        raise SeveralCameras("2 cameras are plugged in", hint="Set capture.source.")
    out.hello(HELLO)
    drawn, ticking = np.random.default_rng(1), threading.Event()
    while not Path(second).exists():
        out.picture(drawn.integers(0, 255, (24, 32, 3), np.uint8), SystemClock().monotonic_s())
        ticking.wait(0.1)
    raise MediaError("its plug was pulled")


def crashes(out: Outlet) -> None:
    """Dies inside a C library."""
    out.hello(HELLO)
    ctypes.string_at(0)


def raises(out: Outlet) -> None:
    """A bug of ours."""
    raise RuntimeError("the lens cap is on")


def talks_nonsense(out: Outlet) -> None:
    """Writes what is no message."""
    os.write(out.fd, b"\xff" * 4096)
    _hang()


def counts_up(out: Outlet, *, pictures: int, fps: float = 10.0, height_px: int = 24, width_px: int = 32) -> None:
    """As many pictures as asked, each filled with its number, as fast as they are taken, then the end."""
    out.hello({"width_px": width_px, "height_px": height_px, "fps": fps})
    later_s = SystemClock().monotonic_s() + 10.0  # after `open` has returned, however slow the machine
    for number in range(pictures):
        out.picture(np.full((height_px, width_px, 3), number % 256, np.uint8), later_s + number / fps)


def numbered(out: Outlet, *, fps: float) -> None:
    """In real time, without end: noise that is another each time, with the picture's number in the first two pixels."""
    out.hello({"width_px": 64, "height_px": 48, "fps": fps})
    ticking, began_s = threading.Event(), SystemClock().monotonic_s()
    for number in count():
        picture = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
        picture[0, :2, 0] = divmod(number, 256)
        ticking.wait(max(0.0, began_s + number / fps - SystemClock().monotonic_s()))
        out.picture(picture, SystemClock().monotonic_s())


def goes_back_in_time(out: Outlet) -> None:
    """Stamps out of order."""
    out.hello(HELLO)
    now_s = SystemClock().monotonic_s() + 10.0
    for offset_s in (0.0, 0.2, 0.1, 0.3):
        out.picture(np.zeros((24, 32, 3), np.uint8), now_s + offset_s)
