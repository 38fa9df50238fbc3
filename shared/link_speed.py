"""How large the parts and the window may be on the link that there is: from how fast the receiver acknowledges. Pure.

Why: what is on its way cannot be called back. On a phone's bad day (20 kB/s) a full window of 512 KiB is 26 seconds of
clip, and a correction that is sealed meanwhile waits behind it; a part that breaks off half-way is sent again whole.

    part    what the link carries in a second, at most 64 KiB; on a fast link what it carries in 4 ms, at least 32 KiB
    wire    what it carries in three seconds, at most 512 KiB: not yet acknowledged by the broker (PUBACK). This is what
            a cut costs, and what a correction waits behind
    window  the same, or half a second where that is more, at most 8 MiB: not yet acknowledged by the server,
            which syncs, hashes and merges meanwhile. What exceeds the wire lies at the broker and the server

Only time with a full window counts: a lone small file says how long a round trip takes, and nothing about speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.transfer import MAX_WINDOW_BYTES, MIN_PART_BYTES, PART_BYTES, WINDOW_BYTES, WINDOW_PARTS

PART_S = 1.0
WIRE_S = 3.0
SERVER_S = 0.5  # round trips and a group of containers on a busy server; more would only be lost with the broker
FAST_BYTES_PER_S = WINDOW_BYTES / 0.1  # from here on 512 KiB are less than a slow round trip carries
UNCUT_BYTES_PER_S = 4 * FAST_BYTES_PER_S  # the wire is free again sooner than a container that is cut costs both ends
LARGE_PART_S = 0.004  # larger parts cost both ends less, but a part is acknowledged only once it is through
LEAST_PART_BYTES = 4 * 1024  # below, the packets' own 256 bytes begin to cost
FIRST_WINDOW_BYTES = 256 * 1024  # until something is known: one container, and 4 s at 64 kB/s
LEAST_BYTES_PER_S = 1024.0  # a receiver that is away says nothing about the link
SAMPLE_S = 0.25
QUICK_SAMPLE_S = 0.02  # enough where the first window came in it: a fast link is known after a few of these
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
    enough_s = (
        QUICK_SAMPLE_S if speed.acked_bytes >= FIRST_WINDOW_BYTES else SAMPLE_S if speed.acked_bytes else SILENCE_S
    )
    if took_s < enough_s or speed.acked_bytes == speed.bytes_per_s == 0:
        return speed
    measured = speed.acked_bytes / took_s
    known = measured if speed.bytes_per_s == 0 else (speed.bytes_per_s + measured) / 2
    if measured:  # down at once, up by halves: a window too large costs seconds, one too small for a moment nothing
        known = min(known, 2 * measured)
    return LinkSpeed(max(known, LEAST_BYTES_PER_S), since_s=now_s)


def paced_part_bytes(speed: LinkSpeed, most: int) -> int:
    """The part size for now. most: what settings and the broker allow."""
    if speed.bytes_per_s == 0:
        return min(most, PART_BYTES)
    if speed.bytes_per_s < FAST_BYTES_PER_S:
        wanted = min(PART_BYTES, int(speed.bytes_per_s * PART_S))
    else:
        wanted = max(PART_BYTES // 2, int(speed.bytes_per_s * LARGE_PART_S))
    return max(min(most, wanted), min(most, LEAST_PART_BYTES), MIN_PART_BYTES)


def alone_bytes(speed: LinkSpeed, most: int) -> int:
    """The largest container that goes as one part: what the link carries in a second, as far as it is known. What of
    it is cut off is sent again in parts. most: what settings and the broker allow."""
    return most if speed.bytes_per_s == 0 else min(most, int(speed.bytes_per_s * PART_S))


def waits_for_room(speed: LinkSpeed) -> bool:
    """Whether a container waits until the wire has room for all of it, where it would else be cut to fill the wire."""
    return speed.bytes_per_s >= UNCUT_BYTES_PER_S


def wire_bytes(speed: LinkSpeed, part_bytes: int) -> int:
    """The most bytes of files that may be on their way to the broker; always room for two parts."""
    wanted = FIRST_WINDOW_BYTES if speed.bytes_per_s == 0 else int(speed.bytes_per_s * WIRE_S)
    return min(WINDOW_BYTES, max(wanted, 2 * part_bytes))


def window_bytes(speed: LinkSpeed, part_bytes: int) -> int:
    """The most bytes that may be on their way without an acknowledgement of the server."""
    return min(MAX_WINDOW_BYTES, max(wire_bytes(speed, part_bytes), int(speed.bytes_per_s * SERVER_S)))


def window_parts(window: int) -> int:
    """The most parts, also of small files."""
    return max(WINDOW_PARTS, 2 * window // PART_BYTES)
