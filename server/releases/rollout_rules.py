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
4. A/B: a rollout may cover its devices on some days of their wearers only (server.releases.days); on the others they
   run what they would without it.
5. A model on trial goes to devices that are named one by one, whose wearers walk with a sighted companion (supervised).

The percentage takes the same devices first at every stage: `shared.assignment` draws them by a stable hash.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from server.releases import days
from server.releases.days import NO_DAY, Today
from shared import assignment
from shared.assignment import Assignment
from shared.messages import Status

STAGES = (10, 100)  # percent, after the first devices


class RolloutState(StrEnum):
    """How far a rollout is."""

    RUNNING = "running"
    HALTED = "halted"
    FINISHED = "finished"
    OVERTAKEN = "overtaken"


class UpdateOutcome(StrEnum):
    """What became of a rollout on one device."""

    WAITING = "waiting"
    PROVEN = "proven"
    FAILED = "failed"
    MISSING = "missing"
    """The device sends statuses, but no result."""


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
    state: RolloutState
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
    days_percent: int = 0
    """A/B: share of the wearer-days of its devices on which they run it; 0 = every day."""
    day_begins_h: int = days.BEGINS_H
    """In UTC, of A/B."""

    def covers(self, device: str, today: Today) -> bool:
        """Whether a device that it names runs it today."""
        if not self.days_percent:
            return True
        day = days.day_of(today.now_utc, self.day_begins_h)
        return days.runs(self.version, today.wearer_of(device), day, self.days_percent)


@dataclass(frozen=True, slots=True)
class DeviceOutcome:
    """The outcome on one device."""

    device: str
    offered_utc: float
    outcome: UpdateOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
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
    """Of the versions that a device may run, the one with the highest order is its model."""
    percent: int = 0
    """Share of all devices, 0 to 100."""
    devices: tuple[str, ...] = ()
    """Names of devices that may run it whatever the percentage."""
    supervised: bool = False
    """Their wearers walk with a sighted companion: a model on trial may guide them."""

    def assignment(self) -> Assignment:
        """Who may run it, as devices will read it."""
        hashed = frozenset(assignment.device_hash(self.version, device) for device in self.devices)
        return Assignment(self.version, self.order, self.percent, hashed, self.supervised)


def grants(
    champion: Champion | None, rollouts: Iterable[Rollout], cohorts: Mapping[str, Sequence[str]], today: Today = NO_DAY
) -> tuple[Grant, ...]:
    """Who may run what now. One entry per version: of the champion and a rollout of it the champion counts, of two
    rollouts the older. today: the day of rollouts by wearer-day"""
    granted: dict[str, Grant] = {}
    if champion is not None:
        granted[champion.version] = Grant(champion.version, order(champion.since_utc), 100)
    for rollout in sorted(rollouts, key=lambda rollout: (rollout.started_utc, rollout.id)):
        if rollout.state == RolloutState.RUNNING and rollout.version not in granted:
            named = sorted({*rollout.devices, *cohorts.get(rollout.cohort, ())})
            devices = tuple(device for device in named if rollout.covers(device, today))
            granted[rollout.version] = Grant(
                rollout.version, order(rollout.started_utc), rollout.percent, devices, rollout.supervised
            )
    return tuple(sorted(granted.values(), key=lambda grant: (grant.order, grant.version)))


def order(at_utc: float) -> int:
    """Of a decision that was made then, among all."""
    return max(0, int(at_utc * 1000))


def version_for(granted: Iterable[Grant], device: str) -> str | None:
    """What a device should run; None where there is nothing for it."""
    return assignment.assigned([grant.assignment() for grant in granted], device)


def is_overtaken(rollout: Rollout, champion: Champion | None) -> bool:
    """Whether a champion was promoted after the rollout began."""
    return champion is not None and rollout.state == RolloutState.RUNNING and champion.since_utc > rollout.started_utc


def outcome_now(
    known: DeviceOutcome, rollout: Rollout, status: Status | None, seen_utc: float | None, now_utc: float
) -> DeviceOutcome:
    """What a device's last status says about its update. `proven` and `failed` stay."""
    if known.outcome in (UpdateOutcome.PROVEN, UpdateOutcome.FAILED):
        return known
    if status is None or seen_utc is None or seen_utc < known.offered_utc:
        outcome, reason = UpdateOutcome.WAITING, ""  # switched off since before the offer: it has not begun
    else:
        outcome, reason = _reported(status, rollout, now_utc - known.offered_utc)
        if outcome is UpdateOutcome.MISSING and rollout.days_percent and seen_utc > known.offered_utc + days.DAY_S:
            outcome, reason = UpdateOutcome.WAITING, ""  # heard of on days of the champion: it is not down
    return DeviceOutcome(known.device, known.offered_utc, outcome, reason)


def _reported(status: Status, rollout: Rollout, since_offer_s: float) -> tuple[UpdateOutcome, str]:
    refused = f"refused: {rollout.version}: "
    if status.model_state.startswith(refused):
        return UpdateOutcome.FAILED, status.model_state.removeprefix(refused)[:300]
    if status.model_version == rollout.version and not status.model_state.startswith("probation"):
        return UpdateOutcome.PROVEN, ""
    if since_offer_s > rollout.missing_after_s:
        return UpdateOutcome.MISSING, f"no result {rollout.missing_after_s / 3600:g} h after the offer"
    return UpdateOutcome.WAITING, ""


def count(outcomes: Iterable[DeviceOutcome]) -> OutcomeCounts:
    """Count them."""
    counts = Counter(entry.outcome for entry in outcomes)
    return OutcomeCounts(counts.total(), **{outcome.value: counts[outcome] for outcome in UpdateOutcome})


def halt_reason(rollout: Rollout, counts: OutcomeCounts) -> str | None:
    """Why it must stop; None = it may go on. One bad device is enough where few are covered."""
    allowed = math.floor(rollout.error_share * counts.covered)
    if counts.bad <= allowed:
        return None
    return (
        f"{counts.failed} of {counts.covered} devices failed and {counts.missing} sent no result; "
        f"{allowed} are allowed ({rollout.error_share:.0%})"
    )


def next_percent(rollout: Rollout) -> int | None:
    """The stage after the present one; None after the last."""
    return next((percent for percent in STAGES if percent > rollout.percent), None)
