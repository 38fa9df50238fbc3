"""On which side of the walker a thing is, as two ears or two motors can tell it apart."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    LEFT = "left"
    AHEAD = "ahead"
    RIGHT = "right"
