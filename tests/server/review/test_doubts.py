"""Labels that a model and the moments most alike contradict go back to review, once, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.dataset import sample_row
from server.dataset.teaching import training_rows
from server.review import decisions, doubts
from server.review.decisions import ReviewDecision
from server.review.doubts import Doubt, DoubtSettings, Witness
from server.review.ranking import Ranking
from shared.clock import SystemClock
from tests.server.dataset.moments import House, moment, sound, spoken

CURB, POLE, BIN = "Stop, curb ahead.", "Caution, pole on the left.", "Caution, bin on the right."
NAMES = (CURB, POLE, BIN, "")


def planted(count: int, *, slips: int, seed: int = 0, certain: float = 0.9) -> tuple[list[Witness], set[str]]:
    """Moments of some walks, each label with a look of its own; (witnesses, those whose label is a slip). The model
    is right in `certain` of all moments, whatever the label says."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(len(NAMES), 24))
    wrong = {f"m-{at}" for at in rng.permutation(count)[:slips]}
    out = []
    for number in range(count):
        truth = int(rng.integers(len(NAMES)))
        label = (truth + 1 + int(rng.integers(len(NAMES) - 1))) % len(NAMES) if f"m-{number}" in wrong else truth
        said = truth if rng.random() < certain else int(rng.integers(len(NAMES)))
        look = looks[truth] + rng.normal(size=24) * 0.8
        feature = (look / np.linalg.norm(look)).astype(np.float32)
        sure = float(rng.uniform(0.82, 1.0)) if said != label else 0.5
        out.append(Witness(f"m-{number}", f"w-{number % 10}", NAMES[label], NAMES[said], sure, feature))
    return out, wrong


def test_most_planted_slips_are_found_and_few_right_labels_are_doubted() -> None:
    witnesses, wrong = planted(400, slips=32)
    found = {doubt.sample_id for doubt in doubts.doubts(witnesses)}
    precision, recall = len(found & wrong) / len(found), len(found & wrong) / len(wrong)
    by_chance = len(wrong) / len(witnesses)
    assert precision > 5 * by_chance
    assert recall > 0.6


def test_one_witness_alone_is_not_enough() -> None:
    witnesses, _ = planted(120, slips=0, certain=1.0)
    first = replace(witnesses[0], said=next(name for name in NAMES if name != witnesses[0].label), sure=0.99)
    assert doubts.doubts([first, *witnesses[1:]]) == [], "its likes are labelled as it is"
    slip = replace(witnesses[0], label=first.said, said=first.said)
    assert doubts.doubts([slip, *witnesses[1:]]) == [], "the model says the same"


def test_moments_of_the_same_walk_are_no_witnesses() -> None:
    feature = np.array([1.0, 0.0], np.float32)
    alone = [Witness(f"m-{n}", "one walk", CURB, POLE, 0.9, feature) for n in range(5)]
    assert doubts.supports(alone, 7) == [(0.0, 0)] * 5
    assert doubts.supports([], 7) == []


def test_the_most_doubtful_come_first_and_no_more_than_asked_for() -> None:
    witnesses, _ = planted(400, slips=60)
    found = doubts.doubts(witnesses, DoubtSettings(most=10))
    assert len(found) == 10
    assert [doubt.score for doubt in found] == sorted((doubt.score for doubt in found), reverse=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Six confirmed moments of one walk."""
    house = House(tmp_path, clock=SystemClock())
    house.send_together([moment(n) for n in range(6)])
    for row in house.dataset.rows():
        house_review(house, row.sample_id, "edit", CURB)
    yield house
    house.close()


def house_review(house: House, sample_id: str, action: str, text: str = "") -> None:
    decisions.review(house.store, house.dataset, sample_id, ReviewDecision(action, "Eve", text), now_s=1.0)


def doubt(number: int, score: float = 0.8) -> Doubt:
    return Doubt(f"pi-1-b00t-{number:06d}", CURB, POLE, score, f"A model says “{POLE}”.")


def test_a_doubted_label_waits_with_its_reason_and_does_not_teach_meanwhile(house: House) -> None:
    (row,) = doubts.put_back(house.store, house.dataset, [doubt(2)], now_s=2.0)
    assert (row.state, row.doubted, decisions.proposal(row)) == ("pending", True, CURB)
    assert len(training_rows(house.dataset.rows())) == 5
    house_review(house, row.sample_id, "accept")
    assert len(training_rows(house.dataset.rows())) == 6
    after = decisions.get(house.store, row.sample_id)
    assert after is not None
    assert (after.ground_truth, after.doubted, after.doubt) == (CURB, False, row.doubt)


def test_a_label_is_doubted_once(house: House) -> None:
    doubts.put_back(house.store, house.dataset, [doubt(2)], now_s=2.0)
    assert doubts.put_back(house.store, house.dataset, [doubt(2)], now_s=3.0) == [], "it waits already"
    house_review(house, doubt(2).sample_id, "accept")
    assert doubts.put_back(house.store, house.dataset, [doubt(2)], now_s=4.0) == [], "a person has looked again"


def test_a_label_that_was_changed_meanwhile_is_not_doubted(house: House) -> None:
    house_review(house, doubt(2).sample_id, "edit", BIN)
    gone = replace(doubt(3), sample_id="pi-1-b00t-000099")
    assert doubts.put_back(house.store, house.dataset, [doubt(2), gone], now_s=2.0) == []


def test_doubts_come_after_what_a_wearer_asked_for_and_before_all_else(house: House) -> None:
    house.send(moment(10, flags=("low_confidence",), confidence=0.01))
    house.send(moment(11, flags=("wearer",)))
    doubts.put_back(house.store, house.dataset, [doubt(2, 0.3), doubt(4, 0.9)], now_s=2.0)
    Ranking(house.store, house.dataset).refresh()
    listed = [int(row.sample_id[-6:]) for row in decisions.listing(house.store)]
    assert listed == [11, 4, 2, 10]


def test_a_doubt_survives_what_comes_in_later_and_a_wearers_correction_takes_its_place(house: House) -> None:
    doubts.put_back(house.store, house.dataset, [doubt(2), doubt(3)], now_s=2.0)
    house.send(spoken(doubt(3).sample_id, sound(9)))
    house.merge.put_transcript("pi-1", "pi-1-b00t-c0000", transcript="bin", confidence=0.9, proposal=BIN)
    found = {row.sample_id: row for row in house.dataset.rows()}
    assert decisions.proposal(found[doubt(2).sample_id]) == CURB
    assert decisions.proposal(found[doubt(3).sample_id]) == BIN


def test_what_was_never_doubted_is_written_as_ever(house: House) -> None:
    doubts.put_back(house.store, house.dataset, [doubt(2)], now_s=2.0)
    lines = [json.loads(line) for line in house.dataset.log.read_text().splitlines()]
    assert [("doubt" in line, "doubt_score" in line) for line in lines].count((True, True)) == 1
    assert {sample_row.from_dict(line).doubt_score for line in lines} == {0.0, 0.8}
