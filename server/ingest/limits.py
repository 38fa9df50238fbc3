"""How much one device may ask of the server: decided here, pure, and kept to by server.ingest.ingest.

Too much for now is answered with `paused` and a reason: the device keeps what it has and comes again later. What can
never be taken is `refused`. A stuck, broken or stolen device then costs the others nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from msgspec import Meta

MB = 1_000_000
BURST_S = 2.0  # a device that was away brings its backlog at once
Limit = Annotated[int, Meta(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """What one device may ask of the server. 0 = no limit."""

    file_mb: Limit = 256
    """A larger file is refused for good."""
    open_files: Limit = 64
    """Unfinished files. One more puts the longest silent out; its device, should it come back to it, begins again."""
    open_mb: Limit = 2048
    """Announced size of unfinished files together."""
    day_mb: Limit = 20_000
    """Bytes of files in a UTC day: a device that records everything for 16 hours brings some 6,000 MB."""
    messages_per_s: Limit = 4000
    """Messages, on average over two seconds. A device on a fast local network sends some 2,000."""
    free_mb: Limit = 1024
    """Nothing new is begun while the server's disk has less free than that: the database needs room to work."""
    abandoned_hours: Limit = 168
    """A file of which nothing came for so long is given up. A device that comes back later begins it again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many messages a device may still send now: a bucket that fills with time."""

    left: float
    at_s: float


def paced(pace: Pace | None, now_s: float, limits: LimitsSettings, *, record_bytes: int = 0) -> tuple[Pace, bool]:
    """After one more message: the pace, and whether the message may be taken. Pure.

    record_bytes: of a record, which is kept in the database: each 1024 count as one more message.
    """
    full = limits.messages_per_s * BURST_S
    if pace is None:
        pace = Pace(full, now_s)
    left = min(full, pace.left + max(0.0, now_s - pace.at_s) * limits.messages_per_s)
    cost = min(1 + record_bytes // 1024, full)
    if left < cost and limits.messages_per_s:
        return replace(pace, left=left, at_s=now_s), False
    return Pace(left - cost, now_s), True


@dataclass(frozen=True, slots=True)
class Load:
    """What stands against a device's next file."""

    open_bytes: int
    """Announced size of its unfinished files."""
    bytes_today: int
    free_bytes: int
    """On the server's disk."""


def refusal(size_bytes: int, limits: LimitsSettings) -> str:
    """Why a file of this size can never be taken, "" = it can. Pure."""
    if limits.file_mb and size_bytes > limits.file_mb * MB:
        return f"{size_bytes} bytes, at most {limits.file_mb * MB} are taken"
    return ""


def pause(size_bytes: int, load: Load, limits: LimitsSettings) -> str:
    """Why a file cannot be begun now, "" = it can. Pure."""
    if limits.free_mb and load.free_bytes - size_bytes < limits.free_mb * MB:
        return "the server's disk is nearly full"
    if limits.day_mb and load.bytes_today + size_bytes > limits.day_mb * MB:
        return f"more than {limits.day_mb} MB today; it goes on tomorrow (UTC)"
    if limits.open_mb and load.open_bytes + size_bytes > limits.open_mb * MB and load.open_bytes:
        return f"more than {limits.open_mb} MB in unfinished files"
    return ""
