"""What to tell whom now. Pure: state and what holds in, messages out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from enum import StrEnum
from typing import TypeVar, assert_never
from zoneinfo import ZoneInfo

from shared.backoff import exponential_s

RETRY_FIRST_S, RETRY_MOST_S = 60.0, 3600.0
LINES_MOST = 20
Number = TypeVar("Number", int, float)


class NewsKind(StrEnum):
    """What a person may be told of."""

    CORRECTION = "correction"
    """A spoken correction waits for review."""
    SILENT = "silent"
    """A device was not heard of for long."""
    NIGHT = "night"
    """A night failed, or its model was refused."""
    DISK = "disk"
    """The server's disk is nearly full or will be soon, or moments may be deleted to make room."""
    CERTIFICATE = "certificate"
    """A certificate or a signature ends soon."""
    HELP = "help"
    """A wearer asked for help: also in quiet hours, unless a person says otherwise."""


KIND_WORDS = {
    NewsKind.CORRECTION: "a spoken correction waits",
    NewsKind.SILENT: "a device was not heard of for three days",
    NewsKind.NIGHT: "a night failed, or its model was refused",
    NewsKind.DISK: "the disk is nearly full, or room is made",
    NewsKind.CERTIFICATE: "a certificate ends soon",
    NewsKind.HELP: "a wearer asked for help",
}
"""Each kind as people choose it."""
URGENT = frozenset({NewsKind.HELP})


@dataclass(frozen=True, slots=True, order=True)
class NewsKey:
    """One thing that may be told of."""

    kind: NewsKind
    about: str
    """Which one: a device, a night, a certificate; "" = there is one of it."""


@dataclass(frozen=True, slots=True)
class NewsItem:
    """What holds now."""

    key: NewsKey
    text: str
    """A sentence for the person; nothing of a wearer's."""
    wearer: str | None = None
    """Whom it is about: it is for those who care for them. None = for whoever is told of its kind."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person, as far as it decides what they are told."""

    name: str
    kinds: frozenset[NewsKind] = frozenset(NewsKind)
    quiet: tuple[time, time] | None = None
    """From, to, by their own clock; may go over midnight."""
    zone: str = "UTC"
    cool_down_s: float = 12 * 3600.0
    urgent: frozenset[NewsKind] = URGENT
    """What also comes in quiet hours."""
    sees: tuple[NewsItem, ...] | None = None
    """What holds of all that is for them; None = everything that was found."""


@dataclass(frozen=True, slots=True)
class NewsLetter:
    """One message to one person."""

    person: str
    keys: tuple[NewsKey, ...]
    lines: tuple[str, ...]

    @property
    def is_urgent(self) -> bool:
        return any(key.kind in URGENT for key in self.keys)


@dataclass(frozen=True, slots=True)
class ToldSoFar:
    """What was told, when, and whom nothing can be sent to at the moment."""

    at_utc: Mapping[tuple[str, NewsKey], float] = field(default_factory=dict)
    """(person, thing) → when they were told last."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Person → attempts in a row that failed."""
    not_before_utc: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LookedAround:
    """Somebody looked, and this is all that holds."""

    items: tuple[NewsItem, ...]
    people: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The message went out."""

    letter: NewsLetter


@dataclass(frozen=True, slots=True)
class Undelivered:
    """It did not."""

    letter: NewsLetter


TellingEvent = LookedAround | Delivered | Undelivered


def step(state: ToldSoFar, event: TellingEvent, now_utc: float) -> tuple[ToldSoFar, tuple[NewsLetter, ...]]:
    """What to send after an event, and what is remembered of it."""
    match event:
        case LookedAround(items, people):
            letters = (_letter(state, items, person, now_utc) for person in people)
            some = sorted((letter for letter in letters if letter.keys), key=lambda letter: not letter.is_urgent)
            return _forget(state, items, people, now_utc), tuple(some)
        case Delivered(letter):
            told = {**state.at_utc, **{(letter.person, key): now_utc for key in letter.keys}}
            return ToldSoFar(
                told, _without(state.failures, letter.person), _without(state.not_before_utc, letter.person)
            ), ()
        case Undelivered(letter):
            count = state.failures.get(letter.person, 0) + 1
            return (
                replace(
                    state,
                    failures={**state.failures, letter.person: count},
                    not_before_utc={**state.not_before_utc, letter.person: now_utc + _wait_s(count)},
                ),
                (),
            )
        case _:
            assert_never(event)


def _letter(state: ToldSoFar, items: Iterable[NewsItem], person: Recipient, now_utc: float) -> NewsLetter:
    """Everything new in one message; without keys where there is nothing to send."""
    kinds, quiet = _tried(state, person, now_utc), is_quiet(person, now_utc)
    seen = (item for item in (items if person.sees is None else person.sees) if item.key.kind in kinds)
    new = [item for item in seen if _is_due(state, item.key, person, now_utc, quiet=quiet)]
    lines = [item.text for item in new[:LINES_MOST]]
    if len(new) > LINES_MOST:
        lines.append(f"And {len(new) - LINES_MOST} more.")
    return NewsLetter(person.name, tuple(item.key for item in new), tuple(lines))


def _tried(state: ToldSoFar, person: Recipient, now_utc: float) -> frozenset[NewsKind]:
    """What is tried now. Who could not be reached for long hears of what is urgent all the same, tried every minute:
    the network may be back."""
    not_before_utc = state.not_before_utc.get(person.name, 0.0)
    if now_utc >= not_before_utc:
        return frozenset(NewsKind)
    failed_utc = not_before_utc - _wait_s(state.failures.get(person.name, 1))
    return URGENT if now_utc >= failed_utc + RETRY_FIRST_S else frozenset()


def _wait_s(failures: int) -> float:
    return exponential_s(failures - 1, base_s=RETRY_FIRST_S, max_s=RETRY_MOST_S)


def _is_due(state: ToldSoFar, key: NewsKey, person: Recipient, now_utc: float, *, quiet: bool) -> bool:
    if key.kind not in person.kinds or (quiet and key.kind not in person.urgent):
        return False
    return now_utc - state.at_utc.get((person.name, key), float("-inf")) >= person.cool_down_s


def is_quiet(person: Recipient, now_utc: float) -> bool:
    """Whether it is their quiet time. From 22:00 to 07:00 goes over midnight."""
    if person.quiet is None or person.quiet[0] == person.quiet[1]:
        return False
    begins, ends = person.quiet
    now = datetime.fromtimestamp(now_utc, UTC).astimezone(ZoneInfo(person.zone)).time()
    return begins <= now < ends if begins < ends else now >= begins or now < ends


def _forget(state: ToldSoFar, items: Iterable[NewsItem], people: Iterable[Recipient], now_utc: float) -> ToldSoFar:
    """Drop what neither holds any more nor could be told again too soon: what comes and goes is not told each time."""
    everybody = tuple(people)
    own = (item for person in everybody for item in person.sees or ())
    holds = {item.key for item in (*items, *own)}
    cool_down = {person.name: person.cool_down_s for person in everybody}
    told = {
        (name, key): at_utc
        for (name, key), at_utc in state.at_utc.items()
        if name in cool_down and (key in holds or now_utc - at_utc < cool_down[name])
    }
    return replace(state, at_utc=told)


def _without(values: Mapping[str, Number], name: str) -> dict[str, Number]:
    return {key: value for key, value in values.items() if key != name}
