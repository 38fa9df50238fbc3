"""Several guesses, what is seen and what was corrected before → one proposal, how sure it is, and how that is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from server.dataset import record_log, sample_row
from server.dataset.choices import SURE, HeardChoice, from_list, to_list
from server.review.listening import must_listen
from server.speech import transcribe_waiting
from server.speech.beside import Known, taught, together, with_teacher
from server.speech.choosing import MOST_CHOICES, Circumstances, Weights, chosen
from server.speech.known import Knowing
from server.speech.proposing import of_device, proposed
from server.speech.requests import SeenThings
from shared import languages
from shared.speech import GRAMMAR, NOTHING, SENTENCES, SoundPass, Transcript
from tests.server.dataset.moments import House, moment, sound, spoken

CONE, DOOR = "Caution, cone on the left.", "Keep straight, door on the left."
THINGS = ("bin", "bollard", "cone", "curb", "dog", "door", "pole", "person", "bicycle", "barrier", "step")
SEES = SeenThings(("cone", "door", "pole"), {"cone": 0.9})


def heard(*texts: str, guesses: Sequence[tuple[str, float]] = ()) -> Transcript:
    """One pass with a grammar for each text, and one by sentences."""
    passes = [SoundPass(GRAMMAR, ((text, 0.5),)) for text in texts]
    return Transcript("", 0.0, (*passes, *([SoundPass(SENTENCES, tuple(guesses))] if guesses else [])))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def test_what_all_hearings_agree_on_is_proposed_and_two_of_three_are_less_sure() -> None:
    agreed = proposed(heard(*["cone on the left"] * 3))
    split = proposed(heard("cone on the left", "cone on the left", "door on the left"))
    assert (agreed.wording, agreed.transcript) == (CONE, "cone on the left")
    assert agreed.confidence > split.confidence
    assert {one.wording for one in split.choices} == {CONE, DOOR}
    assert sum(one.probability for one in split.choices) < 1, "something is left for none of them"


def test_in_a_language_for_which_nothing_was_measured_a_person_always_listens() -> None:
    said = heard(*["mülltonne links"] * 3, guesses=[("mülltonne links", -0.5)])
    german = proposed(said, language=languages.load("de"))
    assert german.wording == "Caution, bin on the left."
    assert german.choices[0].probability > SURE
    assert german.confidence < SURE


def test_a_model_that_sees_the_thing_speaks_for_it_and_one_that_would_see_it_against() -> None:
    said = heard("cone on the left", "door on the left", "")
    plain, seen = proposed(said), proposed(said, Circumstances(SEES))
    probability = {one.wording: one.probability for one in plain.choices}
    with_sight = {one.wording: one.probability for one in seen.choices}
    assert with_sight[CONE] > probability[CONE]
    assert with_sight[DOOR] < probability[DOOR]
    blind = Circumstances(SeenThings(("pole",), {"pole": 0.9}))
    assert proposed(said, blind).choices == plain.choices, "what it cannot see it says nothing about"


def test_what_a_wearer_corrected_before_comes_first_of_equals() -> None:
    said = heard("door on the left", "cone on the left", "")
    assert proposed(said, Circumstances(taught={"cone": 5})).choices[0].wording == CONE
    assert proposed(said, Circumstances(taught={"door": 5})).choices[0].wording == DOOR


def test_guesses_of_a_second_recogniser_settle_what_the_first_cannot_tell() -> None:
    guesses = [("cone on the left", -5.0), ("corner on the left", -11.0)]
    told = proposed(heard("cone on the left", "door on the left", "crowd on the left", guesses=guesses))
    assert told.wording == CONE
    poor = proposed(heard("", "", "", guesses=[("the edge", -21.0), ("the man", -21.2)]))
    assert poor.wording == "", "what fits no sentence well is no correction"


def test_there_are_never_more_choices_than_keys_and_the_best_is_the_first() -> None:
    guesses = [(f"{thing} ahead", -5.0 - number) for number, thing in enumerate(THINGS)]
    choices = chosen(heard(guesses=guesses), Weights({"sentences:score": 4.0}))
    assert len(choices) == MOST_CHOICES
    assert [one.probability for one in choices] == sorted((one.probability for one in choices), reverse=True)
    assert choices[0].heard == "bin ahead"


def test_a_recogniser_without_several_guesses_is_taken_at_its_word() -> None:
    assert proposed(Transcript("cone on the left", 0.9)).wording == CONE
    assert proposed(Transcript("cone on the left", 0.3)).wording == ""
    assert proposed(NOTHING).choices == ()


def test_a_devices_share_of_hearings_becomes_a_probability() -> None:
    all_three, two = of_device(Transcript("x", 1.0), CONE), of_device(Transcript("x", 2 / 3), CONE)
    assert 1.0 > all_three.confidence > two.confidence > 0.0


def test_what_two_see_is_put_together_and_a_teacher_is_one_of_them(house: House) -> None:
    house.send_all([moment(0)])
    [row] = house.dataset.rows()
    seen = with_teacher(SEES, replace(row, teacher="t", teacher_wording="Caution, dog ahead.", teacher_score=0.8))
    assert (seen.scores["dog"], seen.scores["cone"]) == (0.8, 0.9)
    both = together(seen, SeenThings(("dog",), {"dog": 0.3}))
    assert both.scores["dog"] == 0.8
    judged = replace(row, correction_id="c", ground_truth=CONE, reviewed=True)
    assert taught([judged, judged, row], "Ada") == {"cone": 2}
    assert taught([judged], "Bob") == {}


class Ears:
    """Hears a cone, or a door."""

    def transcribe(self, wav: bytes) -> Transcript:
        return heard("cone on the left", "cone on the left", "door on the left")


def test_the_choices_are_kept_with_the_moment_and_found_again_from_the_log_alone(house: House) -> None:
    sent = moment(spoken="Stop, curb ahead.")
    house.send_all([sent, spoken(sent.record.chunk_id, sound(), spoken="Stop, curb ahead.")])
    knowing, known = Knowing(house.store, house.dataset, lambda: house.home), list[Known]()

    def know(waiting: object) -> Known:
        known.append(knowing(waiting))  # type: ignore[arg-type]
        return known[-1]

    assert transcribe_waiting(house.merge, Ears(), stop=lambda: False, know=know) == 1
    assert known[0].about.said == "Stop, curb ahead."
    assert known[0].sight is not None
    assert Path(known[0].sight.frame).is_file()
    row = sample_row.fold(house.dataset.rows())[sent.record.chunk_id]
    assert [one.wording for one in row.transcript_choices][:2] == [CONE, DOOR]
    assert row.transcript_confidence == row.transcript_choices[0].probability
    assert must_listen(row)
    lines = list(record_log.read(house.dataset.records))
    [line] = [line for line in lines if line["what"] == "heard"]
    assert from_list(line["choices"]) == row.transcript_choices
    with house.store.reading() as connection:
        facts = [fact for fact in record_log.facts(connection) if fact["what"] == "heard"]
    assert facts[0]["choices"] == line["choices"]


def test_choices_that_cannot_be_read_are_none_and_keep_nobody_waiting() -> None:
    assert from_list(to_list([HeardChoice(CONE, 0.5)])) == (HeardChoice(CONE, 0.5),)
    assert from_list([{"wording": CONE}]) == ()
    assert from_list("x") == ()
