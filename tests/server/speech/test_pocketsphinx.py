"""The embedded recogniser on real speech, real noise, and through the dataset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from server.speech import open_transcriber, transcribe_waiting
from shared import vocabulary
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.speech import NOTHING, Transcriber, Transcript, proposal
from shared.wav import decode_sound
from tests.server.dataset.moments import House, moment, spoken
from tests.shared.speech.voices import RECORDINGS, as_wav, needs_espeak, needs_recordings, over, say

NAMES = list(vocabulary.load().objects)
OTHER_NOISE = ("car_engine", "car-horn", "dog")
SIDES = [vocabulary.SIDES_SEEN[n % 3] for n in range(len(NAMES))]


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return open_transcriber("pocketsphinx")


@needs_espeak
@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "eighths"),
    [
        ("a whole sentence", {0}),
        pytest.param("a whole sentence", set(range(1, 8)), marks=pytest.mark.soak),
        pytest.param("bare", set(range(8)), marks=pytest.mark.soak),
    ],
    ids=["every eighth object", "the others", "bare"],
)
def test_objects_are_heard_in_nine_of_ten_sentences(transcriber: Transcriber, way: str, eighths: set[int]) -> None:
    pairs = enumerate(zip(NAMES, SIDES, strict=True))
    wrong, chosen = [], [pair for number, pair in pairs if number % 8 in eighths]
    for name, side in chosen:
        words = vocabulary.instruct(name, side) if way == "a whole sentence" else f"{name} {side}"
        heard = transcriber.transcribe(say(words))
        if proposal(heard) != vocabulary.normalise(words):
            wrong.append((words, heard))
    assert len(wrong) <= len(chosen) / 10, wrong


@needs_espeak
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Caution, cone on the left.", "Caution, cone on the left."),
        ("cone on the left", "Caution, cone on the left."),
        ("Stop, curb ahead.", "Stop, curb ahead."),
        ("there is a bike on your right", "Caution, bicycle on the right."),
        ("watch out trash can ahead", "Caution, bin ahead."),
        ("nothing there", vocabulary.CLEAR),
    ],
)
def test_the_same_warning_in_other_words_is_understood(transcriber: Transcriber, said: str, meant: str) -> None:
    assert proposal(transcriber.transcribe(say(said))) == meant


@needs_espeak
@needs_recordings
@pytest.mark.parametrize("noise", ["rain", pytest.param("car_engine", marks=pytest.mark.soak)])
def test_a_correction_is_understood_over_the_noise_of_a_street(transcriber: Transcriber, noise: str) -> None:
    said = ["Caution, cone on the left.", "Stop, curb ahead.", "Caution, bicycle on the right.", "Caution, pole ahead."]
    around = (RECORDINGS / f"{noise}.wav").read_bytes()
    heard = [proposal(transcriber.transcribe(over(say(words), around, snr_db=15))) for words in said]
    assert sum(one == words for one, words in zip(heard, said, strict=True)) >= 2, heard
    assert sum(one not in (words, "") for one, words in zip(heard, said, strict=True)) <= 1, heard  # rather nothing


def test_silence_and_a_hum_are_nothing(transcriber: Transcriber) -> None:
    hum = 0.1 * np.sin(2 * np.pi * 100 * np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    hiss = np.random.default_rng(0).normal(0, 0.05, 2 * SAMPLE_RATE_HZ)
    for samples in (np.zeros(2 * SAMPLE_RATE_HZ), hum, hiss):
        assert transcriber.transcribe(as_wav(samples)) == NOTHING


@needs_recordings
@pytest.mark.parametrize(
    "name",
    [
        "rain",
        "speech_jfk",
        *(pytest.param(n, marks=pytest.mark.soak) for n in ("train", "car_engine", "car-horn", "dog")),
    ],
)
def test_what_is_no_correction_proposes_nothing(transcriber: Transcriber, name: str) -> None:
    samples = decode_sound((RECORDINGS / f"{name}.wav").read_bytes())
    for begin_s in (0, 2):
        heard = transcriber.transcribe(as_wav(samples[begin_s * SAMPLE_RATE_HZ : (begin_s + 3) * SAMPLE_RATE_HZ]))
        assert proposal(heard) == "", heard


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("home"))
    yield house
    house.close()


@needs_espeak
def test_a_waiting_correction_becomes_the_proposal_of_its_moment(house: House, transcriber: Transcriber) -> None:
    sent = moment()
    house.send_all([sent, spoken(sent.record.chunk_id, say("cone on the left"))])
    assert transcribe_waiting(house.merge, transcriber, stop=lambda: False) == 1
    [row] = house.dataset.rows()
    assert (row.instruction, row.source) == ("Caution, cone on the left.", "wearer_voice")
    assert row.transcript.endswith("cone on the left")
    assert transcribe_waiting(house.merge, transcriber, stop=lambda: False) == 0


class Deaf:
    """A recogniser that hears the same in every sound."""

    def __init__(self, heard: Transcript) -> None:
        self.heard = heard

    def transcribe(self, wav: bytes) -> Transcript:
        return self.heard


def test_a_correction_that_is_not_understood_waits_for_a_person(house: House) -> None:
    sent = moment()
    house.send_all([sent, spoken(sent.record.chunk_id, as_wav(np.zeros(SAMPLE_RATE_HZ)))])
    assert transcribe_waiting(house.merge, Deaf(Transcript("cone on the left", 0.25)), stop=lambda: False) == 1
    [row] = house.dataset.rows()
    assert (row.llm_correction, row.transcript, row.transcript_confidence) == ("", "cone on the left", 0.25)
    assert row.flags == ("wearer", "correction")


def test_a_sound_that_can_not_be_read_does_not_stop_the_others(house: House, transcriber: Transcriber) -> None:
    house.send_all([moment(0), spoken("pi-1-b00t-000000", b"RIFF\x00\x00\x00\x00WAVEjunk")])
    assert transcribe_waiting(house.merge, transcriber, stop=lambda: False) == 1
    assert house.merge.unheard() == []


def test_it_stops_when_it_is_told_and_goes_on_later(house: House) -> None:
    house.send_all([moment(0), moment(1)])
    house.send_all([spoken(f"pi-1-b00t-00000{n}", as_wav(np.full(900, n / 9)), n=n) for n in (0, 1)])
    assert transcribe_waiting(house.merge, Deaf(NOTHING), stop=lambda: True) == 0
    assert transcribe_waiting(house.merge, Deaf(NOTHING), stop=lambda: False) == 2
