"""`waycue-device enroll`, `identity` and `renew`: what a person types to let this device in, and to see that it is."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from device import config as device_config
from device.config import Config
from device.health import sight_told
from device.identity import enrol
from device.identity import renew as renewal
from device.identity.identity import Identity
from device.outbox.outbox import peek
from device.updates.slots import current_slot
from shared import atomic, bundle, setup_code
from shared.clock import Clock
from shared.errors import BundleError, ConfigError
from shared.floor import ClockFloor
from shared.model_card import card_of, spoken

COMMANDS = ("enroll", "identity", "renew")
ENROLL_EPILOG = """\
`waycue-server devices add NAME` prints the whole command. The code is good once; a lost answer costs nothing, the same
command asks again. A running agent uses the new identity after a restart.
"""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    enroll = commands.add_parser(
        "enroll",
        help="let this device in at a server, with a one-time code",
        epilog=ENROLL_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _where(enroll)
    enroll.add_argument("--server", metavar="HOST:PORT", help="where the server takes enrolments")
    enroll.add_argument("--code", metavar="CODE", help="the claim code; asked for where it is left out")
    enroll.add_argument("--uri", metavar="TEXT", help="server, name and code at once: the text of the QR code")
    enroll.add_argument("--device", metavar="NAME", help="name that the code was made for (device.name)")
    show = commands.add_parser("identity", help="who this device is, and until when its certificate holds")
    _where(show)
    show.add_argument("--json", action="store_true", help="print it as JSON")
    renew = commands.add_parser("renew", help="have the agent fetch a new certificate now, not only when it is time")
    _where(renew)
    renew.add_argument("--rekey", action="store_true", help="with a new key")


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="settings (default: as for run)")
    command.add_argument("--state", metavar="DIR", help="folder for the outbox, models and phrases (device.state)")


def run(config: Config, arguments: argparse.Namespace, clock: Clock) -> int:
    """Raises: WaycueError, OSError."""
    state_dir = device_config.state_folder(config)
    return {"enroll": _enroll, "identity": _identity, "renew": _renew}[arguments.command](
        config, arguments, state_dir, clock
    )


def _enroll(config: Config, arguments: argparse.Namespace, state_dir: Path, clock: Clock) -> int:
    invitation = _invitation(config, arguments)
    _check_owner(state_dir)
    if not invitation.code:
        invitation = replace(invitation, code=_typed())
    floor = ClockFloor(state_dir, clock)
    before = _before(state_dir, floor)
    identity = enrol.enrol(state_dir, invitation, floor=floor, clock=clock)
    until = _day(identity.not_after_utc)
    print(f"This device is {identity.device}. Broker: {identity.broker}. Certificate until {until}.")
    print("It is renewed by itself. Restart a running agent to use it.")
    sight_told.forget(state_dir)
    print("\n".join(_sight(current_slot(state_dir))))
    waiting = peek(state_dir / "outbox").queued if (state_dir / "outbox").is_dir() else 0
    if before and before != identity.device and waiting:
        print(f"{waiting} records of {before} still wait, and the server takes them under that name only.")
    return 0


def _typed() -> str:
    try:
        return input("Claim code: ")
    except EOFError:
        raise ConfigError("No claim code was typed.", hint="Type it, or add --code CODE.") from None


def _sight(folder: Path | None) -> list[str]:
    """What the model on this device sees, in the words that the wearer hears at the next walk."""
    if folder is None:
        return ["No model yet: what one sees and does not see is spoken when it is first put in use."]
    try:
        return list(spoken(card_of(bundle.read_manifest(folder).model)))
    except BundleError as error:
        return [f"What the model on this device sees cannot be read: {error}"]


def _invitation(config: Config, arguments: argparse.Namespace) -> enrol.Invitation:
    server, code, device = arguments.server, arguments.code, config.device.name
    if arguments.uri:
        invited = setup_code.parse_enrolment(arguments.uri)
        server, device, code = invited.server, invited.device, invited.code
        if config.device.name not in ("", device):
            raise ConfigError(
                f"The code is for {device}, but device.name is {config.device.name!r}.", hint="Take it out."
            )
    if not server:
        raise ConfigError("Which server?", hint="Add --server HOST:PORT, as `waycue-server devices add` prints it.")
    return enrol.Invitation(server, code or "", device or device_config.device_name(config))


def _before(state_dir: Path, floor: ClockFloor) -> str:
    try:
        identity = Identity.open(state_dir, floor=floor)
    except ConfigError:
        return ""  # damaged: that is why it is enrolled again
    return "" if identity is None else identity.device


def _check_owner(state_dir: Path) -> None:
    """As root, files would belong to root, and the agent could not read its own key."""
    atomic.make_dirs(state_dir)
    owner = state_dir.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise ConfigError(
            f"{state_dir} belongs to another user (number {owner}), as whom the agent runs.",
            hint="Run this as that user, for example: sudo -u waycue waycue-device enroll …",
        )


def _identity(config: Config, arguments: argparse.Namespace, state_dir: Path, clock: Clock) -> int:
    identity = Identity.open(state_dir, floor=ClockFloor(state_dir, clock))
    if arguments.json:
        print(json.dumps(_plain(identity), indent=1))
    elif identity is None:
        print(f"Not enrolled (no identity in {state_dir}).")
    else:
        ended = " HAS ENDED" if identity.ended else ""
        print(f"{identity.device}, at the broker {identity.broker}, enrolled {_day(identity.enrolled_at_utc)}")
        print(f"certificate{ended} from {_day(identity.issued_utc)} until {_day(identity.not_after_utc)}")
        print(_moments(identity, encrypt=config.privacy.encrypt))
    return 0 if identity is not None and not identity.ended else 1


def _moments(identity: Identity, *, encrypt: bool) -> str:
    if identity.sealing_key is None:
        return "moments are kept unencrypted: the server named no key yet. Ask it: waycue-device renew"
    return f"moments are kept {'encrypted for the server' if encrypt else 'unencrypted, as privacy.encrypt says'}"


def _plain(identity: Identity | None) -> dict[str, Any]:
    if identity is None:
        return {"enrolled": False}
    names = ("device", "broker", "server", "enrolled_at_utc", "issued_utc", "not_after_utc", "ended")
    values = {name: getattr(identity, name) for name in names}
    return {"enrolled": True, **values, "sealing_key": identity.sealing_key is not None}


def _renew(config: Config, arguments: argparse.Namespace, state_dir: Path, clock: Clock) -> int:
    if Identity.open(state_dir, floor=ClockFloor(state_dir, clock)) is None:
        raise ConfigError("This device is not enrolled.", hint="See: waycue-device enroll --help")
    renewal.request_renewal(state_dir, rekey=arguments.rekey)
    print("The agent asks for a new certificate as soon as it is online.")
    return 0


def _day(utc_s: float) -> str:
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%d}"
