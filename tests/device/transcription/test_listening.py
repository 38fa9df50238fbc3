"""The process that listens to one correction: what it understands, how it stands back, and how it may end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.transcription import child
from device.transcription.listening import CHILD, ListenPlan, listen
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import SystemClock
from shared.errors import ConfigError, MediaError
from shared.speech import acoustic
from tests.pulse import until
from tests.shared.speech.voices import as_wav, needs_espeak, say

SLOWLY = 60.0  # on a machine that does other things


def heard(wav: bytes, plan: ListenPlan) -> tuple[str, str] | None:
    words = listen(wav, plan, SystemClock(), may_go_on=lambda: True)
    return None if words is None else (words.text, words.meaning)


def program(text: str, most_s: float = SLOWLY) -> ListenPlan:
    """Another process in the place of the recogniser's."""
    return ListenPlan(command=(sys.executable, "-c", text), most_s=most_s)


@needs_espeak
def test_words_come_back_with_their_meaning_and_what_they_cost() -> None:
    words = listen(say("cone on the left"), ListenPlan(most_s=SLOWLY), SystemClock(), may_go_on=lambda: True)
    assert words is not None
    assert (words.text, words.meaning) == ("cone on the left", "Caution, cone on the left.")
    assert words.confidence >= 0.6
    assert 0 < words.processor_s < 30
    assert 30 < words.memory_mb < 300


def test_a_sound_without_words_is_not_understood_and_a_file_that_is_none_says_why() -> None:
    assert heard(as_wav(np.zeros(SAMPLE_RATE_HZ)), ListenPlan(most_s=SLOWLY)) == ("", "")
    with pytest.raises(MediaError, match=r"WAV|sound"):
        heard(b"RIFF\x00\x00\x00\x00WAVEjunk", ListenPlan(most_s=SLOWLY))


def test_it_stands_back_before_it_loads_anything() -> None:
    """Looked at from outside, while it waits for its sound."""
    options = json.dumps({"language": "en", "languages": "", "model": ""})
    with subprocess.Popen([*CHILD, options], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        own = Path(f"/proc/{process.pid}")
        try:
            until(lambda: (own / "oom_score_adj").read_text().strip() == "1000", "a process that may be killed first")
            nice = int((own / "stat").read_text().rpartition(")")[2].split()[16])
            assert nice == min(19, os.getpriority(os.PRIO_PROCESS, 0) + child.NICER)
            until(lambda: f" {child.MOST_DATA_BYTES} " in (own / "limits").read_text(), "a bound of its memory")
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("import os; os._exit(7)", "ended with status 7"),
        ("import sys; sys.exit('no memory')", "no memory"),
        ("print('{')", "answered something else"),
        ("""print('{"text": "x", "meaning": "y", "confidence": 7}')""", "answered something else"),
        ("print('x' * 100_000)", "answered something else"),
    ],
)
def test_however_it_ends_the_reason_is_told(text: str, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        heard(b"", program(text))


def test_a_long_sound_reaches_a_process_that_is_slow_to_take_it_whole() -> None:
    slow = "import json, sys, threading; threading.Event().wait(0.7); n = len(sys.stdin.buffer.read())"
    answer = """print(json.dumps({"text": str(n), "meaning": "", "confidence": 0.0}))"""
    assert heard(b"x" * 1_000_000, program(f"{slow}; {answer}")) == ("1000000", "")


def test_one_that_hangs_is_ended_and_one_that_is_no_longer_wanted_too() -> None:
    hangs = "import signal; signal.pause()"
    with pytest.raises(MediaError, match="did not come to an end"):
        heard(b"x" * 1_000_000, program(hangs, most_s=0.3))
    assert listen(b"x" * 1_000_000, program(hangs), SystemClock(), may_go_on=lambda: False) is None


def test_what_is_missing_is_found_without_loading_a_recogniser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ListenPlan().check()
    with pytest.raises(ConfigError, match="model of English, and Deutsch is spoken"):
        ListenPlan("de").check()
    with pytest.raises(ConfigError, match="holds 0 acoustic models"):
        ListenPlan("es", model=str(tmp_path)).check()
    monkeypatch.setattr(acoustic, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pocketsphinx is not installed"):
        ListenPlan().check()


def test_an_agent_that_is_to_listen_loads_no_recogniser_itself() -> None:
    """It is 80 MB, and is not there at all where the extra is not installed."""
    code = (
        "import sys; sys.modules['pocketsphinx'] = None\n"
        "import device.agent.run, device.commands.main, device.transcription.child, shared.speech.sphinx\n"
        "assert sys.modules['pocketsphinx'] is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_torn_model_ends_the_process_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mdef").write_bytes(b"torn")
    (tmp_path / "own.dict").write_text("apfel AE P AH L\n")
    plan = ListenPlan("de", model=str(tmp_path), most_s=SLOWLY)
    plan.check()
    with pytest.raises(MediaError, match="is no acoustic model that pocketsphinx reads"):
        heard(b"", plan)


@needs_espeak
def test_another_language_is_heard_with_a_model_of_it(tmp_path: Path) -> None:
    """The English model in the place of one of German, with a dictionary of the few words that are said."""
    import pocketsphinx

    shutil.copytree(Path(pocketsphinx.get_model_path()) / "en-us" / "en-us", tmp_path / "de")
    (tmp_path / "de.dict").write_text("mülltonne M Y UW L T AO N AH\nlinks L IH NG K S\nrechts R EH K T S\n")
    assert heard(say("mew l tonna, links"), ListenPlan("de", model=str(tmp_path), most_s=SLOWLY)) == (
        "mülltonne links",
        "Caution, bin on the left.",
    )
