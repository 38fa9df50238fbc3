"""Sentences against references."""

from __future__ import annotations

import pytest

from server.evaluation import slots
from shared import vocabulary


def test_every_slot_of_the_same_sentence_is_a_hit() -> None:
    found = slots.compare("Stop, curb ahead.", ["Stop, curb ahead."])
    assert found == {"action": (1, 0, 0), "object": (1, 0, 0), "side": (1, 0, 0), "modifier": (0, 0, 0)}


def test_another_word_for_the_same_thing_is_the_same() -> None:
    assert slots.right("Halt, kerb in front!", ["Stop, curb ahead."])
    assert slots.right("Caution, trash can left.", ["Caution, bin on the left."])


def test_a_wrong_slot_is_both_false_and_missed() -> None:
    assert slots.compare("Caution, bin on the left.", ["Caution, bin ahead."])["side"] == (0, 1, 1)


def test_a_modifier_that_nobody_said_is_only_missed() -> None:
    assert slots.compare("Stop, vehicle ahead.", ["Stop, vehicle closing fast ahead."])["modifier"] == (0, 0, 1)


def test_the_reference_that_agrees_best_counts() -> None:
    references = ["Stop, vehicle ahead.", "Move left, crosswalk ahead."]
    assert slots.compare("Move left, crosswalk ahead.", references)["object"] == (1, 0, 0)
    assert slots.right("Stop, car ahead.", references)
    assert not slots.right("Stop, crosswalk ahead.", references)


@pytest.mark.parametrize("text", [vocabulary.CLEAR, "Continue straight.", ""])
def test_a_sentence_that_names_nothing_is_silence(text: str) -> None:
    assert slots.read(text) == {}
    assert slots.right(text, [vocabulary.CLEAR])


def test_the_scores_of_a_few_moments() -> None:
    curb, pole, clear = "Stop, curb ahead.", "Caution, pole on the right.", vocabulary.CLEAR
    pairs = [(curb, [curb]), (pole, [curb]), (clear, [pole]), (clear, [clear]), (pole, [clear])]
    found = slots.scores(pairs)
    # hits 3; false: 3 of the second and 3 of the last; missed: 3 of the second and 3 of the third
    assert found.f1 == pytest.approx(2 * 3 / (2 * 3 + 6 + 6), abs=1e-4)
    assert found.by_slot["object"] == pytest.approx(2 / (2 + 2 + 2), abs=1e-4)
    assert found.by_slot["modifier"] is None
    assert (found.whole.hits, found.whole.count) == (2, 5)
    assert (found.silence.hits, found.silence.count) == (1, 2)
    assert (found.false_clear.hits, found.false_clear.count) == (1, 3)


def test_going_on_where_stop_was_due_is_the_costliest() -> None:
    stop = ["Stop, curb ahead."]
    costs = [slots.cost(said, stop) for said in ("Stop, curb ahead.", "Caution, curb ahead.", vocabulary.CLEAR)]
    assert costs == [0, 4, 8]
    assert (
        slots.cost("Continue straight, crosswalk ahead.", stop) == max(max(row) for row in slots.COSTS.values()) == 10
    )


def test_keeping_to_a_side_steers_and_keeping_straight_goes_on() -> None:
    assert slots.act("Keep left, pole on the right.") == "steer"
    assert slots.act("Keep straight, door on the right.") == "go"
    assert slots.act("Duck, head obstacle ahead.") == "duck"


def test_the_confusion_counts_by_what_was_due() -> None:
    found = slots.confusion(
        [
            ("Continue straight, door ahead.", ["Stop, curb ahead."]),
            ("Stop, curb ahead.", ["Stop, curb ahead."]),
            ("Stop, curb ahead.", [vocabulary.CLEAR]),
        ]
    )
    assert found.table == {"stop": {"stop": 1, "go": 1}, "nothing": {"stop": 1}}
    assert found.mean_cost == pytest.approx(12 / 3)
    assert (found.go_for_stop.hits, found.go_for_stop.count) == (1, 2)


def test_every_pair_of_acts_has_a_cost_and_being_right_costs_nothing() -> None:
    assert set(slots.COSTS) == set(slots.ACTS)
    assert all(len(row) == len(slots.ACTS) for row in slots.COSTS.values())
    assert [slots.COSTS[name][at] for at, name in enumerate(slots.ACTS)] == [0] * len(slots.ACTS)


def test_the_grammar_is_the_vocabularys_own() -> None:
    found = slots.grammar(["Stop, curb ahead.", "It is safe to cross.", "Curb."])
    assert (found.hits, found.count) == (1, 3)
