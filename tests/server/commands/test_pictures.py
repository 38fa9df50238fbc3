"""Pictures in a terminal: asked for with a timeout, drawn in the terminal's own protocol, never in a plain one."""

from __future__ import annotations

import base64
import os
import pty
import re
import select
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from server.commands import pictures

DA1 = b"\x1b[?62;22c"
SIXEL_DA1 = b"\x1b[?62;4;22c"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@contextmanager
def answering(fd: int, name: bytes, da1: bytes, kitty: bytes) -> Iterator[None]:
    """A terminal emulator at the other end of a pty: answers each question that it understands, in order."""
    over = threading.Event()

    def answer() -> None:
        seen = b""
        while not over.is_set():
            if select.select([fd], [], [], 0.02)[0]:
                seen += os.read(fd, 1024)
            if seen.endswith(b"\x1b[c"):
                os.write(fd, (name if b"\x1b[>q" in seen else kitty) + da1)
                seen = b""

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("name", "da1", "kitty", "protocol"),
    [
        (b"\x1bP>|kitty(0.35)\x1b\\", DA1, b"\x1b_Gi=31;OK\x1b\\", "kitty"),
        (b"\x1bP>|ghostty 1.0\x1b\\", DA1, b"\x1b_Gi=31;OK\x1b\\", "kitty"),
        (b"\x1bP>|iTerm2 3.5\x1b\\", DA1, b"", "iterm2"),
        (b"\x1bP>|foot(1.16)\x1b\\", SIXEL_DA1, b"", "sixel"),
        (b"", SIXEL_DA1, b"", "sixel"),
        (b"", DA1, b"", None),
        (b"\x1bP>|kitty(0.35)\x1b\\", DA1, b"\x1b_Gi=31;ENOTSUP\x1b\\", None),
        (b"", b"\x1b[?4c", b"", None),  # a VT132 is no sixel terminal: the first number is its kind
    ],
)
def test_a_terminal_is_asked_what_it_can(
    terminal: tuple[int, int], name: bytes, da1: bytes, kitty: bytes, protocol: str | None
) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    with answering(ours, name, da1, kitty):
        assert pictures.protocol(theirs, theirs, {"TERM": "xterm-256color"}) == protocol
    assert termios.tcgetattr(theirs) == before


def test_a_terminal_that_does_not_answer_costs_half_a_second_and_shows_nothing(terminal: tuple[int, int]) -> None:
    _ours, theirs = terminal
    assert pictures.protocol(theirs, theirs, {"TERM": "xterm"}) is None


@pytest.mark.parametrize("name", ["dumb", "linux", "vt100", ""])
def test_a_plain_terminal_is_never_asked(terminal: tuple[int, int], name: str) -> None:
    ours, theirs = terminal
    assert pictures.protocol(theirs, theirs, {"TERM": name}) is None
    assert not select.select([ours], [], [], 0.05)[0]  # not a byte was written


def test_a_pipe_is_no_terminal() -> None:
    read, write = os.pipe()
    try:
        assert pictures.protocol(read, write, {"TERM": "xterm-kitty"}) is None
    finally:
        os.close(read)
        os.close(write)


def picture() -> Image.Image:
    image = np.zeros((45, 70, 3), np.uint8)
    image[:20], image[20:, :35], image[20:, 35:] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    return Image.fromarray(image)


def test_kitty_and_iterm_get_the_picture_itself() -> None:
    sent = pictures.drawn(picture().resize((640, 480)), "kitty")
    pieces = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    assert all(len(data) <= 4096 and b"q=2" in keys for keys, data in pieces)
    assert [b"m=1" in keys for keys, _ in pieces] == [True] * (len(pieces) - 1) + [False]
    assert Image.open(BytesIO(base64.b64decode(b"".join(data for _, data in pieces)))).size == (640, 480)
    inline = re.search(rb"inline=1;size=(\d+);[^:]*:([^\x07]*)\x07", pictures.drawn(picture(), "iterm2"))
    assert inline
    jpeg = base64.b64decode(inline[2])
    assert len(jpeg) == int(inline[1])
    assert Image.open(BytesIO(jpeg)).size == (70, 45)


def test_sixels_decode_to_the_picture() -> None:
    """Read back by the rules of DEC STD 070: bands of six rows, !count, $ back to the left, - down."""
    sent = pictures.drawn(picture(), "sixel").decode()
    body = sent.removeprefix('\x1bPq"1;1;70;45').removesuffix("\x1b\\\n")
    palette, seen = {}, np.zeros((48, 70, 3), int)
    x = y = 0
    colour = "0"
    for number, rgb, count, sign, move in re.findall(r"#(\d+)(?:;2;([\d;]+))?|(?:!(\d+))?([?-~])|([$-])", body):
        if rgb:
            palette[number] = [int(v) * 255 / 100 for v in rgb.split(";")]
        elif number:
            colour = number
        elif move or sign in "$-":
            x, y = 0, y + 6 * ((move or sign) == "-")
        else:
            width = int(count or 1)
            for row in range(6):
                if (ord(sign) - 63) >> row & 1:
                    seen[y + row, x : x + width] = palette[colour]
            x += width
    assert np.abs(seen[:45] - np.asarray(picture(), int)).max() <= 6
