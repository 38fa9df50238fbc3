"""What `run` and `ingest` write to their log: as text or as JSON, from a level on, and rationed.

Rules that it keeps:

1. waycue's own lines come from the level of the settings on; those of libraries from WARNING on, or that level where it
   is higher.
2. A line of one kind (logger and message before its values are put in) comes at most BURST times at once and then every
   REFILL_S: who attacks the page must not fill the disk. The next one that comes tells how many were left out. Of what
   strangers can bring a logger of STRANGERS to say, less comes.
3. Text from outside cannot end a line or move a terminal's cursor: control characters are written as escapes.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

from shared.clock import Clock, SystemClock
from shared.token_bucket import RateLimiter

BURST, REFILL_S = 20, 6.0
STRANGERS = ("uvicorn.error", "asyncio")
"""Loggers that write what whoever reaches the page sends: it need not be logged in."""
STRANGERS_BURST, STRANGERS_REFILL_S = 5, 12.0
STRANGERS_KIND = 40
"""Letters of a message that tell its kind there: the rest may be what was sent."""
KINDS_MOST = 2000
OWN = ("server", "shared", "exporters", "device")
LEFT_OUT = "left_out"
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


@dataclass(frozen=True, slots=True)
class LogSection:
    """What the log of `run` and `ingest` holds."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written: debug, info, warning or error. Libraries are held to warning."""
    format: Literal["text", "json"] = "text"
    """text, or json: an object a line with `at`, `level`, `logger` and `message`, and `trace` of an error."""


class Ration(logging.Filter):
    """Lets so many lines of a kind through, and counts the others. One for each handler, which holds a lock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._own = RateLimiter(rate_per_s=1 / REFILL_S, capacity=BURST, max_keys=KINDS_MOST)
        rate_per_s = 1 / STRANGERS_REFILL_S
        self._strangers = RateLimiter(rate_per_s=rate_per_s, capacity=STRANGERS_BURST, max_keys=KINDS_MOST)
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        strange = record.name in STRANGERS
        kind = f"{record.name}\0{str(record.msg)[: STRANGERS_KIND if strange else 400]}"
        rate = self._strangers if strange else self._own
        if not rate.allows(kind, self._clock.monotonic_s()):
            if kind in self._left_out or len(self._left_out) < KINDS_MOST:
                self._left_out[kind] += 1
            return False
        setattr(record, LEFT_OUT, self._left_out.pop(kind, 0))
        return True


class TextLines(logging.Formatter):
    """`WARNING server.broker.link: message`; a traceback below it. journald adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname} {record.name}: {_message(record)}".translate(_ESCAPES)
        trace = _trace(record, self)
        return f"{line}\n{trace}" if trace else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        value = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        trace = _trace(record, self)
        return json.dumps({**value, "trace": trace} if trace else value)


def set_up(settings: LogSection, *, stream: TextIO | None = None, clock: Clock | None = None) -> logging.Handler:
    """Take the root logger over. stream: standard error where none is given. Returns the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextLines())
    handler.addFilter(Ration(clock or SystemClock()))
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    return handler


def _message(record: logging.LogRecord) -> str:
    left_out = getattr(record, LEFT_OUT, 0)
    return record.getMessage() + (f" ({left_out} more of these were left out)" if left_out else "")


def _trace(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
