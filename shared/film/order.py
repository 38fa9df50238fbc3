"""When pictures are shown whose stamps are a little out of order. Pure.

AVI has no times of presentation: FFmpeg makes some up, and with B-frames some of them are those of a neighbour. The
decoder's own order is right. So a picture whose stamp lies shortly before that of the picture before it follows that
one, as long after it as they were apart in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.film.joins import BACK_S

_EDGE_S = 1e-6
_LONGEST_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """The last picture."""

    at_s: float
    decoded_s: float | None = None
    """By its place in the file; None = not known."""


def after(shown: Shown | None, stamp_s: float, decoded_s: float | None, picture_s: float) -> Shown:
    """The next picture, by its own stamp or right after the one before.

    stamp_s: when it is shown, by the file; decoded_s: when it was decoded, by the file; picture_s: between two pictures
    """
    if shown is None or not shown.at_s - BACK_S <= stamp_s < shown.at_s - _EDGE_S:
        return Shown(stamp_s, decoded_s)
    step_s = 0.0 if decoded_s is None or shown.decoded_s is None else decoded_s - shown.decoded_s
    return Shown(shown.at_s + (step_s if 0.0 < step_s <= _LONGEST_STEP_S else picture_s), decoded_s)
