"""The guidance turn itself; its promises stand in the package's docstring."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from shared import monitor, policy, sight, vocabulary
from shared.chunk_format import CHUNK_S, SAMPLE_RATE_HZ
from shared.guidance import events, street_sounds, unchanged
from shared.guidance.events import GuidanceAction, GuidanceEvent
from shared.guidance.placing import side_of
from shared.lens import LensHistory, LensTrouble, examine
from shared.model_card import measured
from shared.policy import PolicySettings, PolicyState, StateChange
from shared.runtime.seen import Hazard, Observation
from shared.sight import Sight, Uprightness

EARCONS = {
    "state": "state", "unsure": "unsure", "hazard": "direction", "worded": "direction", "repeat": "answer",
    "answer": "answer", "heard": "heard",
}  # fmt: skip
"""The earcon before the words, by the reason to speak; warnings have theirs. Of three kinds: warning, direction, and
answer to the wearer."""
WITHHELD_EARCON = "unsure"
"""In the place of words that were stopped: something may be there, and the device cannot say what."""
NOTED_EARCON = "tick"
_SAID_OF = {
    sight.APPROACHING: ("approaching",),
    sight.CLOSING_FAST: ("closing fast", "approaching"),
    sight.CROSSING: ("approaching",),  # "crossing" is another word for it
}
"""Measured motion → the modifiers of the vocabulary that say so, the best first."""
LOOK_SLACK_S = 1.0
"""Beside the time between two looks: a look that is later than that is missed."""
_EDGE_S = 1e-6  # times on a grid of frames are not exact

Turn = tuple["GuidanceState", tuple[GuidanceAction, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class GuidanceState:
    """Everything that guidance remembers between turns."""

    settings: PolicySettings
    """The wearer's, with the thresholds of the model in use."""
    chunk_s: float = CHUNK_S
    """Length of a recorded chunk: each is worded once, at its middle."""
    stills: bool = False
    """The pictures are stills, which may be shown for long: no frozen camera."""
    skip_unchanged: bool = False
    """A picture that did not change is not looked at, while nothing is there (shared.guidance.unchanged)."""
    policy: PolicyState = field(default_factory=PolicyState)
    model: events.LoadedModel | None = None
    proven: frozenset[str] | None = None
    """Objects that may be named by it; None = all."""
    withheld: bool = False
    """The newest look shows something else, which is not named."""
    lens: LensHistory = field(default_factory=LensHistory)
    ear: street_sounds.StreetEar = field(default_factory=street_sounds.StreetEar)
    sound: tuple[events.SoundTaken, ...] = ()
    """The last events.SOUND_S, and what of the oldest piece is older."""
    picture_s: float = 0.0
    """When the newest picture was taken."""
    trouble: LensTrouble | None = None
    """What is wrong with it."""
    thumb: sight.Thumb | None = None
    """Of the newest picture, where the model has a look network."""
    sight: Sight = field(default_factory=Sight)
    """What is followed from look to look."""
    upright: Uprightness = field(default_factory=Uprightness)
    look: tuple[float, Observation] | None = None
    """When the picture of the newest look was taken, and what was seen."""
    surest: float = 0.0
    """Score of the surest thing of it, or of what is followed and was missing in it alone."""
    looked_at: unchanged.LookedAt | None = None
    """Its picture, where the next ones are compared with it."""
    ready: tuple[StateChange, ...] = ()
    """What is to be announced once the model has looked at a picture that shows something."""
    worded_chunk: int = -1
    """The last chunk that was worded at or after its middle."""
    pace: events.PaceChanged = field(default_factory=lambda: events.PaceChanged(0.25))


def turn(state: GuidanceState, event: GuidanceEvent, now_s: float) -> Turn:
    """One event. now_s: walk time, which never goes back."""
    match event:
        case events.PictureTaken():
            return _picture(state, event, now_s)
        case events.SoundTaken():
            return _sound(state, event, now_s)
        case events.Observed(observation):
            return _observed(state, observation, now_s)
        case events.SeenTurned():
            return _seen_turned(state, event, now_s)
        case events.Phrased():
            return _phrased(state, event, now_s)
        case events.ModelChanged():
            return _model(state, event, now_s)
        case events.PaceChanged():
            return replace(state, pace=event), ()
        case events.WearerChanged(wearer, pinned):
            thresholds = {} if state.model is None else state.model.manifest.thresholds
            return replace(state, settings=policy.calibrated(wearer, thresholds, pinned=pinned)), ()
        case _:  # the policy's own, as they are
            return _given(state, event, now_s)


def _given(state: GuidanceState, event: policy.Event, now_s: float) -> Turn:
    if isinstance(event, policy.LookFailed):
        state = replace(state, looked_at=None)  # its picture was not seen
    return _decide(state, event, now_s)


def _model(state: GuidanceState, event: events.ModelChanged, now_s: float) -> Turn:
    trial = event.model is None or event.settings.trial_classes
    proven = None if trial or event.model is None else measured(event.model.manifest.model)
    kept = tuple(change for change in state.ready if change.sees)  # what another model sees is no longer true
    ready = (event.ready or kept) if event.model is not None else ()
    state = replace(state, model=event.model, settings=event.settings, proven=proven, withheld=False, ready=ready)
    state = replace(state, look=None, thumb=None)  # its tokens are of another model
    actions: tuple[GuidanceAction, ...] = ()
    if event.announce is not None:
        state, actions = _decide(state, event.announce, now_s)
    if event.model is not None:
        return state, actions
    state, more = _decide(state, policy.WalkEnded(), now_s)  # no looks are expected
    return state, actions + more


def _sound(state: GuidanceState, event: events.SoundTaken, now_s: float) -> Turn:
    window = tuple(piece for piece in (*state.sound, event) if piece.t_s >= event.t_s - events.SOUND_S)
    ear, kind = street_sounds.listen(state.ear, event.samples)
    state = replace(state, sound=window, ear=ear)
    return (state, ()) if kind is None else _decide(state, policy.SoundHeard(kind), now_s)


def _picture(state: GuidanceState, event: events.PictureTaken, now_s: float) -> Turn:
    """The lens first, then, where it shows something, the way ahead."""
    history, trouble = examine(state.lens, event.image, event.t_s)
    if state.stills and trouble is LensTrouble.FROZEN:
        trouble = None
    state = replace(state, lens=history, picture_s=event.t_s, trouble=trouble)
    blind = trouble in policy.BLINDING
    if state.model is not None and not blind:
        if "look" in state.model.manifest.model:
            state = replace(state, thumb=sight.thumb(event.image))
        return _look(state, event, now_s)
    sooner = (events.LookSooner(event.t_s + events.LENS_AGAIN_S),) if blind else ()
    state, actions = _decide(state, policy.Viewed(trouble), now_s, seen_s=event.t_s)
    return state, sooner + actions


def _look(state: GuidanceState, event: events.PictureTaken, now_s: float) -> Turn:
    """Look, unless the last look saw the same."""
    if state.skip_unchanged:
        looked_at, same = unchanged.step(state.looked_at if _quiet(state) else None, event.image, event.t_s)
        state = replace(state, looked_at=looked_at)
        if looked_at is not None and same:
            state, actions = _decide(state, policy.TimePassed(), now_s)
            return state, (events.LookSooner(looked_at.again_s), *actions)
    return state, (events.LookNow(_heard(state.sound), _look_before(state)),)


def _quiet(state: GuidanceState) -> bool:
    """The newest look shows nothing that counts, so that no look at it confirms anything; and nothing was heard in it,
    which would be new at each look."""
    return state.look is not None and state.look[1].audio is None and state.surest < state.settings.hazard_above


def _heard(sound: tuple[events.SoundTaken, ...]) -> NDArray[np.float32] | None:
    if not sound:
        return None
    samples = np.concatenate([piece.samples for piece in sound])[-round(events.SOUND_S * SAMPLE_RATE_HZ) :]
    return samples.astype(np.float32) / np.float32(32768)


def _look_before(state: GuidanceState) -> Observation | None:
    if state.look is None or state.picture_s - state.look[0] > events.BEFORE_S:
        return None
    return state.look[1]


def _observed(state: GuidanceState, observation: Observation, now_s: float) -> Turn:
    state = replace(state, look=(state.picture_s, observation))
    state, hazards = _followed(state, observation)
    scores = [hazard.score for hazard in (*observation.hazards, *hazards)]
    state = replace(state, surest=max(scores, default=0.0))
    state, hazards, flags = _without_unproven(state, hazards)
    looked = policy.Looked(
        hazards,
        observation.brightness,
        observation.contrast,
        lens=state.trouble,
        seen_at_s=state.picture_s,
        far=observation.far,
        withheld=state.withheld,
    )
    state, actions = _decide(state, looked, now_s, seen_s=state.picture_s)
    actions += flags
    if state.trouble is None:
        state, more = _ready(state, now_s)
        actions += more
    turn_deg = None if observation.view is None else sight.due(state.upright, state.picture_s)
    actions += () if turn_deg is None else (events.LookTurned(turn_deg),)
    if _words_by_table(state):
        return state, actions
    asked = any(isinstance(action, events.WordNow) for action in actions)
    speaks = any(isinstance(action, events.SayNow | events.Withhold) for action in actions)
    has_head = state.model is None or bool(state.model.manifest.model.get("objects", True))
    if asked or not has_head or (not speaks and _chunk_past_middle(state) > state.worded_chunk):
        others = tuple(action for action in actions if not isinstance(action, events.WordNow))
        return state, (*others, events.WordNow(observation))
    return state, actions


def _ready(state: GuidanceState, now_s: float) -> Turn:
    actions: tuple[GuidanceAction, ...] = ()
    for change in state.ready:
        state, more = _decide(state, change, now_s, seen_s=state.picture_s)
        actions += more
    return replace(state, ready=()), actions


def _followed(state: GuidanceState, observation: Observation) -> tuple[GuidanceState, tuple[Hazard, ...]]:
    """What is there by this look and the ones before: boxes are followed, so that what comes is known to come."""
    if observation.view is None or state.thumb is None:
        return state, observation.hazards
    seen = sight.follow(state.sight, state.thumb, observation.boxes, observation.view, state.picture_s)
    things = tuple(_hazard(thing) for thing in sight.followed(seen))
    return replace(state, sight=seen), (*observation.by_head, *things)


def _without_unproven(
    state: GuidanceState, hazards: tuple[Hazard, ...]
) -> tuple[GuidanceState, tuple[Hazard, ...], tuple[GuidanceAction, ...]]:
    """Things of which nobody knows how often the model is right about them are not named. The moment is flagged, so
    that it becomes known, and the way does not count as clear."""
    proven = state.proven
    if proven is None:
        return state, hazards, ()
    kept = tuple(hazard for hazard in hazards if hazard.object in proven)
    above = state.settings.hazard_above
    withheld = any(hazard.score >= above and hazard.object not in proven for hazard in hazards)
    flags = (events.FlagMoment("low_confidence", state.picture_s),) if withheld else ()
    return replace(state, withheld=withheld), kept, flags


def _proven_words(state: GuidanceState, text: str) -> str:
    """A sentence of the decoder; "" where it names what is not named here, or tells to go on past it."""
    slots = None if state.proven is None else vocabulary.parse(text)
    if state.proven is None or slots is None:
        return text
    halts = vocabulary.tier(slots) < 3  # "Stop.", "Step back."
    allowed = slots.object in state.proven if slots.object else halts or not state.withheld
    return text if allowed else ""


def _seen_turned(state: GuidanceState, event: events.SeenTurned, now_s: float) -> Turn:
    """A camera that hangs the wrong way up is told of, once: all that it sees is where it is not."""
    if state.look is None:
        return state, ()
    own, turned = state.look[1].boxes, event.observation.boxes
    upright = sight.weigh(state.upright, event.turn_deg, own, turned, state.picture_s)
    state = replace(state, upright=upright)
    if not upright.upright_deg:
        return state, ()
    text = policy.MOUNTING_TEXTS.get(upright.upright_deg, policy.CAMERA_TILTED)
    state, actions = _decide(state, policy.StateChange(text, urgent=True, about=policy.MOUNTING), now_s)
    return state, (events.FlagMoment("low_confidence", state.picture_s), *actions)


def _hazard(thing: sight.Followed) -> Hazard:
    """How it moves is said only where the vocabulary has a word for that: what stands is named without one."""
    words = (word for word in _SAID_OF.get(thing.state, ()) if word in vocabulary.modifiers_of(thing.object))
    sayable = (
        word for word in words if vocabulary.may_be_spoken(vocabulary.instruct(thing.object, thing.side, modifier=word))
    )
    how = next(sayable, "")
    return Hazard(thing.object, thing.side, thing.score, how, thing.looks)


def _words_by_table(state: GuidanceState) -> bool:
    """Whether the model is eyes alone, the picture far from what it was taught on, or the board too slow for a decoder:
    what is due then has the table's words, and nothing is ever said to be clear."""
    model = {} if state.model is None else state.model.manifest.model
    far = state.look is not None and state.look[1].far
    spared = state.pace.plain and bool(model.get("objects", True))
    return far or spared or ("look" in model and "end_id" not in model)


def _paced(state: GuidanceState) -> PolicySettings:
    """The settings, for the pace at which looks come."""
    settings, pace = state.settings, state.pace
    stalled_s = max(settings.stalled_after_s, pace.look_every_s + LOOK_SLACK_S)
    at_once = settings.hazard_above if pace.first_look else settings.at_once_above
    if (stalled_s, at_once) == (settings.stalled_after_s, settings.at_once_above):
        return settings
    return replace(settings, stalled_after_s=stalled_s, at_once_above=at_once)


def _chunk_past_middle(state: GuidanceState) -> int:
    """The chunk of the newest picture, where its middle has come; else -1."""
    chunk = math.floor(state.picture_s / state.chunk_s)
    return chunk if state.picture_s >= (chunk + 0.5) * state.chunk_s - _EDGE_S else -1


def _phrased(state: GuidanceState, event: events.Phrased, now_s: float) -> Turn:
    state = replace(state, worded_chunk=max(state.worded_chunk, _chunk_past_middle(state)))
    worded = policy.Worded(_proven_words(state, event.text), event.confidence, state.picture_s)
    return _decide(state, worded, now_s, seen_s=state.picture_s)


def _decide(state: GuidanceState, event: policy.Event, now_s: float, *, seen_s: float | None = None) -> Turn:
    """Ask the policy. seen_s: when the picture was taken that the event is about; None = now."""
    seen_s = now_s if seen_s is None else seen_s
    after, decided = policy.step(state.policy, event, now_s, _paced(state))
    state = replace(state, policy=after)
    actions: list[GuidanceAction] = []
    for action in decided:
        match action:
            case policy.Speak():
                state, more = _speak(state, action, now_s, seen_s)
                actions += more
            case policy.Flag(reason):
                actions.append(events.FlagMoment(reason, seen_s))
            case policy.WordIt(about):
                assert state.look is not None  # only Looked asks for words
                if not _words_by_table(state):
                    actions.append(events.WordNow(state.look[1]))
                elif about:
                    text = vocabulary.instruct(about[0].object, about[0].side, modifier=about[0].how)
                    worded = policy.Worded(text, about[0].score, state.picture_s)
                    state, more = _decide(state, worded, now_s, seen_s=seen_s)
                    actions += more
            case policy.Cut() | policy.Duck() | policy.Beat() | policy.Note():
                actions.append(_sounded(action))
            case _:
                assert_never(action)
    return state, tuple(actions)


def _sounded(action: policy.Cut | policy.Duck | policy.Beat | policy.Note) -> GuidanceAction:
    return events.PlayEarcon(NOTED_EARCON) if isinstance(action, policy.Note) else action


def _speak(state: GuidanceState, speak: policy.Speak, now_s: float, seen_s: float) -> Turn:
    why = monitor.stopped(speak.text, tier=speak.tier, why=speak.why, clear_allowed=state.settings.say_clear)
    if why is not None:
        state, more = _decide(state, policy.SpeechEnded(speak.utterance), now_s)
        stopped = (
            events.Withhold(speak.text, why, seen_s),
            events.PlayEarcon(WITHHELD_EARCON),
            events.FlagMoment("stopped", seen_s),
        )
        return state, stopped + more
    settings, fresh_s = state.settings, None
    if speak.why in policy.GUIDANCE:
        most_s = settings.stale_after_s if speak.tier == 3 else settings.warning_stale_after_s
        fresh_s = most_s - (now_s - seen_s)
    before = "warning" if speak.tier == 1 else EARCONS.get(speak.why)
    return state, (events.SayNow(speak, now_s, seen_s, before, fresh_s, side_of(speak.text)),)
