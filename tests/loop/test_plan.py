"""What the nights of `make loop` are made of: the same in every run, and as wrong as they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.loop import caregiver, measure, plan, progress, report, site, story, worn
from scripts.loop.progress import Progress
from server.dataset.sample_row import SampleRow
from server.review.decisions import ReviewDecision
from shared import vocabulary
from shared.clock import SystemClock
from tests.server.dataset.moments import moment

TRUTHS = {
    "a-1": "Stop, curb ahead.",
    "a-2": "Caution, pole on the left.",
    "a-3": "Caution, bin on the right.",
    "a-4": "",
}


def many(count: int) -> dict[str, str]:
    texts = list(TRUTHS.values())
    return {f"moment-{n}": texts[n % len(texts)] for n in range(count)}


def test_every_third_night_is_bad_in_each_way_in_turn() -> None:
    bad = {number: plan.night(number).bad for number in range(1, 11)}
    assert {number: how for number, how in bad.items() if how} == {3: "shuffled", 6: "swapped", 9: "silenced"}
    assert plan.planted(10) == 3


def test_no_two_strolls_have_a_name_or_a_seed_in_common() -> None:
    strolls = [*plan.judged(), *(stroll for number in range(1, 11) for stroll in plan.night(number).strolls)]
    assert len({stroll.walk_id for stroll in strolls}) == len(strolls)
    assert len({stroll.seed for stroll in strolls}) == len(strolls)


def test_wearers_walk_in_surroundings_of_their_own() -> None:
    assert len({(wearer.settings, wearer.light, wearer.weather) for wearer in plan.WEARERS}) == len(plan.WEARERS)


def test_a_careful_person_slips_as_often_as_is_said_and_the_same_way_each_time() -> None:
    truths = many(2000)
    once, again = (caregiver.labels(truths, "", seed=seed) for seed in (1, 2))
    assert once == again
    wrong = [name for name, text in once.items() if text != truths[name]]
    assert 0.6 * caregiver.SLIPS < len(wrong) / len(truths) < 1.4 * caregiver.SLIPS
    assert {once[name] for name in wrong} > {""}, "some slips are silence, others name something"
    assert all(not once[name] or not vocabulary.problems(once[name]) for name in wrong)


def test_a_bad_night_is_wrong_in_its_own_way() -> None:
    assert set(caregiver.labels(TRUTHS, "silenced", seed=1).values()) == {""}
    assert caregiver.labels(TRUTHS, "swapped", seed=1)["a-2"] == "Caution, pole on the right."
    for seed in range(9):
        dealt = caregiver.labels(TRUTHS, "shuffled", seed=seed)
        assert dealt["a-4"] == ""
        assert {caregiver.thing(text) for text in dealt.values()} == {caregiver.thing(text) for text in TRUTHS.values()}
        assert all(dealt[name] != text for name, text in TRUTHS.items() if text), "no thing keeps its name"
        assert dealt["a-2"].endswith("on the left.")


def test_a_caregiver_accepts_what_is_offered_right_and_types_the_rest() -> None:
    assert caregiver.decision("Stop, curb ahead.", "Stop, curb ahead.", by="Eve") == ReviewDecision("accept", "Eve")
    assert caregiver.decision("Stop, curb ahead.", "", by="Eve").text == "Stop, curb ahead."
    assert caregiver.decision("", "Stop, curb ahead.", by="Eve").action == "nothing"


def taken(count: int, *, confidence: float, right: bool) -> list[worn.Taken]:
    return [worn.Taken(moment(n, seed=0, confidence=confidence).record, {}, "", right) for n in range(count)]


def test_a_device_that_is_sure_and_right_keeps_the_audit_stream_alone() -> None:
    chosen = worn.selected(taken(400, confidence=0.99, right=True), 0.5)
    flags = Counter(flag for one in chosen for flag in one.flags)
    assert set(flags) == {"audit", "predecessor"}
    assert 8 <= flags["audit"] <= 36


def test_a_wearer_presses_at_a_part_of_what_was_wrong() -> None:
    chosen = worn.selected(taken(200, confidence=0.99, right=False), 0.5)
    presses = sum("wearer" in one.flags for one in chosen)
    assert 0.5 * worn.PRESSES < presses / 200 < 1.5 * worn.PRESSES


def test_what_is_brought_and_confirmed_twice_stands_there_once(tmp_path: Path) -> None:
    home, clock = tmp_path / "home", SystemClock()
    site.make(home)
    stroll = replace(plan.judged()[0], duration_s=6.0, wearer=replace(plan.WEARERS[0], meets={}))
    moments = worn.walked(stroll, None, day=0).kept
    labels = {one.record.chunk_id: one.truth for one in moments}
    for _ in range(2):
        site.bring(home, moments, "held_out", clock)
        site.confirm(home, labels, by="Eve", clock=clock)
    rows = site.rows(home)
    assert {row.sample_id: row.ground_truth for row in rows} == labels
    assert {(row.state, row.split, row.row_id[-2:]) for row in rows} == {("reviewed", "held_out", "#2")}
    site.throw_away(home, labels, clock)
    assert {row.state for row in site.rows(home)} == {"rejected"}


def row(number: int, *, right: bool, flags: tuple[str, ...]) -> SampleRow:
    return SampleRow(
        row_id=f"m-{number}#2",
        sample_id=f"m-{number}",
        frame_path="",
        audio_path="",
        instruction="",
        timestamp=0.0,
        device="d",
        walk_id="w",
        model_version="v1",
        flags=flags,
        reviewed=True,
        was_correct=right,
    )


def test_an_audit_that_is_far_from_the_truth_is_told_from_one_that_is_near() -> None:
    rows = [row(n, right=n % 2 == 0, flags=("audit",)) for n in range(60)]
    rows += [row(100 + n, right=False, flags=("wearer",)) for n in range(300)]
    near, far = measure.audit(rows, right=520, chunks=1000), measure.audit(rows, right=900, chunks=1000)
    assert (near["estimate"], near["judged"], near["holds"]) == (0.5, 60, True)
    assert not far["holds"]
    assert not measure.audit([], right=1, chunks=2)["holds"]


def test_a_short_queue_is_measured_against_as_many_random_moments_as_a_long_one() -> None:
    wrong = {f"m-{n}" for n in range(20)}
    found = measure.queue_gain([f"m-{n}" for n in range(10)], wrong, of=400)
    assert (found["found"], found["random"], found["gain"]) == (10, 2.5, 4.0)
    assert measure.queue_gain([], wrong, of=400)["gain"] == 0.0
    assert measure.queue_gain(["m-1"], set(), of=400)["gain"] is None


def night(number: int, **changes: Any) -> dict[str, Any]:
    good = {
        "night": number,
        "decision": "promoted",
        "planted_bad": False,
        "planted": "",
        "recall_tier1": 0.95,
        "champion_bound": 0.85,
        "candidate_recall_tier1": 0.95,
        "reasons": ["better"],
        "moments": 60,
        "mistakes": 4,
        "seconds": 50.0,
    }
    return {**good, **changes}


def done(**changes: Any) -> Progress:
    nights = [night(1), night(2, decision="refused"), night(3, decision="refused", planted_bad=True, planted="swapped")]
    values = {"nights": nights, "queue": {"gain": 3.1}, "audit": {"holds": True}, **changes}
    return Progress(**values)


def test_a_loop_in_which_all_went_as_it_should_misses_nothing() -> None:
    whole = report.assemble(done(), 3)
    assert (whole["planted"], whole["planted_refused"], whole["queue_gain"], whole["missed"]) == (1, 1, 3.1, [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nights": [night(1, recall_tier1=0.8), night(2), night(3)]}, "night 1: golden recall 0.8, 0.85 is the least"),
        ({"nights": [night(1), night(2), night(3, planted_bad=True)]}, "night 3: its labels were bad on purpose"),
        ({"queue": {"gain": 1.9}}, "queue: 1.9 times"),
        ({"queue": {}}, "queue: None times"),
        ({"audit": {"holds": False}}, "audit:"),
    ],
)
def test_a_bar_that_is_missed_is_named(changes: dict[str, Any], said: str) -> None:
    (missed,) = report.assemble(done(**changes), 3)["missed"]
    assert missed.startswith(said)


def test_the_page_shows_every_night_and_needs_nothing_else() -> None:
    whole = report.assemble(done(), 3)
    page = report.page({**whole, "queue": measure.queue_gain(["a"], {"a"}, of=2), "audit": {}})
    assert page.count("<circle") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert 'class="bad">promoted' not in page


def test_only_an_unfinished_loop_that_was_asked_for_the_same_goes_on(tmp_path: Path) -> None:
    asked = {"nights": 3}
    state = Progress(asked, nights=[night(1)], truths={"a": "", "b": ""}, labels={"a": "", "b": "Stop, curb ahead."})
    state.write(tmp_path)
    read = progress.read(tmp_path, asked)
    assert read is not None
    assert (read.nights, read.wrong) == (state.nights, ["b"])
    assert progress.read(tmp_path, {"nights": 4}) is None
    state.whole = True
    state.write(tmp_path)
    assert progress.read(tmp_path, asked) is None
    (tmp_path / progress.FILE).write_text("{")
    assert progress.read(tmp_path, asked) is None


def test_a_loop_that_begins_anew_keeps_nothing_but_the_drawn_frames(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    story.empty(out)
    for name in ("report.json", "server/waycue.sqlite", "server/dataset/metadata.jsonl", "server/cache/moments/x"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("old")
    shard = out / "server/cache/replay/key/0000-125.npz"
    shard.parent.mkdir(parents=True)
    shard.write_text("drawn")
    story.empty(out)
    assert [path for path in out.rglob("*") if path.is_file()] == [shard]
