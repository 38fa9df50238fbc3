"""What an admin should know now, in sentences: the broker, the disk, certificates, the last night, the queue. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from server.admin import fleet, storage
from server.admin.fleet import FleetDevice
from server.admin.nights import FAILED, INTERRUPTED, RUNNING, NightRun
from shared.plural import several

DAY_S = 86_400.0
CERTIFICATE_DAYS, AUTHORITY_DAYS, NIGHT_DAYS, WAITS_DAYS = 14, 60, 3, 7
NAMED_MOST = 5


class HealthLevel(StrEnum):
    """How urgent it is."""

    WELL = "well"
    SOON = "soon"
    NOW = "now"


@dataclass(frozen=True, slots=True)
class HealthLine:
    """One thing that was looked at."""

    about: str
    level: HealthLevel
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """What was found."""

    now_utc: float
    broker: str
    """HOST:PORT"""
    broker_reached: bool | None
    """None = not known here."""
    free: int
    total: int
    waiting: int
    """Moments to review."""
    oldest_waiting_utc: float | None
    devices: tuple[FleetDevice, ...] = ()
    nights: tuple[NightRun, ...] = ()
    """Newest first."""
    ends: Mapping[str, float] = field(default_factory=dict)
    """What the server signs with → when it ends: the authority, the release roles."""
    full_in_days: float | None = None
    """Only where it is soon."""
    space: tuple[str, ...] = ()
    """What the bound of space lacks, in sentences."""
    quarantined: int = 0
    never_judged: tuple[str, ...] = ()
    broker_lacks: tuple[str, str] | None = None
    """What its limits are not enough for, and what to do."""


def lines(facts: HealthFacts) -> tuple[HealthLine, ...]:
    """Everything, the most urgent first."""
    found = [
        _broker(facts),
        *_broker_room(facts),
        _disk(facts),
        *_space(facts),
        _night(facts),
        _queue(facts),
        *_ends(facts),
        *_devices(facts),
        *_odd(facts),
    ]
    order = list(reversed(HealthLevel))
    return tuple(sorted(found, key=lambda line: order.index(line.level)))


def worst(found: Sequence[HealthLine]) -> HealthLevel:
    """Of all lines."""
    return max((line.level for line in found), key=list(HealthLevel).index, default=HealthLevel.WELL)


def _broker(facts: HealthFacts) -> HealthLine:
    if facts.broker_reached is None:
        return HealthLine("Broker", HealthLevel.WELL, f"{facts.broker}: not watched from here.")
    if facts.broker_reached:
        return HealthLine("Broker", HealthLevel.WELL, f"{facts.broker} is reached.")
    todo = "See that it runs: systemctl status waycue-broker. Devices keep what they have until it is back."
    return HealthLine("Broker", HealthLevel.NOW, f"{facts.broker} is not reached.", todo)


def _broker_room(facts: HealthFacts) -> Iterator[HealthLine]:
    if facts.broker_lacks is not None:
        yield HealthLine("Broker", HealthLevel.SOON, *facts.broker_lacks)


def _disk(facts: HealthFacts) -> HealthLine:
    text = f"{facts.free / 1e9:.1f} GB of {facts.total / 1e9:.0f} GB are free."
    if storage.is_nearly_full(facts.free, facts.total):
        return HealthLine("Disk", HealthLevel.NOW, text, "Free some space: caches can be deleted, see Storage.")
    if facts.full_in_days is not None:
        text = f"{text} At this rate it is full in {storage.days_in_words(facts.full_in_days)}."
        return HealthLine("Disk", HealthLevel.SOON, text, "Make room, or set a bound under [space]: see Storage.")
    return HealthLine("Disk", HealthLevel.WELL, text)


def _space(facts: HealthFacts) -> Iterator[HealthLine]:
    for text in facts.space:
        yield HealthLine("Space", HealthLevel.SOON, text, "See Storage.")


def _night(facts: HealthFacts) -> HealthLine:
    if not facts.nights:
        todo = "The timer starts one: systemctl list-timers waycue-retrain. Or begin one by hand."
        return HealthLine("Last night", HealthLevel.SOON, "No night has run yet.", todo)
    last = facts.nights[0]
    days = (facts.now_utc - last.began_utc) / DAY_S
    why = f": {'; '.join(last.reasons)}" if last.reasons else ""
    if last.outcome in (FAILED, INTERRUPTED):
        todo = "The next one goes on where it was."
        return HealthLine("Last night", HealthLevel.NOW, f"It was {last.outcome}{why}.", todo)
    if days > NIGHT_DAYS and last.outcome != RUNNING:
        todo = "See whether the timer is on: systemctl list-timers waycue-retrain."
        return HealthLine("Last night", HealthLevel.SOON, f"None began for {days:.0f} days.", todo)
    return HealthLine("Last night", HealthLevel.WELL, f"{last.outcome.capitalize()}{why}.")


def _queue(facts: HealthFacts) -> HealthLine:
    if not facts.waiting:
        return HealthLine("Review", HealthLevel.WELL, "Nothing waits.")
    text = f"{several(facts.waiting, 'moment')} to review."
    if facts.oldest_waiting_utc is not None:
        days = (facts.now_utc - facts.oldest_waiting_utc) / DAY_S
        if days > WAITS_DAYS:
            return HealthLine(
                "Review", HealthLevel.SOON, f"{text} The oldest waits for {days:.0f} days.", "Review some."
            )
    return HealthLine("Review", HealthLevel.WELL, text)


def _ends(facts: HealthFacts) -> Iterator[HealthLine]:
    for name, ends_utc in facts.ends.items():
        days = (ends_utc - facts.now_utc) / DAY_S
        if days < AUTHORITY_DAYS:
            level = HealthLevel.NOW if days < CERTIFICATE_DAYS else HealthLevel.SOON
            yield HealthLine("Certificates", level, f"{name}: {_left(days)}.", "See docs/operations.md, “Keys”.")
    late = [device.name for device in facts.devices if _ends_soon(device, facts.now_utc)]
    if late:
        todo = "A device renews its certificate when it is online. One that stays away needs a new code."
        text = f"Within {CERTIFICATE_DAYS} days end those of {_named(late)}."
        yield HealthLine("Certificates", HealthLevel.SOON, text, todo)
    elif not any((ends - facts.now_utc) / DAY_S < AUTHORITY_DAYS for ends in facts.ends.values()):
        yield HealthLine("Certificates", HealthLevel.WELL, "None ends soon.")


def _ends_soon(device: FleetDevice, now_utc: float) -> bool:
    ends = device.not_after_utc
    return device.state == "enrolled" and ends is not None and ends - now_utc < CERTIFICATE_DAYS * DAY_S


def _left(days: float) -> str:
    return "has ended" if days <= 0 else f"ends in {days:.0f} days"


def _devices(facts: HealthFacts) -> Iterator[HealthLine]:
    for device in facts.devices:
        if found := fleet.troubles(device, now_utc=facts.now_utc):
            yield HealthLine(f"Device {device.name}", HealthLevel.SOON, f"{'; '.join(found)}.")


def _odd(facts: HealthFacts) -> Iterator[HealthLine]:
    if facts.quarantined:
        todo = "The log says why. Look with: waycue-server check"
        yield HealthLine("Quarantine", HealthLevel.SOON, f"{facts.quarantined} files or records lie in it.", todo)
    if facts.never_judged:
        text = f"Made for the field, and no gate of this server judged them: {_named(facts.never_judged)}."
        yield HealthLine("Models", HealthLevel.SOON, text, "They are offered to nobody anew.")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MOST} more" if len(names) > NAMED_MOST else ""
    return f"{', '.join(names[:NAMED_MOST])}{more}"
