"""How large the parts and the window may be on the link that there is: from how fast the receiver acknowledges. Pure.

Why: what is on its way cannot be called back. On a phone's bad day (20 kB/s) a full window of 512 KiB is 26 seconds of
clip, and a correction that is sealed meanwhile waits behind it; a part that breaks off half-way is sent again whole.

    part    what the link carries in a second, at most what settings and broker allow
    window  what it carries in three: more than any round trip needs, less than the sender's patience of five

Only time with a full window counts: a lone small file says how long a round trip takes, and nothing about speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.transfer import MIN_PART_BYTES, WINDOW_BYTES

PART_S = 1.0
WINDOW_S = 3.0
LEAST_PART_BYTES = 4 * 1024  # below, the packets' own 256 bytes begin to cost
FIRST_WINDOW_BYTES = 128 * 1024  # until something is known: 2 s at 64 kB/s
LEAST_BYTES_PER_S = 1024.0  # a receiver that is away says nothing about the link
SAMPLE_S = 0.25
SILENCE_S = 2.0  # a full window without an answer for so long is news, too


@dataclass(frozen=True, slots=True)
class LinkSpeed:
    """What is known of the link."""

    bytes_per_s: float = 0.0  # 0 = nothing yet
    since_s: float | None = None  # since when the window is full; None = it is not
    acked_bytes: int = 0  # acknowledged since then


def observe(speed: LinkSpeed, acked_bytes: int, now_s: float, *, full: bool) -> LinkSpeed:
    """After any event: `acked_bytes` more are durable at the receiver; full: no further part fits into the window."""
    if speed.since_s is not None:
        speed = _sampled(replace(speed, acked_bytes=speed.acked_bytes + acked_bytes), speed.since_s, now_s)
    if not full:
        return replace(speed, since_s=None, acked_bytes=0)
    return speed if speed.since_s is not None else replace(speed, since_s=now_s, acked_bytes=0)


def _sampled(speed: LinkSpeed, since_s: float, now_s: float) -> LinkSpeed:
    took_s = now_s - since_s
    if took_s < (SAMPLE_S if speed.acked_bytes else SILENCE_S) or speed.acked_bytes == speed.bytes_per_s == 0:
        return speed
    measured = speed.acked_bytes / took_s
    known = measured if speed.bytes_per_s == 0 else (speed.bytes_per_s + measured) / 2
    if measured:  # down at once, up by halves: a window too large costs seconds, one too small for a moment nothing
        known = min(known, 2 * measured)
    return LinkSpeed(max(known, LEAST_BYTES_PER_S), since_s=now_s)


def paced_part_bytes(speed: LinkSpeed, most: int) -> int:
    """The part size for now. most: what settings and the broker allow."""
    if speed.bytes_per_s == 0:
        return most
    return max(min(most, int(speed.bytes_per_s * PART_S)), min(most, LEAST_PART_BYTES), MIN_PART_BYTES)


def window_bytes(speed: LinkSpeed, part_bytes: int) -> int:
    """The most bytes that may be on their way without an acknowledgement; always room for two parts."""
    wanted = FIRST_WINDOW_BYTES if speed.bytes_per_s == 0 else int(speed.bytes_per_s * WINDOW_S)
    return min(WINDOW_BYTES, max(wanted, 2 * part_bytes))
