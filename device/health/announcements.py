"""What is worth announcing about the link, the microphone and a stuck model. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

OFFLINE = "Offline."
ONLINE = "Back online."
NO_SOUND = "Microphone stopped."
SOUND_BACK = "Microphone is back."
REFUSED = "A moment was refused."
LOST = "Kept moments were lost."
NEWS_TEXTS = (OFFLINE, ONLINE, NO_SOUND, SOUND_BACK, REFUSED, LOST)

SETTLE_S = 5.0  # a phone's network comes and goes; only what lasts is news
REFUSAL_EVERY_S = 60.0  # a server that refuses a whole backlog must not talk over the walk
STUCK_S = 3.0  # a model this long at one picture guides nobody


@dataclass(frozen=True, slots=True)
class LinkNews:
    """What was announced about the link."""

    was_online: bool = False
    down_since_s: float | None = None
    announced_offline: bool = False


def link_news(state: LinkNews, now_s: float, *, online: bool) -> tuple[LinkNews, str | None]:
    """(state, text to announce or None). Being offline from the start is no news: most walks begin so."""
    if online:
        text = ONLINE if state.announced_offline else None
        return LinkNews(was_online=True), text
    if not state.was_online or state.announced_offline:
        return state, None
    since_s = now_s if state.down_since_s is None else state.down_since_s
    state = replace(state, down_since_s=since_s)
    if now_s - since_s < SETTLE_S:
        return state, None
    return replace(state, announced_offline=True), OFFLINE


@dataclass(frozen=True, slots=True)
class SoundNews:
    """What was announced about the microphone."""

    down_since_s: float | None = None
    announced: bool = False


def sound_news(state: SoundNews, now_s: float, *, healthy: bool) -> tuple[SoundNews, str | None]:
    """(state, text to announce or None)."""
    if healthy:
        return SoundNews(), SOUND_BACK if state.announced else None
    since_s = now_s if state.down_since_s is None else state.down_since_s
    late = now_s - since_s >= SETTLE_S
    return SoundNews(since_s, state.announced or late), NO_SOUND if late and not state.announced else None


@dataclass(frozen=True, slots=True)
class RefusalNews:
    """What was announced about refusals. None = what lay there at the start is not known yet: that is no news."""

    announced: int | None = None
    announced_s: float = float("-inf")


def refusal_news(state: RefusalNews, now_s: float, *, refused: int) -> tuple[RefusalNews, str | None]:
    """(state, text to announce or None). refused: how many records lie refused now."""
    if state.announced is None or refused < state.announced:
        return replace(state, announced=refused), None
    if refused == state.announced or now_s - state.announced_s < REFUSAL_EVERY_S:
        return state, None
    return RefusalNews(refused, now_s), REFUSED
