"""What an A/B came to: planted differences are found, equal arms are not told apart, and wearer-days are the unit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from server.commands.main import main
from server.commands.rollout_result import described, page
from server.dataset import sample_row
from server.dataset.sample_row import SampleRow
from server.gate import resample, wearer_days
from server.gate.wearer_days import CHAMPION, TRIED, DaysResult
from server.releases import days
from server.releases.registry import Registry
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollout_rules import Rollout, RolloutState
from server.releases.rollouts import Rollouts
from shared.clock import ManualClock
from tests.shared.bundle.bundles import contents, make_bundle

BEGAN = 1_795_200_000.0
DAY_S = 24 * 3600.0
WEARERS = ("anna", "ben", "cleo")
ROLLOUT = Rollout(
    1, "m2", RolloutState.RUNNING, 0, ("pi-anna", "pi-ben", "pi-cleo"), "", 0.1, 1.0, BEGAN, BEGAN, "", days_percent=50
)
DEVICES = frozenset(ROLLOUT.devices)
Share = Callable[[bool, str], float]
"""(whether it is a day of the tried version, wearer) → how often a moment is of that kind."""


def moments(right: Share, flagged: Share, *, walked: int = 20, audits: int = 30) -> list[SampleRow]:
    """Moments of three wearers on so many days: those of the audit stream, judged, and presses."""
    found, rng = list[SampleRow](), random.Random(5)
    for day in range(walked):
        for wearer in WEARERS:
            at_utc = BEGAN + day * DAY_S + 3600
            tried = days.runs("m2", wearer, days.day_of(at_utc, 3), 50)
            ran = "m2" if tried else "m1"
            for n in range(audits):
                is_right, is_flag = rng.random() < right(tried, wearer), rng.random() < flagged(tried, wearer)
                found.append(row(len(found), at_utc + 60 * n, wearer, ran, is_right, ("audit",)))
                if is_flag:
                    found.append(row(len(found), at_utc + 60 * n + 1, wearer, ran, None, ("wearer",)))
    return found


def row(n: int, at_utc: float, wearer: str, model: str, was_correct: bool | None, flags: tuple[str, ...]) -> SampleRow:
    return SampleRow(
        row_id=f"s{n}#2",
        sample_id=f"s{n}",
        frame_path=f"frames/{n}.jpg",
        audio_path="",
        instruction="",
        timestamp=at_utc,
        speaker_id=wearer,
        device=f"pi-{wearer}",
        walk_id=f"{wearer}-{at_utc:.0f}",
        model_version=model,
        flags=flags,
        reviewed=was_correct is not None,
        was_correct=was_correct,
    )


def result(rows: Iterable[SampleRow], rollout: Rollout = ROLLOUT) -> DaysResult:
    return wearer_days.result(rollout, rows, DEVICES, now_utc=BEGAN + 40 * DAY_S)


def verdicts(found: DaysResult) -> dict[str, str]:
    return {measure.name: measure.verdict for measure in found.measures}


def test_a_version_that_is_right_more_often_and_flagged_less_is_found_better() -> None:
    rows = moments(lambda tried, who: 0.9 if tried else 0.7, lambda tried, who: 0.05 if tried else 0.2)
    found = verdicts(result(rows))
    assert (found["audit accuracy"], found["flags an hour"]) == ("better", "better")
    assert found["corrections an hour"] == "cannot be told"


def test_a_version_that_is_worse_is_found_worse() -> None:
    rows = moments(lambda tried, who: 0.6 if tried else 0.9, lambda tried, who: 0.2 if tried else 0.05)
    found = verdicts(result(rows))
    assert (found["audit accuracy"], found["flags an hour"]) == ("worse", "worse")


def test_equal_arms_are_not_told_apart_though_wearers_differ_much() -> None:
    of = {"anna": 0.95, "ben": 0.6, "cleo": 0.8}
    found = verdicts(result(moments(lambda tried, who: of[who], lambda tried, who: 0.1)))
    assert set(found.values()) == {"cannot be told"}


def test_few_wearer_days_give_no_interval() -> None:
    found = result(moments(lambda tried, who: 1.0 if tried else 0.0, lambda tried, who: 0.1, walked=2))
    assert all(measure.interval is None for measure in found.measures)
    assert "fewer than 5 wearer-days" in "\n".join(described(found))


def test_hours_come_from_the_uniform_sample_and_flags_are_per_hour() -> None:
    found = result(moments(lambda tried, who: 1.0, lambda tried, who: 0.5))
    assert found.days[0].hours == pytest.approx(30 * 40 / 3600)
    flags = next(measure for measure in found.measures if measure.name == "flags an hour")
    assert flags.tried == pytest.approx(0.5 * 90, rel=0.15)  # of the 90 audited chunks of an hour


def test_a_day_counts_for_what_was_drawn_and_not_for_what_ran_and_that_is_told() -> None:
    late = [replace(each, model_version="m1") for each in moments(lambda *_: 1.0, lambda *_: 0.1)]
    found = result(late)
    assert {day.arm for day in found.days} == {TRIED, CHAMPION}
    for day in found.days:
        assert day.as_drawn == (day.moments if day.arm == CHAMPION else 0)
    assert "came from the model that was drawn" in "\n".join(described(found))


def test_moments_of_other_devices_and_from_after_its_end_do_not_count() -> None:
    rows = moments(lambda *_: 1.0, lambda *_: 0.1)
    ended = replace(ROLLOUT, state=RolloutState.HALTED, changed_utc=BEGAN + 5 * DAY_S)
    assert len(result(rows, ended).days) == 15
    assert result([replace(each, device="pi-other") for each in rows]).days == ()


def test_the_unit_is_the_wearer_day_however_many_moments_it_has() -> None:
    few, many = [[(n % 3, 10.0) for n in range(12)], [(n % 2, 10.0) for n in range(12)]], 50
    once = resample.ratio_difference(*few, resamples=2000)
    often = resample.ratio_difference(*[[(of * many, per * many) for of, per in some] for some in few], resamples=2000)
    assert once == pytest.approx(often)
    assert once[0] < sum(of for of, _ in few[0]) / 120 - sum(of for of, _ in few[1]) / 120 < once[1]


def test_the_command_prints_json_and_writes_a_page_that_needs_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    clock = ManualClock(epoch_s=BEGAN)
    registry = Registry(home, clock=clock)
    for number in (1, 2):
        make_bundle(tmp_path / f"m{number}", f"m{number}", contents({"a.onnx": 50}, seed=number))
        registry.add(tmp_path / f"m{number}")
    registry.promote("m1", "first")
    Rollouts(registry, clock=clock).start(RolloutRequest("m2", devices=ROLLOUT.devices, days_percent=50))
    registry.close()
    rows = moments(lambda tried, who: 0.9 if tried else 0.7, lambda *_: 0.1, walked=3)
    (home / "dataset").mkdir()
    lines = "".join(json.dumps(sample_row.to_dict(each)) + "\n" for each in rows)
    (home / "dataset" / "metadata.jsonl").write_text(lines)
    out = tmp_path / "result.html"
    assert main(["--home", str(home), "rollout", "result", "--json", "--html", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["version"] == "m2"
    assert len(printed["days"]) == 9
    assert {measure["name"] for measure in printed["measures"]} == set(verdicts(result(rows)))
    text = out.read_text()
    assert "m2 against the champion" in text
    assert "http" not in text
    assert main(["--home", str(home), "rollout", "result", "m3"]) == 1
    assert "tried by wearer-day" in capsys.readouterr().err


def test_names_on_the_page_are_text_and_nothing_else() -> None:
    rows = [replace(each, speaker_id="<b>anna</b>") for each in moments(lambda *_: 1.0, lambda *_: 0.1, walked=2)]
    assert "<b>anna" not in page(result(rows))
