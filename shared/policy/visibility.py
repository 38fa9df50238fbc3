"""A lens that shows nothing, looks that do not come, a model that is unsure: each is announced, and so is its end.

Silence must never mean "clear".
"""

from __future__ import annotations

from dataclasses import replace

from shared.lens import LensTrouble
from shared.policy import kinds
from shared.policy.kinds import Looked, PolicySettings, PolicyState
from shared.policy.speaking import tell


def trouble_of(event: Looked, settings: PolicySettings) -> LensTrouble | None:
    """What is wrong with a picture that was looked at."""
    if event.lens:
        return event.lens
    if event.brightness < settings.dark_below:
        return LensTrouble.DARK
    return LensTrouble.FLAT if event.contrast < settings.flat_below else None


def viewed(state: PolicyState, lens: LensTrouble | None, now_s: float, settings: PolicySettings) -> PolicyState:
    """A picture came. Trouble that lasts is announced, also where every other picture is good; its end, too."""
    if lens:
        since = now_s if state.bad_since_s is None else state.bad_since_s
        state = replace(state, bad_since_s=since, good_since_s=None)
        text = kinds.LENS_TEXTS[lens]
        if now_s < _due_s(state, text, settings):
            return state
        state = replace(state, blocked=True, blocked_said_s=now_s, blocked_text=text)
        return tell(state, text, urgent=True, about=kinds.CAMERA)
    if state.bad_since_s is None:
        return state
    since = now_s if state.good_since_s is None else state.good_since_s
    dark = state.blocked and state.blocked_text == kinds.TOO_DARK
    if now_s - since < (settings.lit_after_s if dark else settings.unblocked_after_s):
        return replace(state, good_since_s=since)
    was_blocked = state.blocked
    state = replace(state, blocked=False, bad_since_s=None, good_since_s=None)
    return tell(state, kinds.CAMERA_BACK, about=kinds.CAMERA) if was_blocked else state


def _due_s(state: PolicyState, text: str, settings: PolicySettings) -> float:
    if not state.blocked:
        assert state.bad_since_s is not None
        return state.bad_since_s + settings.blocked_after_s
    again_s = settings.blocked_again_s if text == state.blocked_text else settings.other_trouble_after_s
    return state.blocked_said_s + again_s


def check_stall(state: PolicyState, now_s: float, settings: PolicySettings) -> PolicyState:
    """Looks are expected, and none came."""
    if state.paused or state.last_look_s is None or now_s - state.last_look_s < settings.stalled_after_s:
        return state
    return tell(replace(state, paused=True), kinds.PAUSED_NO_PICTURE, urgent=True, about=kinds.GUIDING)


def resumed(state: PolicyState, now_s: float, settings: PolicySettings) -> PolicyState:
    """A look came. It ends a pause only as the second of two that belong together: a camera with a picture now and then
    would else be announced as away and back with each."""
    together = state.last_look_s is not None and now_s - state.last_look_s < settings.stalled_after_s
    if not (state.paused and together):
        return state
    return tell(replace(state, paused=False), kinds.RESUMED, about=kinds.GUIDING, sees=True)


def watch_sureness(state: PolicyState, now_s: float, settings: PolicySettings, *, sure: bool) -> PolicyState:
    """One more wording, or a picture far from what was taught. That most are unsure is announced: the model's silence
    means even less than usual."""
    if now_s - state.sureness_s < settings.unsure_every_s:
        return state
    sureness = (*state.sureness, sure)[-settings.unsure_window :]
    state, unsure = replace(state, sureness=sureness, sureness_s=now_s), sureness.count(False)
    if not state.unsure and unsure >= settings.unsure_most:
        return tell(replace(state, unsure=True), kinds.UNSURE_NOW, about=kinds.CONFIDENCE)
    if state.unsure and unsure <= settings.unsure_least:
        return tell(replace(state, unsure=False), kinds.SURE_AGAIN, about=kinds.CONFIDENCE)
    return state
