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

from device.updates.state import LINK, LOCAL, PHASES, Denied, Progress, State
from shared import atomic, messages, strict
from shared.errors import MessageError
from shared.messages import Offer
from shared.transfer import Ranges

STATE_NAME, DENIED_NAME = "update.json", "denied.json"
FORMAT = 1
_log = logging.getLogger(__name__)


def save_state(models: Path, state: State) -> None:
    """Durable when it returns. Raises: OSError."""
    value = {
        "format": FORMAT,
        "phase": state.phase,
        "offered": _offer_out(state.offered),
        "target": _offer_out(state.target),
        "origin": state.origin,
        "progress": {
            path: {"sha256": one.sha256, "ranges": [list(span) for span in one.have.spans]}
            for path, one in sorted(state.progress.items())
        },
        "bad": dict(state.bad),
        "tests": state.tests,
        "looks": state.looks,
        "starts": state.starts,
        "problem": state.problem,
        "reason": state.reason,
        "proven": _offer_out(state.proven),
        "told": state.told,
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
    if value["format"] != FORMAT or value["phase"] not in PHASES or value["origin"] not in (LINK, LOCAL):
        raise ValueError("not a state that this version writes")
    progress = {
        str(path): Progress(str(one["sha256"]), Ranges.of((int(a), int(b)) for a, b in one["ranges"]))
        for path, one in value["progress"].items()
    }
    return State(
        phase=value["phase"],
        offered=_offer_in(value["offered"]),
        target=_offer_in(value["target"]),
        origin=value["origin"],
        progress=progress,
        bad={str(path): int(count) for path, count in value["bad"].items()},
        tests=int(value["tests"]),
        looks=int(value["looks"]),
        starts=int(value["starts"]),
        problem=str(value["problem"]),
        reason=str(value["reason"]),
        proven=_offer_in(value.get("proven")),
        told=str(value.get("told", "")),
    )


def save_denied(models: Path, denied: tuple[Denied, ...]) -> None:
    """Durable when it returns. Raises: OSError."""
    atomic.write_json(models / DENIED_NAME, {"format": FORMAT, "denied": [messages.to_dict(one) for one in denied]})


def load_denied(models: Path) -> tuple[Denied, ...]:
    """The deny list; empty where there is none or it cannot be read. Raises: OSError."""
    value = _load(models / DENIED_NAME)
    if value is None:
        return ()
    try:
        if value["format"] != FORMAT:
            raise ValueError("not a list that this version writes")
        return tuple(strict.read(Denied, one) for one in value["denied"])
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
    _log.warning("%s cannot be read (%r). It is kept as %s; the update starts anew.", path, error, aside.name)
    os.replace(path, aside)
