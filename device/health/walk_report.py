"""What a person, a test or the demo sees of a walk: captions while it goes, a report file when it is over."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from device.capture.source import VideoFrame
from device.guidance.history import Spoken
from shared import atomic
from shared.background import Background

logger = logging.getLogger(__name__)

MOST_WAITING = 256
MOST_VIBRATIONS = MOST_SAID = 5000
MOST_NAMED = 20_000  # 0.1 KB each
MOST_LATE = 54_000  # lateness of the pictures of the last hour at 15 fps
CLOSE_S = 3.0
TIERS = (1, 2, 3)
Words = Callable[[str], str]
"""A canonical text -> as it is spoken in the wearer's language."""


def as_it_is(text: str) -> str:
    return text


STYLES = {1: "bold red", 2: "yellow", 3: "cyan"}


class Captions:
    """One line per utterance in the terminal, and one JSON line each in a file that others may follow.

    Written by a thread of its own: a terminal that is paused (Ctrl-S) or a pipe that nobody reads must not hold up
    guidance.
    """

    def __init__(self, *, file: Path | None = None, console: Console | None = None, words: Words = as_it_is) -> None:
        self._console = console
        self._words = words
        self._path = file
        self._file: IO[str] | None = None
        self._lines: queue.Queue[tuple[Spoken, str] | Text | None] = queue.Queue(MOST_WAITING)
        self._work = Background(self._run, name="captions")

    def open(self) -> None:
        """Raises: OSError where the file cannot be written; the terminal has its lines all the same."""
        self._work.start()
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - kept open until close()

    def show(self, spoken: Spoken, chunk: str) -> None:
        """Soon; returns at once. Where too many wait, this one is left out."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait((spoken, chunk))

    def note(self, text: str, *, style: str = "") -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(Text(text, style=style))

    def close(self) -> None:
        """Write what waits. May be called again."""
        if self._work.is_alive:
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=CLOSE_S)
        if self._work.close(CLOSE_S) and self._file is not None:
            self._file.close()
            self._file = None

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, Text):
                self._print(line)
                continue
            if self._file is not None:
                self._append(self._file, *line)
            self._print(shown(line[0], self._words))

    def _append(self, file: IO[str], spoken: Spoken, chunk: str) -> None:
        """A disk that is full costs the file, not the walk."""
        try:
            file.write(json.dumps(entry(spoken, chunk, self._words), ensure_ascii=False) + "\n")
            file.flush()
        except OSError as error:
            logger.warning("A caption could not be written: %s", error)

    def _print(self, line: Text) -> None:
        if self._console is None:
            return
        try:
            self._console.print(line)
        except (OSError, SystemExit) as error:  # the terminal or the program at the other end of the pipe is gone
            logger.warning("Captions are no longer shown: %s", error)
            self._console = None


def shown(spoken: Spoken, words: Words = as_it_is) -> Text:
    """An utterance as the terminal has it: as it is heard."""
    line = Text(f"{int(spoken.t_s) // 60:02d}:{spoken.t_s % 60:04.1f}  ", style="dim")
    return line.append(words(spoken.text), style=STYLES[spoken.tier] if spoken.is_guidance else "dim")


def entry(spoken: Spoken, chunk: str, words: Words = as_it_is) -> dict[str, Any]:
    """An utterance as the caption file and the report have it: its canonical text, and the words that were heard
    where these differ."""
    said = words(spoken.text)
    return {
        "chunk": chunk,
        "t_s": round(spoken.t_s, 3),
        "text": spoken.text,
        **({} if said == spoken.text else {"words": said}),
        "tier": spoken.tier,
        "confidence": round(spoken.confidence, 4),
        "why": spoken.why,
        "model_version": spoken.model_version,
    }


class RecentTimes:
    """The last `most` times, in 4 bytes each: a walk of a day takes no more memory than one of an hour."""

    def __init__(self, most: int) -> None:
        self._times = np.zeros(most, np.float32)
        self._count = 0

    def add(self, time_s: float) -> None:
        self._times[self._count % self._times.size] = time_s
        self._count += 1

    @property
    def values(self) -> list[float]:
        """In no particular order."""
        found: list[float] = self._times[: self._count].tolist()
        return found


@dataclass(slots=True)
class WalkReport:
    """Collected from several threads; written once at the end. Of weeks it has the last of each kind."""

    walk: str
    device: str
    source: str
    words: Words = as_it_is
    guidance: deque[tuple[Spoken, str]] = field(default_factory=lambda: deque(maxlen=MOST_SAID))
    """What was said about pictures, each with its chunk."""
    flagged: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NAMED))
    """Ids of chunks that are durable in the outbox."""
    corrections: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NAMED))
    erased: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NAMED))
    """Ids of those that the wearer had erased again; they are in neither of the two above."""
    kept: int = 0
    """How many are or were in the first two, but for those that were erased."""
    announced: deque[tuple[Spoken, str]] = field(default_factory=lambda: deque(maxlen=MOST_SAID))
    """State changes that were spoken, in the same way."""
    vibrations: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_VIBRATIONS))
    """What was felt, the last ones."""
    late_s: RecentTimes = field(default_factory=lambda: RecentTimes(MOST_LATE))
    """How long after its shutter each picture reached the agent; only the capture thread adds to it."""
    source_name: str = ""
    frames_seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def said(self, spoken: Spoken, chunk: str) -> None:
        with self._lock:
            (self.guidance if spoken.is_guidance else self.announced).append((spoken, chunk))

    def sealed(self, record_id: str, *, correction: bool) -> None:
        with self._lock:
            (self.corrections if correction else self.flagged).append(record_id)
            self.kept += 1

    def erase(self, record_ids: Collection[str]) -> None:
        with self._lock:
            self.erased += [name for name in record_ids if name not in self.erased]
            for names in (self.flagged, self.corrections):
                left = [name for name in names if name not in record_ids]
                self.kept -= len(names) - len(left)
                names.clear()
                names.extend(left)

    def felt(self, side: str, tier: int, times: tuple[float | None, float, float]) -> None:
        """A motor was driven. times: monotonic, of the shutter, of the decision, and of the last byte to it."""
        taken_s, asked_s, driven_s = times
        to_motor_ms = None if taken_s is None else round((driven_s - taken_s) * 1000, 1)
        entry = {"side": side, "urgency": tier, "time_to_motor_ms": to_motor_ms}
        with self._lock:
            self.vibrations.append(entry | {"decided_to_motor_ms": round((driven_s - asked_s) * 1000, 1)})

    def took(self, frame: VideoFrame, now_s: float) -> None:
        self.frames_seen += 1
        if frame.taken_s is not None:
            self.late_s.add(now_s - frame.taken_s)

    def write(self, path: Path, heard: Mapping[int, Spoken], **more: Any) -> None:
        """Write the report atomically. heard: as the journal has it; more: counters and facts of the walk.

        raises: OSError
        """
        with self._lock:
            value = {
                "walk": self.walk,
                "device": self.device,
                "source": self.source,
                **more,
                "guidance": [self._entry(*said, heard) for said in self.guidance],
                "announced": [self._entry(*said, heard) for said in self.announced],
                "vibrations": list(self.vibrations),
                "picture_late_ms": percentiles_ms(self.late_s.values),
                **times_to_speech_ms(heard.values()),
                "flagged": list(self.flagged),
                "corrections": list(self.corrections),
                **({"erased": list(self.erased)} if self.erased else {}),
            }
        atomic.write_json(path, value)

    def _entry(self, spoken: Spoken, chunk: str, heard: Mapping[int, Spoken]) -> dict[str, Any]:
        return entry(spoken, chunk, self.words) | _sounded(heard.get(spoken.utterance))


def _sounded(heard: Spoken | None) -> dict[str, Any]:
    """What the report adds to an utterance; null where it was not heard, or is not about a picture."""
    if heard is None or heard.heard_s is None:
        return {"heard_s": None, "time_to_speech_ms": None, "time_to_words_ms": None}
    times_s = (heard.time_to_speech_s, heard.time_to_words_s)
    to_speech, to_words = (None if time_s is None else round(time_s * 1000, 1) for time_s in times_s)
    return {"heard_s": round(heard.heard_s, 3), "time_to_speech_ms": to_speech, "time_to_words_ms": to_words}


def times_to_speech_ms(heard: Collection[Spoken]) -> dict[str, dict[str, Any]]:
    """Shutter to the first sample, and to the first one of the words: of all guidance that was heard, and by tier."""
    pairs = {
        "time_to_speech_ms": [(spoken.tier, spoken.time_to_speech_s) for spoken in heard],
        "time_to_words_ms": [(spoken.tier, spoken.time_to_words_s) for spoken in heard],
    }
    return {
        name: percentiles_ms(_times(of)) | {f"tier_{tier}": percentiles_ms(_times(of, tier)) for tier in TIERS}
        for name, of in pairs.items()
    }


def _times(pairs: Collection[tuple[int, float | None]], tier: int | None = None) -> list[float]:
    return [time_s for of, time_s in pairs if time_s is not None and tier in (None, of)]


def percentiles_ms(times_s: Collection[float]) -> dict[str, Any]:
    """p50, p95 and p99 in milliseconds; null where there is nothing to count."""
    if not times_s:
        return {"count": 0, "p50": None, "p95": None, "p99": None}
    p50, p95, p99 = (round(float(at), 1) for at in np.percentile(np.array(times_s) * 1000, [50, 95, 99]))
    return {"count": len(times_s), "p50": p50, "p95": p95, "p99": p99}
