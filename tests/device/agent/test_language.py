"""A walk in another language: what is heard is the language's, what is written down is canonical."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.agent import watching
from device.agent.said import announcements
from device.commands.selftest import check_language
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import Espeak
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.languages import packaged
from shared.wav import decode_wav, to_int16
from tests.device.agent.stage import StoryModel, config, run
from tests.device.agent.test_walk import curb_then_pole
from tests.device.agent.test_watching import parts
from tests.docs.test_announcements import announcements as in_the_code
from tests.shared.languages import made_up

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def contains(speech: NDArray[np.int16], phrase: NDArray[np.int16]) -> bool:
    """Whether these very samples are in it."""
    starts = np.flatnonzero(speech[: speech.size - phrase.size + 1] == phrase[0])
    return any(np.array_equal(speech[at : at + phrase.size], phrase) for at in starts)


def test_a_language_that_no_code_knows_is_spoken_on_a_walk(tmp_path: Path) -> None:
    own, wav = made_up.write(tmp_path / "languages", announcements()), tmp_path / "speech.wav"
    needed: dict[str, Any] = {"voice__language": made_up.CODE, "voice__languages": str(own)}
    done = run(tmp_path, StoryModel(curb_then_pole), voice__speech=str(wav), **needed)
    words = {caption["text"]: caption["words"] for caption in done.captions}
    assert words == {
        "Guidance ready.": "Ecnadiug ydaer.",
        "Stop, curb ahead.": "Pots, bruc daeha.",
        "Caution, pole on the left.": "Noituac, elop no eht tfel.",
    }
    assert [told["words"] for told in done.report["guidance"]] == [*words.values()][1:]
    with wave.open(str(wav)) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    voice = Espeak(voice="en-us")
    assert contains(speech, voice.render("Pots, bruc daeha.", 165))
    assert not contains(speech, voice.render("Stop, curb ahead.", 165))


def test_on_a_walk_in_english_nothing_is_written_twice(tmp_path: Path) -> None:
    assert all("words" not in caption for caption in run(tmp_path, StoryModel(curb_then_pole)).captions)


def test_a_language_that_is_not_there_is_refused_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'fr'.*There are: de \(Deutsch\), en \(English\), es \(Español\)"):
        config(tmp_path, tmp_path, voice__language="fr")


def test_every_announcement_in_the_code_is_rendered_and_checked_beforehand() -> None:
    """A text that is not in SAID_BEFOREHAND (device/agent/run.py) is late when it is spoken first, and in English."""
    assert sorted({*in_the_code()} - {*announcements()}) == []


@pytest.mark.parametrize("code", packaged())
def test_every_announcement_has_words_in_each_language(tmp_path: Path, code: str) -> None:
    found = check_language(config(tmp_path, tmp_path, voice__language=code), SystemClock())
    assert found.ok, found.do.replace("; ", "\n")


def test_the_selftest_fails_where_a_text_would_be_spoken_in_english(tmp_path: Path) -> None:
    lacking = [text for text in announcements() if text != "Storage full."]
    own = made_up.write(tmp_path / "languages", lacking)
    chosen = config(tmp_path, tmp_path, voice__language=made_up.CODE, voice__languages=str(own))
    found = check_language(chosen, SystemClock())
    assert not found.ok
    file = own / made_up.CODE / "announcements.toml"
    assert found.do == f'{file}: [texts] has no entry for \'Storage full.\'. Add: "Storage full." = "..."'


@needs_espeak
def test_the_sentinel_is_given_its_sentences_in_the_wearers_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, Any] = {"capture__pace": "real", "voice__speech": "speakers", "sentinel__when": "always"}
    with parts(tmp_path, voice__language="de", **wanted) as made:
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))  # systemd starts the sentinel
        _, keeper = watching.made(made, lambda: 0, lambda: True)
        assert keeper is not None
        keeper.tick()
        samples, rate_hz = decode_wav((made.state_dir / "sentinel" / "stopped.wav").read_bytes())
    said = Espeak(voice="de").render("Führung ausgefallen.", made.config.voice.words_per_minute)
    assert rate_hz == SPEECH_RATE_HZ
    assert np.array_equal(to_int16(samples), said)
