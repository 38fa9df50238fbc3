"""How much a language model has been asked in this day or night, kept over restarts. Pure but for `load` and `save`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from server.review.llm_settings import LlmSettings
from shared import atomic

NAME = "llm_used.json"


@dataclass(frozen=True, slots=True)
class Used:
    """Calls and tokens of one span."""

    span: str = ""
    """"2026-11-29 day" or "2026-11-29 night": of the date on which it began."""
    calls: int = 0
    tokens: int = 0


def span_of(now: datetime, settings: LlmSettings) -> str:
    """The day or night of a local time; a night has the date of its evening. Pure."""
    begin, end, hour = settings.night_from, settings.night_to, now.hour
    over_midnight = begin > end
    night = (hour >= begin or hour < end) if over_midnight else begin <= hour < end
    evening = now - timedelta(days=1) if night and over_midnight and hour < end else now
    return f"{evening.date().isoformat()} {'night' if night else 'day'}"


def allows(used: Used, tokens: int, settings: LlmSettings) -> bool:
    """Whether one more call of so many tokens is within the bounds. Pure."""
    night = used.span.endswith("night")
    calls, most = (settings.night_calls, settings.night_tokens) if night else (settings.day_calls, settings.day_tokens)
    return used.calls + 1 <= calls and used.tokens + tokens <= most


def at(used: Used, span: str) -> Used:
    """What was used in a span: nothing yet, where it has just begun. Pure."""
    return used if used.span == span else Used(span)


def spent(used: Used, *, calls: int = 0, tokens: int = 0) -> Used:
    """With so many more, or fewer where an estimate was too high. Pure."""
    return replace(used, calls=used.calls + calls, tokens=max(0, used.tokens + tokens))


def load(home: Path) -> Used:
    """What the file says; a broken one says nothing, and the span begins anew. Raises: OSError."""
    try:
        value = json.loads((home / NAME).read_bytes())
        used = Used(str(value["span"]), int(value["calls"]), int(value["tokens"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return Used()
    return used if used.calls >= 0 and used.tokens >= 0 else Used()


def save(home: Path, used: Used) -> None:
    """Raises: OSError."""
    atomic.write_json(home / NAME, asdict(used))
