"""`waycue-device models`: which models are on this device, going back to the one before, and trying a denied one again.

Works beside a running agent: that one is asked by a note (device.updates.operator_requests) and acts within a second.
Without one, the command does it itself. Both refuse to bring a model into use that is not whole.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from device import config as device_config
from device.config import Config
from device.updates import operator_requests
from device.updates.events import Event
from device.updates.operator_requests import FORGIVE, ROLL_BACK, Wish
from device.updates.slots import CURRENT, FOLDER, PREVIOUS, current_slot, identity, previous_slot
from device.updates.state import IDLE, PROBATION, Denied, State
from device.updates.state_file import load_denied, load_state
from device.updates.updater import Updater
from shared import bundle
from shared.clock import Clock
from shared.errors import BundleError, ConfigError, Refused, Transient

COMMAND = "models"
PATIENCE_S, POLL_S = 20.0, 0.1  # the updater may be hashing


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    parser = commands.add_parser(COMMAND, help="the models on this device: list them, go back, try a denied one again")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="in use, before it, under way, denied")
    back = actions.add_parser("rollback", help="go back to the model before; the one in use is denied by that")
    forgive = actions.add_parser("forget-denial", help="try a denied version again when it is offered")
    forgive.add_argument("version", help="a version of `models list`")
    for action in (listing, back, forgive):
        action.add_argument("--config", type=Path, metavar="FILE", help="settings (default: as for run)")
        action.add_argument("--state", metavar="DIR", help="folder for the outbox, models and phrases (device.state)")
        action.add_argument("--json", action="store_true", help="print the models as JSON, after what was done")


def run(config: Config, arguments: argparse.Namespace, clock: Clock) -> int:
    """Raises: WaycueError, OSError."""
    state_dir = device_config.state_folder(config)
    if arguments.action == "rollback":
        _roll_back(state_dir, clock)
    elif arguments.action == "forget-denial":
        _forgive(state_dir, arguments.version, clock)
    found = models(state_dir)
    print(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else "\n".join(told(found)))
    return 0


def models(state_dir: Path) -> dict[str, Any]:
    """What lies in the folder; nothing is changed, and an agent may be at work in it. Raises: OSError."""
    folder = state_dir / FOLDER
    state = load_state(folder) if folder.is_dir() else State()
    denied = load_denied(folder) if folder.is_dir() else ()
    return {
        CURRENT: _card(current_slot(state_dir)),
        PREVIOUS: _card(previous_slot(state_dir)),
        "update": {
            "phase": state.phase,
            "version": state.target.version if state.target is not None else "",
            "offered": state.offered.version if state.offered is not None else "",
            "problem": state.problem,
        },
        "denied": [{"version": one.version, "reason": one.reason} for one in denied],
    }


def _card(folder: Path | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    try:
        manifest = bundle.read_manifest(folder)
    except BundleError as error:
        return {"version": "damaged", "trouble": str(error)}
    return {
        "version": manifest.version,
        "base": manifest.base,
        "created_at_utc": manifest.created_at_utc,
        "intended_use": manifest.intended_use,
        "size_bytes": manifest.size_bytes,
        "manifest_sha256": identity(folder).manifest_sha256,
    }


def told(found: dict[str, Any]) -> list[str]:
    """The same in words."""
    lines = [f"in use:    {_words(found[CURRENT])}", f"before it: {_words(found[PREVIOUS])}"]
    update = found["update"]
    if update["phase"] != IDLE:
        lines.append(f"under way: {update['version']}, {update['phase'].replace('_', ' ')}")
    if update["problem"]:
        lines.append(f"problem:   {update['problem']}")
    return lines + [f"denied:    {one['version']}: {one['reason']}" for one in found["denied"]]


def _words(card: dict[str, Any] | None) -> str:
    if card is None:
        return "none"
    if "trouble" in card:
        return f"damaged: {card['trouble']}"
    return f"{card['version']} ({card['size_bytes'] / 1e6:.1f} MB, {card['intended_use']}, from {card['base']})"


def _roll_back(state_dir: Path, clock: Clock) -> None:
    before, after = previous_slot(state_dir), current_slot(state_dir)
    if before is None or after is None:
        raise Refused("There is no model before the one in use.", hint="See: waycue-device models list")
    try:
        wanted = bundle.verify(before).version
    except BundleError as error:
        raise Refused(f"The model before cannot be used: {error}") from None
    _ask(state_dir, Wish(ROLL_BACK), clock, done=lambda: current_slot(state_dir) == before)
    print(f"{wanted} is in use again.", file=sys.stderr)


def _forgive(state_dir: Path, version: str, clock: Clock) -> None:
    def listed() -> list[Denied]:
        return [one for one in load_denied(state_dir / FOLDER) if one.version == version]

    if not listed():
        raise Refused(f"{version} is not denied on this device.", hint="See: waycue-device models list")
    _ask(state_dir, Wish(FORGIVE, version), clock, done=lambda: not listed())
    print(f"{version} is tried again when it is offered.", file=sys.stderr)


def _ask(state_dir: Path, wish: Wish, clock: Clock, *, done: Callable[[], bool]) -> None:
    event = wish.event()
    assert event is not None
    try:
        _do(state_dir, event, clock)
    except ConfigError:  # an agent has the folder
        operator_requests.leave(state_dir / FOLDER, wish)
    until_s = clock.monotonic_s() + PATIENCE_S
    while not done():
        if clock.monotonic_s() >= until_s:
            phase = load_state(state_dir / FOLDER).phase
            why = "a model is being proven" if phase == PROBATION else f"the update is {phase}"
            raise Transient(f"The agent has not done it yet ({why}).", hint="Look again: waycue-device models list")
        clock.sleep(POLL_S)


def _do(state_dir: Path, event: Event, clock: Clock) -> None:
    """Without an agent. Raises: ConfigError where there is one."""
    updater = Updater(
        state_dir,
        lambda topic, payload: False,
        device="none",
        clock=clock,
        selftest=lambda folder: [],
        on_activated=lambda folder, version: None,
        may_switch=lambda: False,
    )
    with closing(updater):
        updater.obey(event)
