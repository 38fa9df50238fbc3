"""When pictures are shown whose stamps are a little out of order. Pure.

AVI has no times of presentation: FFmpeg makes some up, and with B-frames some of them are those of a neighbour. The
decoder's own order is right. So a picture whose stamp lies shortly before that of the picture before it follows that
one, as long after it as they were apart in the file. So does one far beyond all that was read: a damaged stamp, or the
first one of a clock that was set (shared.film.joins).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from shared.film.joins import BACK_S, JUMP_S

_EDGE_S = 1e-6
_LONGEST_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """The last picture."""

    at_s: float
    decoded_s: float | None = None
    """By its place in the file; None = not known."""


def seconds(stamp: int | None, base: Fraction | None) -> float | None:
    """A stamp on its time base; None where one of them is not known."""
    return None if stamp is None or base is None else float(stamp * base)


def after(
    shown: PlacedPicture | None, stamp_s: float, decoded_s: float | None, *, picture_s: float, end_s: float
) -> PlacedPicture:
    """The next picture, by its own stamp or right after the one before.

    stamp_s: when it is shown, by the file; decoded_s: when it was decoded, by the file; picture_s: between two
    pictures; end_s: where all that was read of the film ends
    """
    if shown is None:
        return PlacedPicture(stamp_s, decoded_s)
    early = shown.at_s - BACK_S <= stamp_s < shown.at_s - _EDGE_S
    if not early and stamp_s <= max(shown.at_s, end_s) + JUMP_S:
        return PlacedPicture(stamp_s, decoded_s)
    step_s = 0.0 if decoded_s is None or shown.decoded_s is None else decoded_s - shown.decoded_s
    return PlacedPicture(shown.at_s + (step_s if 0.0 < step_s <= _LONGEST_STEP_S else picture_s), decoded_s)
