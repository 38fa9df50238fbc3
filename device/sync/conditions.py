"""Whether this is a moment to send: a connection that costs by the megabyte, or a device that is hot, says not now.

    look()      → Conditions     what the machine says of itself; nothing known counts as nothing wrong
    decide()    → SyncDecision   pure: what may be sent, and why not all
    SyncWatch                    does both every few seconds and reports changes

The small things (records, pictures, sounds, corrections) are a tenth of the clips: they may go where clips may not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.board import ASK_S, ASK_THROTTLED, THERMAL, Ask, heat_c, read_bits, run
from device.config import SyncSection
from device.sync.uploads import Allowed
from shared.background import Background

EVERY_S = 10.0
JOIN_S = ASK_S + 2.0
COOLER_C = 5.0  # must be lost before more may be sent again: else it would switch with every file
METERED = (1, 3)  # NM_METERED_YES, NM_METERED_GUESS_YES: an Android phone's hotspot is the latter
ASK_METERED = (
    "busctl", "--auto-start=no", f"--timeout={ASK_S:g}", "get-property", "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "Metered",
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the machine says of itself; None = it does not say."""

    metered: bool | None = None
    heat_c: float | None = None
    throttled: bool | None = None
    """Its own firmware slows it down for heat."""


@dataclass(frozen=True, slots=True)
class SyncDecision:
    allowed: Allowed = "all"
    why: str | None = None
    """None = all may."""
    heat: Allowed = "all"
    """What the heat alone allows: it must fall by COOLER_C before that changes."""

    @property
    def text(self) -> str | None:
        """As a person reads it; None = all may."""
        return {"all": None, "small": f"clips wait: {self.why}", "none": f"all waits: {self.why}"}[self.allowed]


_LESS = ("none", "small", "all")


def decide(rules: SyncSection, seen: Conditions, before: SyncDecision) -> SyncDecision:
    """What may be sent under these conditions. Pure."""
    heat = _by_heat(rules, seen, before.heat)
    network: Allowed = rules.on_metered if seen.metered else "all"
    allowed = min(heat, network, key=_LESS.index)
    reasons = []
    if network == allowed != "all":
        reasons.append("the connection is metered")
    if heat == allowed != "all":
        reasons.append("the device is hot" if seen.heat_c is None else f"the device is at {seen.heat_c:.0f} °C")
    return SyncDecision(allowed, " and ".join(reasons) or None, heat)


def _by_heat(rules: SyncSection, seen: Conditions, before: Allowed) -> Allowed:
    if seen.throttled:
        return "none"
    if seen.heat_c is None:
        return "all"
    hot_c = rules.hot_c - (COOLER_C if before != "all" else 0.0)
    too_hot_c = rules.too_hot_c - (COOLER_C if before == "none" else 0.0)
    return "none" if seen.heat_c >= too_hot_c else "small" if seen.heat_c >= hot_c else "all"


def look(thermal: Path, ask: Ask) -> Conditions:
    """Ask the machine. Raises nothing: a machine that does not know is left to send."""
    return Conditions(_metered(ask(ASK_METERED)), heat_c(thermal), read_bits(ask(ASK_THROTTLED)).slowed)


def _metered(said: str) -> bool | None:
    """said: what busctl prints, such as "u 4"."""
    match = re.fullmatch(r"u (\d)", said.strip())
    return None if match is None or match[1] == "0" else int(match[1]) in METERED


class SyncWatch:
    """Looks every few seconds, first after `start`, and calls on_change(decision) on its own thread."""

    def __init__(
        self, rules: SyncSection, on_change: Callable[[SyncDecision], None], *, thermal: Path = THERMAL, ask: Ask = run
    ) -> None:
        self.decision = SyncDecision()
        self._rules = rules
        self._on_change = on_change
        self._thermal = thermal
        self._ask = ask
        self._reported: Allowed | None = None
        self._rounds = Background.every(EVERY_S, self.look, name="sync conditions", at_once=True)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close(JOIN_S)

    def look(self) -> None:
        """One round."""
        self.decision = decide(self._rules, look(self._thermal, self._ask), self.decision)
        if self._reported != self.decision.allowed:
            self._reported = self.decision.allowed
            if self.decision.why is not None:
                logger.warning("Sync: %s", self.decision.text)
            self._on_change(self.decision)
