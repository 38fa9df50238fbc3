"""Which version each device should run, and when a rollout must stop. Pure; `server.releases.rollouts` keeps it in the
database.

    champion                            for every device that no rollout covers
    rollout: devices, cohort, percent   a version for some of them, until it is finished, halted or overtaken

Rules kept here:

1. Of what a device may run, the newest decision wins: its order is the time of the decision in milliseconds. The device
   reads the same order in the signed metadata and comes to the same version.
2. A rollout halts by itself once the devices that failed *or fell silent* are more than its share of those it covers.
   A model that takes a device down sends no report of that: silence counts.
3. A champion that is promoted after a rollout began overtakes it.

4. A model on trial goes to devices that are named one by one, whose wearers walk with a sighted companion (supervised).

The percentage takes the same devices first at every stage: `shared.assignment` draws them by a stable hash.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared import assignment
from shared.assignment import Assignment
from shared.messages import Status

RUNNING, HALTED, FINISHED, OVERTAKEN = "running", "halted", "finished", "overtaken"
STATES = (RUNNING, HALTED, FINISHED, OVERTAKEN)
WAITING, PROVEN, FAILED, MISSING = "waiting", "proven", "failed", "missing"
OUTCOMES = (WAITING, PROVEN, FAILED, MISSING)
STAGES = (10, 100)  # percent, after the first devices


@dataclass(frozen=True, slots=True)
class Champion:
    """What every device runs that no rollout covers."""

    version: str
    since_utc: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """One version for some devices."""

    id: int
    version: str
    state: str
    """One of STATES."""
    percent: int
    devices: tuple[str, ...]
    cohort: str
    """"" = none"""
    error_share: float
    """Share of the covered devices that may fail or fall silent."""
    missing_after_s: float
    started_utc: float
    changed_utc: float
    """When its state or its stage changed last."""
    why: str
    supervised: bool = False
    """Its version is on trial, and these wearers walk with a sighted companion."""
    companion: str = ""
    """Who walks along, as the admin said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a rollout on one device."""

    device: str
    offered_utc: float
    outcome: str
    """One of OUTCOMES."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes counted."""

    covered: int = 0
    proven: int = 0
    failed: int = 0
    missing: int = 0
    waiting: int = 0

    @property
    def bad(self) -> int:
        return self.failed + self.missing


@dataclass(frozen=True, slots=True)
class Grant:
    """A version, and who may run it."""

    version: str
    order: int
    percent: int
    devices: tuple[str, ...]
    supervised: bool = False

    def assignment(self) -> Assignment:
        hashed = frozenset(assignment.device_hash(self.version, device) for device in self.devices)
        return Assignment(self.version, self.order, self.percent, hashed, self.supervised)


def grants(
    champion: Champion | None, rollouts: Iterable[Rollout], cohorts: Mapping[str, Sequence[str]]
) -> tuple[Grant, ...]:
    """Who may run what now. One entry per version: of two decisions about one version the newer counts."""
    found: dict[str, Grant] = {}
    if champion is not None:
        found[champion.version] = Grant(champion.version, _order(champion.since_utc), 100, ())
    for rollout in sorted(rollouts, key=lambda one: (one.started_utc, one.id)):
        if rollout.state == RUNNING and rollout.version not in found:
            devices = tuple(sorted({*rollout.devices, *cohorts.get(rollout.cohort, ())}))
            found[rollout.version] = Grant(
                rollout.version, _order(rollout.started_utc), rollout.percent, devices, rollout.supervised
            )
    return tuple(sorted(found.values(), key=lambda grant: (grant.order, grant.version)))


def _order(at_utc: float) -> int:
    return max(0, int(at_utc * 1000))


def version_for(granted: Iterable[Grant], device: str) -> str | None:
    """What a device should run; None where there is nothing for it."""
    return assignment.assigned([grant.assignment() for grant in granted], device)


def is_overtaken(rollout: Rollout, champion: Champion | None) -> bool:
    """Whether a champion was promoted after the rollout began."""
    return champion is not None and rollout.state == RUNNING and champion.since_utc > rollout.started_utc


def outcome_now(
    known: Outcome, rollout: Rollout, status: Status | None, seen_utc: float | None, now_utc: float
) -> Outcome:
    """What a device's last status says about its update. `proven` and `failed` stay."""
    if known.outcome in (PROVEN, FAILED):
        return known
    heard = status is not None and seen_utc is not None and seen_utc >= known.offered_utc
    if status is not None and heard:
        refused = f"refused: {rollout.version}: "
        if status.model_state.startswith(refused):
            return Outcome(known.device, known.offered_utc, FAILED, status.model_state.removeprefix(refused)[:300])
        if status.model_version == rollout.version and not status.model_state.startswith("probation"):
            return Outcome(known.device, known.offered_utc, PROVEN)
    # Switched off since before the offer: it has not begun. Heard of since, and then no result: that is an answer too.
    if heard and now_utc - known.offered_utc > rollout.missing_after_s:
        hours = rollout.missing_after_s / 3600
        return Outcome(known.device, known.offered_utc, MISSING, f"no result {hours:g} h after the offer")
    return Outcome(known.device, known.offered_utc, WAITING)


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Count them."""
    names = [one.outcome for one in outcomes]
    return Tally(len(names), *(names.count(name) for name in (PROVEN, FAILED, MISSING, WAITING)))


def halt_reason(rollout: Rollout, counted: Tally) -> str:
    """Why it must stop, "" = it may go on. One bad device is enough where few are covered."""
    allowed = math.floor(rollout.error_share * counted.covered)
    if counted.bad == 0 or counted.bad <= allowed:
        return ""
    return (
        f"{counted.failed} of {counted.covered} devices failed and {counted.missing} sent no result; "
        f"{allowed} are allowed ({rollout.error_share:.0%})"
    )


def next_percent(rollout: Rollout) -> int | None:
    """The stage after the present one; None after the last."""
    return next((percent for percent in STAGES if percent > rollout.percent), None)
