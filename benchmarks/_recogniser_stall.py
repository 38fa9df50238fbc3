"""For how long the other threads of a process stand still while a correction is put into words: here, and apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from server.speech import ApartTranscriber, open_transcriber
from server.speech.requests import RecogniserOptions
from shared.background import Background
from shared.clock import SystemClock
from tests.shared.speech.voices import say

SAID = ("Caution, cone on the left.", "bicycle on the right", "Stop, curb ahead.")
TICK_S = 0.005


def measured() -> dict[str, float]:
    """The longest stall of a thread that wants to run every 5 ms, in seconds, in one run: with the recogniser in this
    process, with it apart, and with none. The rest is the machine's."""
    sounds = [say(text) for text in SAID]
    here, apart = open_transcriber("pocketsphinx"), ApartTranscriber(RecogniserOptions("pocketsphinx"), SystemClock())
    try:
        here.transcribe(sounds[0])  # loading is not measured
        apart.transcribe(sounds[0])
        return {
            "here_s": longest(lambda: [here.transcribe(one) for one in sounds]),
            "apart_s": longest(lambda: [apart.transcribe(one) for one in sounds]),
            "idle_s": longest(lambda: time.sleep(3)),
        }
    finally:
        apart.close()


def longest(work: Callable[[], object]) -> float:
    """The longest time between two ticks while `work` runs on another thread."""
    done = threading.Event()

    def run() -> None:
        try:
            work()
        finally:
            done.set()

    worker, worst, before_s = Background(run, name="work"), 0.0, time.monotonic()
    worker.start()
    while not done.wait(TICK_S):
        now_s = time.monotonic()
        worst, before_s = max(worst, now_s - before_s), now_s
    worst = max(worst, time.monotonic() - before_s)
    worker.close()
    return round(worst, 3)
