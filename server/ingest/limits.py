"""How much one device may ask of the server. Pure; server.ingest.ingest applies it.

Too much for now is answered with `paused` and a reason: the device keeps what it has and comes again later. What can
never be taken is `refused`. A stuck, broken or stolen device then costs the others nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from shared.token_bucket import RateLimiter

MB = 1_000_000
BURST_S = 2.0  # a device that was away brings its backlog at once
COST_BYTES = 1024  # of a record, which is kept in the database: as many count as one more message
Limit = Annotated[int, Meta(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """What one device may ask of the server. 0 = no limit."""

    file_mb: Limit = 256
    """A larger file is refused for good."""
    open_files: Limit = 64
    """Unfinished files. One more evicts the longest silent; its device, should it come back to it, begins again."""
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
class DeviceLoad:
    """What counts against a device's next file."""

    open_bytes: int
    """Announced size of its unfinished files."""
    bytes_today: int
    free_bytes: int
    """On the server's disk."""


def message_limiter(limits: LimitsSettings) -> RateLimiter:
    """Limits the messages of each device."""
    return RateLimiter(rate_per_s=limits.messages_per_s, capacity=limits.messages_per_s * BURST_S)


def message_cost(record_bytes: int, limits: LimitsSettings) -> float:
    """What a message costs, never more than a full bucket holds. record_bytes: 0 = it carries no record."""
    return min(1 + record_bytes // COST_BYTES, limits.messages_per_s * BURST_S)


def refusal(size_bytes: int, limits: LimitsSettings) -> str | None:
    """Why a file of this size can never be taken; None = it can."""
    if limits.file_mb and size_bytes > limits.file_mb * MB:
        return f"{size_bytes} bytes, at most {limits.file_mb * MB} are taken"
    return None


def pause(size_bytes: int, load: DeviceLoad, limits: LimitsSettings) -> str | None:
    """Why a file cannot be begun now; None = it can."""
    if limits.free_mb and load.free_bytes - size_bytes < limits.free_mb * MB:
        return "the server's disk is nearly full"
    if limits.day_mb and load.bytes_today + size_bytes > limits.day_mb * MB:
        return f"more than {limits.day_mb} MB today; it goes on tomorrow (UTC)"
    if limits.open_mb and load.open_bytes + size_bytes > limits.open_mb * MB and load.open_bytes:
        return f"more than {limits.open_mb} MB in unfinished files"
    return None
