"""How a capture process hands pictures and sound to the agent: headers and raw bytes over one pipe.

A pipe, not shared memory: a killed writer leaves at worst half a message, which the end of the file reveals, where it
would leave shared memory in a state that nobody can judge. One 640×480 frame is 0.9 MB; 15 of them a second take
about 1 % of a core.

    header   u8 kind, 3 × pad, u32 height, u32 width, u32 size, f64 t     little-endian, 24 bytes
    payload  size bytes: JSON (hello, trouble), RGB (picture), int16 samples (sound), nothing (end)

`t` is CLOCK_BOOTTIME, which both processes read alike.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import MediaError

HELLO, PICTURE, SOUND, TROUBLE, END = 1, 2, 3, 4, 5
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024  # an 8-bit RGB picture of 5120×4096; more is no header of ours

_HEADER = struct.Struct("<B3xIIId")


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    kind: int
    t_s: float
    """CLOCK_BOOTTIME of the shutter, or of the first sample."""
    height: int
    """Rows of a picture, samples of sound."""
    width: int
    payload: NDArray[np.uint8]

    def facts(self) -> dict[str, Any]:
        """The payload of hello and trouble. Raises: MediaError when it is not ours."""
        try:
            facts = json.loads(self.payload.tobytes())
        except ValueError as error:
            raise MediaError(f"The capture process sent what is not JSON ({error}).") from None
        return facts if isinstance(facts, dict) else {}


class Outlet:
    """The capture process's end. Every method blocks while the pipe is full; BrokenPipeError = the agent is gone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def hello(self, facts: Mapping[str, Any]) -> None:
        """Say that the device is open, and what it gives: name, width_px, height_px, fps."""
        self._send(HELLO, memoryview(json.dumps(facts).encode()))

    def picture(self, image: NDArray[np.uint8], t_s: float) -> None:
        """image: [h, w, 3] RGB."""
        height, width = image.shape[:2]
        self._send(PICTURE, np.ascontiguousarray(image).data.cast("B"), t_s, height, width)

    def sound(self, samples: NDArray[np.int16], t_s: float) -> None:
        """samples: [n] mono, 16 kHz."""
        self._send(SOUND, np.ascontiguousarray(samples).data.cast("B"), t_s, len(samples))

    def trouble(self, text: str, hint: str, *, several: bool = False) -> None:
        """Say why there will be nothing more from this process, and what to do about it ("" = nothing special).
        several: there are several cameras"""
        self._send(TROUBLE, memoryview(json.dumps({"text": text, "hint": hint, "several": several}).encode()))

    def end(self) -> None:
        self._send(END, memoryview(b""))

    def _send(self, kind: int, payload: memoryview, t_s: float = 0.0, height: int = 0, width: int = 0) -> None:
        for part in (memoryview(_HEADER.pack(kind, height, width, len(payload), t_s)), payload):
            sent = 0
            while sent < len(part):
                sent += os.write(self.fd, part[sent:])


class Inlet:
    """The agent's end: takes what is there without ever waiting for the rest."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._header = bytearray(_HEADER.size)
        self._payload: NDArray[np.uint8] | None = None
        self._missing = memoryview(self._header)

    def take(self) -> Message | None:
        """The next whole message, or None until more bytes come.

        Raises: EOFError when the other end is closed; MediaError when the bytes are not ours.
        """
        while True:
            while self._missing:
                try:
                    count = os.readv(self._fd, [self._missing])
                except BlockingIOError:
                    return None
                if count == 0:
                    raise EOFError
                self._missing = self._missing[count:]
            if self._payload is not None:
                return self._whole(self._payload)
            size = _HEADER.unpack(self._header)[3]
            if size > MAX_PAYLOAD_BYTES:
                raise MediaError(f"The capture process sent a message of {size} bytes.")
            self._payload = np.empty(size, np.uint8)
            self._missing = self._payload.data if size else memoryview(b"")

    def _whole(self, payload: NDArray[np.uint8]) -> Message:
        self._payload = None
        self._missing = memoryview(self._header)
        kind, height, width, _size, t_s = _HEADER.unpack(self._header)
        expected = {PICTURE: height * width * 3, SOUND: height * 2}.get(kind, len(payload))
        if expected != len(payload):
            raise MediaError(f"The capture process sent {len(payload)} bytes where {expected} were due.")
        return Message(kind, t_s, height, width, payload)
