"""The recogniser in a process of its own: what comes back, and what becomes of one that hangs, dies or rambles."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.speech import ApartTranscriber, transcribe_waiting
from server.speech.requests import RecogniserOptions, SightQuestion
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import SystemClock
from shared.errors import ConfigError, MediaError, Transient
from shared.speech import GRAMMAR, NOTHING, understood
from tests.server.dataset.moments import House, moment, spoken
from tests.shared.speech.voices import as_wav, needs_espeak, say

SPHINX = RecogniserOptions("pocketsphinx")
SILENCE = as_wav(np.zeros(SAMPLE_RATE_HZ))
HANGS = (sys.executable, "-c", "import signal; signal.pause()")
DIES = (sys.executable, "-c", "raise SystemExit(7)")
RAMBLES = (sys.executable, "-c", "import os; os.write(0, b'hello\\n'); os.read(0, 9**6)")


@pytest.fixture(scope="module")
def apart() -> Iterator[ApartTranscriber]:
    transcriber = ApartTranscriber(SPHINX, SystemClock())
    yield transcriber
    transcriber.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@needs_espeak
def test_a_sound_comes_back_as_words_with_what_they_were_chosen_from(apart: ApartTranscriber) -> None:
    answer = apart.ask(say("Caution, cone on the left."), SightQuestion("/nowhere.jpg", "/no/bundle"))
    assert understood(answer.text) == "Caution, cone on the left."
    assert [one.by for one in answer.passes] == [GRAMMAR] * 3
    assert answer.seen.objects == (), "a picture that cannot be looked at keeps no words back"


def test_what_is_no_sound_is_said_to_be_none_and_the_process_stays(apart: ApartTranscriber) -> None:
    with pytest.raises(MediaError):
        apart.transcribe(b"RIFF")
    assert apart.transcribe(SILENCE) == NOTHING


def test_a_recogniser_that_lacks_its_model_is_a_config_error() -> None:
    apart = ApartTranscriber(RecogniserOptions("whisper"), SystemClock())
    with pytest.raises(ConfigError, match=r"speech\.model is empty"):
        apart.transcribe(SILENCE)
    apart.close()


@pytest.mark.parametrize("command", [HANGS, DIES, RAMBLES], ids=["hangs", "dies", "rambles"])
def test_a_sound_on_which_the_process_fails_twice_is_put_aside_and_no_process_is_left(
    command: tuple[str, ...], house: House
) -> None:
    apart = ApartTranscriber(SPHINX, SystemClock(), most_s=0.2, loading_s=0.2, command=command)
    with pytest.raises(MediaError, match="failed 2 times"):
        apart.transcribe(SILENCE)
    assert apart.pid is None
    house.send_all([moment(0), spoken("pi-1-b00t-000000", SILENCE)])
    assert transcribe_waiting(house.merge, apart, stop=lambda: False) == 1
    assert house.merge.unheard() == [], "a person listens to it; those after it do not wait"


def test_to_end_it_frees_who_waits_and_the_correction_goes_on_waiting(house: House) -> None:
    house.send_all([moment(0), spoken("pi-1-b00t-000000", SILENCE)])
    apart = ApartTranscriber(SPHINX, SystemClock(), command=HANGS)
    ended = threading.Timer(0.3, apart.close)
    ended.start()
    with pytest.raises(Transient):
        transcribe_waiting(house.merge, apart, stop=lambda: False)
    ended.join()
    assert len(house.merge.unheard()) == 1
