"""Where what a sentence is about is: for sounds that come from a side, and for motors on one."""

from __future__ import annotations

from functools import lru_cache

from shared import vocabulary
from shared.policy.kinds import NOT_SURE
from shared.sides import Side

_NOT_SURE = {text: place for place, text in NOT_SURE.items()}


@lru_cache(maxsize=1024)
def side_of(text: str) -> Side | None:
    """None = it names no thing, or one behind.

    "Caution, pole slightly left." → LEFT; "Stop, curb ahead." → AHEAD; "Camera blocked." → None
    """
    place = _NOT_SURE.get(text)
    if place is None:
        slots = vocabulary.parse(text) if vocabulary.may_be_spoken(text) else None
        if slots is None or not slots.object or slots.side == "behind":
            return None
        place = slots.side
    return Side.LEFT if place.endswith("left") else Side.RIGHT if place.endswith("right") else Side.AHEAD
