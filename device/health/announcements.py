"""What is worth announcing about the link, the microphone, the sentinel and a stuck model. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.policy import PAUSED, RESUMED

OFFLINE = "Offline."
ONLINE = "Back online."
NO_SOUND = "Microphone stopped."
SOUND_BACK = "Microphone is back."
REFUSED = "A moment was refused."
NOT_ERASED = "Not erased on the server."
LOST = "Kept moments were lost."
WATCH_OFF = "Watch is off."
WATCH_ON = "Watch is on."
NEWS_TEXTS = (OFFLINE, ONLINE, NO_SOUND, SOUND_BACK, REFUSED, NOT_ERASED, LOST, WATCH_OFF, WATCH_ON)

SETTLE_S = 5.0  # a phone's network comes and goes; only what lasts is news
REFUSAL_EVERY_S = 60.0  # a server that refuses a whole backlog must not talk over the walk
STUCK_S = 3.0  # a model this long at one picture guides nobody
STUCK_AGAIN_S = 30.0  # "Guidance paused." again, while it lasts
LOOKS_BACK = 3


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that is down, and whether that was announced. Only what lasts SETTLE_S is (debounce)."""

    down_since_s: float | None = None
    announced: bool = False
    was_up: bool = False


def _debounce(state: Outage, now_s: float, *, is_up: bool, down: str, back: str) -> tuple[Outage, str | None]:
    """(state, text to announce or None)."""
    if is_up:
        return Outage(was_up=True), back if state.announced else None
    since_s = now_s if state.down_since_s is None else state.down_since_s
    late = now_s - since_s >= SETTLE_S
    text = down if late and not state.announced else None
    return replace(state, down_since_s=since_s, announced=state.announced or late), text


def link_news(state: Outage, now_s: float, *, online: bool) -> tuple[Outage, str | None]:
    """(state, text to announce or None). Being offline from the start is no news: most walks begin so."""
    if not online and not state.was_up:
        return state, None
    return _debounce(state, now_s, is_up=online, down=OFFLINE, back=ONLINE)


def sound_news(state: Outage, now_s: float, *, healthy: bool) -> tuple[Outage, str | None]:
    """(state, text to announce or None)."""
    return _debounce(state, now_s, is_up=healthy, down=NO_SOUND, back=SOUND_BACK)


def watch_news(state: Outage, now_s: float, *, watched: bool) -> tuple[Outage, str | None]:
    """(state, text to announce or None). Without a sentinel nobody says that the agent died."""
    return _debounce(state, now_s, is_up=watched, down=WATCH_OFF, back=WATCH_ON)


@dataclass(frozen=True, slots=True)
class StuckNews:
    """Whether the model hangs at its pictures, and when that was announced."""

    stuck: bool = False
    announced_s: float | None = None


def stuck_news(
    state: StuckNews, now_s: float, *, stuck_s: float, looks_in_time: int, watched: bool
) -> tuple[StuckNews, str | None]:
    """(state, text to announce or None). A single look in time does not end it: where every other look is too late,
    guidance is neither back nor gone each time.

    stuck_s: how long the model has been at one picture; watched: a sentinel says so instead
    """
    if stuck_s >= STUCK_S or (state.stuck and looks_in_time < LOOKS_BACK):
        due = state.announced_s is None or now_s - state.announced_s >= STUCK_AGAIN_S
        if watched or not due:
            return replace(state, stuck=True), None
        return StuckNews(True, now_s), PAUSED
    return StuckNews(), RESUMED if state.stuck and state.announced_s is not None else None


@dataclass(frozen=True, slots=True)
class RefusalNews:
    """What was announced about refusals. None = what lay there at the start is not known yet: that is no news."""

    announced: int | None = None
    announced_s: float = float("-inf")


def refusal_news(
    state: RefusalNews, now_s: float, *, refused: int, text: str = REFUSED
) -> tuple[RefusalNews, str | None]:
    """(state, text to announce or None). refused: how many such records lie refused now."""
    if state.announced is None or refused < state.announced:
        return replace(state, announced=refused), None
    if refused == state.announced or now_s - state.announced_s < REFUSAL_EVERY_S:
        return state, None
    return RefusalNews(refused, now_s), text
