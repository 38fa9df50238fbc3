"""May it be said? Evidence, repetition, nearness, and whether there is room for more words. All pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shared import vocabulary
from shared.policy.kinds import CONFIRMING, Key, PolicySettings, PolicyState, SpokenHazard
from shared.policy.speaking import rank
from shared.runtime.seen import Hazard

_TIERS = {"warnings": 1, "obstacles": 2, "all": 3}


def place_of(side: str) -> str:
    """The side as a hazard head tells it apart: "overhead" and unsaid are on the path."""
    if side.endswith("left"):
        return "on the left"
    return "on the right" if side.endswith("right") else "behind" if side == "behind" else "ahead"


def on_weak_side(place: str, settings: PolicySettings) -> bool:
    """Whether a place is where the wearer notices less."""
    return settings.weak_side != "none" and place.endswith(settings.weak_side)


def tier_of(key: Key, how: str = "") -> int:
    """how: a modifier, "" = none"""
    return vocabulary.tier(vocabulary.Slots("", *key, how))


def seen_of(hazards: Iterable[Hazard], settings: PolicySettings) -> dict[Key, Hazard]:
    """What is above the threshold, most important first. A model may know things that we have no word for."""
    known = vocabulary.load().objects
    above = [h for h in hazards if h.score >= settings.hazard_above and h.object in known]
    placed = [replace(hazard, side=place_of(hazard.side)) for hazard in above]
    seen: dict[Key, Hazard] = {}
    for hazard in sorted(
        placed, key=lambda h: (tier_of((h.object, h.side), h.how), not on_weak_side(h.side, settings), -h.score)
    ):
        key = (hazard.object, hazard.side)
        first = seen.setdefault(key, hazard)
        if hazard.looks is None:  # one that is not followed is counted by its side
            seen[key] = replace(first, looks=None)
    return seen


def still_there(state: PolicyState, keys: Iterable[Key], now_s: float, settings: PolicySettings) -> PolicyState:
    """These things were seen now."""
    seen = set(keys)

    def again(said: SpokenHazard) -> SpokenHazard:
        away_s = now_s - said.seen_s
        gone = said.was_gone or away_s > settings.gone_after_s
        away = said.was_away or (away_s > settings.warning_gone_after_s and said.looks_without >= settings.looks_window)
        return replace(said, seen_s=now_s, looks_without=0, was_gone=gone, was_away=away)

    return replace(state, said=tuple(again(said) if said.key in seen else said for said in state.said))


def unseen(state: PolicyState, seen: Iterable[Key]) -> PolicyState:
    """A look showed these things, and no others."""
    here = set(seen)
    said = (s if s.key in here else replace(s, looks_without=s.looks_without + 1) for s in state.said)
    return replace(state, said=tuple(said))


def also_seen(state: PolicyState, key: Key) -> PolicyState:
    """What the decoder named in the picture of the latest look."""
    if not state.looks:
        return replace(state, looks=(frozenset((key,)),))
    return replace(state, looks=(*state.looks[:-1], state.looks[-1] | {key}), empty_looks=0)


def is_confirmed(state: PolicyState, key: Key, settings: PolicySettings) -> bool:
    """Seen often enough in the last looks: the very thing, where it is followed, else anything of its name there."""
    hazard, needed = dict(state.seen).get(key), settings.looks_needed
    if on_weak_side(key[1], settings):
        needed = max(1, needed - 1)
    if hazard is not None and hazard.looks is not None:
        return sum(hazard.looks[-settings.looks_window :]) >= needed
    return sum(key in look for look in state.looks) >= needed


def is_warned_of(state: PolicyState, key: Key, tier: int, now_s: float, settings: PolicySettings) -> bool:
    """Whether more urgent words about it are still in the ear: what came and now stands needs no second sentence."""
    lately = (said for said in state.said if now_s - said.at_s < settings.repeat_after_s)
    return any(said.key == key and said.tier < tier for said in lately)


def is_new(state: PolicyState, key: Key, tier: int, score: float, now_s: float, settings: PolicySettings) -> bool:
    """Not said lately, or gone since, or a warning about something that has come nearer."""
    last = _last_said(state, key, tier)
    if last is None:
        return True
    plain = all(key in look for look in state.looks) and score >= settings.at_once_above
    if tier == 1 and last.was_away and plain:
        return True
    if now_s - last.at_s < settings.repeat_after_s:
        return False
    if last.was_gone:
        return True
    return tier == 1 and score >= min(last.score + settings.nearer_by, settings.near_score)


def _last_said(state: PolicyState, key: Key, tier: int) -> SpokenHazard | None:
    return next((said for said in reversed(state.said) if (said.key, said.tier) == (key, tier)), None)


def is_near(state: PolicyState, key: Key, settings: PolicySettings) -> bool:
    """For a wearer who wants words late. A thing that only the decoder knows has no score: it counts as near."""
    hazard = dict(state.seen).get(key)
    late = settings.lead == "late" and not on_weak_side(key[1], settings)
    return not late or hazard is None or hazard.score >= settings.near_above


def may_confirm(state: PolicyState, now_s: float, settings: PolicySettings) -> bool:
    """Whether it may be said now that the way goes on."""
    return settings.confirmations and now_s - state.confirmed_s >= settings.confirm_every_s


def confirms(slots: vocabulary.Slots) -> bool:
    """Whether a sentence tells no more than that the way goes on: "Keep straight, sidewalk ahead." """
    opener = slots.action.split(" ")[0]
    named = slots.object in CONFIRMING and not slots.modifier and opener in ("continue", "keep", "follow")
    return named and vocabulary.tier(slots) == 3


def may_talk(state: PolicyState, tier: int, now_s: float, settings: PolicySettings) -> bool:
    """Whether an utterance of this tier could begin now, whatever it says."""
    if tier == 1:
        return state.speaking is None or state.speaking.rank > 1
    if tier > _TIERS[settings.verbosity] or state.muted or state.listening:
        return False
    if tier == 3 and now_s < state.held_until_s:
        return False
    if state.speaking is not None:
        return state.speaking.rank > rank(tier)
    return now_s - state.quiet_since_s >= settings.gap_s and _has_budget(state, tier, now_s, settings)


def _has_budget(state: PolicyState, tier: int, now_s: float, settings: PolicySettings) -> bool:
    """Whether the words of this minute leave room for the longest sentence of this tier."""
    recent = sum(count for at_s, count in state.words if now_s - at_s < 60.0)
    return recent + vocabulary.load().words_max[tier] <= settings.words_per_minute_max
