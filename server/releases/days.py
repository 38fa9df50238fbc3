"""A/B by wearer-day: on which days a wearer's devices run a version that is tried against the champion. Pure.

The unit is a wearer on one day: moments of a day are alike, a wearer learns what a version says, and two voices on one
walk would be a danger. The day is drawn by a hash of version, wearer and day, so that server, result page and a later
reader come to the same arm, and no one chooses it. A day begins at an hour at which nobody walks, in UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

BUCKETS = 10_000
BEGINS_H = 3
"""Of a day, in UTC, where nothing else was asked for."""
DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Today:
    """The present day, and who wears what."""

    now_utc: float
    wearers: Mapping[str, str] = field(default_factory=dict)
    """Device → wearer; a device that is not named is its own wearer."""

    def wearer_of(self, device: str) -> str:
        return self.wearers.get(device) or device


NO_DAY = Today(0.0)
"""Where no rollout is by wearer-day."""


def day_of(at_utc: float, begins_h: int) -> str:
    """The day to which a moment belongs: 2026-11-29 until `begins_h` of the 30th."""
    return (datetime.fromtimestamp(at_utc, UTC) - timedelta(hours=begins_h)).date().isoformat()


def runs(version: str, wearer: str, day: str, percent: int) -> bool:
    """Whether a wearer's devices run the version on this day. percent: share of all wearer-days that do"""
    digest = hashlib.sha256(f"waycue-day|{version}|{wearer}|{day}".encode()).digest()
    return int.from_bytes(digest[:8]) % BUCKETS < percent * (BUCKETS // 100)
