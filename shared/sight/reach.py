"""How near a thing has to be to matter, and how wide a walker's path is: one rule for drawn walks and for boxes."""

from __future__ import annotations

from dataclasses import dataclass

CORRIDOR_M = 0.45
"""The path reaches so far to each side of where the camera points."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How near a thing has to be to matter."""

    ahead_m: float = 5.0
    beside_m: float = 3.5
    lateral_m: float = 1.8


_REACH = {
    "vehicle": Reach(ahead_m=8.0, beside_m=6.0, lateral_m=2.5),
    "bicycle": Reach(ahead_m=6.5, beside_m=4.5, lateral_m=2.0),
    "curb": Reach(lateral_m=1.0),
}
_DEFAULT = Reach()


def reach(name: str) -> Reach:
    """The reach of an object's class."""
    return _REACH.get(name, _DEFAULT)
