"""The board: a page of shared memory on which the agent and the sentinel write how they are.

A file in tmpfs, mapped by both. A write is a copy into memory: it waits for no disk, no lock and no reader, and what
was written stays readable when its writer was killed, stopped or hangs.

    byte 0       the agent's record      (one writer: the agent's progress feed)
    byte 1024    the sentinel's record   (one writer: the sentinel)

A record is a fixed struct and its CRC-32. A reader that meets a write half-way (or a writer that was killed in one)
finds a wrong CRC and goes on with what it read before. Times are shared.clock's monotonic seconds.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

NAME = "board"
SPEECH = "speech"
"""Folder beside the board where the agent puts the sentinel's sentences."""
OUTPUT = "output"
"""File beside the board where the agent writes what its own sound output is: lines such as PULSE_SINK=NAME."""
SIZE_BYTES = 4096
_AGENT_AT, _SENTINEL_AT = 0, 1024
_AGENT = struct.Struct("<4sIQB?8d")
_SENTINEL = struct.Struct("<4sI??2d")
_CRC = struct.Struct("<I")
_MAGIC = b"wcb1"


class AgentPhase(IntEnum):
    STARTING = 1
    """It has not looked at a live picture yet."""
    GUIDING = 2
    ENDED = 3
    """It ended, or is ending, because somebody wanted it to."""


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """What the agent tells."""

    pid: int
    started: int
    """`started(pid)` of its process: a number that was given to another process since is not mistaken for it."""
    phase: AgentPhase
    began_s: float
    """When the process began."""
    beat_s: float
    """When it last wrote."""
    live_s: float = 0.0
    """When a new, live picture was last looked at."""
    look_every_s: float = 0.25
    voice_s: float = 0.0
    """When its voice could last be heard."""
    told_s: float = 0.0
    """When it last began to say itself that it sees nothing."""
    back_s: float = 0.0
    """When it last began to say that it guides again."""
    speaking_until_s: float = 0.0
    sees: bool = field(default=True, kw_only=True)
    """Its looks show something to a model: not a covered lens, and not the pictures of a walk that is only recorded."""


@dataclass(frozen=True, slots=True)
class SentinelRecord:
    """What the sentinel tells."""

    pid: int
    alarmed: bool
    """Guidance stopped, and nobody has said that it is back."""
    asks_back: bool
    """It said that guidance stopped; the agent, which looks again, is asked to say that it is back."""
    beat_s: float
    speaking_until_s: float = 0.0


class Board:
    """Either side. Raises: OSError where the file cannot be made or mapped."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < SIZE_BYTES:
                os.ftruncate(fd, SIZE_BYTES)
            self._page = mmap.mmap(fd, SIZE_BYTES)
        finally:
            os.close(fd)
        self.path = path
        self._agent: AgentRecord | None = None
        self._sentinel: SentinelRecord | None = None

    def write_agent(self, record: AgentRecord) -> None:
        """The page belongs to one agent at a time: the newest."""
        self._write(
            _AGENT_AT,
            _AGENT.pack(
                _MAGIC,
                record.pid,
                record.started,
                record.phase,
                record.sees,
                record.began_s,
                record.beat_s,
                record.live_s,
                record.look_every_s,
                record.voice_s,
                record.told_s,
                record.back_s,
                record.speaking_until_s,
            ),
        )

    def write_sentinel(self, record: SentinelRecord) -> None:
        times = (record.beat_s, record.speaking_until_s)
        self._write(_SENTINEL_AT, _SENTINEL.pack(_MAGIC, record.pid, record.alarmed, record.asks_back, *times))

    def agent(self) -> AgentRecord | None:
        """The newest whole record; None = there was none yet."""
        fields = self._read(_AGENT_AT, _AGENT)
        if fields is not None:
            _, pid, started, phase, sees, *times = fields
            self._agent = AgentRecord(pid, started, AgentPhase(phase), *times, sees=bool(sees))
        return self._agent

    def sentinel(self) -> SentinelRecord | None:
        """The newest whole record; None = there was none yet."""
        fields = self._read(_SENTINEL_AT, _SENTINEL)
        if fields is not None:
            _, pid, alarmed, asks_back, *times = fields
            self._sentinel = SentinelRecord(pid, bool(alarmed), bool(asks_back), *times)
        return self._sentinel

    def _write(self, at: int, record: bytes) -> None:
        whole = record + _CRC.pack(zlib.crc32(record))
        self._page[at : at + len(whole)] = whole

    def _read(self, at: int, layout: struct.Struct) -> tuple[int, ...] | None:
        whole = self._page[at : at + layout.size + _CRC.size]
        record = whole[: layout.size]
        good = record.startswith(_MAGIC) and _CRC.unpack(whole[layout.size :])[0] == zlib.crc32(record)
        return layout.unpack(record) if good else None


def started(pid: int) -> int | None:
    """When a process began, in the kernel's ticks since boot; None = there is none, or it has ended (a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
