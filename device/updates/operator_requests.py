"""What a person asks of the updater from another process: `<state>/models/wish.json`, one wish at a time.

The running agent holds the folder's lock and keeps the state in memory, so a command must not change the files beside
it. It leaves a note; the agent takes it, removes it, and then acts. A note that is no wish is removed and logged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from device.updates.events import Event, Forgiven, RollBackAsked
from shared import atomic, messages
from shared.errors import MessageError

NAME = "wish.json"
ROLL_BACK, FORGIVE = "roll_back", "forgive"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """wish: roll_back | forgive (try `version` again)."""

    wish: str
    version: str = "none"

    def event(self) -> Event | None:
        """What it means for the updater; None = nothing."""
        events: dict[str, Event] = {ROLL_BACK: RollBackAsked(), FORGIVE: Forgiven(self.version)}
        return events.get(self.wish)


def leave(models: Path, wish: Wish) -> None:
    """Durable when it returns. Raises: OSError."""
    atomic.write_bytes(models / NAME, messages.encode(wish))


def take(models: Path) -> Event | None:
    """Remove the note and say what it asks for. Raises: OSError."""
    path = models / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    path.unlink()  # first: whatever it says, it is acted on once
    try:
        event = messages.decode(Wish, data).event()
    except MessageError as error:
        _log.warning("%s was not understood: %s", path, error)
        return None
    if event is None:
        _log.warning("%s asks for something that this version does not know.", path)
    return event
