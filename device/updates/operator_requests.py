"""What a person asks of the updater from another process: `<state>/models/wish.json`, one request at a time.

The running agent holds the folder's lock and keeps the state in memory, so a command must not change the files beside
it. It leaves a request; the agent removes the file and then acts. A file that is no request is removed and logged.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from shared import atomic

NAME = "wish.json"
logger = logging.getLogger(__name__)


class RequestKind(StrEnum):
    """The values are written to wish.json."""

    ROLL_BACK = "roll_back"
    FORGIVE = "forgive"


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """version: the denied one that is to be tried again; None for a roll-back."""

    kind: RequestKind
    version: str | None = None


def leave(models: Path, request: OperatorRequest) -> None:
    """Durable when it returns. Raises: OSError."""
    atomic.write_bytes(models / NAME, encode(request))


def encode(request: OperatorRequest) -> bytes:
    """The bytes of wish.json."""
    value = {"wish": request.kind, "version": request.version or "none"}
    return json.dumps(value, separators=(",", ":")).encode()


def take(models: Path) -> OperatorRequest | None:
    """Remove the request and return it. Raises: OSError."""
    path = models / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    path.unlink()  # first: whatever it says, it is acted on once
    try:
        value = json.loads(data)
        kind = RequestKind(value["wish"])
        return OperatorRequest(kind, str(value["version"]) if kind == RequestKind.FORGIVE else None)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        logger.warning("%s was not understood: %r", path, error)
        return None
