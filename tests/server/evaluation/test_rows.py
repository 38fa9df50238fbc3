"""The rows beside a model: what a perfect one reaches through the policy, and what one has for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from server.evaluation import page, rows, seeing, sentences, summary
from server.evaluation.bars import BARS
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Course, Drive, Moment, Thing, Truth
from server.evaluation.measures import auc
from server.evaluation.rows import CONSTANT, PERFECT, SILENT, KeptCourse
from shared import vocabulary
from shared.policy import PolicySettings
from tests.server.evaluation.stage import BIN, CURB, POLE, Reader, course_of, event

SETTINGS = DriveSettings()
STOP, CAUTION = Truth(("Stop, curb ahead.",)), Truth(("Caution, bin on the left.",))
QUIET = Truth((vocabulary.CLEAR,))


def things(t_s: float) -> Sequence[Thing]:
    """A curb at 4 s, a bin from 10 to 14 s, a pole from 20 to 22 s."""
    return [CURB] if 4 <= t_s < 6 else [BIN] if 10 <= t_s < 14 else [POLE] if 20 <= t_s < 22 else []


def walk(name: str) -> Course:
    events = (event(CURB, 4.0, 6.0), event(BIN, 10.0, 14.0), event(POLE, 20.0, 22.0))
    return replace(course_of(things, duration_s=30.0), name=name, events=events)


@pytest.fixture(scope="module")
def driven() -> tuple[list[Drive], dict[str, list[Drive]]]:
    """By a model that sees all, and the rows beside it."""
    kept = [KeptCourse(walk(name)) for name in ("one", "two")]
    drives = [drive(Reader(), course.first, PolicySettings(), SETTINGS) for course in kept]
    return drives, rows.drive_rows(kept, SETTINGS)


@pytest.fixture(scope="module")
def whole(driven: tuple[list[Drive], dict[str, list[Drive]]]) -> dict[str, Any]:
    drives, beside = driven
    return summary.summarise(drives, bundle={"version": "reader"}, dataset="painted", beside=beside)


def test_the_perfect_row_says_what_a_model_that_sees_all_says(
    driven: tuple[list[Drive], dict[str, list[Drive]]],
) -> None:
    drives, beside = driven
    said = [[(u.t_s, u.text) for u in one.utterances if u.guides] for one in drives]
    assert said[0] != []
    assert [[(u.t_s, u.text) for u in one.utterances if u.guides] for one in beside[PERFECT]] == said


def test_each_row_has_the_figures_that_it_must_have(whole: dict[str, Any]) -> None:
    perfect, silent, constant = (whole["rows"][name] for name in (PERFECT, SILENT, CONSTANT))
    assert [perfect["recall"][tier]["recall"]["share"] for tier in ("1", "2")] == [1.0, 1.0]
    assert perfect["sentences"]["slot_f1"] == [1.0, 1.0, 1.0]
    assert perfect["seeing"]["hazards"]["auc"] == [1.0, 1.0, 1.0]
    assert perfect["seeing"]["stops"]["recall"]["share"] == 1.0
    assert silent["speech"]["utterances"] == 0
    assert silent["sentences"]["silence_right"] == 1.0
    assert silent["sentences"]["slot_f1"][0] == silent["sentences"]["stop_recall"][0] == 0.0
    assert silent["seeing"]["hazards"]["auc"][0] == 0.5, "one score for everything tells nothing apart"
    assert constant["sentences"]["silence_right"] == 0.0
    assert 0.0 < constant["sentences"]["slot_f1"][0] < 0.5, "the bin is there in 2 of 15 chunks"


def test_bars_are_told_as_shares_of_the_perfect_row(whole: dict[str, Any]) -> None:
    bars = {bar["name"]: bar for bar in whole["bars"]}
    assert (bars["tier-1 event recall"]["perfect"], bars["tier-1 event recall"]["of_perfect"]) == (1.0, 1.0)
    assert bars["tier-2 event recall, of perfect"]["met"]
    assert bars["false alarms a minute"]["perfect"] == 0.0
    assert bars["false alarms a minute"]["of_perfect"] is None, "less is better: there is no share"


def test_half_of_what_perfect_reaches_is_half_though_the_policy_reaches_little(whole: dict[str, Any]) -> None:
    recall = {"2": {"recall": {"share": 0.3}}}
    figures = {"recall": recall, "rows": {PERFECT: {"recall": {"2": {"recall": {"share": 0.6}}}}}}
    bar = next(bar for bar in BARS if bar.of_perfect)
    held = summary.held(bar, figures)
    assert (held["value"], held["met"]) == (0.5, False)
    assert not summary.held(bar, {"recall": recall})["met"], "without the row nothing is claimed"


def test_page_and_terminal_show_every_row(
    whole: dict[str, Any], driven: tuple[list[Drive], dict[str, list[Drive]]]
) -> None:
    table = summary.compared(whole)
    assert [row[0] for row in table[1:]] == ["this model", PERFECT, SILENT, CONSTANT]
    assert len({len(row) for row in table}) == 1
    shown = page.render(whole, driven[0])
    assert all(name in shown for name in (PERFECT, SILENT, CONSTANT, "of perfect"))


# --- the figures ------------------------------------------------------------------------------------------------------


def test_sentences_are_judged_for_stops_and_silence() -> None:
    found = sentences.worth(
        [
            [("Stop, curb ahead.", STOP), ("Stop, curb ahead.", CAUTION)],
            [(vocabulary.CLEAR, STOP), (vocabulary.CLEAR, QUIET)],
        ]
    )
    assert found["stop_recall"][0] == 0.5
    assert found["false_stops"][0] == 0.5
    assert found["silence_right"] == 1.0
    assert found["false_clear"] == pytest.approx(1 / 3, abs=1e-3)
    low, high = found["slot_f1"][1:]
    assert low <= found["slot_f1"][0] <= high


def test_one_walk_alone_has_an_interval_too() -> None:
    walk_alone = [("Stop, curb ahead.", STOP if at % 3 else CAUTION) for at in range(60)]
    value, low, high = sentences.worth(sentences.of_walks([walk_alone]))["slot_f1"]
    assert low < value < high


def test_the_most_frequent_sentence_is_never_silence_where_something_is_due() -> None:
    assert sentences.most_frequent([QUIET, QUIET, QUIET, STOP, CAUTION, STOP]) == "Stop, curb ahead."
    assert sentences.most_frequent([QUIET]) == vocabulary.CLEAR


def test_an_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(3)
    so = rng.random(400) < 0.3
    scores = np.clip(rng.normal(0.4 + 0.2 * so, 0.15), 0, 1).astype(np.float32)
    higher = scores[so][:, None] > scores[~so][None, :]
    found = auc([(scores[:200], so[:200]), (scores[200:], so[200:])])
    assert found is not None
    assert found[0] == pytest.approx(higher.mean(), abs=1e-3)
    assert found[1] < found[0] < found[2]
    assert auc([(scores, np.zeros(400, np.bool_))]) is None


def looked(there: Sequence[Thing], scores: Sequence[float], *, exact: bool = False) -> Drive:
    """One look at which CURB, BIN and POLE were scored."""
    pairs = (CURB, BIN, POLE)
    sure = frozenset(pair for pair, score in zip(pairs, scores, strict=True) if score >= 0.5)
    truth = Truth((vocabulary.CLEAR,), frozenset(there))
    moment = Moment(0.0, truth, False, (), None, 1.0, 0, sure, np.array(scores, np.float32))
    return Drive(replace(walk("x"), exact=exact), (moment,), (), {}, pairs)


def test_each_look_counts_for_what_is_to_stop_for_and_for_each_object() -> None:
    found = seeing.figures([looked([CURB], [0.9, 0.8, 0.1]), looked([CURB], [0.1, 0.1, 0.1]), looked([], [0.9, 0, 0])])
    assert found["stops"]["recall"]["share"] == 0.5
    assert found["stops"]["false"]["share"] == 1.0
    assert found["objects"]["curb"]["recall"]["share"] == 0.5
    assert found["objects"]["curb"]["precision"]["share"] == 0.5
    assert found["objects"]["bin"]["precision"]["share"] == 0.0
    assert found["hazards"]["pairs"] == 3, "nobody annotated bins and poles"
    exact = seeing.figures([looked([CURB], [0.9, 0.8, 0.1], exact=True)])
    assert exact["hazards"]["pairs"] == 3
    assert exact["hazards"]["ece_of_zero"] == pytest.approx(1 / 3, abs=1e-3)


def test_what_a_head_has_no_row_for_counts_as_missed() -> None:
    drive_of = looked([CURB, ("train tracks", "ahead")], [0.9, 0.1, 0.1], exact=True)
    assert seeing.figures([drive_of])["hazards"]["auc"][0] == pytest.approx(0.5)
