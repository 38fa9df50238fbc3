"""How bad a storm (`tests.faults.storm`) is to get, and what was left of everybody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.databases import SQLITE
from tests.faults.judge import Verdict


@dataclass(frozen=True, slots=True)
class Plan:
    """How bad it gets."""

    faults: int = 200
    devices: int = 3
    chunks: int = 180
    """Per device; every eighth is corrected."""
    pause_s: float = 1.0
    """Between two chunks of a device: so that they go on through all of it."""
    calm_s: float = 0.6
    """Longest time between two faults."""
    seed: int = 1
    updates: bool = True
    workers: bool = True
    """Two processes that take in, each its share of the devices, instead of one server alone."""
    database: str = SQLITE
    """Of the server: tests.faults.databases.NAMES"""


@dataclass(frozen=True, slots=True, order=True)
class Resent:
    """Bytes of files that went twice because of one interruption."""

    size_bytes: int
    device: str
    said_by: str
    """broker | device"""
    after: str
    """The fault that was played before it was noticed."""
    by_cut: bool
    """Nothing but links and devices had failed by then. Else a server may have lost what it had not answered."""


@dataclass(slots=True)
class Aftermath:
    """What the storm did, and what was left."""

    plan: Plan
    verdict: Verdict = field(default_factory=Verdict)
    faults: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    resent: list[Resent] = field(default_factory=list)
    """Per cut and device: as the broker saw it over all lives, and as the devices say."""
    attempted: int = 0
    activated: int = 0
    rolled_back: int = 0
    bricked: list[str] = field(default_factory=list)
    skipped: str = ""
    """Why some kinds of faults could not be made here."""

    def most_resent_bytes(self, *, by_cut: bool) -> int:
        """After one interruption."""
        return max((one.size_bytes for one in self.resent if one.by_cut is by_cut), default=0)

    @property
    def clean(self) -> bool:
        lost = self.verdict.lost | self.verdict.named_lost | self.verdict.refused
        return self.verdict.clean and not lost and not self.bricked
