"""The decisions of the speech policy; its promises stand in the package's docstring."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from shared import vocabulary
from shared.lens import LensTrouble
from shared.policy import ahead, criteria, kinds, speaking, visibility
from shared.policy.kinds import Cut, Duck, Flag, Key, PolicySettings, PolicyState, WordIt
from shared.policy.speaking import Step, tell
from shared.runtime.seen import Hazard

UNSURE = "unsure"
"""In a key, in the place of an object: something there that the model could not name."""
_Sight = kinds.Viewed | kinds.TimePassed | kinds.LookFailed | kinds.WalkBegan | kinds.WalkEnded
_Voice = kinds.SpeechEnded | kinds.VoiceLost | kinds.VoiceFound
_Request = kinds.StateChange | kinds.RepeatAsked | kinds.AheadAsked | kinds.WordsHeard | kinds.MuteToggled


def step(state: PolicyState, event: kinds.Event, now_s: float, settings: PolicySettings) -> Step:
    """Decide. Actions are to be carried out in order.

    now_s: seconds on a clock that never goes back
    """
    state = _give_up(state, now_s, settings)
    state, actions = _handle(state, event, now_s, settings)
    state, louder = _duck(state, now_s)
    state, news = speaking.say_waiting(_answer_anew(state, now_s, settings), now_s)
    asked = isinstance(event, kinds.AheadAsked | kinds.RepeatAsked)
    noted = (kinds.Note(),) if asked and not news else ()
    return state, louder + actions + news + noted


def _answer_anew(state: PolicyState, now_s: float, settings: PolicySettings) -> PolicyState:
    """What is ahead may be something else by the time that an answer has its turn."""
    if not any(news.about == ahead.ABOUT for news in state.waiting):
        return state
    told = ahead.answer(state, now_s, settings)
    waiting = tuple(
        replace(news, text=told.text, tier=told.tier, why=told.why) if news.about == ahead.ABOUT else news
        for news in state.waiting
    )
    return replace(state, waiting=waiting)


def _give_up(state: PolicyState, now_s: float, settings: PolicySettings) -> PolicyState:
    """On an utterance whose end is overdue."""
    if state.speaking is None:
        return state
    longest_s = settings.warning_timeout_s if state.speaking.rank == 1 else settings.speech_timeout_s
    over = now_s - state.speaking.since_s > longest_s
    return replace(state, speaking=None, quiet_since_s=now_s) if over else state


def _duck(state: PolicyState, now_s: float) -> Step:
    loud = now_s < state.held_until_s
    return (state, ()) if loud == state.ducked else (replace(state, ducked=loud), (Duck(on=loud),))


def _handle(state: PolicyState, event: kinds.Event, now_s: float, settings: PolicySettings) -> Step:
    match event:
        case kinds.Looked():
            return _looked(state, event, now_s, settings)
        case kinds.Worded():
            return _worded(state, event, now_s, settings)
        case kinds.SoundHeard(kind):
            return _heard(state, kind, now_s, settings)
        case kinds.Viewed() | kinds.TimePassed() | kinds.LookFailed() | kinds.WalkBegan() | kinds.WalkEnded():
            return _watch(state, event, now_s, settings), ()
        case kinds.SpeechEnded() | kinds.VoiceLost() | kinds.VoiceFound():
            return _voice(state, event, now_s), ()
        case kinds.CorrectionListening(on):
            return _listen(state, now_s, on=on)
        case kinds.StateChange() | kinds.RepeatAsked() | kinds.AheadAsked() | kinds.WordsHeard() | kinds.MuteToggled():
            return _request(state, event, now_s, settings), ()
        case _:
            assert_never(event)


def _watch(state: PolicyState, event: _Sight, now_s: float, settings: PolicySettings) -> PolicyState:
    """Whether anything is seen, apart from what a look finds."""
    match event:
        case kinds.Viewed(lens):
            last_s = None if state.last_look_s is None else now_s
            return visibility.viewed(replace(state, last_look_s=last_s), lens, now_s, settings)
        case kinds.TimePassed():
            return visibility.check_stall(state, now_s, settings)
        case kinds.LookFailed():
            last_s = None if state.last_look_s is None else kinds.NEVER_S
            state = replace(state, last_look_s=last_s)
            if state.paused:
                return state
            return tell(replace(state, paused=True), kinds.PAUSED, urgent=True, about=kinds.GUIDING)
        case kinds.WalkBegan():
            return replace(state, last_look_s=now_s)
        case kinds.WalkEnded():
            return replace(state, last_look_s=None)
        case _:
            assert_never(event)


def _voice(state: PolicyState, event: _Voice, now_s: float) -> PolicyState:
    match event:
        case kinds.SpeechEnded(utterance):
            if state.speaking is None or state.speaking.utterance != utterance:
                return state
            return replace(state, speaking=None, quiet_since_s=now_s)
        case kinds.VoiceLost():
            return speaking.voice_lost(state, now_s)
        case kinds.VoiceFound(text):
            return speaking.voice_found(state, text)
        case _:
            assert_never(event)


def _request(state: PolicyState, event: _Request, now_s: float, settings: PolicySettings) -> PolicyState:
    """What the device has to announce, and what the wearer does."""
    match event:
        case kinds.StateChange(text, urgent, about, patient, sees):
            return tell(state, text, urgent=urgent, about=about, patient=patient, sees=sees)
        case kinds.RepeatAsked():
            return tell(state, state.last_guidance or kinds.NOTHING_SAID, why="repeat")
        case kinds.AheadAsked():
            told = ahead.answer(state, now_s, settings)
            return speaking.reply(state, told.text, tier=told.tier, why=told.why, about=ahead.ABOUT)
        case kinds.WordsHeard(text):
            return speaking.read_back(state, text)
        case kinds.MuteToggled():
            text = kinds.UNMUTED if state.muted else kinds.MUTED
            return tell(replace(state, muted=not state.muted), text, about=kinds.MUTING)
        case _:
            assert_never(event)


def _listen(state: PolicyState, now_s: float, *, on: bool) -> Step:
    """The wearer speaks a correction, or ended it. News that can wait stops at once: it would be heard in it."""
    state, now = replace(state, listening=on), state.speaking
    if not on or now is None or now.news is None or not now.news.patient:
        return state, ()
    return speaking.cut_off(state, now_s), (Cut(now.utterance),)


def _heard(state: PolicyState, kind: str, now_s: float, settings: PolicySettings) -> Step:
    """A sound that the wearer must hear undisturbed: tier 3 stops at once, and so does news that can wait."""
    if kind not in settings.masking_sounds:
        return state, ()
    state = replace(state, held_until_s=now_s + settings.sound_hold_s)
    if state.speaking is None or state.speaking.rank != speaking.rank(3):
        return state, ()
    return speaking.cut_off(state, now_s), (Cut(state.speaking.utterance),)


# --- looks ------------------------------------------------------------------------------------------------------------


def _looked(state: PolicyState, event: kinds.Looked, now_s: float, settings: PolicySettings) -> Step:
    lens = visibility.trouble_of(event, settings)
    stale = event.seen_at_s is not None and now_s - event.seen_at_s > settings.warning_stale_after_s
    state = visibility.resumed(state, now_s, settings)
    state = visibility.viewed(replace(state, last_look_s=now_s), lens, now_s, settings)
    blind = stale or lens in kinds.BLINDING
    seen = {} if blind else criteria.seen_of(event.hazards, settings)
    looks = (*state.looks, frozenset(seen))[-settings.looks_window :]
    empty = 0 if seen or lens or stale or event.far or event.withheld else state.empty_looks + 1
    state = replace(state, looks=looks, seen=tuple(seen.items()), empty_looks=empty)
    if blind:
        return replace(state, check=False), ()
    if event.far:
        state = visibility.watch_sureness(state, now_s, settings, sure=False)
    state = criteria.still_there(criteria.unseen(state, seen), seen, now_s, settings)
    return _guide(state, seen, lens, now_s, settings)


def _guide(
    state: PolicyState, seen: dict[Key, Hazard], lens: LensTrouble | None, now_s: float, settings: PolicySettings
) -> Step:
    """Warn, or else run the decoder, or else tick. A picture with trouble of the lens is only good for a warning."""
    state, actions = _warn(state, seen, now_s, settings)
    if actions or lens:
        return state, actions
    state, actions = _ask(state, now_s, settings)
    return (state, actions) if actions else _beat(state, now_s, settings)


def _warn(state: PolicyState, seen: dict[Key, Hazard], now_s: float, settings: PolicySettings) -> Step:
    """The first tier-1 hazard that is due goes out as its fixed phrase."""
    for key, hazard in seen.items():
        score = hazard.score
        if criteria.tier_of(key, hazard.how) > 1:
            break
        certain = (
            score >= settings.at_once_above or settings.lead == "early" or criteria.is_confirmed(state, key, settings)
        )
        if certain and criteria.is_new(state, key, 1, score, now_s, settings):
            state, actions = speaking.speak(
                state, vocabulary.instruct(*key, modifier=hazard.how), 1, "hazard", score, now_s
            )
            if actions:
                return _remember(state, key, 1, score, now_s), actions
    return state, ()


def _ask(state: PolicyState, now_s: float, settings: PolicySettings) -> Step:
    """Run the decoder when a confirmed hazard of tier 2 or 3 could be spoken about now."""
    asked = tuple(pair for pair in state.asked if now_s - pair[1] < settings.ask_again_s)
    unasked = _unasked(state, {key for key, _ in asked}, settings)
    due = tuple(hazard for key, hazard in unasked if _is_due(state, key, hazard, now_s, settings))
    if not due and not (state.check and criteria.may_talk(state, 2, now_s, settings)):
        return replace(state, asked=asked, check=False), ()
    asked = (*asked, *((key, now_s) for key, _ in unasked))[-kinds.MOST_REMEMBERED :]
    return replace(state, asked=asked, check=False), (WordIt(due),)


def _unasked(state: PolicyState, lately: set[Key], settings: PolicySettings) -> list[tuple[Key, Hazard]]:
    """Confirmed hazards of tiers 2 and 3, but for what the decoder was run for lately."""
    return [
        (key, hazard)
        for key, hazard in state.seen
        if key not in lately and criteria.tier_of(key, hazard.how) > 1 and criteria.is_confirmed(state, key, settings)
    ]


def _is_due(state: PolicyState, key: Key, hazard: Hazard, now_s: float, settings: PolicySettings) -> bool:
    tier = criteria.tier_of(key, hazard.how)
    if criteria.is_warned_of(state, key, tier, now_s, settings):
        return False
    wanted = key[0] not in kinds.CONFIRMING or criteria.may_confirm(state, now_s, settings)
    due = wanted and criteria.is_near(state, key, settings) and criteria.may_talk(state, tier, now_s, settings)
    return due and criteria.is_new(state, key, tier, hazard.score, now_s, settings)


def _beat(state: PolicyState, now_s: float, settings: PolicySettings) -> Step:
    """A tick says what silence cannot: that there is no crash behind it."""
    well = not (state.paused or state.blocked or state.listening) and state.speaking is None
    due = now_s - max(state.beat_s, state.quiet_since_s) >= settings.tick_every_s
    if not (settings.tick_every_s > 0 and well and due and now_s >= state.held_until_s):
        return state, ()
    return replace(state, beat_s=now_s), (kinds.Beat(),)


# --- words ------------------------------------------------------------------------------------------------------------


def _worded(state: PolicyState, event: kinds.Worded, now_s: float, settings: PolicySettings) -> Step:
    doubtful = _is_doubtful(event, settings)
    flags = (Flag("low_confidence"),) if doubtful else ()
    if state.bad_since_s is not None:
        return state, flags
    state = visibility.watch_sureness(state, now_s, settings, sure=not doubtful)
    if not event.text:
        return state, flags
    slots = vocabulary.parse(event.text) if vocabulary.may_be_spoken(event.text) else None
    if slots is None or event.confidence < settings.speak_above:
        state, actions = _not_sure(state, slots, event, now_s, settings)
        return state, ((Flag("low_confidence"), *actions) if actions else flags)
    if says_clear(event.text):
        state, actions = _clear(state, event, now_s, settings)
    else:
        state, actions = _say(state, slots, event, now_s, settings)
    return state, flags + actions


def _is_doubtful(event: kinds.Worded, settings: PolicySettings) -> bool:
    """Whether the model is unsure of its words, or they may not be said."""
    unsayable = bool(event.text) and not vocabulary.may_be_spoken(event.text)
    return unsayable or event.confidence < settings.flag_below


def _say(
    state: PolicyState, slots: vocabulary.Slots, event: kinds.Worded, now_s: float, settings: PolicySettings
) -> Step:
    """Words that the model is sure of."""
    key, tier = (slots.object or slots.action, criteria.place_of(slots.side)), vocabulary.tier(slots)
    state = criteria.still_there(criteria.also_seen(state, key), [key], now_s, settings)
    if not _is_worth_saying(state, key, slots, event, now_s, settings):
        return state, ()
    certain = tier == 1 and event.confidence >= settings.at_once_above
    if not certain and not criteria.is_confirmed(state, key, settings):
        return _check_next(state, key, now_s, settings), ()
    state, actions = speaking.speak(state, event.text, tier, "worded", event.confidence, now_s)
    if actions:
        state = _remember(state, key, tier, event.confidence, now_s)
        state = replace(state, confirmed_s=now_s) if criteria.confirms(slots) else state
    return state, actions


def _is_worth_saying(
    state: PolicyState, key: Key, slots: vocabulary.Slots, event: kinds.Worded, now_s: float, settings: PolicySettings
) -> bool:
    """Whether words that the model is sure of are wanted, fresh, new, and may be said now."""
    tier = vocabulary.tier(slots)
    if criteria.confirms(slots) and not criteria.may_confirm(state, now_s, settings):
        return False
    if tier > 1 and not criteria.is_near(state, key, settings):
        return False
    new = criteria.is_new(state, key, tier, event.confidence, now_s, settings)
    return new and _is_fresh(event, tier, now_s, settings) and criteria.may_talk(state, tier, now_s, settings)


def _not_sure(
    state: PolicyState, slots: vocabulary.Slots | None, event: kinds.Worded, now_s: float, settings: PolicySettings
) -> Step:
    """Rather than guess, say where something is. slots: what it would be, where that is at least a sentence."""
    place = _unnamed_place(state, now_s, settings) or _worded_place(state, slots, now_s, settings)
    if place is None or place not in kinds.NOT_SURE:
        return state, ()
    key = (UNSURE, place)
    state = criteria.still_there(criteria.also_seen(state, key), [key], now_s, settings)
    due = _is_fresh(event, 2, now_s, settings) and criteria.is_new(state, key, 2, 0.0, now_s, settings)
    if not due or not criteria.may_talk(state, 2, now_s, settings):
        return state, ()
    if not _unnamed_place(state, now_s, settings) and not criteria.is_confirmed(state, key, settings):
        return _check_next(state, key, now_s, settings), ()
    state, actions = speaking.speak(state, kinds.NOT_SURE[place], 2, "unsure", event.confidence, now_s)
    return (_remember(state, key, 2, 0.0, now_s), actions) if actions else (state, ())


def _unnamed_place(state: PolicyState, now_s: float, settings: PolicySettings) -> str | None:
    """Where the hazard head is sure of an obstacle that the wearer does not know of yet."""
    for key, hazard in state.seen:
        new = criteria.is_near(state, key, settings) and criteria.is_new(state, key, 2, hazard.score, now_s, settings)
        if criteria.tier_of(key, hazard.how) == 2 and criteria.is_confirmed(state, key, settings) and new:
            return key[1]
    return None


def _worded_place(
    state: PolicyState, slots: vocabulary.Slots | None, now_s: float, settings: PolicySettings
) -> str | None:
    """Where unsure words put a hazard, unless the wearer already attends to that side."""
    if slots is None or not slots.object or vocabulary.tier(slots) >= 3:
        return None
    place = criteria.place_of(slots.side)
    attended = any(s.key[1] == place and now_s - s.at_s < settings.repeat_after_s for s in state.said)
    return None if attended else place


def _is_fresh(event: kinds.Worded, tier: int, now_s: float, settings: PolicySettings) -> bool:
    most_s = settings.stale_after_s if tier == 3 else settings.warning_stale_after_s
    return now_s - event.seen_at_s <= most_s


def _check_next(state: PolicyState, key: Key, now_s: float, settings: PolicySettings) -> PolicyState:
    """Word the next look too, once per thing: a decoder that wavers between things must not run at every look."""
    if any(key == asked and now_s - at_s < settings.ask_again_s for asked, at_s in state.asked):
        return state
    return replace(state, check=True, asked=(*state.asked, (key, now_s))[-kinds.MOST_REMEMBERED :])


def _clear(state: PolicyState, event: kinds.Worded, now_s: float, settings: PolicySettings) -> Step:
    """That the way is clear, on sustained evidence."""
    sure = event.confidence >= settings.clear_above and state.empty_looks >= settings.clear_looks
    due = now_s - state.clear_said_s >= settings.clear_every_s and _is_fresh(event, 3, now_s, settings)
    if not (settings.say_clear and sure and due and criteria.may_talk(state, 3, now_s, settings)):
        return state, ()
    state, actions = speaking.speak(state, vocabulary.CLEAR, 3, "clear", event.confidence, now_s)
    return replace(state, clear_said_s=now_s) if actions else state, actions


def says_clear(text: str) -> bool:
    """Any sentence with "clear" in it tells a walker that nothing is there, whatever its other words."""
    return "clear" in vocabulary.words(text)


def _remember(state: PolicyState, key: Key, tier: int, score: float, now_s: float) -> PolicyState:
    kept = tuple(s for s in state.said if (s.key, s.tier) != (key, tier))
    return replace(state, said=(*kept, kinds.SpokenHazard(key, tier, now_s, now_s, score))[-kinds.MOST_REMEMBERED :])
