"""`waycue-server devices`: let devices in, see who is in, lock devices out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from server import config as server_config
from server.commands import invitation
from server.commands.opening import opened, when
from server.config import ServerConfig
from server.identity import reached
from server.identity.authority import Authority
from server.identity.certificates import Certificates, Issued
from server.identity.claims import DEFAULT_HOURS, Claim, Claims, DeviceSummary
from shared import setup_code
from shared.clock import SystemClock
from shared.errors import Refused
from shared.setup_code import SetupCode


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("devices", help="who may connect: add, list, show, revoke")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add", help="make a one-time code with which a device is let in, for the first time or anew"
    )
    add.add_argument("name", help="lower-case letters, digits and hyphens")
    add.add_argument("--cohort", metavar="NAME", help="group whose models are offered together")
    hours = f"how long the code can be used ({DEFAULT_HOURS:g})"
    add.add_argument("--hours", type=_hours, default=DEFAULT_HOURS, metavar="N", help=hours)
    add.add_argument("--server", metavar="HOST[:PORT]", help="how devices reach this server (this machine's address)")
    add.add_argument("--no-qr", action="store_true", help="no QR code, for a screen reader")
    invitation.add_flags(add)
    add.add_argument("--json", action="store_true", help="print the code as JSON, without the password of the Wi-Fi")
    add.set_defaults(run=_add)
    listing = actions.add_parser("list", help="all devices, whether they are let in, and when they were last here")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="one device, with every certificate it ever got")
    show.add_argument("name", help="a device of `devices list`")
    show.add_argument("--json", action="store_true", help="print it as JSON")
    show.set_defaults(run=_show)
    revoke = actions.add_parser("revoke", help="lock a device out, at once; `add` lets it in again")
    revoke.add_argument("name", help="a device of `devices list`")
    revoke.add_argument("--why", default="revoked by hand", help="reason, for the record")
    revoke.set_defaults(run=_revoke)


def _add(options: argparse.Namespace) -> int:
    config = server_config.load(options.home)
    invitation.check_files(options)
    wifi = invitation.network(options)
    with _claims(options.home, config) as claims:
        claim = claims.add(options.name, cohort=options.cohort, hours=options.hours)
    server = reached.enrolment_address(options.server, config.enrol.address)
    code = SetupCode(server, claim.device, claim.code, wifi)
    files = invitation.write_files(options, code, until=when(claim.expires_at_s))
    if options.json:
        uri = setup_code.text_of(replace(code, wifi=None))
        print(json.dumps({**asdict(claim), "server": server, "uri": uri, "files": [str(path) for path in files]}))
        return 0
    print("\n".join(_describe_claim(claim, server)))
    print("\n".join(f"The QR code is in {path}, for you alone to read: delete it after use." for path in files))
    if not options.no_qr and sys.stdout.isatty():
        invitation.qr(code).terminal(compact=True)
    return 0


def _describe_claim(claim: Claim, server: str) -> Iterator[str]:
    yield f"{claim.device} may come in with this code, once, until {when(claim.expires_at_s)}:"
    yield f"\n    {claim.code}\n"
    yield "While this server runs: hold the QR code before the camera of the device, which says what to do. Or, on the"
    yield "device, as the user that the agent runs as:"
    yield f"\n    waycue-device enroll --server {server} --device {claim.device} --code {claim.code}\n"
    yield "The code is shown this once. Lost it? `devices add` again makes another and ends this one."


def _list(options: argparse.Namespace) -> int:
    with _claims(options.home) as claims:
        devices = claims.devices()
    if options.json:
        print(json.dumps([asdict(device) for device in devices], indent=1))
    elif not devices:
        print("No devices yet. Let one in with: waycue-server devices add NAME")
    else:
        print("\n".join(map(_describe_device, devices)))
    return 0


def _describe_device(device: DeviceSummary) -> str:
    has_end = device.not_after_s is not None and device.state == "enrolled"
    until = f", until {when(device.not_after_s or 0.0)}" if has_end else ""
    code = ", a code is open" if device.code_open else ""
    why = f" ({device.revoked_why})" if device.revoked_why else ""
    if device.seen_at_s is None:
        seen = "never here"
    else:
        seen = "online" if device.online else f"last here {when(device.seen_at_s)}"
    return f"{device.device:<24} {device.cohort or '-':<12} {device.state}{why}{until}{code}; {seen}"


def _show(options: argparse.Namespace) -> int:
    with _claims(options.home) as claims:
        device = next((device for device in claims.devices() if device.device == options.name), None)
        if device is None:
            raise Refused(f"No device is called {options.name}.", hint="See: waycue-server devices list")
        held = claims.certificates.of(options.name)
    if options.json:
        print(json.dumps({**asdict(device), "certificates": [_to_json(issued) for issued in held]}, indent=1))
    else:
        print("\n".join([_describe_device(device), *_describe_certificates(held)]))
    return 0


def _describe_certificates(held: Iterable[Issued]) -> Iterator[str]:
    for issued in held:
        state = "" if issued.revoked_at_s is None else f", taken back {when(issued.revoked_at_s)}: {issued.why}"
        yield f"  {issued.serial}: from {when(issued.issued_at_s)} until {when(issued.not_after_s)}{state}"


def _to_json(issued: Issued) -> dict[str, Any]:
    return {name: value for name, value in asdict(issued).items() if name not in ("device", "pem")}


def _revoke(options: argparse.Namespace) -> int:
    with _claims(options.home) as claims:
        count = claims.certificates.revoke(options.name, options.why)
    print(f"{options.name} is locked out: {count} certificates taken back. A running server ends its connection now.")
    return 0


@contextmanager
def _claims(home: Path, config: ServerConfig | None = None) -> Iterator[Claims]:
    """Raises: ConfigError where the home was never initialised."""
    days = (config or server_config.load(home)).enrol.certificate_days
    with opened(home) as (store, _dataset):
        clock = SystemClock()
        yield Claims(Certificates(store, Authority(home, clock=clock), clock=clock, days=days))


def _hours(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 30:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most 720 hours")
    return value
