"""A server that ends while a sound is tried for the second time: the sound is not to blame."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from server.speech.apart import ApartTranscriber
from server.speech.requests import RecogniserOptions
from shared.clock import SystemClock
from shared.errors import Transient
from tests.pulse import until

# Ends at once the first time; then is silent until it is killed.
CHILD = """
import pathlib, signal, sys
tries = pathlib.Path(sys.argv[1])
if not tries.exists():
    tries.touch()
    raise SystemExit(3)
tries.with_suffix(".second").touch()
signal.pause()
"""


def test_the_end_of_the_server_is_not_counted_against_the_sound(tmp_path: Path) -> None:
    command = (sys.executable, "-c", CHILD, str(tmp_path / "tries"))
    ear = ApartTranscriber(RecogniserOptions("auto", "", "en", "", str(tmp_path)), SystemClock(), command=command)
    raised: list[BaseException] = []

    def listen() -> None:
        with pytest.raises(Exception) as found:
            ear.transcribe(b"RIFF")
        raised.append(found.value)

    thread = threading.Thread(target=listen)
    thread.start()
    until((tmp_path / "tries.second").exists, "the second try", timeout_s=60)
    ear.close()
    thread.join(60)
    assert [type(error) for error in raised] == [Transient]
