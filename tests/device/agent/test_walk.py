"""The agent on whole walks: real film, real recorder, real outbox; the model is told what to see."""

from __future__ import annotations

import json
import threading
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.outbox.outbox import Outbox
from shared.clock import SystemClock
from shared.errors import BundleError, ConfigError, MediaError
from shared.runtime.seen import Hazard
from tests.device.agent.stage import (
    CLEAR,
    Card,
    Running,
    Seen,
    StoryModel,
    agent,
    config,
    film,
    nothing,
    presses,
    result,
    run,
    says,
    texts_of,
    wav_seconds,
)
from tests.device.capture import films
from tests.device.voice.speech import loud, needs_espeak
from tests.pulse import RATE_HZ, PulseChild, until
from tests.shared.bundle.bundles import make_bundle

CURB = Hazard("curb", "ahead", 0.95)
POLE = Hazard("pole", "on the left", 0.9)
POLE_SAID = says("Caution, pole on the left.")


def curb_then_pole(look: int) -> Seen:
    """At 4 looks a second: a curb at 1 s, a pole from 4 s on."""
    if look == 4:
        return (CURB,), says("Stop, curb ahead.")
    return ((POLE,), POLE_SAID) if look >= 16 else ((), CLEAR)


def test_a_walk_is_guided_at_the_same_looks_however_fast_it_is_replayed(tmp_path: Path) -> None:
    model = StoryModel(curb_then_pole)
    done = run(tmp_path, model)
    assert done.report["looks"] == model.looks == 32
    said = [(entry["t_s"], entry["text"], entry["tier"], entry["why"]) for entry in done.report["guidance"]]
    assert said == [
        (1.0, "Stop, curb ahead.", 1, "hazard"),
        (pytest.approx(4.3, abs=0.25), "Caution, pole on the left.", 2, "worded"),
    ]
    assert done.report["guidance"][0]["chunk"].endswith("-00000")
    assert done.report["chunks"] == 4
    assert done.report["frames_seen"] == 80
    assert done.report["model_version"] == "test-1"
    assert done.texts == ["Guidance ready.", "Stop, curb ahead.", "Caution, pole on the left."]


def test_a_press_keeps_the_chunk_being_recorded_and_the_one_before_with_what_was_said(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"})
    done = run(tmp_path, StoryModel(curb_then_pole), buttons__script=str(script))
    assert done.flags() == {1: ["predecessor"], 2: ["wearer"]}
    flagged = next(body for body in done.records.values() if body["sequence"] == 2)
    assert flagged["spoken"] == "Caution, pole on the left."
    assert flagged["raw_output"] == "Caution, pole on the left."
    assert flagged["confidence"] == 0.9
    assert flagged["model_version"] == "test-1"
    assert flagged["wearer"] == "anna"
    assert flagged["hazards"][0] == ["pole", "on the left", 0.9]
    assert [part["kind"] for part in flagged["parts"]] == ["audio", "frame"] or len(flagged["parts"]) == 2
    assert sorted(done.report["flagged"]) == sorted(done.records)


def test_every_chunk_is_worded_once_at_its_middle_even_when_nothing_is_said(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 7.5, "action": "flag"})
    model = StoryModel(nothing)
    done = run(tmp_path, model, buttons__script=str(script), flags__predecessors=3)
    assert model.worded == 4
    assert {body["raw_output"] for body in done.records.values()} == {"Continue straight, path is clear."}
    assert {body["spoken"] for body in done.records.values()} == {""}
    assert done.flags() == {0: ["predecessor"], 1: ["predecessor"], 2: ["predecessor"], 3: ["wearer"]}


def test_a_spoken_correction_is_tied_to_the_chunk_in_which_the_button_went_down(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 3.5, "action": "hold", "until_s": 5.0})
    done = run(tmp_path, StoryModel(curb_then_pole), buttons__script=str(script))
    correction = done.correction()
    about = done.records[correction["chunk_id"]]
    assert about["sequence"] == 1
    assert done.flags() == {0: ["predecessor"], 1: ["correction"]}
    assert correction["spoken"] == "Stop, curb ahead."
    assert correction["duration_s"] == pytest.approx(1.5)
    wav = (done.state / "outbox" / correction["correction_id"] / "correction.wav").read_bytes()
    assert wav_seconds(wav) == pytest.approx(1.5, abs=0.01)
    with wave.open(str(done.state / "outbox" / correction["correction_id"] / "correction.wav")) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    assert films.loudest_hz(samples) == pytest.approx(films.TONE_HZ, abs=20)
    assert done.report["corrections"] == [correction["correction_id"]]


def test_a_correction_still_held_at_the_end_of_the_walk_is_kept(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 7.0, "action": "hold", "until_s": 60.0})
    done = run(tmp_path, StoryModel(nothing), buttons__script=str(script))
    assert done.correction()["duration_s"] == pytest.approx(0.9, abs=0.2)
    assert done.flags()[3] == ["correction"]


def test_a_slip_of_the_finger_is_no_correction(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 3.0, "action": "hold", "until_s": 3.1})
    assert run(tmp_path, StoryModel(nothing), buttons__script=str(script)).records == {}


def test_while_a_correction_is_spoken_only_warnings_are_said(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 0.2, "action": "hold", "until_s": 7.0})
    done = run(tmp_path, StoryModel(curb_then_pole), buttons__script=str(script))
    held = [entry for entry in done.captions if 0.2 < entry["t_s"] < 7.0]
    assert texts_of(held) == ["Stop, curb ahead."]


def test_moments_the_model_was_unsure_of_are_kept_but_at_most_one_chunk_in_five(tmp_path: Path) -> None:
    unsure = StoryModel(lambda _look: ((), says("Continue straight, crosswalk ahead.", 0.2)))
    done = run(tmp_path, unsure, walk=film(tmp_path, 24.0), flags__predecessors=0)
    assert done.flags() == {0: ["low_confidence"], 5: ["low_confidence"], 10: ["low_confidence"]}


def test_the_audit_sample_keeps_everything_when_its_share_is_one(tmp_path: Path) -> None:
    done = run(tmp_path, StoryModel(nothing), flags__audit_share=1.0)
    assert done.flags() == {number: ["audit"] for number in range(4)}


def test_without_a_model_it_says_so_and_records_flags_and_keeps_all_the_same(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"}, {"t_s": 5.0, "action": "hold", "until_s": 6.0})
    done = run(tmp_path, None, buttons__script=str(script))
    assert done.texts == ["No model. Recording only."]
    assert done.flags() == {1: ["predecessor"], 2: ["wearer", "correction"]}
    assert {body.get("raw_output", "") for body in done.records.values()} == {""}
    assert done.correction()["model_version"] == ""


class Failing(StoryModel):
    """Fails on the looks 4 to 6."""

    def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if 4 <= self.looks <= 6:
            self.looks += 1
            raise RuntimeError("the tensor is on fire")
        return image


def test_a_model_that_fails_is_announced_tried_again_and_guidance_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = run(tmp_path, Failing(lambda look: ((CURB,), CLEAR) if look > 9 else ((), CLEAR)))
    assert done.texts == ["Guidance ready.", "Guidance paused.", "Guidance is back.", "Stop, curb ahead."]
    assert "the tensor is on fire" in caplog.text


def test_a_black_picture_is_announced_within_three_seconds(tmp_path: Path) -> None:
    class Dark(StoryModel):
        def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            dark = self.looks >= 8
            return np.zeros_like(image) if dark else image

    done = run(tmp_path, Dark(nothing))
    (said,) = [entry for entry in done.captions if entry["text"] == "Camera blocked."]
    assert 2.0 < said["t_s"] <= 5.0


def test_repeat_and_mute_work_during_a_walk(tmp_path: Path) -> None:
    script = presses(
        tmp_path, {"t_s": 0.3, "action": "mute"}, {"t_s": 3.0, "action": "repeat"}, {"t_s": 7.0, "action": "mute"}
    )
    done = run(tmp_path, StoryModel(curb_then_pole), buttons__script=str(script))
    assert "Caution, pole on the left." not in done.texts
    assert done.texts.count("Stop, curb ahead.") == 2
    assert "Muted. Warnings only." in done.texts
    assert done.texts[-1] == "Voice on."


def test_quit_ends_the_walk_and_keeps_what_was_flagged(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"}, {"t_s": 4.8, "action": "quit"})
    done = run(tmp_path, StoryModel(nothing), buttons__script=str(script))
    assert done.flags() == {1: ["predecessor"], 2: ["wearer"]}
    assert done.report["duration_s"] < 5.5


@needs_espeak
def test_speech_lies_in_the_wav_file_where_it_was_said_and_time_to_speech_is_measured(tmp_path: Path) -> None:
    wav = tmp_path / "speech.wav"
    done = run(tmp_path, StoryModel(curb_then_pole), voice__speech=str(wav))
    with wave.open(str(wav)) as speech:
        assert speech.getnframes() / speech.getframerate() == pytest.approx(7.95, abs=0.1)
        samples = np.frombuffer(speech.readframes(speech.getnframes()), "<i2")
        rate = speech.getframerate()
    assert np.abs(samples[int(1.0 * rate) : int(2.0 * rate)]).max() > 3000
    assert np.abs(samples[int(6.5 * rate) :]).max() == 0
    times = done.report["time_to_speech_ms"]
    assert times["count"] == 2
    assert 0 < times["p50"] <= times["p95"] < 20_000


@needs_espeak
def test_a_warning_comes_out_of_a_real_sound_system(tmp_path: Path, pulse: PulseChild) -> None:
    def curb_at_three_seconds(look: int) -> Seen:
        return ((CURB,), CLEAR) if 12 <= look < 16 else ((), CLEAR)

    with pulse.record() as heard:
        done = run(
            tmp_path,
            StoryModel(curb_at_three_seconds),
            walk=film(tmp_path, 6.0),
            capture__pace="real",
            voice__speech="speakers",
        )
        # Longer than the readiness alone; on a busy machine the warning cuts it, and no pause lies between the two.
        until(lambda: sum(end - begin for begin, end in loud(heard(), RATE_HZ)) > 1.2, "the readiness and the warning")
    assert done.texts == ["Guidance ready.", "Stop, curb ahead."]
    assert done.report["time_to_speech_ms"]["count"] == 1


def test_in_real_time_the_capture_never_waits_for_a_slow_model(tmp_path: Path) -> None:
    class Slow(StoryModel):
        pause = threading.Event()

        def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            self.pause.wait(0.6)
            return image

    model = Slow(nothing)
    done = run(tmp_path, model, walk=film(tmp_path, 4.0), capture__pace="real")
    assert done.report["chunks"] == 2
    assert done.report["frames_seen"] + done.report["frames_dropped"] >= 38
    assert done.report["duration_s"] == pytest.approx(3.9, abs=0.3)
    assert 1 <= model.looks <= 8


@pytest.mark.parametrize("overrides", [{"sound": False}, {"degrees": 90}, {"mirrored": True}])
def test_films_of_any_kind_are_walked(tmp_path: Path, overrides: dict[str, Any]) -> None:
    done = run(tmp_path, StoryModel(nothing), walk=film(tmp_path, 4.0, **overrides), flags__audit_share=1.0)
    assert done.report["chunks"] == 2
    assert len(done.records) == 2


def test_a_film_with_sound_only_or_none_at_all_is_refused_in_words(tmp_path: Path) -> None:
    only_sound = films.make(tmp_path / "sound.mp4", seconds=2.0, codec=None)
    with pytest.raises(MediaError, match="sound only"):
        run(tmp_path, StoryModel(nothing), walk=only_sound)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(MediaError, match=r"empty\.mp4"):
        run(tmp_path, StoryModel(nothing), walk=tmp_path / "empty.mp4")


def test_a_chunk_id_is_new_for_every_walk_of_one_boot(tmp_path: Path) -> None:
    first = run(tmp_path, StoryModel(nothing), flags__audit_share=1.0)
    second = run(tmp_path, StoryModel(nothing), flags__audit_share=1.0)
    assert len(first.records) == 4
    assert len(second.records) == 8


def test_stopping_from_outside_seals_the_last_flagged_chunk_and_removes_the_status(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 0.2, "action": "flag"})
    walk = film(tmp_path, 30.0)
    made = agent(
        config(tmp_path, walk, capture__pace="real", buttons__script=str(script)), StoryModel(nothing), tmp_path
    )
    status = tmp_path / "state" / "status.json"
    with Running(made):
        until(status.exists, "the status file")
        found = json.loads(status.read_bytes())
        assert (found["device"], found["walking"], found["model_version"]) == ("dev-1", True, "test-1")
    assert not status.exists()
    assert result(tmp_path).flags() == {0: ["wearer"]}
    Outbox(tmp_path / "state" / "outbox").close()  # the folder was given free


def test_without_a_broker_everything_waits_in_the_outbox_and_offline_is_not_news(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"})
    done = run(
        tmp_path,
        StoryModel(curb_then_pole),
        buttons__script=str(script),
        broker__address="127.0.0.1:1",
        capture__pace="real",
    )
    assert len(done.records) == 2
    assert "Offline." not in done.texts
    assert done.report["sync"]["queued"] == 2
    assert "Stop, curb ahead." in done.texts


def test_a_model_swapped_during_a_walk_is_used_from_the_next_look_on_and_announced(tmp_path: Path) -> None:
    second = StoryModel(lambda _look: ((CURB,), CLEAR), Card("test-2", {"hazard_above": 0.9}))
    made: list[Any] = []

    class Swapping(StoryModel):
        def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if self.looks == 8:
                made[0].parts.guidance.swap(second)
            return image

    made.append(agent(config(tmp_path, film(tmp_path)), Swapping(nothing), tmp_path))
    made[0].run()
    done = result(tmp_path)
    assert done.texts[:1] == ["Guidance ready."]
    assert "Guidance updated." in done.texts
    assert done.report["model_version"] == "test-2"
    assert {entry["model_version"] for entry in done.report["guidance"]} == {"test-2"}
    assert second.looks == 32 - 9


def test_a_walk_on_an_outbox_that_another_agent_uses_is_refused(tmp_path: Path) -> None:
    held = Outbox(tmp_path / "state" / "outbox")
    try:
        with pytest.raises(ConfigError, match="in use"):
            agent(config(tmp_path, film(tmp_path)), StoryModel(nothing), tmp_path)
    finally:
        held.close()


def test_a_model_stuck_in_a_picture_is_announced_while_it_is_stuck(tmp_path: Path) -> None:
    class Stuck(StoryModel):
        go_on = threading.Event()

        def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if self.looks == 4:
                assert self.go_on.wait(60)
            return image

    captions = tmp_path / "captions.jsonl"
    model = Stuck(nothing)
    with Running(agent(config(tmp_path, film(tmp_path, 60.0), capture__pace="real"), model, tmp_path)):
        until(lambda: captions.exists() and "Guidance paused." in captions.read_text(), "the announcement")
        assert model.looks == 4
        model.go_on.set()
        until(lambda: "Guidance is back." in captions.read_text(), "the other announcement")
    assert result(tmp_path).texts == ["Guidance ready.", "Guidance paused.", "Guidance is back."]


def test_a_demonstration_model_guides_a_replay_but_no_real_walk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_bundle(tmp_path / "demo", "demo-1", intended_use="demo")
    real = {"capture.source": "camera:9", "guidance.model": str(tmp_path / "demo"), "voice.speech": "none"}
    for state, more in (("a", {}), ("b", {"guidance.allow_demo_model": True})):
        chosen = settings.load(None, {**real, **more, "device.state": str(tmp_path / state), "buttons.keys": False})
        caplog.clear()
        with Running(Agent(chosen, RunOptions(exit_at_end=True), AgentPorts(SystemClock()))):
            until(lambda: "No model: " in caplog.text, "the refusal")
        # The second is turned down for another reason: random bytes are no model.
        assert ("must not guide" in caplog.text) == (state == "a")


def test_a_model_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no-such-model"):
        run(tmp_path, None, guidance__model=str(tmp_path / "no-such-model"))
