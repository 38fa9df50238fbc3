"""The decisions of the speech policy; its promises stand in the package's docstring."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shared import vocabulary
from shared.policy.kinds import (
    AGAIN_S,
    CAMERA_BACK,
    CAMERA_BLOCKED,
    MOST_REMEMBERED,
    MUTED,
    NOTHING_SAID,
    PAUSED,
    PAUSED_NO_PICTURE,
    RESUMED,
    UNMUTED,
    Action,
    Cut,
    Event,
    Flag,
    Key,
    Listening,
    Looked,
    LookFailed,
    MuteToggled,
    News,
    PolicySettings,
    PolicyState,
    RepeatAsked,
    Said,
    Scored,
    SoundHeard,
    Speak,
    Speaking,
    SpeechEnded,
    StateChange,
    Tick,
    WalkBegan,
    WalkEnded,
    Worded,
    WordIt,
)

Step = tuple[PolicyState, tuple[Action, ...]]


def step(state: PolicyState, event: Event, now_s: float, settings: PolicySettings) -> Step:
    """Decide. Actions are to be carried out in order.

    now_s: seconds on a clock that never goes back
    """
    if state.speaking is not None and now_s - state.speaking.since_s > settings.speech_timeout_s:
        state = replace(state, speaking=None, quiet_since_s=now_s)
    state, actions = _handle(state, event, now_s, settings)
    state, news = _say_waiting(state, now_s)
    return state, actions + news


def _handle(state: PolicyState, event: Event, now_s: float, settings: PolicySettings) -> Step:
    match event:
        case Looked():
            return _looked(state, event, now_s, settings)
        case Worded():
            return _worded(state, event, now_s, settings)
        case LookFailed():
            state = state if state.paused else _tell(replace(state, paused=True), PAUSED, urgent=True)
        case SpeechEnded(utterance):
            if state.speaking is not None and state.speaking.utterance == utterance:
                state = replace(state, speaking=None, quiet_since_s=now_s)
        case SoundHeard(kind):
            if kind in settings.masking_sounds:
                state = replace(state, held_until_s=now_s + settings.sound_hold_s)
        case StateChange(text, urgent, replaces):
            state = _tell(_forget(state, replaces), text, urgent=urgent)
        case Listening(on):
            state = replace(state, listening=on)
        case RepeatAsked():
            state = _tell(state, state.last_guidance or NOTHING_SAID, why="repeat")
        case MuteToggled():
            state = _tell(replace(state, muted=not state.muted), UNMUTED if state.muted else MUTED)
        case WalkBegan():
            state = replace(state, last_look_s=now_s)
        case WalkEnded():
            state = replace(state, last_look_s=None)
        case Tick():
            state = _check_stall(state, now_s, settings)
    return state, ()


# --- looks ------------------------------------------------------------------------------------------------------------


def _looked(state: PolicyState, event: Looked, now_s: float, settings: PolicySettings) -> Step:
    shows_nothing = event.brightness < settings.dark_below or event.contrast < settings.flat_below
    if state.paused:
        state = _tell(replace(state, paused=False), RESUMED)
    state = _camera(replace(state, last_look_s=now_s), now_s, settings, shows_nothing=shows_nothing)
    seen = {} if shows_nothing else _seen(event.hazards, settings)
    looks = (*state.looks, frozenset(seen))[-settings.looks_window :]
    state = replace(state, looks=looks, empty_looks=0 if seen or shows_nothing else state.empty_looks + 1)
    if shows_nothing:
        return replace(state, check=False), ()
    state, actions = _warn(_still_there(state, seen, now_s, settings), seen, now_s, settings)
    return (state, actions) if actions else _ask(state, seen, now_s, settings)


def _seen(hazards: Iterable[Scored], settings: PolicySettings) -> dict[Key, float]:
    """Scores above the threshold, most important first. A model may know things that we have no word for."""
    known = vocabulary.load().objects
    above = [h for h in hazards if h.score >= settings.hazard_above and h.object in known]
    found: dict[Key, float] = {}
    for hazard in sorted(above, key=lambda h: (_tier_of(h.object, _place(h.side)), -h.score)):
        found.setdefault((hazard.object, _place(hazard.side)), hazard.score)
    return found


def _warn(state: PolicyState, seen: dict[Key, float], now_s: float, settings: PolicySettings) -> Step:
    """The first tier-1 hazard that is due goes out as its fixed phrase."""
    for (name, side), score in seen.items():
        if _tier_of(name, side) > 1:
            break
        certain = score >= settings.at_once_above or _confirmed(state, (name, side), settings)
        if certain and _is_new(state.said, (name, side), 1, score, now_s, settings):
            state, actions = _speak(state, vocabulary.instruct(name, side), 1, "hazard", score, now_s)
            if actions:
                return _remember(state, (name, side), 1, score, now_s), actions
    return state, ()


def _ask(state: PolicyState, seen: dict[Key, float], now_s: float, settings: PolicySettings) -> Step:
    """Run the decoder when a confirmed hazard of tier 2 or 3 could be spoken about now."""
    asked = tuple(pair for pair in state.asked if now_s - pair[1] < settings.ask_again_s)
    lately = {key for key, _ in asked}
    confirmed = [key for key in seen if _tier_of(*key) > 1 and _confirmed(state, key, settings)]
    due = any(
        key not in lately
        and _may_talk(state, _tier_of(*key), now_s, settings)
        and _is_new(state.said, key, _tier_of(*key), seen[key], now_s, settings)
        for key in confirmed
    )
    if not due and not (state.check and _may_talk(state, 2, now_s, settings)):
        return replace(state, asked=asked, check=False), ()
    asked = (*asked, *((key, now_s) for key in confirmed if key not in lately))[-MOST_REMEMBERED:]
    return replace(state, asked=asked, check=False), (WordIt(),)


def _still_there(state: PolicyState, keys: Iterable[Key], now_s: float, settings: PolicySettings) -> PolicyState:
    seen = set(keys)

    def again(said: Said) -> Said:
        gone = now_s - said.seen_s > settings.gone_after_s
        return replace(said, seen_s=now_s, was_gone=said.was_gone or gone)

    return replace(state, said=tuple(again(said) if said.key in seen else said for said in state.said))


def _camera(state: PolicyState, now_s: float, settings: PolicySettings, *, shows_nothing: bool) -> PolicyState:
    if shows_nothing:
        since = now_s if state.bad_since_s is None else state.bad_since_s
        state = replace(state, bad_since_s=since, good_since_s=None)
        due = state.blocked_said_s + settings.blocked_again_s if state.blocked else since + settings.blocked_after_s
        if now_s >= due:
            state = _tell(replace(state, blocked=True, blocked_said_s=now_s), CAMERA_BLOCKED, urgent=True)
        return state
    if not state.blocked:
        return replace(state, bad_since_s=None)
    since = now_s if state.good_since_s is None else state.good_since_s
    if now_s - since < settings.unblocked_after_s:
        return replace(state, good_since_s=since)
    return _tell(replace(state, blocked=False, bad_since_s=None, good_since_s=None), CAMERA_BACK)


def _check_stall(state: PolicyState, now_s: float, settings: PolicySettings) -> PolicyState:
    if state.paused or state.last_look_s is None or now_s - state.last_look_s < settings.stalled_after_s:
        return state
    return _tell(replace(state, paused=True), PAUSED_NO_PICTURE, urgent=True)


# --- words ------------------------------------------------------------------------------------------------------------


def _worded(state: PolicyState, event: Worded, now_s: float, settings: PolicySettings) -> Step:
    doubts = vocabulary.problems(event.text)
    unsure = event.confidence < settings.flag_below or (bool(event.text) and bool(doubts))
    flags = (Flag("low_confidence"),) if unsure else ()
    slots = vocabulary.parse(event.text)
    if doubts or slots is None or event.confidence < settings.speak_above or state.bad_since_s is not None:
        return state, flags
    if _says_clear(event.text):
        state, actions = _clear(state, event, now_s, settings)
        return state, flags + actions
    key, tier = (slots.object or slots.action, _place(slots.side)), vocabulary.tier(slots)
    state = _still_there(_also_seen(state, key), [key], now_s, settings)
    fresh = tier == 1 or now_s - event.seen_at_s <= settings.stale_after_s * (4 - tier)
    due = fresh and _is_new(state.said, key, tier, event.confidence, now_s, settings)
    if not due or not _may_talk(state, tier, now_s, settings):
        return state, flags
    certain = tier == 1 and event.confidence >= settings.at_once_above
    if not certain and not _confirmed(state, key, settings):
        return _check_next(state, key, now_s, settings), flags
    state, actions = _speak(state, event.text, tier, "worded", event.confidence, now_s)
    if actions:
        state = _remember(state, key, tier, event.confidence, now_s)
    return state, flags + actions


def _check_next(state: PolicyState, key: Key, now_s: float, settings: PolicySettings) -> PolicyState:
    """Word the next look too, once per thing: a decoder that wavers between things must not run at every look."""
    if any(key == asked and now_s - at_s < settings.ask_again_s for asked, at_s in state.asked):
        return state
    return replace(state, check=True, asked=(*state.asked, (key, now_s))[-MOST_REMEMBERED:])


def _clear(state: PolicyState, event: Worded, now_s: float, settings: PolicySettings) -> Step:
    sure = event.confidence >= settings.clear_above and state.empty_looks >= settings.clear_looks
    due = now_s - state.clear_said_s >= settings.clear_every_s and now_s - event.seen_at_s <= settings.stale_after_s
    if not (settings.say_clear and sure and due and _may_talk(state, 3, now_s, settings)):
        return state, ()
    state, actions = _speak(state, vocabulary.CLEAR, 3, "clear", event.confidence, now_s)
    return replace(state, clear_said_s=now_s) if actions else state, actions


def _says_clear(text: str) -> bool:
    """Any sentence with "clear" in it tells a walker that nothing is there, whatever its other words."""
    return "clear" in vocabulary.words(text)


def _also_seen(state: PolicyState, key: Key) -> PolicyState:
    if not state.looks:
        return replace(state, looks=(frozenset((key,)),))
    return replace(state, looks=(*state.looks[:-1], state.looks[-1] | {key}), empty_looks=0)


# --- may it be said? --------------------------------------------------------------------------------------------------


def _confirmed(state: PolicyState, key: Key, settings: PolicySettings) -> bool:
    return sum(key in look for look in state.looks) >= settings.looks_needed


def _is_new(said: tuple[Said, ...], key: Key, tier: int, score: float, now_s: float, settings: PolicySettings) -> bool:
    last = next((s for s in reversed(said) if s.key == key and s.tier == tier), None)
    if last is None:
        return True
    if now_s - last.at_s < settings.repeat_after_s:
        return False
    if last.was_gone:
        return True
    return tier == 1 and score >= min(last.score + settings.nearer_by, settings.near_score)


def _may_talk(state: PolicyState, tier: int, now_s: float, settings: PolicySettings) -> bool:
    """Whether an utterance of this tier could begin now, whatever it says."""
    if tier == 1:
        return state.speaking is None or state.speaking.rank > 1
    if tier > {"warnings": 1, "obstacles": 2, "all": 3}[settings.verbosity] or state.muted or state.listening:
        return False
    if tier == 3 and now_s < state.held_until_s:
        return False
    if state.speaking is not None:
        return state.speaking.rank > _rank(tier)
    recent = sum(count for at_s, count in state.words if now_s - at_s < 60.0)
    most = vocabulary.load().words_max[tier]
    return now_s - state.quiet_since_s >= settings.gap_s and recent + most <= settings.words_per_minute_max


def _rank(tier: int) -> int:
    return 1 if tier == 1 else tier + 1


def _tier_of(name: str, side: str) -> int:
    return vocabulary.tier(vocabulary.Slots("", name, side))


def _place(side: str) -> str:
    """The side as a hazard head tells it apart: "overhead" and unsaid are on the path."""
    if side.endswith("left"):
        return "on the left"
    return "on the right" if side.endswith("right") else "behind" if side == "behind" else "ahead"


# --- speaking ---------------------------------------------------------------------------------------------------------


def _speak(state: PolicyState, text: str, tier: int, why: str, confidence: float, now_s: float) -> Step:
    if not _may_ever_be_said(text):
        return state, ()
    state, actions = _begin(state, Speak(state.next_utterance, text, tier, why, confidence), _rank(tier), now_s, None)
    if actions:
        words = tuple(pair for pair in state.words if now_s - pair[0] < 60.0)
        spent = () if tier == 1 else ((now_s, len(vocabulary.words(text))),)
        state = replace(state, last_guidance=text, words=words + spent)
    return state, actions


def _begin(state: PolicyState, speak: Speak, rank: int, now_s: float, news: News | None) -> Step:
    """Start an utterance, cutting a lower one. No actions where an equal or higher one is being said."""
    now = state.speaking
    cut: tuple[Action, ...] = ()
    if now is not None:
        if now.rank <= rank:
            return state, ()
        cut = (Cut(now.utterance),)
        if now.news is not None:
            state = replace(state, waiting=(_put_off(now.news, now_s), *state.waiting))
    speaking = Speaking(speak.utterance, rank, now_s, news)
    return replace(state, speaking=speaking, next_utterance=speak.utterance + 1), (*cut, speak)


def _remember(state: PolicyState, key: Key, tier: int, score: float, now_s: float) -> PolicyState:
    kept = tuple(s for s in state.said if (s.key, s.tier) != (key, tier))
    return replace(state, said=(*kept, Said(key, tier, now_s, now_s, score))[-MOST_REMEMBERED:])


def _tell(state: PolicyState, text: str, *, urgent: bool = False, why: str = "state") -> PolicyState:
    """Queue a state change. One that already waits is not queued twice."""
    if any(news.text == text and news.why == why for news in state.waiting) or not _may_ever_be_said(text):
        return state
    return replace(state, waiting=(*state.waiting, News(text, why, urgent)))


def _forget(state: PolicyState, text: str) -> PolicyState:
    """Do not say this news any more, nor say it again if it is cut off now."""
    waiting = tuple(news for news in state.waiting if news.text != text)
    speaking = state.speaking
    if speaking is not None and speaking.news is not None and speaking.news.text == text:
        speaking = replace(speaking, news=None)
    return replace(state, waiting=waiting, speaking=speaking)


def _put_off(news: News, now_s: float) -> News:
    """News that a warning cut off. Among many warnings, half of it again and again would only add to the noise."""
    pause_s = 0.0 if news.urgent else AGAIN_S * 2 ** min(news.cuts, 5)
    return replace(news, cuts=news.cuts + 1, not_before_s=now_s + pause_s)


def _say_waiting(state: PolicyState, now_s: float) -> Step:
    """Say the most urgent, oldest waiting news if its turn has come."""
    due = [n for n in state.waiting if n.urgent or (not state.listening and now_s >= n.not_before_s)]
    if not due:
        return state, ()
    news = min(due, key=lambda item: item.rank)
    rest = list(state.waiting)
    rest.remove(news)
    speak = Speak(state.next_utterance, news.text, 2, news.why)
    after, actions = _begin(replace(state, waiting=tuple(rest)), speak, news.rank, now_s, news)
    return (after, actions) if actions else (state, ())


def _may_ever_be_said(text: str) -> bool:
    joined = " ".join(vocabulary.words(text))
    return not any(" ".join(vocabulary.words(bad)) in joined for bad in vocabulary.load().never_say)
