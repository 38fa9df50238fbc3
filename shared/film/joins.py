"""One time line through stamps that begin again or jump. Pure.

Recordings that were joined as files, a clock that was set, a counter that wrapped, a damaged stamp: what follows such a
place goes on where everything before it ended, pictures and sound by the same step. A stamp that is damaged alone
changes nothing after it. A clock that is set in the midst of a recording jumps between two key frames: that counts
once a second packet goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

BACK_S = 0.25
"""A stamp further back than this before the end of its stream begins again; less is disorder."""
JUMP_S = 60.0
"""A stamp so far ahead of all that was read is none of a pause: nobody would wait it out. That one stream pauses while
another goes on is none either."""


@dataclass(frozen=True, slots=True)
class TimeLine:
    """Where a film stands while its packets are read in the order of the file."""

    offset_s: float = 0.0
    """To add to stamps."""
    before_s: float = 0.0
    """The offset before the last join: a single damaged stamp returns to it."""
    ends_s: Mapping[int, float] = field(default_factory=dict)
    """By stream: where its last packet ends on the time line."""
    strayed: tuple[int, float] | None = None
    """Stream and stamp of the packet before, where that follows nothing and begins nothing."""
    joins: int = 0
    """How often stamps began again or jumped, and did not return."""

    @property
    def end_s(self) -> float:
        """Where everything that was read ends."""
        return max(self.ends_s.values(), default=0.0)


def step(line: TimeLine, stream: int, stamp_s: float, length_s: float, *, begins: bool = True) -> TimeLine:
    """Place the next packet: on the line that this gives, it begins at stamp_s + offset_s.

    stream: its number; stamp_s: when it is decoded, by its own stamp; length_s: how long it lasts, 0 where unknown
    begins: whether a recording may begin with it: a key frame, any sound
    """
    strayed = line.strayed
    line = replace(line, strayed=None)
    if not _follows(line, stream, stamp_s + line.offset_s):
        if not begins and not _goes_on(strayed, stream, stamp_s, length_s):
            return replace(line, strayed=(stream, stamp_s))
        if line.joins and _follows(line, stream, stamp_s + line.before_s):
            line = replace(line, offset_s=line.before_s, joins=line.joins - 1)
        else:
            first_s = stamp_s if begins or strayed is None else strayed[1]
            line = replace(line, offset_s=line.end_s - first_s, before_s=line.offset_s, joins=line.joins + 1)
    at_s = stamp_s + line.offset_s
    return replace(line, ends_s={**line.ends_s, stream: max(at_s + length_s, line.ends_s.get(stream, at_s))})


def unstamped(line: TimeLine, stream: int, length_s: float) -> TimeLine:
    """The next packet has no stamp: it follows the one before."""
    if stream not in line.ends_s:
        return line
    return replace(line, ends_s={**line.ends_s, stream: line.ends_s[stream] + length_s})


def _goes_on(strayed: tuple[int, float] | None, stream: int, stamp_s: float, length_s: float) -> bool:
    return strayed is not None and strayed[0] == stream and 0.0 < stamp_s - strayed[1] <= max(BACK_S, 2 * length_s)


def _follows(line: TimeLine, stream: int, at_s: float) -> bool:
    end_s = line.ends_s.get(stream)  # a stream that has none yet: wherever it begins, the others begin there too
    return end_s is None or (at_s - end_s >= -BACK_S and at_s - line.end_s <= JUMP_S)
