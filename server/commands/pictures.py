"""A picture in a terminal: kitty's graphics, iTerm2's inline images, or sixel; whichever the terminal says it can.

A terminal is asked what it is (XTVERSION) and what it can (DA1), with a timeout. Both questions are plain control
sequences, which every terminal that emulates a VT220 takes without a mark on the screen; one that does not emulate it
is not asked. Kitty's own question is an APC string, which some older terminals print: only one that told its name is
asked it. Where there is no answer, or nothing on either end is a terminal, there is no picture.
"""

from __future__ import annotations

import base64
import os
import re
import select
import termios
import tty
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Protocol = Literal["kitty", "iterm2", "sixel"]
ANSWER_WITHIN_S = 0.5
MOST_PX = (640, 480)
COLOURS = 128
_NOT_ASKED = ("", "dumb", "linux", "unknown", "vt52", "vt100", "cons25")
_NAME_AND_SKILLS = b"\x1b[>q\x1b[c"
_KITTY = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
_DA1 = re.compile(rb"\x1b\[\?([0-9;]*)c")
_VERSION = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_KITTY_OK = re.compile(rb"\x1b_G[^\x1b;]*;OK\x1b\\")
_INLINE = ("iTerm2", "WezTerm", "mintty")
_CHUNK = 4096


def protocol(fd_in: int, fd_out: int, environment: Mapping[str, str]) -> Protocol | None:
    """What a terminal can show pictures with; None where it can not, does not answer, or is none. Raises: OSError."""
    if environment.get("TERM", "") in _NOT_ASKED or not (os.isatty(fd_in) and os.isatty(fd_out)):
        return None
    before = termios.tcgetattr(fd_in)
    try:
        tty.setcbreak(fd_in, termios.TCSANOW)  # answers come as keys: not echoed, not held back for a line's end
        said = _asked(fd_in, fd_out, _NAME_AND_SKILLS)
        named = _VERSION.search(said)
        return understood(said, _asked(fd_in, fd_out, _KITTY) if named else b"")
    finally:
        termios.tcsetattr(fd_in, termios.TCSAFLUSH, before)  # what comes late must not be read as an answer to us


def understood(said: bytes, about_kitty: bytes) -> Protocol | None:
    """The protocol that a terminal's answers stand for. Pure."""
    if _KITTY_OK.search(about_kitty):
        return "kitty"
    named = _VERSION.search(said)
    if named and named[1].decode(errors="replace").startswith(_INLINE):
        return "iterm2"
    skills = _DA1.search(said)
    return "sixel" if skills and b"4" in skills[1].split(b";")[1:] else None


def _asked(fd_in: int, fd_out: int, question: bytes) -> bytes:
    """What a terminal answers until the end of its DA1, or until it has taken too long."""
    os.write(fd_out, question)
    answer = b""
    while not _DA1.search(answer) and select.select([fd_in], [], [], ANSWER_WITHIN_S)[0]:
        piece = os.read(fd_in, 1024)
        if not piece:
            break
        answer += piece
    return answer


@dataclass(frozen=True, slots=True)
class TerminalPictures:
    """Writes pictures into one terminal."""

    protocol: Protocol
    fd: int

    def show(self, path: Path) -> None:
        """Raises: OSError."""
        with Image.open(path) as picture:
            picture.thumbnail(self._room())
            data = memoryview(drawn(picture.convert("RGB"), self.protocol))
        while data:
            data = data[os.write(self.fd, data) :]

    def _room(self) -> tuple[int, int]:
        """Width and height in pixels: half of the window's height at most, where it says how large it is."""
        try:
            width, height = _pixels(self.fd)
        except (OSError, termios.error):
            return MOST_PX
        return min(MOST_PX[0], width or MOST_PX[0]), min(MOST_PX[1], height // 2 or MOST_PX[1])


def _pixels(fd: int) -> tuple[int, int]:
    import fcntl
    import struct

    _rows, _columns, width, height = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return width, height


def drawn(picture: Image.Image, protocol: Protocol) -> bytes:
    """The bytes that draw an RGB picture, and end the line. Pure."""
    if protocol == "sixel":
        return _sixel(picture) + b"\n"
    data = BytesIO()
    if protocol == "kitty":
        picture.save(data, "PNG")
        return _kitty(data.getvalue()) + b"\n"
    picture.save(data, "JPEG", quality=90)
    text = base64.b64encode(data.getvalue())
    head = f"\x1b]1337;File=inline=1;size={len(data.getvalue())};width={picture.width}px:".encode()
    return head + text + b"\x07\n"


def _kitty(png: bytes) -> bytes:
    text = base64.b64encode(png)
    pieces = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    out = b""
    for number, piece in enumerate(pieces):
        more = b"m=%d" % (number + 1 < len(pieces))
        # q=2: it must not answer, because that would be read as if it had been typed
        out += b"\x1b_G" + (b"a=T,f=100,q=2," if number == 0 else b"q=2,") + more + b";" + piece + b"\x1b\\"
    return out


def _sixel(picture: Image.Image) -> bytes:
    """DEC's sixels: bands of six rows, in each one line per colour."""
    reduced = picture.quantize(COLOURS)
    palette = np.asarray(reduced.getpalette(), np.uint8).reshape(-1, 3)
    pixels: NDArray[np.uint8] = np.asarray(reduced, np.uint8)
    height, width = pixels.shape
    out = [f'\x1bPq"1;1;{width};{height}']
    out += [f"#{n};2;" + ";".join(str(round(int(v) * 100 / 255)) for v in rgb) for n, rgb in enumerate(palette)]
    weights = (1 << np.arange(6, dtype=np.uint8))[:, None]
    for top in range(0, height, 6):
        band = pixels[top : top + 6]
        lines = []
        for colour in np.unique(band):
            bits = ((band == colour) * weights[: len(band)]).sum(axis=0)
            lines.append(f"#{colour}" + _run_lengths(bits.tolist()))
        out.append("$".join(lines) + "-")
    return "".join([*out, "\x1b\\"]).encode()


def _run_lengths(bits: Sequence[int]) -> str:
    """One line of sixels; runs of more than three are written as !count."""
    out, start = [], 0
    for at in range(1, len(bits) + 1):
        if at == len(bits) or bits[at] != bits[start]:
            count, sign = at - start, chr(63 + bits[start])
            out.append(f"!{count}{sign}" if count > 3 else sign * count)
            start = at
    return "".join(out)
