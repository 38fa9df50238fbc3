"""What a device understood of a correction is a proposal like the server's own, and never more than that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from server.speech import transcribe_waiting
from shared import languages, vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.messages import CorrectionHeard, EraseRecord
from shared.speech import NOTHING, Transcript
from tests.server.database.stored import readable
from tests.server.dataset.moments import House, moment, spoken
from tests.shared.speech.voices import as_wav

CONE = {
    "heard": "cone on the left", "heard_meaning": "Caution, cone on the left.", "heard_confidence": 0.75,
    "heard_by": "pocketsphinx",
}  # fmt: skip


@dataclass(slots=True)
class Ear:
    """The server's own recogniser, and how often it was asked."""

    heard: Transcript = field(default_factory=lambda: Transcript("bin ahead", 1.0))
    asked: int = 0

    def transcribe(self, wav: bytes) -> Transcript:
        self.asked += 1
        return self.heard


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("home"))
    yield house
    house.close()


def came(house: House, ear: Ear | None, **words: Any) -> list[CorrectionHeard]:
    """A correction comes in with what the device heard in it. What the wearer is told."""
    told: list[CorrectionHeard] = []
    sent = moment()
    house.send_all([sent, spoken(sent.record.chunk_id, as_wav(np.zeros(SAMPLE_RATE_HZ)), **words)])
    transcribe_waiting(house.merge, ear, stop=lambda: False, tell=lambda device, words: told.append(words))
    return told


def test_it_becomes_the_proposal_of_its_moment_and_is_confirmed_by_nobody(house: House) -> None:
    ear = Ear()
    assert came(house, ear, **CONE) == [], "the device has read it back itself"
    assert ear.asked == 0
    [row] = house.dataset.rows()
    assert (row.llm_correction, row.source) == ("Caution, cone on the left.", "wearer_voice")
    assert (row.transcript, row.transcript_confidence) == ("cone on the left", 0.5), (
        "calibrated: not all hearings agreed"
    )
    assert (row.state, row.reviewed, row.ground_truth) == ("pending", False, "")
    assert house.merge.unheard() == []


def test_a_server_that_listens_to_nothing_takes_it_too_and_leaves_the_rest_to_a_person(house: House) -> None:
    assert came(house, None, **CONE) == []
    assert house.dataset.rows()[0].llm_correction == "Caution, cone on the left."
    sent = moment(1)
    house.send_all([sent, spoken(sent.record.chunk_id, as_wav(np.zeros(SAMPLE_RATE_HZ)), n=1)])
    assert transcribe_waiting(house.merge, None, stop=lambda: False) == 0
    assert [waiting.record.correction_id for waiting in house.merge.unheard()] == ["pi-1-b00t-c0001"]


@pytest.mark.parametrize(
    "words",
    [
        CONE | {"heard_confidence": 0.4},
        CONE | {"heard": "", "heard_meaning": "", "heard_confidence": 0.0},
        CONE | {"heard_meaning": "Walk on, it is safe to cross."},
        CONE | {"heard_meaning": "Caution, unicorn on the left."},
        CONE | {"heard_meaning": "no cone on the left"},
    ],
    ids=["not sure", "not understood", "a promise", "an unknown thing", "a denial"],
)
def test_what_is_unsure_or_no_sentence_of_the_vocabulary_is_listened_to_here(
    house: House, words: dict[str, Any]
) -> None:
    ear = Ear()
    assert [told.text for told in came(house, ear, **words)] == ["Caution, bin ahead."]
    assert ear.asked == 1
    [row] = house.dataset.rows()
    assert (row.llm_correction, row.transcript) == ("Caution, bin ahead.", "bin ahead")


def test_that_nothing_should_have_been_said_is_understood_too(house: House) -> None:
    assert came(house, None, **CONE | {"heard": "nothing there", "heard_meaning": vocabulary.CLEAR}) == []
    assert house.dataset.rows()[0].llm_correction == vocabulary.CLEAR


def test_the_language_of_the_words_does_not_matter_to_their_meaning(house: House) -> None:
    sent = moment()
    words: dict[str, Any] = CONE | {"heard": "kegel links"}
    house.send_all([sent, spoken(sent.record.chunk_id, as_wav(np.zeros(SAMPLE_RATE_HZ)), **words)])
    assert transcribe_waiting(house.merge, None, stop=lambda: False, language=languages.load("es")) == 1
    [row] = house.dataset.rows()
    assert (row.transcript, row.llm_correction) == ("kegel links", "Caution, cone on the left.")


def test_what_the_wearer_erases_takes_its_words_along(house: House) -> None:
    """The words lie in the record, in the row and in the database."""
    came(house, None, **CONE | {"heard": "flamingo links"})
    files = [*house.home.rglob("*.jsonl"), *house.home.glob("waycue.sqlite*")]
    assert {".jsonl"} < {path.suffix for path in files if b"flamingo" in readable(path)}, "in the database, too"
    wish = EraseRecord("pi-1-b00t-e001", "pi-1", 1_700_000_000.0, ("pi-1-b00t-c0000",))
    assert house.merge.put_record("pi-1", "erase", wish).state == "merged"
    assert house.merge.unheard() == []
    assert not [path.name for path in files if b"flamingo" in readable(path)]


def test_a_device_without_words_is_listened_to_as_ever(house: House) -> None:
    ear = Ear(NOTHING)
    assert [told.text for told in came(house, ear)] == [""]
    assert ear.asked == 1
