"""Corrections and flags where the film has holes, and thresholds of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.capture.recorder import Recorder
from device.capture.source import SoundBlock, VideoFrame
from device.capture.walk_clock import WalkClock
from device.config import FlagsSection
from device.guidance.history import GuidanceHistory, LookEntry, Spoken, WordingEntry
from device.moments.collector import Moments, MomentsPorts, WalkId
from device.moments.sealer import Parcel
from shared.clock import ManualClock
from shared.messages import ChunkRecord, CorrectionRecord, encode
from shared.policy import PolicySettings, calibrated
from tests.device.agent.stage import Card


class Stage:
    """Moments on a walk of which the test gives every item."""

    def __init__(self) -> None:
        self.kept: list[Parcel] = []
        self.reported: list[str] = []
        self.earcons: list[str] = []
        walk = WalkId.begin("dev-1", ManualClock(1000.0))
        self.moments = Moments(
            Recorder(clips=False),
            walk,
            GuidanceHistory(),
            MomentsPorts(self.kept.append, self.earcons.append, lambda _: None, self.reported.append, lambda: 62.2),
            FlagsSection(0, 0.0, 0.2, longest_correction_s=5.0),
        )

    def walk(
        self, from_s: float, to_s: float, *, picture: bool = True, sound: bool = True, silent: bool = False
    ) -> None:
        """A street is heard, unless it is silent."""
        street = np.zeros(1600, np.int16) if silent else np.tile(np.array([3000, -3000], np.int16), 800)
        for number in range(round(from_s * 10), round(to_s * 10)):
            t_s = number / 10
            if picture:
                self.moments.feed(VideoFrame(np.full((48, 64, 3), 90, np.uint8), t_s), t_s)
            if sound:
                self.moments.feed(SoundBlock(street, t_s), t_s + 0.1)

    def corrections(self) -> list[CorrectionRecord]:
        return [parcel.record for parcel in self.kept if isinstance(parcel.record, CorrectionRecord)]

    def chunks(self) -> list[ChunkRecord]:
        return [parcel.record for parcel in self.kept if isinstance(parcel.record, ChunkRecord)]


def test_a_correction_about_a_chunk_without_a_picture_is_tied_to_the_last_one_that_had_one() -> None:
    stage = Stage()
    stage.walk(0, 2)
    stage.walk(2, 4, picture=False)
    stage.moments.begin_correction(3.0, "m")
    stage.walk(4, 5)
    stage.moments.end_correction(5.0)
    stage.walk(5, 8)
    stage.moments.finish(8.0)
    (correction,) = stage.corrections()
    assert correction.chunk_id.endswith("-00000")
    assert [(chunk.sequence, chunk.flags) for chunk in stage.chunks()] == [(0, ("correction",))]


def test_a_correction_before_the_first_picture_is_told_and_not_kept() -> None:
    stage = Stage()
    stage.walk(0, 1, picture=False)
    stage.moments.begin_correction(0.5, "m")
    stage.walk(1, 2, picture=False)
    stage.moments.end_correction(1.9)
    stage.moments.finish(2.0)
    assert (stage.corrections(), stage.reported) == ([], ["Correction not kept, no picture."])


def test_a_correction_ends_by_itself_and_a_second_press_meanwhile_is_ignored() -> None:
    stage = Stage()
    stage.walk(0, 1)
    stage.moments.begin_correction(1.0, "m")
    stage.moments.begin_correction(1.5, "m")
    stage.walk(1, 9)
    stage.moments.end_correction(9.0)
    stage.moments.finish(9.0)
    (correction,) = stage.corrections()
    assert correction.duration_s == 5.0
    assert stage.earcons == ["listening"]


def test_a_correction_waits_for_its_sound_but_not_for_a_dead_microphone() -> None:
    stage = Stage()
    stage.walk(0, 3)
    stage.moments.begin_correction(2.8, "m")
    stage.walk(3, 4.5, sound=False)
    stage.moments.end_correction(4.5)
    stage.walk(4.5, 5.2, sound=False)
    assert stage.corrections() == []
    stage.walk(5.2, 8, sound=False)
    assert len(stage.corrections()) == 1


def test_records_travel() -> None:
    stage = Stage()
    stage.walk(0, 1)
    stage.moments.flag(0.5)
    stage.moments.note(0.7, "low_confidence")
    stage.walk(1, 5)
    stage.moments.finish(5.0)
    (chunk,) = stage.chunks()
    assert chunk.flags == ("wearer", "low_confidence")
    assert (chunk.started_at_s, chunk.duration_s) == (1000.0, 2.0)
    assert chunk.fov_deg == 62.2
    assert len(encode(chunk)) < 2000


def test_the_journal_gives_the_wording_of_the_middle_and_what_was_spoken_about_a_stretch() -> None:
    journal = GuidanceHistory()
    for t_s in (0.1, 1.0, 1.9, 2.1):
        journal.add(LookEntry(t_s, "m", ()))
        journal.add(WordingEntry(t_s, "m", f"Stop, at {t_s}.", t_s / 10))
    journal.add(Spoken(1, 1.1, "Stop, curb ahead.", 1, "hazard", 0.9, seen_s=1.0, taken_s=50.0))
    journal.add(Spoken(2, 1.5, "Offline.", 2, "state", 1.0, seen_s=1.5))
    journal.sounded(1, 50.2, t_s=1.2, lead_s=0.11)
    journal.sounded(2, 51.0, t_s=1.4)
    talk = journal.talk(0.0, 2.0)
    assert (talk.raw_output, talk.confidence, talk.spoken, talk.looks) == ("Stop, at 1.0.", 0.1, "Stop, curb ahead.", 3)
    assert journal.last_guidance == "Stop, curb ahead."
    warning, news = journal.heard.values()
    assert warning.time_to_speech_s == pytest.approx(0.2)
    assert warning.time_to_words_s == pytest.approx(0.31)
    assert news.time_to_speech_s is None
    assert (warning.heard_s, news.heard_s) == (1.2, 1.5), "nothing is heard before it was decided"
    assert journal.talk(10.0, 12.0).worded is False


def test_a_models_own_thresholds_hold_unless_the_wearer_fixed_them() -> None:
    card = Card("m", {"hazard_above": 0.97, "speak_above": 0.7, "flag_below": 0.4, "unknown": 3.0})
    found = calibrated(PolicySettings(speak_above=0.2), card.thresholds, pinned=frozenset({"speak_above"}))
    assert (found.hazard_above, found.speak_above, found.flag_below) == (0.97, 0.2, 0.4)
    assert found.at_once_above == 0.97


def test_the_walk_begins_at_zero_however_long_the_preparations_took() -> None:
    clock = ManualClock()
    time = WalkClock(clock, stands_still=False)
    clock.now_s = 50.0
    assert time.now_s() == 0.0
    time.reached(0.1)
    clock.now_s = 51.0
    assert time.now_s() == 1.1
    time.reached(0.5)  # late: what was shown does not go back
    assert (time.now_s(), time.reached_s) == (1.1, 0.5)
    still = WalkClock(clock, stands_still=True)
    still.reached(2.0)
    clock.now_s = 60.0
    assert still.now_s() == 2.0


def test_walk_ids_of_one_boot_differ(tmp_path: Path) -> None:
    ids = {WalkId.begin("dev-1", ManualClock()).walk_id for _ in range(100)}
    assert len(ids) == 100


def test_minutes_before_the_machine_was_switched_on_are_not_said_to_be_forgotten() -> None:
    stage = Stage()
    for on_s, text in ((299.0, "Forgotten since switching on."), (301.0, "Last 5 minutes forgotten.")):
        stage.moments.begin(ManualClock(on_s))
        stage.kept.clear()
        stage.moments.forget(0.0)
        (wish,) = stage.kept
        assert wish.say == text
