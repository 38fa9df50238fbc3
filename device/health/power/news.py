"""What is told of the power, and when. Pure: `step(state, reading, now_s) -> (state, news)`.

Each of 30, 15 and 5 % is told once, and again only after the battery was charged to 5 % above it. A single reading
never decides: the middle one of the last five counts. Where a source does not say whether it charges, a battery counts
as charged once it stood above that for ten minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median

from device.health.power.drain import Drain, followed, minutes_left
from device.health.power.reading import PowerReading

LEVELS = (5, 15, 30)
PERCENTS = (5, 10, 15, 20, 25, 30)
MINUTES = (5, 10, 20, 30, 40, 60, 90, 120)
BATTERY_EMPTY = "Battery nearly empty."
BATTERY_UNKNOWN = "Battery level is unknown."
LOW_POWER = "Low power."
CHARGING = "Charging."
ON_BATTERY = "On battery."
ABOUT_BATTERY, ABOUT_CHARGING, ABOUT_SUPPLY = "battery", "charging", "supply"

READINGS = 5
LEAST_READINGS = 3
REARM = 5.0  # percent above a level
REARM_S = 600.0
LOW_AGAIN_S = 300.0
SILENT_S = 60.0  # without a figure: a bus that is busy, a driver that starts anew
FED_FALL = 3.0  # percent below the most that it had while it is fed: it takes more than it is given
SURE_S = 15.0  # that power comes, or comes no more: a plug is put in with some bouncing


def battery_text(percent: int, minutes: int | None = None) -> str:
    """percent: one of PERCENTS; minutes: one of MINUTES, or None = not known."""
    return f"Battery {percent} percent." if minutes is None else f"Battery {percent} percent, about {minutes} minutes."


BATTERY_TEXTS = (
    *(battery_text(percent) for percent in PERCENTS),
    *(battery_text(level, minutes) for level in LEVELS for minutes in MINUTES),
)
POWER_TEXTS = (*BATTERY_TEXTS, BATTERY_EMPTY, BATTERY_UNKNOWN, LOW_POWER, CHARGING, ON_BATTERY)


@dataclass(frozen=True, slots=True)
class PowerNews:
    """Something to say."""

    text: str
    about: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class PowerState:
    """What is remembered of the power. Start with PowerState()."""

    recent: tuple[float, ...] = ()
    """Percents of the last READINGS readings."""
    told: int | None = None
    """The lowest level that was told and is not charged away since."""
    above_since_s: float | None = None
    """Since when the battery stands above that by more than REARM."""
    drain: Drain = field(default_factory=Drain)
    charging: bool | None = None
    """As told, or as it was at the start."""
    changed_since_s: float | None = None
    """Since when the source says otherwise."""
    low: bool = False
    low_before: bool | None = None
    low_told_s: float = float("-inf")
    minutes: float | None = None
    """Left, as far as is known."""
    silent_since_s: float | None = None
    """Since when the source that told the charge tells none."""
    fed: float | None = None
    """The most percent that it had since it is fed from outside; None = it is not fed."""

    @property
    def percent(self) -> float | None:
        """The middle one of the last readings; None = too few yet."""
        return median(self.recent) if len(self.recent) >= LEAST_READINGS else None


def step(state: PowerState, reading: PowerReading, now_s: float) -> tuple[PowerState, tuple[PowerNews, ...]]:
    """The state after a reading, and what is to be said."""
    state, supply = _supply(state, reading, now_s)
    state, plug = _plug(state, reading, now_s)
    state, silence = _silence(state, reading, now_s)
    state, battery = _battery(state, reading, now_s)
    return state, (*supply, *plug, *silence, *battery)


def _supply(state: PowerState, reading: PowerReading, now_s: float) -> tuple[PowerState, tuple[PowerNews, ...]]:
    """Too little voltage: now, or for a moment between two readings."""
    dipped = reading.low_voltage_before is True and state.low_before is False
    low = reading.low_voltage is True or dipped
    begins = low and not state.low and now_s - state.low_told_s >= LOW_AGAIN_S
    before = state.low_before if reading.low_voltage_before is None else reading.low_voltage_before
    state = replace(state, low=low and (begins or state.low), low_before=before)
    if not begins:
        return state, ()
    return replace(state, low_told_s=now_s), (PowerNews(LOW_POWER, ABOUT_SUPPLY),)


def _plug(state: PowerState, reading: PowerReading, now_s: float) -> tuple[PowerState, tuple[PowerNews, ...]]:
    """Power from outside comes, or goes."""
    if reading.charging is None or reading.charging == state.charging:
        return replace(state, changed_since_s=None), ()
    if state.charging is None:
        return replace(state, charging=reading.charging), ()
    since_s = now_s if state.changed_since_s is None else state.changed_since_s
    if now_s - since_s < SURE_S:
        return replace(state, changed_since_s=since_s), ()
    text = CHARGING if reading.charging else ON_BATTERY
    return replace(state, charging=reading.charging, changed_since_s=None), (PowerNews(text, ABOUT_CHARGING),)


def _silence(state: PowerState, reading: PowerReading, now_s: float) -> tuple[PowerState, tuple[PowerNews, ...]]:
    """A charge that is not told any more is not known: whoever waits for its levels must hear that none will come."""
    if reading.percent is not None or not state.recent:
        return replace(state, silent_since_s=None), ()
    since_s = now_s if state.silent_since_s is None else state.silent_since_s
    if now_s - since_s < SILENT_S:
        return replace(state, silent_since_s=since_s), ()
    state = replace(state, recent=(), drain=Drain(), minutes=None, silent_since_s=None, fed=None)
    return state, (PowerNews(BATTERY_UNKNOWN, ABOUT_BATTERY),)


def _battery(state: PowerState, reading: PowerReading, now_s: float) -> tuple[PowerState, tuple[PowerNews, ...]]:
    state = _measured(state, reading, now_s)
    percent = state.percent
    if percent is None or reading.percent is None:
        return state, ()
    state = _fed(state, percent, charging=reading.charging is True)
    if state.fed is not None and percent > state.fed - FED_FALL:
        return state, ()
    reached = _lowest(percent)
    if reached is None or (state.told is not None and reached >= state.told):
        return state, ()
    text, said = _words(percent, state.minutes)
    told = min(reached, _lowest(said) or reached)  # 16 % is told as 15: not again at 15
    return replace(state, told=told, above_since_s=None), (PowerNews(text, ABOUT_BATTERY, told == LEVELS[0]),)


def _fed(state: PowerState, percent: float, *, charging: bool) -> PowerState:
    return replace(state, fed=max(percent, state.fed or 0.0) if charging else None)


def _measured(state: PowerState, reading: PowerReading, now_s: float) -> PowerState:
    """Charge and minutes as they are known now."""
    if reading.percent is None:
        return state
    state = replace(state, recent=(*state.recent, reading.percent)[-READINGS:])
    percent = state.percent
    if percent is None:
        return state
    drain = Drain() if reading.charging else followed(state.drain, percent, now_s)
    left = minutes_left(drain) if reading.minutes_left is None else reading.minutes_left
    return _charged(replace(state, drain=drain, minutes=None if reading.charging else left), percent, now_s)


def _charged(state: PowerState, percent: float, now_s: float) -> PowerState:
    """A level may be told again once the battery was charged above it."""
    if state.told is None or percent <= state.told + REARM:
        return replace(state, above_since_s=None)
    since_s = now_s if state.above_since_s is None else state.above_since_s
    if state.charging is not True and now_s - since_s < REARM_S:
        return replace(state, above_since_s=since_s)
    told = _lowest(percent - REARM)
    return replace(state, told=told, above_since_s=None)


def _lowest(percent: float) -> int | None:
    """The lowest level that is reached."""
    return next((level for level in LEVELS if percent <= level), None)


def _words(percent: float, minutes: float | None) -> tuple[str, int]:
    """(what to say, the percents that it names)"""
    if percent < PERCENTS[0] / 2:
        return BATTERY_EMPTY, 0
    said = min(PERCENTS, key=lambda known: abs(known - percent))
    left = None if minutes is None else max((known for known in MINUTES if known <= minutes), default=None)
    return battery_text(said, left if said in LEVELS else None), said
