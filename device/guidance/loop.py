"""Look, decide, say: the loop that guides.

A thread of its own takes the newest picture at a steady rate, never a backlog; runs the model on it; asks the policy
(shared.policy) what to do; and does that: speak, cut, word it, flag.

Promises:

- Each picture is first asked about the lens: from one that shows nothing (black, blank, the same as before) no guidance
  comes, and the next is asked soon.
- Sirens and horns are listened for, whatever the model makes of sound.
- Warnings never wait for the recorder, the disk or the link: nothing of theirs is called here.
- An exception in the model is announced, logged and tried again with growing pauses; the loop goes on.
- Every sentence passes `shared.monitor` on its way to the voice: what it stops becomes an earcon and a flagged moment.
- A model is swapped between two looks, and the swap is announced.
- Without a model everything but looking works: state changes are spoken, buttons answered.
- In a replay as fast as possible, `offer` waits until the picture was looked at, so that a walk gives the same looks
  however fast the machine is. In real time it never waits.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.source import SoundBlock, VideoFrame
from device.guidance.history import Journal, Look, Spoken, Stopped, Wording
from device.guidance.look_times import LookTimes
from device.guidance.street_sounds import Ear
from device.voice import Ended, Started, Utterance, Voice
from shared import lens, monitor, policy, vocabulary
from shared.clock import Clock
from shared.media import CHUNK_S, SAMPLE_RATE_HZ
from shared.policy import PolicySettings, PolicyState, StateChange
from shared.runtime.seen import Instruction, Observation

log = logging.getLogger(__name__)

UPDATED = "Guidance updated."
READY = "Guidance ready."
NO_MODEL = "No model. Recording only."
NO_CAMERA = "No camera."
POLL_S = 0.05  # how soon an end of speech or a button is noticed between looks
SOUND_S = 2.0  # what a look hears
BEFORE_S = 1.0  # an older look shows another place
UNHEARD_BLOCKS = 100  # 5 s: a horn before that is no news
LENS_AGAIN_S = 0.25  # how soon the next picture is asked about the lens where this one shows nothing
EARCONS = {"state": "state", "repeat": "", "unsure": "unsure"}
"""Before an utterance, by why it is made; other words than warnings come without."""
STOPPED_EARCON = "unsure"
"""In the place of words that were stopped: something may be there, and the device cannot say what."""
ABOUT_MODEL = "model"
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # pauses after failures of the model in a row
WAIT_S = 0.25
LONGEST_LOOK_S = 120.0  # how long a replay waits for one look before it goes on
JOIN_S = 10.0


class Card(Protocol):
    """What guidance needs of a model's manifest."""

    @property
    def version(self) -> str: ...
    @property
    def intended_use(self) -> str: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...
    @property
    def model(self) -> Mapping[str, Any]: ...


class Model(Protocol):
    """A loaded bundle: shared.runtime.GuidanceModel."""

    @property
    def manifest(self) -> Card: ...
    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation: ...
    def word(self, observation: Observation) -> Instruction: ...


class Listener(Protocol):
    """Who is told what guidance does. Called from its thread: be quick."""

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
    """How often is looked."""

    looks_per_s: float = 4.0
    """At 1.1 m/s a curb is seen 0.3 m later at worst."""
    chunk_s: float = CHUNK_S
    """Length of a recorded chunk: each is worded once, at its middle."""
    wait_for_looks: bool = False
    """Replay as fast as possible: `offer` waits until the picture was looked at."""
    pinned: frozenset[str] = frozenset()
    """Thresholds that the wearer's settings fix, whatever a model's manifest says."""


class Guidance:
    """See the module's promises. `start` it, `offer` it pictures, `stop` it."""

    def __init__(
        self,
        voice: Voice,
        listener: Listener,
        *,
        settings: GuidanceSettings,
        policy_settings: PolicySettings,
        clock: Clock,
        walk_now: Callable[[], float],
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        """hurry: the walk is being ended, so a replay no longer waits for looks."""
        self.journal = Journal()
        self._hurry = hurry
        self._voice = voice
        self._listener = listener
        self._settings = settings
        self._wished = policy_settings
        self._policy_settings = policy_settings
        self._state = PolicyState()
        self._clock = clock
        self._walk_now = walk_now
        self._model: Model | None = None
        self._coming: tuple[Model | None, PolicySettings, StateChange] | None = None
        self._events: deque[policy.Event] = deque()
        self._frame: tuple[VideoFrame, float] | None = None
        self._due_s = 0.0
        self._busy = False
        self._stopping = False
        self._wake = threading.Condition()
        self._sound: deque[SoundBlock] = deque()
        self._unheard: deque[SoundBlock] = deque(maxlen=UNHEARD_BLOCKS)
        self._ear = Ear()
        self._repeats = lens.Repeats()
        self._worded_chunk = -1
        self._before: tuple[Observation, float] | None = None
        self._failures = 0
        self._look_times = LookTimes()
        self._busy_since_s: float | None = None
        self._progress_s = clock.monotonic_s()
        self._thread = threading.Thread(target=self._run, name="guidance", daemon=True)

    # --- called from other threads ---

    def start(self) -> None:
        vocabulary.sayable()  # listed now: the first warning must not wait for it, 0.1 s on a fast machine
        self._thread.start()

    def stop(self) -> None:
        """End the loop; a look that hangs is left behind. May be called again."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def offer(self, frame: VideoFrame) -> None:
        """A new picture. It is looked at if a look is due; an older one that was not looked at yet is forgotten."""
        with self._wake:
            if self._frame is None and frame.t_s < self._due_s:
                return
            self._frame = (frame, self._clock.monotonic_s() if frame.taken_s is None else frame.taken_s)
            self._wake.notify_all()
            if self._settings.wait_for_looks and self._thread.is_alive():
                self._wait_for_look()

    def hear(self, block: SoundBlock) -> None:
        """New sound; a look hears the last two seconds."""
        with self._wake:
            self._sound.append(block)
            self._unheard.append(block)
            while self._sound and self._sound[0].t_s < block.t_s - SOUND_S:
                self._sound.popleft()

    def post(self, event: policy.Event) -> None:
        """Give an event to the policy."""
        with self._wake:
            self._events.append(event)
            self._wake.notify_all()

    def tell(self, text: str, *, urgent: bool = False, about: str = "") -> None:
        """Announce a state change. about: of what; older news about the same need not be said any more."""
        self.post(StateChange(text, urgent, about))

    def swap(self, model: Model, *, announce: str = UPDATED, urgent: bool = False) -> None:
        """Use this model from the next look on."""
        wanted = policy.calibrated(self._wished, model.manifest.thresholds, pinned=self._settings.pinned)
        with self._wake:
            self._coming = (model, wanted, StateChange(announce, urgent, ABOUT_MODEL))
            self._wake.notify_all()

    def drop(self) -> None:
        """Guide without a model from the next look on: the one in use may not guide any more."""
        with self._wake:
            self._coming = (None, self._wished, StateChange(NO_MODEL, urgent=True, about=ABOUT_MODEL))
            self._wake.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was posted and offered has been dealt with. Whether it was."""
        with self._wake:
            return self._wake.wait_for(lambda: self._is_idle() and not self._events, timeout_s)

    @property
    def model_version(self) -> str:
        """Of the model in use; "" = none."""
        model = self._coming[0] if self._coming is not None else self._model
        return "" if model is None else model.manifest.version

    @property
    def progress_s(self) -> float:
        """When (monotonic) a new picture was last looked at, or, without a model, when the loop last went round."""
        return self._progress_s

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
        return self._state.paused or self._state.blocked

    # --- the loop ---

    def _wait_for_look(self) -> None:
        waited_s = 0.0
        while not self._wake.wait_for(self._is_idle, WAIT_S) and waited_s < LONGEST_LOOK_S and not self._hurry():
            waited_s += WAIT_S

    def _is_idle(self) -> bool:
        return self._stopping or (self._frame is None and not self._busy)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                self._wake.wait_for(self._has_work, POLL_S)
                if self._stopping:
                    return
                self._busy = True
                offered, self._frame = self._frame, None
                events = list(self._events)
                self._events.clear()
                coming = self._coming
                if coming is not None:
                    self._model, self._policy_settings, self._coming = coming[0], coming[1], None
                    self._before = None  # another model's tokens
                if offered is not None:
                    self._due_s = self._next_due(offered[0].t_s)
            try:
                self._turn(offered, events, None if coming is None else coming[2])
            except Exception:
                log.exception("Guidance failed")

    def _has_work(self) -> bool:
        return bool(self._stopping or self._frame is not None or self._events or self._coming is not None)

    def _next_due(self, t_s: float) -> float:
        """The next point of the grid after `t_s`: the rate stays steady whatever the frame rate."""
        every_s = 1.0 / self._settings.looks_per_s
        return (math.floor(t_s / every_s + 1e-6) + 1) * every_s - 1e-6

    def _turn(
        self, offered: tuple[VideoFrame, float] | None, events: list[policy.Event], swapped: StateChange | None
    ) -> None:
        """swapped: what to announce about a model that is used from now on, or none is; None = the same as before."""
        if swapped is not None:
            self._failures = 0
            self._look_times.clear()
            log.info("Guiding with model %s", self.model_version or "none")
            self._step(swapped)
            if self._model is None:
                self._step(policy.WalkEnded())  # no looks are expected
        self._listen()
        for event in events:
            self._step(event)
        if offered is not None:
            self._hear_street()
            self._see(*offered)
        else:
            if not self._settings.wait_for_looks:
                self._hear_street()
            self._step(policy.Tick())
        if self._model is None:
            self._progress_s = self._clock.monotonic_s()

    def _hear_street(self) -> None:
        """Is there a siren or a horn in the sound that came since the last turn?"""
        with self._wake:
            blocks = list(self._unheard)
            self._unheard.clear()
        for block in blocks:
            kind = self._ear.feed(block.samples)
            if kind:
                self._step(policy.SoundHeard(kind))

    def _listen(self) -> None:
        """What the voice reports."""
        for heard in self._voice.poll():
            if isinstance(heard, Ended):
                self._step(policy.SpeechEnded(heard.utterance))
            else:
                self._sounded(heard)

    def _sounded(self, heard: Started) -> None:
        ago_s = self._clock.monotonic_s() - heard.at_s
        self.journal.sounded(heard.utterance, heard.at_s, t_s=self._walk_now() - ago_s, lead_s=heard.lead_s)

    def _see(self, frame: VideoFrame, taken_s: float) -> None:
        """One picture: the lens first, then, where it shows something, the way ahead."""
        trouble = lens_trouble(frame, self._repeats)
        blind = trouble in policy.BLINDING
        if blind:
            with self._wake:
                self._due_s = min(self._due_s, frame.t_s + LENS_AGAIN_S)
        if self._model is None or blind:
            self._step(policy.Viewed(trouble), frame.t_s)
            self._progress_s = self._clock.monotonic_s()  # a covered lens is no reason to restart the agent
        else:
            self._look(self._model, frame, taken_s, trouble)

    def _look(self, model: Model, frame: VideoFrame, taken_s: float, trouble: str) -> None:
        version = model.manifest.version
        try:
            self._busy_since_s = self._clock.monotonic_s()
            observation = model.look(frame.image, self._heard(), before=self._seen_before(frame.t_s))
            self._before = (observation, frame.t_s)
            self._look_times.add(self._clock.monotonic_s() - self._busy_since_s)
            self._progress_s = self._busy_since_s = self._clock.monotonic_s()
            self.journal.add(Look(frame.t_s, version, observation.hazards[:5]))
            actions = self._step(
                policy.Looked(
                    observation.hazards, observation.brightness, observation.contrast, trouble, seen_at_s=frame.t_s
                ),
                frame.t_s,
                taken_s,
            )
            if self._is_worded_now(model, frame, actions):
                self._word(model, observation, frame, taken_s)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, guidance goes on
            self._fail(version, frame, error)
            return
        finally:
            self._busy_since_s = None
        self._failures = 0
        self._listener.looked(version)

    def _is_worded_now(self, model: Model, frame: VideoFrame, actions: tuple[policy.Action, ...]) -> bool:
        """The policy wants it; or the chunk's middle has come and no warning is going out.

        Without a hazard head only the decoder can see anything: every look is worded.
        """
        if policy.WordIt() in actions or not model.manifest.model.get("objects", True):
            return True
        chunk = math.floor(frame.t_s / self._settings.chunk_s)
        middle_s = (chunk + 0.5) * self._settings.chunk_s
        speaks = any(isinstance(action, policy.Speak) for action in actions)
        return frame.t_s >= middle_s - 1e-6 and chunk > self._worded_chunk and not speaks

    def _word(self, model: Model, observation: Observation, frame: VideoFrame, taken_s: float) -> None:
        instruction = model.word(observation)
        self._progress_s = self._clock.monotonic_s()
        chunk = math.floor(frame.t_s / self._settings.chunk_s)
        if frame.t_s >= (chunk + 0.5) * self._settings.chunk_s - 1e-6:
            self._worded_chunk = chunk
        self.journal.add(Wording(frame.t_s, model.manifest.version, instruction.text, instruction.confidence))
        self._step(policy.Worded(instruction.text, instruction.confidence, frame.t_s), frame.t_s, taken_s)

    def _fail(self, version: str, frame: VideoFrame, error: Exception) -> None:
        pause_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._due_s = max(self._due_s, frame.t_s + pause_s)
        log.error("Model %s failed on a picture; it is tried again in %s s", version, pause_s, exc_info=error)
        self._step(policy.LookFailed())
        self._listener.failed(version, f"{type(error).__name__}: {error}")

    def _seen_before(self, now_s: float) -> Observation | None:
        """The look before this one: models that are shown two pictures take it along."""
        return self._before[0] if self._before and now_s - self._before[1] <= BEFORE_S else None

    def _heard(self) -> NDArray[np.float32] | None:
        with self._wake:
            blocks = [block.samples for block in self._sound]
        if not blocks:
            return None
        sound = np.concatenate(blocks)[-round(SOUND_S * SAMPLE_RATE_HZ) :]
        return sound.astype(np.float32) / 32768.0

    # --- carrying out ---

    def _step(
        self, event: policy.Event, seen_s: float | None = None, taken_s: float | None = None
    ) -> tuple[policy.Action, ...]:
        now_s = self._walk_now()
        self._state, actions = policy.step(self._state, event, now_s, self._policy_settings)
        for action in actions:
            if isinstance(action, policy.Speak):
                self._speak(action, now_s, now_s if seen_s is None else seen_s, taken_s)
            elif isinstance(action, policy.Cut):
                self._voice.cut(action.utterance)
            elif isinstance(action, policy.Duck):
                self._voice.duck(on=action.on)
            elif isinstance(action, policy.Beat):
                self._voice.beat()
            elif isinstance(action, policy.Flag):
                self._listener.flagged(action.reason, now_s if seen_s is None else seen_s)
        return actions

    def _speak(self, action: policy.Speak, now_s: float, seen_s: float, taken_s: float | None) -> None:
        wrong = monitor.stopped(
            action.text, tier=action.tier, why=action.why, clear_allowed=self._policy_settings.say_clear
        )
        if wrong:
            self._stop_words(action, wrong, seen_s)
            return
        earcon = "warning" if action.tier == 1 else EARCONS.get(action.why, "")
        spoken = Spoken(
            action.utterance,
            now_s,
            action.text,
            action.tier,
            action.why,
            action.confidence,
            seen_s=seen_s,
            taken_s=taken_s,
            model_version="" if self._model is None else self._model.manifest.version,
        )
        self.journal.add(spoken)
        self._voice.say(
            Utterance(action.utterance, action.text, action.tier, earcon, self._expires_s(spoken, now_s - seen_s))
        )
        if self._settings.wait_for_looks:
            self._voice.settle()
            self._listen_for_starts()
        self._listener.said(spoken)

    def _stop_words(self, action: policy.Speak, wrong: str, seen_s: float) -> None:
        """An earcon instead of words that must not be spoken; to the policy the utterance is over."""
        log.error("Not spoken, a fault in the vocabulary or the policy: %r %s", action.text, wrong)
        self.journal.stop(Stopped(seen_s, action.text, wrong))
        self._voice.earcon(STOPPED_EARCON)
        self._listener.flagged("stopped", seen_s)
        self._events.append(policy.SpeechEnded(action.utterance))

    def _expires_s(self, spoken: Spoken, age_s: float) -> float:
        """When words about a picture are too old to begin. A replay as fast as possible waits for its voice instead."""
        if not spoken.is_guidance or self._settings.wait_for_looks:
            return math.inf
        wished = self._policy_settings
        most_s = wished.stale_after_s if spoken.tier == 3 else wished.warning_stale_after_s
        return self._clock.monotonic_s() + most_s - age_s

    def _listen_for_starts(self) -> None:
        """In a replay as fast as possible walk time stands still here, so nothing can have ended."""
        for heard in self._voice.poll():
            if isinstance(heard, Started):
                self._sounded(heard)
            else:
                self._events.append(policy.SpeechEnded(heard.utterance))


def lens_trouble(frame: VideoFrame, repeats: lens.Repeats) -> str:
    """What is wrong with a picture, as shared.lens names it; "" = nothing, or it is no picture (the model says so)."""
    try:
        trouble = lens.trouble(lens.view(frame.image))
        return "frozen" if repeats.frozen(frame.image, frame.t_s) and not trouble else trouble
    except cv2.error as error:
        log.warning("A picture of shape %s could not be judged: %s", frame.image.shape, error)
        return ""
