"""Look, decide, say: the thread that guides.

It takes the newest picture at a steady rate (device.guidance.inbox), decides by `shared.guidance.turn`, and carries out
what that asks for: run the model, speak, cut, flag.

Promises, beside those of shared.guidance:

- Warnings never wait for the recorder, the disk or the link: nothing of theirs is called here.
- An exception in the model is announced, logged and retried with backoff; the loop goes on.
- A model is swapped between two looks, and the swap is announced.
- Without a model everything but looking works: state changes are spoken, buttons answered.
- "Guidance ready." is said once a picture that shows something was looked at, never before.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from device.capture.source import SoundBlock, VideoFrame
from device.guidance.history import GuidanceHistory, LookEntry, Spoken, Stopped, WordingEntry
from device.guidance.inbox import Delivery, Inbox, OfferedPicture
from device.guidance.look_times import LookTimes
from device.guidance.standstill import Standstill
from device.voice.sinks import UtteranceStarted
from device.voice.voice import Voice, VoiceUtterance
from shared import policy, vocabulary
from shared.background import Background
from shared.backoff import exponential_s
from shared.chunk_format import CHUNK_S
from shared.clock import Clock
from shared.guidance import events
from shared.guidance.events import LoadedModel, ModelChanged
from shared.guidance.turn import GuidanceState, turn
from shared.lens import LensTrouble
from shared.model_card import SightCard, card_of, detects, spoken
from shared.policy import PolicySettings, StateChange
from shared.runtime.seen import Observation
from shared.sight import turned_copy

logger = logging.getLogger(__name__)

UPDATED = "Guidance updated."
READY = "Guidance ready."
NO_MODEL = "No model. Recording only."
NO_CAMERA = "No camera."
SEVERAL_CAMERAS = "Several cameras. Unplug one, or name one in the settings."
POLL_S = 0.05  # how soon an end of speech is noticed between looks
TRIAL_WORDS = "Trial words are on."
ABOUT_MODEL = "model"
ABOUT_SIGHT = ("what it sees", "what it does not see")
CLAIMS_SIGHT = (UPDATED, READY)
BACKOFF_BASE_S, BACKOFF_MAX_S = 0.5, 30.0  # after failures of the model in a row


class Listener(Protocol):
    """Who is informed of what guidance does. Called from its thread: be quick."""

    def said(self, spoken: Spoken) -> None:
        """An utterance was begun."""

    def flagged(self, reason: str, t_s: float) -> None:
        """This moment of the walk is worth a review."""

    def looked(self, version: str) -> None:
        """A look went well."""

    def failed(self, version: str, reason: str) -> None:
        """The model failed on a picture."""


@dataclass(frozen=True, slots=True)
class GuidanceSettings:
    """How often is looked, and what the wearer wants to hear."""

    policy: PolicySettings = field(default_factory=PolicySettings)
    looks_per_s: float = 4.0
    """At 1.1 m/s a curb is seen 0.3 m later at worst."""
    chunk_s: float = CHUNK_S
    """Length of a recorded chunk: each is worded once, at its middle."""
    wait_for_looks: bool = False
    """Replay as fast as possible: `offer` waits until the picture was looked at."""
    pinned: frozenset[str] = frozenset()
    """Thresholds that the wearer's settings fix, whatever a model's manifest says."""
    skip_unchanged: bool = False
    """As GuidanceState takes it."""


class Guidance:
    """`start` it, `offer` it pictures, `stop` it."""

    def __init__(
        self,
        voice: Voice,
        listener: Listener,
        *,
        settings: GuidanceSettings,
        clock: Clock,
        walk_now: Callable[[], float],
        hurry: Callable[[], bool] = lambda: False,
        introduction: Callable[[SightCard], Sequence[str]] = lambda card: (),
        feel: Callable[[events.SayNow, float | None], None] = lambda action, taken_s: None,
    ) -> None:
        """
        feel: have an utterance felt, with the moment (monotonic) at which the picture was taken that it is about; it
        comes before the voice, and returns at once
        hurry: the walk is being ended, so a replay no longer waits for looks
        introduction: what to say of a model that is put in use, beside that it is
        """
        self.history = GuidanceHistory()
        self._voice = voice
        self._listener = listener
        self._settings = settings
        self._clock = clock
        self._walk_now = walk_now
        self._inbox = Inbox(
            clock, looks_per_s=settings.looks_per_s, wait_for_looks=settings.wait_for_looks, hurry=hurry
        )
        self._wearer = settings.policy
        self._looks_per_s = settings.looks_per_s
        pace = events.PaceChanged(1 / settings.looks_per_s)
        self._state = GuidanceState(
            settings.policy, settings.chunk_s, pace=pace, skip_unchanged=settings.skip_unchanged
        )
        self._model_version = ""
        self._sight: SightCard | None = None
        self._introduction = introduction
        self._feel = feel
        self._failures = 0
        self._look_times = LookTimes()
        self._standstill = Standstill()
        self._busy_since_s: float | None = None
        self._progress_s = clock.monotonic_s()
        self._live_s = 0.0
        self._thread = Background(self._run, name="guidance", wake=self._inbox.close)

    # --- called from other threads ---

    def start(self) -> None:
        vocabulary.sayable()  # listed now: the first warning must not wait for it, 0.1 s on a fast machine
        self._inbox.serve()
        self._thread.start()

    def stop(self) -> None:
        """End the loop; a look that hangs is left behind. May be called again."""
        self._thread.close()

    def offer(self, frame: VideoFrame) -> None:
        """A new picture. It is looked at if a look is due; an older one that still waits is dropped."""
        self._inbox.offer(frame)

    def hear(self, block: SoundBlock) -> None:
        """New sound; a look hears the last two seconds."""
        self._inbox.hear(block)

    def post(self, event: policy.Event) -> None:
        """Give an event to the policy."""
        self._inbox.post(event)

    def tell(self, text: str, *, urgent: bool = False, about: str | None = None, sees: bool = False) -> None:
        """Announce a state change. about: of what; older news about the same need not be said any more.
        sees: it says that guidance sees, and waits while that is not so."""
        self.post(StateChange(text, urgent, about, sees=sees))

    def swap(self, model: LoadedModel, *, announce: str = UPDATED, urgent: bool = False) -> None:
        """Use this model from the next look on. READY, and what follows it, is said once it has seen something."""
        change = StateChange(announce, urgent, ABOUT_MODEL, sees=announce in CLAIMS_SIGHT)
        introduced = _about_sight(self._introduction(card_of(model.manifest.model)))
        if announce == READY:
            self._change_model(model, None, ready=(change, *introduced))
            return
        self._change_model(model, change)
        for sentence in introduced:
            self.post(sentence)

    def tell_sight(self) -> None:
        """Say what the model in use sees and does not see: the wearer asked."""
        for sentence in _about_sight((NO_MODEL,) if self._sight is None else spoken(self._sight)):
            self.post(sentence)

    def drop(self) -> None:
        """Guide without a model from the next look on: the one in use may not guide any more."""
        self._change_model(None, StateChange(NO_MODEL, urgent=True, about=ABOUT_MODEL))

    def _change_model(
        self, model: LoadedModel | None, announce: StateChange | None, *, ready: tuple[StateChange, ...] = ()
    ) -> None:
        settings = self._settings
        changed = ModelChanged.to(model, self._wearer, pinned=settings.pinned, announce=announce, ready=ready)
        self._model_version = "" if model is None else model.manifest.version
        self._sight = None if model is None else card_of(model.manifest.model)
        self._inbox.swap(changed)

    def pace(self, looks_per_s: float, *, plain: bool, first_look: bool) -> None:
        """Look so often from now on. plain, first_look: as in shared.guidance.events.PaceChanged"""
        if not self._settings.wait_for_looks:  # such a replay looks the same on any machine
            self._looks_per_s = looks_per_s
            self._inbox.look_every(1 / looks_per_s)
            self._inbox.post(events.PaceChanged(1 / looks_per_s, plain, first_look))

    def wear(self, wearer: PolicySettings) -> None:
        """What the wearer wants to hear from now on."""
        self._wearer = wearer
        self._inbox.post(events.WearerChanged(wearer, self._settings.pinned))

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was posted and offered has been dealt with. Whether it was."""
        return self._inbox.settle(timeout_s)

    @property
    def model_version(self) -> str:
        """Of the model in use, or that is used from the next look on; "" = none."""
        return self._model_version

    @property
    def sight(self) -> SightCard | None:
        """What that model sees; None = there is none."""
        return self._sight

    @property
    def progress_s(self) -> float:
        """When (monotonic) a new picture was last looked at, or, without a model, when the loop last went round."""
        return self._progress_s

    @property
    def live_s(self) -> float:
        """When (monotonic) a new, live picture was last looked at; a covered lens counts, a frozen camera and a model
        that fails do not. 0 = never."""
        return self._live_s

    @property
    def typical_look_s(self) -> float | None:
        """How long a look takes: the middle one of the last few; None = none yet."""
        return self._look_times.typical_s

    @property
    def look_every_s(self) -> float:
        """How far apart looks are that come as they should on this board: while one stands still, as ever."""
        still = self._standstill.now(self._clock.monotonic_s())
        return max(1 / self._looks_per_s, 0.0 if still else self._look_times.longest_s)

    @property
    def looks_in_time(self) -> int:
        """How many looks in a row were early enough to guide by."""
        return self._look_times.in_time

    @property
    def sees(self) -> bool:
        """There is a model that looks in time, and the last pictures showed something."""
        if self._look_times.late:
            return False
        state = self._state
        policy_state = state.policy
        blind = policy_state.paused or policy_state.blocked or policy_state.bad_since_s is not None
        return state.model is not None and not blind

    @property
    def stuck_s(self) -> float:
        """How long the model has been at one picture."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else self._clock.monotonic_s() - since_s

    @property
    def look_p95_ms(self) -> float:
        """95th percentile of how long the last looks of the model in use took; 0 = none yet."""
        return self._look_times.p95_ms

    @property
    def paused(self) -> bool:
        """Nothing is seen: the model fails, or the camera is blocked or away."""
        return self._state.policy.paused or self._state.policy.blocked

    # --- the loop ---

    def _run(self) -> None:
        while (delivery := self._inbox.take(POLL_S)) is not None:
            try:
                self._deal_with(delivery)
            except Exception:
                logger.exception("Guidance failed")

    def _deal_with(self, delivery: Delivery) -> None:
        if delivery.swap is not None:
            self._failures = 0
            self._look_times.clear()
            self._standstill.clear()
            self._turn(delivery.swap)
            logger.info("Guiding with model %s", self._version() or "none")
        self._hear_of_speech()
        for event in delivery.events:
            self._turn(event)
        for block in delivery.sounds:
            self._turn(events.SoundTaken(block.samples, block.t_s))
        if delivery.picture is not None:
            frame = delivery.picture.frame
            self._turn(events.PictureTaken(frame.image, frame.t_s), delivery.picture)
        else:
            self._turn(policy.TimePassed())
        if self._state.model is None:
            self._progress_s = self._clock.monotonic_s()
            if delivery.picture is not None:
                self._saw_live()

    def _hear_of_speech(self) -> None:
        for reported in self._voice.poll():
            if isinstance(reported, UtteranceStarted):
                self._started(reported)
            else:
                self._turn(policy.SpeechEnded(reported.utterance))

    def _saw_live(self) -> None:
        if self._state.trouble is not LensTrouble.FROZEN:
            self._live_s = self._clock.monotonic_s()

    def _version(self) -> str:
        return "" if self._state.model is None else self._state.model.manifest.version

    def _turn(self, event: events.GuidanceEvent, picture: OfferedPicture | None = None) -> None:
        """picture: what the event is about."""
        self._state, actions = turn(self._state, event, self._walk_now())
        for action in actions:
            self._carry_out(action, picture)

    def _carry_out(self, action: events.GuidanceAction, picture: OfferedPicture | None) -> None:
        match action:
            case events.LookNow():
                assert picture is not None
                self._look(action, picture)
            case events.LookTurned(turn_deg):
                assert picture is not None
                self._look_turned(turn_deg, picture)
            case events.WordNow(observation):
                assert picture is not None
                self._word(observation, picture)
            case events.LookSooner(at_s):
                self._inbox.look_by(at_s)
                self._progress_s = self._clock.monotonic_s()  # a covered lens is no reason to restart the agent
                self._saw_live()
            case events.SayNow():
                self._say(action, picture)
            case events.Withhold(text, why, seen_s):
                logger.error("Not spoken, a fault in the vocabulary or the policy: %r %s", text, why)
                self.history.stop(Stopped(seen_s, text, why))
            case events.PlayEarcon(name):
                self._voice.earcon(name)
            case events.FlagMoment(reason, t_s):
                self._listener.flagged(reason, t_s)
            case policy.Cut(utterance):
                self._voice.cut(utterance)
            case policy.Duck(on):
                self._voice.duck(on=on)
            case policy.Beat():
                self._voice.beat()
            case _:
                assert_never(action)

    # --- carrying out ---

    def _look(self, action: events.LookNow, picture: OfferedPicture) -> None:
        model, frame = self._state.model, picture.frame
        assert model is not None
        version = model.manifest.version
        try:
            began_s = self._busy_since_s = self._clock.monotonic_s()
            with self._computing():
                observation = model.look(frame.image, action.sound, before=action.before)
            self._busy_since_s = self._clock.monotonic_s()
            self._look_times.add(self._busy_since_s - began_s)
            self._progressed()
            boxes = observation.boxes if detects(model.manifest.model, "person", "vehicle") else None
            self.history.add(LookEntry(frame.t_s, version, observation.hazards[:5], boxes))
            self._hear_of_speech()  # what ended during a long look must not count as cut off by what is said now
            self._turn(events.Observed(observation), picture)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, guidance goes on
            self._fail(version, frame, error)
            return
        finally:
            self._busy_since_s = None
        self._failures = 0
        self._listener.looked(version)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """The model is at work in it."""
        self._standstill.begin(self._clock.monotonic_s())
        try:
            yield
        finally:
            self._standstill.end(self._clock.monotonic_s())

    def _progressed(self) -> None:
        """A look, one more at the same picture, or its wording is done: on a slow board each takes its time."""
        self._progress_s = self._clock.monotonic_s()
        if not self._look_times.late:
            self._saw_live()

    def _look_turned(self, turn_deg: int, picture: OfferedPicture) -> None:
        model = self._state.model
        assert model is not None
        with self._computing():
            observation = model.look(turned_copy(picture.frame.image, turn_deg))
        self._progressed()
        self._turn(events.SeenTurned(turn_deg, observation), picture)

    def _word(self, observation: Observation, picture: OfferedPicture) -> None:
        model = self._state.model
        assert model is not None
        with self._computing():
            said = model.word(observation)
        self._progressed()
        self.history.add(WordingEntry(picture.frame.t_s, model.manifest.version, said.text, said.confidence))
        self._turn(events.Phrased(said.text, said.confidence), picture)

    def _fail(self, version: str, frame: VideoFrame, error: Exception) -> None:
        pause_s = exponential_s(self._failures, base_s=BACKOFF_BASE_S, max_s=BACKOFF_MAX_S)
        self._failures += 1
        self._inbox.look_after(frame.t_s + pause_s)
        logger.error("Model %s failed on a picture; it is tried again in %s s", version, pause_s, exc_info=error)
        self._turn(policy.LookFailed())
        self._listener.failed(version, f"{type(error).__name__}: {error}")

    def _say(self, action: events.SayNow, picture: OfferedPicture | None) -> None:
        self._feel(action, None if picture is None else picture.taken_s)
        speak = action.speak
        spoken = Spoken(
            speak.utterance,
            action.t_s,
            speak.text,
            speak.tier,
            speak.why,
            speak.confidence,
            seen_s=action.seen_s,
            taken_s=None if picture is None else picture.taken_s,
            model_version=self._version(),
        )
        self.history.add(spoken)
        expires_s = math.inf
        if action.fresh_s is not None and not self._settings.wait_for_looks:  # such a replay waits for its voice
            expires_s = self._clock.monotonic_s() + action.fresh_s
        said = VoiceUtterance(speak.utterance, speak.text, speak.tier, action.earcon, expires_s, action.side)
        self._voice.say(said)
        if self._settings.wait_for_looks:
            self._voice.settle()
            self._listen_for_starts()
        self._listener.said(spoken)

    def _listen_for_starts(self) -> None:
        """In a replay as fast as possible walk time stands still here, so nothing can have ended by itself."""
        for reported in self._voice.poll():
            if isinstance(reported, UtteranceStarted):
                self._started(reported)
            else:
                self._inbox.post(policy.SpeechEnded(reported.utterance))

    def _started(self, started: UtteranceStarted) -> None:
        ago_s = self._clock.monotonic_s() - started.at_s
        t_s = self._walk_now() - ago_s
        self.history.sounded(started.utterance, started.at_s, t_s=t_s, lead_s=started.lead_s)


def _about_sight(sentences: Sequence[str]) -> tuple[StateChange, ...]:
    pairs = zip(sentences, ABOUT_SIGHT, strict=False)
    return tuple(StateChange(text, about=about, patient=True) for text, about in pairs)
