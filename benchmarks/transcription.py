"""What it costs to put one correction into words on the device, and what is understood.

    make bench NAME=transcription     about a minute; writes build/bench/transcription.json

Spoken corrections (espeak-ng's voices) one after the other through the very process that a device starts for each:
its processor time and its peak of memory, loading included, and the time until its words were there, which a busy
machine makes longer. "Loading" is the same process without a sound.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from device.transcription.listening import ListenPlan, ListenResult, listen
from shared import atomic, vocabulary
from shared.clock import SystemClock
from tests.shared.speech.voices import say

OUT = Path("build/bench/transcription.json")
PATIENCE_S = 300.0  # on a machine that does other things, what is measured is processor time
VOICES = ("en-us", "en-gb", "en-us+f3")
SAID = (
    "Caution, cone on the left.", "Stop, curb ahead.", "bicycle on the right", "bin ahead", "there is a pole ahead",
    "nothing there", "Caution, dog on the left.", "stairs down ahead",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListenCost:
    """Of one sound."""

    said: str
    understood: str
    processor_s: float
    took_s: float
    memory_mb: float


def cost(text: str, voice: str | None) -> ListenCost:
    """text: what is said; with voice None only the recogniser is loaded."""
    clock = SystemClock()
    wav = b"" if voice is None else say(text, voice=voice)
    began_s = clock.monotonic_s()
    words = listen(wav, ListenPlan(most_s=PATIENCE_S), clock, may_go_on=lambda: True)
    assert isinstance(words, ListenResult)
    took_s = round(clock.monotonic_s() - began_s, 3)
    return ListenCost(text, words.meaning, words.processor_s, took_s, words.memory_mb)


def spread(costs: Sequence[ListenCost]) -> dict[str, float]:
    """The middle and the worst."""
    return {
        "processor_s": statistics.median(one.processor_s for one in costs),
        "processor_s_max": max(one.processor_s for one in costs),
        "took_s": statistics.median(one.took_s for one in costs),
        "took_s_max": max(one.took_s for one in costs),
        "memory_mb_max": max(one.memory_mb for one in costs),
    }


def meant(text: str) -> str:
    return vocabulary.CLEAR if text == "nothing there" else vocabulary.normalise(text) or ""


def main() -> None:
    """Measure, print and write."""
    loading = [cost("", None) for _ in range(3)]
    heard = [cost(text, voice) for text in SAID for voice in VOICES]
    right = sum(one.understood == meant(one.said) for one in heard)
    wrong = sum(one.understood not in ("", meant(one.said)) for one in heard)
    measured = {
        "machine": platform.machine(),
        "loading": spread(loading),
        "correction": spread(heard),
        "sentences": len(heard),
        "understood": right,
        "taken_for_something_else": wrong,
        "all": [asdict(one) for one in heard],
    }
    atomic.write_json(OUT, measured)
    table = Table("", "processor s", "at most", "took s", "at most", "MB", title="one correction on the device")
    for name, costs in (("loading", loading), ("a correction", heard)):
        table.add_row(name, *(f"{value:.2f}" for value in spread(costs).values()))
    console = Console()
    console.print(table)
    console.print(f"{right} of {len(heard)} understood, {wrong} taken for something else. {OUT} is written.")


if __name__ == "__main__":
    main()
