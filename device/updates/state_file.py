"""update.json and denied.json: where an update stands, across restarts.

Both are written whole through shared.atomic. One that cannot be read is set aside and the update starts anew: the model
in use is named by a link, not by these files, so nothing that guides a walk depends on them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device.updates.state import Denied, FileProgress, State, UpdatePhase
from shared import atomic, messages, strict
from shared.errors import MessageError
from shared.messages import Offer
from shared.transfer import Ranges

STATE_NAME, DENIED_NAME = "update.json", "denied.json"
FORMAT = 1
ORIGIN = "link"  # the only one; a reader of format 1 asks for it
logger = logging.getLogger(__name__)


def save_state(models: Path, state: State) -> None:
    """Durable when it returns. Raises: OSError."""
    value = {
        "format": FORMAT,
        "phase": state.phase,
        "offered": _offer_out(state.offered),
        "target": _offer_out(state.target),
        "origin": ORIGIN,
        "progress": {
            path: {"sha256": file.sha256, "ranges": [list(span) for span in file.synced.spans]}
            for path, file in sorted(state.progress.items())
        },
        "bad": dict(state.bad),
        "tests": state.tests,
        "looks": state.looks,
        "starts": state.starts,
        "problem": state.problem or "",
        "reason": state.reason or "",
        "proven": _offer_out(state.proven),
        "told": state.announced or "",
    }
    atomic.write_json(models / STATE_NAME, value)


def load_state(models: Path) -> State:
    """The saved state; a fresh one where there is none or it cannot be read. Raises: OSError."""
    value = _load(models / STATE_NAME)
    if value is None:
        return State()
    try:
        return _state_in(value)
    except (KeyError, TypeError, ValueError, AttributeError, MessageError) as error:
        _set_aside(models / STATE_NAME, error)
        return State()


def _state_in(value: Mapping[str, Any]) -> State:
    phase, target = UpdatePhase(value["phase"]), _offer_in(value["target"])
    if value["format"] != FORMAT or value["origin"] != ORIGIN or (target is None and phase != UpdatePhase.IDLE):
        raise ValueError("not a state that this version writes")
    return State(
        phase=phase,
        offered=_offer_in(value["offered"]),
        target=target,
        progress={str(path): _progress_in(file) for path, file in value["progress"].items()},
        bad={str(path): int(count) for path, count in value["bad"].items()},
        tests=int(value["tests"]),
        looks=int(value["looks"]),
        starts=int(value["starts"]),
        problem=str(value["problem"]) or None,
        reason=str(value["reason"]) or None,
        proven=_offer_in(value.get("proven")),
        announced=str(value.get("told", "")) or None,
    )


def _progress_in(value: Mapping[str, Any]) -> FileProgress:
    return FileProgress(str(value["sha256"]), Ranges.of((int(start), int(stop)) for start, stop in value["ranges"]))


def save_denied(models: Path, denied: tuple[Denied, ...]) -> None:
    """Durable when it returns. Raises: OSError."""
    atomic.write_json(models / DENIED_NAME, {"format": FORMAT, "denied": [messages.to_dict(item) for item in denied]})


def load_denied(models: Path) -> tuple[Denied, ...]:
    """The deny list; empty where there is none or it cannot be read. Raises: OSError."""
    value = _load(models / DENIED_NAME)
    if value is None:
        return ()
    try:
        if value["format"] != FORMAT:
            raise ValueError("not a list that this version writes")
        return tuple(strict.read(Denied, item) for item in value["denied"])
    except (KeyError, TypeError, ValueError, MessageError) as error:
        _set_aside(models / DENIED_NAME, error)
        return ()


def _offer_out(offer: Offer | None) -> dict[str, Any] | None:
    return None if offer is None else messages.to_dict(offer)


def _offer_in(value: Any) -> Offer | None:
    return None if value is None else strict.read(Offer, value)


def _load(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("an object was expected")
        json.dumps(value, ensure_ascii=False).encode()  # half a character could be read, and never saved again
        return value
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        _set_aside(path, error)
        return None


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + ".broken")
    logger.warning("%s cannot be read (%r). It is kept as %s; the update starts anew.", path, error, aside.name)
    os.replace(path, aside)
