"""`waycue-device models`: which models are on this device, going back to the one before, and trying a denied one again.

Works beside a running agent: it gets a request (device.updates.operator_requests) and acts within a second. Without
one, the command does it itself. Both refuse to bring a model into use that is not whole.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from device import config as device_config
from device.config import Config
from device.updates import operator_requests
from device.updates.operator_requests import OperatorRequest, RequestKind
from device.updates.permission import Permission
from device.updates.slots import CURRENT, DAMAGED, FOLDER, PREVIOUS, current_slot, identity, previous_slot
from device.updates.state import Denied, State, UpdatePhase
from device.updates.state_file import load_denied, load_state
from device.updates.updater import Updater, UpdaterPorts
from shared import bundle
from shared.clock import Clock
from shared.errors import BundleError, ConfigError, Refused, Transient
from shared.model_card import SightCard, card_of
from shared.model_card import lines as lines_of

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
    listing = models(state_dir)
    print(json.dumps(listing, indent=1, ensure_ascii=False) if arguments.json else "\n".join(_lines(listing)))
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
            "problem": state.problem or "",
        },
        "denied": [{"version": item.version, "reason": item.reason} for item in denied],
    }


def _card(folder: Path | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    try:
        manifest = bundle.read_manifest(folder)
    except BundleError as error:
        return {"version": DAMAGED, "trouble": str(error)}
    return {
        "version": manifest.version,
        "base": manifest.base,
        "created_at_utc": manifest.created_at_utc,
        "intended_use": manifest.intended_use,
        "size_bytes": manifest.size_bytes,
        "manifest_sha256": identity(folder).manifest_sha256,
        **asdict(card_of(manifest.model)),
    }


def _lines(listing: dict[str, Any]) -> list[str]:
    """The listing in words."""
    lines = [f"in use:    {_words(listing[CURRENT])}", *_sight(listing[CURRENT])]
    lines.append(f"before it: {_words(listing[PREVIOUS])}")
    update = listing["update"]
    if update["phase"] != UpdatePhase.IDLE:
        lines.append(f"under way: {update['version']}, {update['phase'].replace('_', ' ')}")
    if update["problem"]:
        lines.append(f"problem:   {update['problem']}")
    return lines + [f"denied:    {item['version']}: {item['reason']}" for item in listing["denied"]]


def _words(card: dict[str, Any] | None) -> str:
    if card is None:
        return "none"
    if "trouble" in card:
        return f"damaged: {card['trouble']}"
    return f"{card['version']} ({card['size_bytes'] / 1e6:.1f} MB, {card['intended_use']}, from {card['base']})"


def _sight(card: dict[str, Any] | None) -> list[str]:
    """What the model sees."""
    lists = {field.name: card.get(field.name, ()) if card else () for field in fields(SightCard)}
    return [f"           {line}" for line in lines_of(SightCard(**lists))]


def _roll_back(state_dir: Path, clock: Clock) -> None:
    before = previous_slot(state_dir)
    if before is None or current_slot(state_dir) is None:
        raise Refused("There is no model before the one in use.", hint="See: waycue-device models list")
    try:
        version = bundle.verify(before).version
    except BundleError as error:
        raise Refused(f"The model before cannot be used: {error}") from None
    request = OperatorRequest(RequestKind.ROLL_BACK)
    _request(state_dir, request, clock, is_done=lambda: current_slot(state_dir) == before)
    print(f"{version} is in use again.", file=sys.stderr)


def _forgive(state_dir: Path, version: str, clock: Clock) -> None:
    def denials() -> list[Denied]:
        return [denied for denied in load_denied(state_dir / FOLDER) if denied.version == version]

    if not denials():
        raise Refused(f"{version} is not denied on this device.", hint="See: waycue-device models list")
    request = OperatorRequest(RequestKind.FORGIVE, version)
    _request(state_dir, request, clock, is_done=lambda: not denials())
    print(f"{version} is tried again when it is offered.", file=sys.stderr)


def _request(state_dir: Path, request: OperatorRequest, clock: Clock, *, is_done: Callable[[], bool]) -> None:
    try:
        _do(state_dir, request, clock)
    except ConfigError:  # an agent has the folder
        operator_requests.leave(state_dir / FOLDER, request)
    until_s = clock.monotonic_s() + PATIENCE_S
    while not is_done():
        if clock.monotonic_s() >= until_s:
            phase = load_state(state_dir / FOLDER).phase
            why = "a model is being proven" if phase == UpdatePhase.PROBATION else f"the update is {phase}"
            raise Transient(f"The agent has not done it yet ({why}).", hint="Look again: waycue-device models list")
        clock.sleep(POLL_S)


def _do(state_dir: Path, request: OperatorRequest, clock: Clock) -> None:
    """Without an agent. Raises: ConfigError where there is one."""
    ports = UpdaterPorts(
        clock=clock,
        publish=lambda topic, payload: False,
        selftest=lambda folder: [],
        use_model=lambda folder, version: None,
    )
    with closing(Updater(state_dir, ports, Permission(bundle.FOR_JUDGING))) as updater:
        updater.obey(request)
