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
    """What the wearer was told about the link."""

    was_online: bool = False
    down_since_s: float | None = None
    told_offline: bool = False


def link_news(state: LinkNews, now_s: float, *, online: bool) -> tuple[LinkNews, str]:
    """(state, text to announce or ""). Being offline from the start is no news: most walks begin so."""
    if online:
        text = ONLINE if state.told_offline else ""
        return LinkNews(was_online=True), text
    if not state.was_online or state.told_offline:
        return state, ""
    since_s = now_s if state.down_since_s is None else state.down_since_s
    state = replace(state, down_since_s=since_s)
    if now_s - since_s < SETTLE_S:
        return state, ""
    return replace(state, told_offline=True), OFFLINE


@dataclass(frozen=True, slots=True)
class SoundNews:
    """What the wearer was told about the microphone."""

    down_since_s: float | None = None
    told: bool = False


def sound_news(state: SoundNews, now_s: float, *, healthy: bool) -> tuple[SoundNews, str]:
    """(state, text to announce or "")."""
    if healthy:
        return SoundNews(), SOUND_BACK if state.told else ""
    since_s = now_s if state.down_since_s is None else state.down_since_s
    late = now_s - since_s >= SETTLE_S
    return SoundNews(since_s, state.told or late), NO_SOUND if late and not state.told else ""


@dataclass(frozen=True, slots=True)
class RefusalNews:
    """What the wearer was told about refusals. None = what lay there at the start is not known yet: that is no news."""

    told: int | None = None
    told_s: float = float("-inf")


def refusal_news(state: RefusalNews, now_s: float, *, refused: int) -> tuple[RefusalNews, str]:
    """(state, text to announce or ""). refused: how many records lie refused now."""
    if state.told is None or refused < state.told:
        return replace(state, told=refused), ""
    if refused == state.told or now_s - state.told_s < REFUSAL_EVERY_S:
        return state, ""
    return RefusalNews(refused, now_s), REFUSED
