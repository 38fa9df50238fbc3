"""libasound's own lines on stderr, from a process that makes it complain again and again."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys

import pytest

from tests.paths import ROOT

COMPLAINS = """
import ctypes, logging, sys
from device.voice import alsa_lines
logging.basicConfig()
if sys.argv[1] == "once":
    alsa_lines.each_kind_once()
    alsa_lines.each_kind_once()
library, pcm = ctypes.CDLL("libasound.so.2"), ctypes.c_void_p()
for number in range(50):
    assert library.snd_pcm_open(ctypes.byref(pcm), b"no-such-output", 0, 0) < 0
"""


@pytest.mark.skipif(ctypes.util.find_library("asound") is None, reason="there is no libasound (apt install libasound2)")
def test_a_complaint_of_alsas_is_written_once_and_not_a_hundred_times_a_second() -> None:
    def lines(how: str) -> list[str]:
        command = [sys.executable, "-c", COMPLAINS, how]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr.splitlines()

    assert len(lines("always")) >= 50, "ALSA no longer writes by itself: is this still needed?"
    once = lines("once")
    assert len(once) <= 3
    assert any("Unknown PCM" in line for line in once)
