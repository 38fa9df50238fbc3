"""The runner takes the device's decisions: with a model whose scores are known, every word can be foretold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.evaluation import rendered, speech
from server.evaluation.drive import DriveSettings, drive, looks
from server.evaluation.facts import Course, Frame
from shared.policy import PolicySettings
from shared.runtime import GuidanceModel
from tests.server.evaluation.stage import BIN, CURB, Reader, course_of

QUIET = DriveSettings(pictures=False)


def go(course: Course, model: Reader | None = None, settings: DriveSettings = QUIET, **options: Callable[[], float]):  # type: ignore[no-untyped-def]
    return drive(model or Reader(), course, PolicySettings(), settings, **options)


def test_a_certain_hazard_is_said_at_its_first_look() -> None:
    done = go(course_of(lambda t: [CURB] if t >= 3.0 else [], duration_s=6.0))
    [warning] = done.utterances
    assert (warning.t_s, warning.text, warning.tier, warning.why) == (3.0, "Stop, curb ahead.", 1, "hazard")
    # A tone of 0.08 s, then "stop" at 165 words a minute, then the word for the thing.
    assert warning.hazard_word_s == pytest.approx(3.0 + 0.08 + 60 / 165)
    assert warning.end_s == pytest.approx(3.0 + 0.08 + 3 * 60 / 165)


def test_an_obstacle_waits_for_its_second_look() -> None:
    done = go(course_of(lambda t: [BIN] if t >= 3.25 else [], duration_s=6.0))
    assert [(said.t_s, said.why) for said in done.utterances] == [(3.5, "worded")]


def test_a_warning_cuts_an_obstacle_off() -> None:
    things = lambda t: [*([BIN] if t >= 0 else []), *([CURB] if t >= 0.75 else [])]  # noqa: E731
    done = go(course_of(things, duration_s=6.0))
    first, second = done.utterances[:2]
    assert (first.text, second.text) == ("Caution, bin on the left.", "Stop, curb ahead.")
    assert first.end_s == second.t_s == 0.75


def test_the_middle_of_each_chunk_is_judged_once() -> None:
    done = go(course_of(lambda t: [], duration_s=8.0))
    assert [moment.t_s for moment in done.moments if moment.sampled] == [1.0, 3.0, 5.0, 7.0]
    assert all(moment.words is not None for moment in done.moments if moment.sampled)


def test_looks_come_at_a_steady_rate_whatever_the_frame_rate() -> None:
    course = course_of(lambda t: [], duration_s=3.0, step_s=1 / 30)
    times = [t for t, _, _, steers in looks(course, 4.0) if steers]
    assert len(times) == 12
    assert all(0 < b - a < 0.3 for a, b in itertools.pairwise(times))


def test_a_still_that_stays_in_view_is_computed_once_but_looked_at_often() -> None:
    model = Reader()
    done = go(course_of(lambda t: [BIN], duration_s=8.0, step_s=2.0), model)
    assert model.looks == 4
    assert len(done.moments) == 32
    assert [said.text for said in done.utterances] == ["Caution, bin on the left."]


def test_a_picture_that_was_left_out_is_judged_by_what_the_look_before_saw() -> None:
    model, quiet = Reader(), course_of(lambda t: [], duration_s=4.0)
    times = [0.0, 0.25, 0.5, 0.75, 1.1, 1.35]  # looks at 0, 0.5 and 1.0: the judged one is left out

    def frames() -> Iterator[Frame]:
        for t_s, frame in zip(times, quiet.frames(), strict=False):
            yield replace(frame, t_s=t_s, sampled=t_s == 1.1)

    settings = DriveSettings(pictures=False, skip_unchanged=True)
    done = go(replace(quiet, frames=frames, duration_s=1.5), model, settings)
    judged = [(moment.t_s, moment.look_ms) for moment in done.moments if moment.sampled]
    assert judged == [(1.25, 0.0)]
    assert model.looks == 3


def test_without_timing_a_slow_model_changes_no_word_and_with_it_words_come_later() -> None:
    def slow() -> Callable[[], float]:
        ticks = itertools.count()
        return lambda: 0.3 * next(ticks)  # every look and every wording takes 0.3 s

    course = course_of(lambda t: [CURB] if t >= 3.0 else [], duration_s=6.0)
    free = go(course, seconds=slow())
    assert (free.utterances[0].t_s, free.utterances[0].took_ms) == (3.0, pytest.approx(300))
    timed = go(course, settings=DriveSettings(pictures=False, timed=True), seconds=slow())
    assert timed.utterances[0].t_s == pytest.approx(3.3, abs=0.26)
    assert len(timed.moments) < len(free.moments)


def test_the_models_own_thresholds_are_used_as_on_a_device() -> None:
    course = course_of(lambda t: [CURB] if t >= 3.0 else [], duration_s=6.0)
    done = go(course, Reader({"hazard_above": 0.995, "speak_above": 0.999}))
    assert [said.why for said in done.utterances] == ["unsure"]


def test_a_black_picture_is_announced_and_not_looked_at() -> None:
    model = Reader()
    dark = course_of(lambda t: [CURB], duration_s=4.0)
    frames = tuple(replace(frame, image=np.zeros((4, 4, 3), np.uint8)) for frame in dark.frames())
    done = go(replace(dark, frames=lambda: iter(frames)), model)
    assert [(said.text, said.guides) for said in done.utterances] == [("Camera blocked.", False)]
    assert model.looks == 0


def test_the_starter_drives_a_rendered_walk_the_same_way_twice(starter_bundle: Path) -> None:
    model = GuidanceModel.load(starter_bundle, threads=1, allow_demo=True)
    one, two = (drive(model, rendered.course("day", seed=3, duration_s=8.0), PolicySettings(), QUIET) for _ in range(2))
    words = [(said.t_s, said.text) for said in one.utterances]
    assert words == [(said.t_s, said.text) for said in two.utterances]
    assert words != []
    assert speech.amount([one]).repeats == 0
    assert len(one.moments) == 32
