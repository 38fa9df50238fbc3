"""How far a loop is, on disk: what is written here is not done again after Ctrl-C, a kill or a power cut."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from shared import atomic

FILE = "state.json"


@dataclass(slots=True)
class Progress:
    """Written after every step that is done."""

    asked: dict[str, Any] = field(default_factory=dict)
    """What the loop was started with: another loop goes on from nothing of it."""
    judged: bool = False
    """Whether the walks that models are judged on are there."""
    begun: dict[str, Any] = field(default_factory=dict)
    """Of the night that is under way: its number, the champion and the versions that there were before it."""
    nights: list[dict[str, Any]] = field(default_factory=list)
    """Those that are over, as the report has them."""
    truths: dict[str, str] = field(default_factory=dict)
    """Moment → what is right of it, of all that a careful person labelled for teaching."""
    labels: dict[str, str] = field(default_factory=dict)
    """Moment → what that person said."""
    right: int = 0
    chunks: int = 0
    """Of all that devices saw, kept or not."""
    seconds: float = 0.0
    """That earlier runs took."""
    queue: dict[str, Any] = field(default_factory=dict)
    """What was measured of the queue."""
    audit: dict[str, Any] = field(default_factory=dict)
    adapters: dict[str, Any] = field(default_factory=dict)
    """Wearer → what an adapter of their own gains; without those who have too few moments."""
    whole: bool = False

    @property
    def wrong(self) -> list[str]:
        """Moments with a mistake in them that a careful person made."""
        return sorted(name for name, text in self.labels.items() if text != self.truths[name])

    def write(self, out: Path) -> None:
        """Raises: OSError."""
        atomic.write_json(out / FILE, asdict(self))


def read(out: Path, asked: dict[str, Any]) -> Progress | None:
    """What there is to go on with: an unfinished loop that was asked for the same; None = nothing."""
    try:
        value = json.loads((out / FILE).read_bytes())
        known = {item.name for item in fields(Progress)}
        found = Progress(**{name: value[name] for name in known & value.keys()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if found.asked == asked and not found.whole else None
