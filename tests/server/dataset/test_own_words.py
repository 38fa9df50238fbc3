"""Other words of a server's wearers are understood, confirmed as what they mean, and said by nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.dataset import own_words, wording
from server.dataset.wording import Reworded
from shared import vocabulary
from shared.errors import ConfigError
from shared.speech import Transcript, proposal
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment

OWN = '"wheelie bin" = "bin"\nflowerbed = "obstacle"\nthingamajig = "head obstacle"\n'


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    vocabulary.use_own_words({})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    (house.home / own_words.FILE).write_text(OWN, encoding="utf-8")
    yield house
    house.close()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Caution, wheelie bin on the left.", "Caution, bin on the left."),
        ("wheelie bins ahead", "Caution, bin ahead."),
        ("Flowerbed on the right", "Caution, obstacle on the right."),
        ("thingamajig", "Duck, head obstacle ahead."),
    ],
)
def test_they_are_read_as_the_thing_and_never_as_written(house: House, said: str, meant: str) -> None:
    assert vocabulary.read(said).taught_as is None, "nobody knows them before"
    own_words.use(house.home)
    reading = vocabulary.read(said)
    assert (reading.taught_as, reading.as_written) == (meant, False)
    with pytest.raises(Reworded):
        wording.teachable(said)
    assert proposal(Transcript(said, 0.9)) == meant, "a spoken correction becomes a proposal"
    assert meant in vocabulary.sayable()
    assert not vocabulary.may_be_spoken(said)


def test_what_changes_a_meaning_keeps_its_own(house: House) -> None:
    own_words.use(house.home)
    for text in ("no wheelie bin ahead", "do not stop, wheelie bin", "walk on, flowerbed ahead"):
        assert vocabulary.read(text).taught_as is None, text


def test_a_correction_in_own_words_is_confirmed_by_a_person_and_teaches_the_thing(house: House) -> None:
    house.send(moment(0, raw_output="Caution, pole ahead."))
    sample_id = house.dataset.rows()[0].sample_id
    asked = server(house.home, "samples", "review", sample_id, "--edit", "wheelie bin on the left")
    assert (asked.returncode, "It will be taught as:  Caution, bin on the left." in asked.stdout) == (1, True)
    assert (
        server(house.home, "samples", "review", sample_id, "--edit", "wheelie bin on the left", "--yes").returncode == 0
    )
    assert house.dataset.rows()[0].ground_truth == "Caution, bin on the left."


def test_another_home_knows_nothing_of_them(house: House, tmp_path: Path) -> None:
    own_words.use(house.home)
    own_words.use(tmp_path)
    assert vocabulary.read("wheelie bin ahead").taught_as is None
    checked = server(house.home, "vocabulary", "check", "wheelie bin ahead", "--json")
    assert json.loads(checked.stdout)["taught_as"] == "Caution, bin ahead."


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('dumpster = "dustbin"', "is no thing of the vocabulary"),
        ('"no bin" = "bin"', "holds a word that says"),
        ('"stop sign" = "signboard"', "holds a word that says"),
        ('"big left thing" = "obstacle"', "holds a word that says"),
        ("trashcan = 3", "has no thing that it means"),
        ('"bin" = "cone"', "is known already"),
        ('"" = "bin"', "is not one to four words"),
        ('"a b c d e" = "bin"', "is not one to four words"),
        ('"bin; drop" = "bin"', "is not one to four words"),
        ("wheelie bin = bin", "cannot be read"),
    ],
)
def test_what_is_no_other_word_for_a_thing_is_refused_with_its_file(house: House, line: str, why: str) -> None:
    (house.home / own_words.FILE).write_text(f"{OWN}{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=why):
        own_words.use(house.home)
    assert vocabulary.read("flowerbed ahead").taught_as is None, "none of them is used then"
    listed = server(house.home, "samples", "list")
    assert (listed.returncode, own_words.FILE in listed.stderr) == (2, True)
