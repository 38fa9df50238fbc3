"""The device's guiding thread and the evaluation do the same on the same walk: every look, word and spoken sentence.

Both drive `shared.guidance.turn`. Here a rendered walk goes through the evaluation and, picture by picture, through the
device's own thread in a fast replay, with the same model and a voice that takes as long: the starter, and eyes alone.
A second walk adds what the rendered one lacks: a siren, a black and a frozen picture, doubt, words that the monitor
stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.build import guidance_settings
from device.capture.source import BLOCK_SAMPLES, SoundBlock, VideoFrame
from device.config import Config, GuidanceSection
from device.guidance.history import Spoken
from device.guidance.loop import Guidance, GuidanceSettings
from device.voice.sinks import Timeline, UtteranceEnded, VoiceEvent
from device.voice.voice import SpeechRate, Voice, VoiceUtterance
from server import walks
from server.evaluation import drive as driving
from server.evaluation import rendered
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Course, Frame, Truth, seen_side
from server.walks.chunks import hazard_events
from server.walks.scene import VIEW_DEG
from shared import monitor, policy, vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import SystemClock
from shared.guidance import events, turn
from shared.guidance.events import GuidanceAction, GuidanceEvent, LoadedModel
from shared.guidance.turn import GuidanceState, Turn
from shared.policy import PolicySettings
from shared.runtime import GuidanceModel
from shared.runtime.seen import Instruction, Observation
from shared.sides import Side
from shared.sight import Camera
from tests.server.evaluation.stage import BIN, CURB, POLE, Reader, course_of

SETTINGS = DriveSettings(pictures=False)
Record = list[tuple[Any, ...]]


class Watched:
    """A model that writes down what it is asked for."""

    def __init__(self, model: LoadedModel, record: Record) -> None:
        self._model, self._record = model, record
        self.manifest = model.manifest

    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation:
        heard = None if sound is None else sound.tobytes()
        tokens = None if before is None else before.image_tokens.tobytes()
        self._record.append(("look", image.tobytes(), heard, tokens))
        return self._model.look(image, sound, before=before)

    def word(self, observation: Observation) -> Instruction:
        written = self._model.word(observation)
        self._record.append(("word", observation.image_tokens.tobytes(), written.text))
        return written


class SlowVoice(Voice):
    """Says nothing, and takes as long for it as the evaluation reckons."""

    def __init__(self, walk_now: Callable[[], float], record: Record) -> None:
        clock = SystemClock()
        sink = Timeline(walk_now, clock)
        super().__init__(None, sink, pace=SpeechRate(), clock=clock, walk_now=walk_now, on_trouble=print)
        self._now, self._record = walk_now, record
        self.ends: dict[int, float] = {}

    def say(self, utterance: VoiceUtterance) -> None:
        speak = policy.Speak(utterance.number, utterance.text, utterance.tier, "")
        self.ends = {utterance.number: driving.spoken(speak, self._now(), 0.0, SETTINGS).end_s}
        self._record.append(("say", utterance.number, utterance.text, utterance.tier, utterance.earcon))

    def cut(self, number: int) -> None:
        self.ends.pop(number, None)
        self._record.append(("cut", number))

    def poll(self) -> list[VoiceEvent]:
        over = [number for number, end_s in self.ends.items() if end_s <= self._now()]
        self.ends = {number: end_s for number, end_s in self.ends.items() if number not in over}
        return [UtteranceEnded(number) for number in over]

    def earcon(self, name: str, *, side: Side | None = None) -> None:
        self._record.append(("earcon", name))

    def duck(self, *, on: bool) -> None:
        self._record.append(("duck", on))

    def beat(self) -> None:
        self._record.append(("beat",))


class Silent:
    """Listens to guidance."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.failures: list[str] = []

    def said(self, spoken: Spoken) -> None: ...

    def flagged(self, reason: str, t_s: float) -> None:
        self._record.append(("flag", reason, t_s))

    def looked(self, version: str) -> None: ...

    def failed(self, version: str, reason: str) -> None:
        self.failures.append(reason)


def on_a_device(
    model: LoadedModel, course: Course, wearer: PolicySettings, *, skip_unchanged: bool = False
) -> tuple[Record, Guidance]:
    """What the device's thread does: what it asks of the model, and what it has voice and recorder do."""
    record: Record = []
    now_s = 0.0
    voice, listener = SlowVoice(lambda: now_s, record), Silent(record)
    chosen = GuidanceSettings(wearer, chunk_s=course.chunk_s, wait_for_looks=True, skip_unchanged=skip_unchanged)
    device = Guidance(voice, listener, settings=chosen, clock=SystemClock(), walk_now=lambda: now_s)
    sound, heard = (np.zeros(0, np.int16) if course.sound is None else course.sound()), 0
    device.start()
    try:
        device.swap(Watched(model, record), announce="")
        device.post(policy.WalkBegan())
        assert device.settle(60)
        for frame in course.frames():
            while voice.ends and min(voice.ends.values()) <= frame.t_s:  # time goes on between pictures
                now_s = min(voice.ends.values())
                device.post(policy.TimePassed())
                assert device.settle(60)
            while heard + BLOCK_SAMPLES <= min(round(frame.t_s * SAMPLE_RATE_HZ), sound.size):
                device.hear(SoundBlock(sound[heard : heard + BLOCK_SAMPLES], heard / SAMPLE_RATE_HZ))
                heard += BLOCK_SAMPLES
            now_s = frame.t_s
            device.offer(VideoFrame(frame.image, frame.t_s))
    finally:
        device.stop()
    assert listener.failures == []
    return record, device


def evaluated(
    model: LoadedModel,
    course: Course,
    wearer: PolicySettings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: DriveSettings = SETTINGS,
) -> tuple[Record, list[GuidanceAction]]:
    """What the evaluation does, in the same words; and the bare actions."""
    record: Record = []
    actions: list[GuidanceAction] = []
    decide = turn.turn

    def noted(state: GuidanceState, event: GuidanceEvent, now_s: float) -> Turn:
        state, decided = decide(state, event, now_s)
        actions.extend(decided)
        for action in decided:
            match action:
                case events.SayNow(speak):
                    record.append(("say", speak.utterance, speak.text, speak.tier, action.earcon))
                case events.PlayEarcon(name):
                    record.append(("earcon", name))
                case events.FlagMoment(reason, t_s):
                    record.append(("flag", reason, t_s))
                case policy.Cut(utterance):
                    record.append(("cut", utterance))
                case policy.Duck(on):
                    record.append(("duck", on))
                case policy.Beat():
                    record.append(("beat",))
        return state, decided

    with monkeypatch.context() as patched:
        patched.setattr(driving, "turn", noted)
        drive(Watched(model, record), course, wearer, settings)
    return record, actions


def unjudged(course: Course) -> Course:
    """Without pictures whose words are judged only: a device words none for that."""
    frames = [replace(frame, sampled=False) for frame in course.frames()]
    return replace(course, frames=lambda: iter(frames))


def kinds(record: Record) -> set[str]:
    return {str(entry[0]) for entry in record}


@pytest.mark.parametrize("scene", ["day", "station"])
def test_a_rendered_walk_is_the_same_on_a_device_and_in_the_evaluation(
    scene: str, starter_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = GuidanceModel.load(starter_bundle, threads=1, allow_demo=True)
    course = unjudged(rendered.course(scene, seed=5, duration_s=12.0))
    wearer = PolicySettings(tick_every_s=1.0)
    ours, _ = on_a_device(model, course, wearer)
    theirs, _ = evaluated(model, course, wearer, monkeypatch)
    assert kinds(ours) >= {"look", "word", "say"}
    assert ours == theirs


def still_until_somebody_comes(appears_s: float) -> Course:
    """A street from a camera that stands, with its sensor's noise; then somebody in red."""
    from tests.shared.runtime.small_eyes import RED

    street = walks.render_frame(walks.plan_walk(7, duration_s=2.0, objects=("pole",)), 0.0, 320, 240).image

    def frames() -> Iterator[Frame]:
        for number, t_s in enumerate(np.arange(0.0, appears_s + 2.0, 0.25).tolist()):
            noise = np.random.default_rng(number).normal(0, 2.5, street.shape)
            image = np.clip(street + noise, 0, 255).astype(np.uint8)
            if t_s >= appears_s:
                image[60:220, 130:190] = RED
            yield Frame(t_s, image, None, False)

    return Course("still", "day", appears_s + 2.0, (), frames)


def test_looks_at_a_street_that_does_not_change_are_left_out_on_both_until_somebody_comes(
    eyes: GuidanceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, wearer = still_until_somebody_comes(4.25), PolicySettings()
    ours, device = on_a_device(eyes, course, wearer, skip_unchanged=True)
    skips = replace(SETTINGS, skip_unchanged=True)
    theirs, actions = evaluated(eyes, course, wearer, monkeypatch, settings=skips)
    assert ours == theirs
    pictures = {frame.image.tobytes() for frame in course.frames()}  # the others are turned copies
    looks = [entry for entry in ours if entry[0] == "look" and entry[1] in pictures]
    assert len(looks) == 9 + 8, "each half second, and each picture from when somebody is there"
    assert sum(isinstance(action, events.LookSooner) for action in actions) == 8
    assert any(entry[0] == "say" for entry in ours)
    each, _ = on_a_device(eyes, course, wearer)
    assert [entry for entry in each if entry[0] == "say"] == [entry for entry in ours if entry[0] == "say"]
    assert device.live_s > 0.0


def test_looks_are_left_out_by_setting_only() -> None:
    assert not guidance_settings(Config()).skip_unchanged
    assert guidance_settings(Config(guidance=GuidanceSection(skip_unchanged=True))).skip_unchanged


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> GuidanceModel:
    """A bundle without a language model, whose eyes know persons by their red."""
    from tests.shared.runtime import small_eyes  # torch takes seconds to import: no other test here needs it

    folder = tmp_path_factory.mktemp("eyes") / "bundle"
    small_eyes.export_small(folder)
    return GuidanceModel.load(folder, threads=1, allow_demo=True, camera=Camera(fov_deg=VIEW_DEG))


def among_red_people(*, seed: int, duration_s: float) -> Course:
    """A rendered walk on which only persons stand, all in red."""
    from tests.shared.runtime.small_eyes import RED

    walk = walks.plan_walk(seed, duration_s=duration_s, objects=("person",), settings=("street", "square"))

    def frames() -> Iterator[Frame]:
        for t_s in np.arange(0.0, duration_s, 0.25).tolist():
            shot = walks.render_frame(walk, t_s, 640, 480)
            image = shot.image.copy()
            image[shot.mask == walks.DRAWN.index("person") + 1] = RED
            there = frozenset((seen.object, seen.side) for seen in shot.seen)
            yield Frame(t_s, image, Truth((shot.instruction or vocabulary.CLEAR,), there), False)

    return Course("red", "day", duration_s, tuple(hazard_events(walk)), frames)


def test_eyes_alone_guide_past_people_the_same_on_a_device_and_in_the_evaluation(
    eyes: GuidanceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, wearer = among_red_people(seed=5, duration_s=20.0), PolicySettings()
    ours, _ = on_a_device(eyes, course, wearer)
    theirs, _ = evaluated(eyes, course, wearer, monkeypatch)
    assert ours == theirs
    assert kinds(ours) >= {"look", "say"}
    assert "word" not in kinds(ours), "they have no decoder"
    heard = drive(eyes, course, wearer, SETTINGS).utterances
    said = [utterance for utterance in heard if utterance.why in ("hazard", "worded")]  # red has no up and down
    assert said
    times = {frame.t_s: frame.truth.there for frame in course.frames() if frame.truth is not None}
    for utterance in said:
        slots = vocabulary.parse(utterance.text)
        assert slots is not None
        assert slots.object == "person"
        lately = {thing for t_s, there in times.items() if abs(t_s - utterance.t_s) <= 1.5 for thing in there}
        assert ("person", seen_side(slots.side)) in lately, utterance


def wail(seconds: float) -> NDArray[np.int16]:
    at = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * np.cumsum(600 + 750 * (0.5 - 0.5 * np.cos(2 * np.pi * at / 4))) / SAMPLE_RATE_HZ
    return np.asarray(sum(np.sin(n * phase) / n**1.5 for n in (1, 2, 3)) * 6000).astype(np.int16)


def disturbed(frame: Frame) -> NDArray[np.uint8]:
    """The picture as a camera gives it, with a little noise; black for a while, and a frozen camera for a while."""
    image = frame.image.copy()
    if 11.0 <= frame.t_s < 13.0:
        return image
    image[20:, ::8] = 150 + 50 * (round(4 * frame.t_s) % 2)
    return np.zeros_like(image) if 14.0 <= frame.t_s < 15.5 else image


class Doubtful(Reader):
    """Is unsure of bins, and so has their moments flagged."""

    def word(self, observation: Observation) -> Instruction:
        written = super().word(observation)
        return replace(written, confidence=0.3) if "bin" in written.text else written


@pytest.mark.parametrize("stops_poles", [False, True], ids=["all may be said", "the monitor stops poles"])
def test_a_siren_a_blind_lens_doubt_and_stopped_words_are_the_same_too(
    stops_poles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def things(t_s: float) -> Iterator[tuple[str, str]]:
        if 2.25 <= t_s < 6.0:
            yield BIN
        if 3.0 <= t_s < 4.0 or 16.0 <= t_s < 18.0:
            yield CURB
        if 8.0 <= t_s < 14.0:
            yield POLE

    course = unjudged(course_of(lambda t_s: list(things(t_s)), duration_s=20.0))
    frames = [replace(frame, image=disturbed(frame)) for frame in course.frames()]
    noise = np.random.default_rng(0).normal(0, 30, 20 * SAMPLE_RATE_HZ).astype(np.int16)
    noise[6 * SAMPLE_RATE_HZ : 9 * SAMPLE_RATE_HZ] = wail(3.0)
    course = replace(course, frames=lambda: iter(frames), sound=lambda: noise, stills=False)
    if stops_poles:
        stopped = monitor.stopped
        monkeypatch.setattr(
            monitor, "stopped", lambda text, **of: "names a pole" if "pole" in text else stopped(text, **of)
        )
    wearer = PolicySettings(tick_every_s=1.0)
    ours, device = on_a_device(Doubtful(), course, wearer)
    theirs, actions = evaluated(Doubtful(), course, wearer, monkeypatch)
    wanted = {"look", "word", "say", "cut", "duck", "beat", "flag"}
    assert kinds(ours) == wanted | ({"earcon"} if stops_poles else set())
    assert ours == theirs
    withheld = [(action.seen_s, action.text, action.why) for action in actions if isinstance(action, events.Withhold)]
    assert [(stop.t_s, stop.text, stop.why) for stop in device.history.stopped] == withheld
    assert bool(withheld) == stops_poles
    assert any(isinstance(action, events.LookSooner) for action in actions)
