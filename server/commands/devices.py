"""`waycue-server devices`: let devices in, see who is in, lock devices out."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import segno

from server import config as server_config
from server.commands.opening import opened, when
from server.config import ServerConfig
from server.identity.authority import Authority
from server.identity.certificates import Certificates, Issued
from server.identity.claims import DEFAULT_HOURS, Claim, Enrolment, Known
from shared import enrolment, settings
from shared.clock import SystemClock
from shared.errors import Refused

_NOWHERE = "192.0.2.1"  # RFC 5737: routed like any other address, and nobody's; nothing is sent


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands."""
    parser = commands.add_parser("devices", help="who may connect: add, list, show, revoke")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add", help="make a one-time code with which a device is let in, for the first time or anew"
    )
    add.add_argument("name", help="lower-case letters, digits and hyphens")
    add.add_argument("--cohort", metavar="NAME", help="group whose models are offered together")
    add.add_argument(
        "--hours",
        type=_hours,
        default=DEFAULT_HOURS,
        metavar="N",
        help=f"how long the code can be used ({DEFAULT_HOURS:g})",
    )
    add.add_argument("--server", metavar="HOST[:PORT]", help="how devices reach this server (this machine's address)")
    add.add_argument("--no-qr", action="store_true", help="no QR code, for a screen reader")
    add.add_argument("--json", action="store_true", help="print the code as JSON")
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
    with _book(options.home) as (book, _certificates, config):
        claim = book.add(options.name, cohort=options.cohort, hours=options.hours)
    server = _server(options.server, config)
    if options.json:
        print(json.dumps({**asdict(claim), "server": server, "uri": enrolment.uri(server, claim.device, claim.code)}))
        return 0
    print("\n".join(_told(claim, server)))
    if not options.no_qr and sys.stdout.isatty():
        segno.make(enrolment.uri(server, claim.device, claim.code)).terminal(compact=True)
    return 0


def _told(claim: Claim, server: str) -> Iterator[str]:
    yield f"{claim.device} may come in with this code, once, until {when(claim.expires_at_s)}:"
    yield f"\n    {claim.code}\n"
    yield "On the device, while this server runs, as the user that the agent runs as:"
    yield f"\n    waycue-device enroll --server {server} --device {claim.device} --code {claim.code}\n"
    yield "The code is shown this once. Lost it? `devices add` again makes another and ends this one."


def _list(options: argparse.Namespace) -> int:
    with _book(options.home) as (book, _certificates, _config):
        found = book.known()
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return 0
    if not found:
        print("No devices yet. Let one in with: waycue-server devices add NAME")
    for one in found:
        print(_line(one))
    return 0


def _line(one: Known) -> str:
    until = "" if one.not_after_s is None or one.state != "enrolled" else f", until {when(one.not_after_s)}"
    code = ", a code is open" if one.code_open else ""
    seen = "never here" if one.seen_at_s is None else "online" if one.online else f"last here {when(one.seen_at_s)}"
    why = f" ({one.revoked_why})" if one.revoked_why else ""
    return f"{one.device:<24} {one.cohort or '-':<12} {one.state}{why}{until}{code}; {seen}"


def _show(options: argparse.Namespace) -> int:
    with _book(options.home) as (book, certificates, _config):
        found = next((one for one in book.known() if one.device == options.name), None)
        if found is None:
            raise Refused(f"No device is called {options.name}.", hint="See: waycue-server devices list")
        held = certificates.of(options.name)
    if options.json:
        print(json.dumps({**asdict(found), "certificates": [_plain(one) for one in held]}, indent=1))
        return 0
    print(_line(found))
    for line in _certificates(held):
        print(line)
    return 0


def _certificates(held: Iterable[Issued]) -> Iterator[str]:
    for one in held:
        state = "" if one.revoked_at_s is None else f", taken back {when(one.revoked_at_s)}: {one.why}"
        yield f"  {one.serial}: from {when(one.issued_at_s)} until {when(one.not_after_s)}{state}"


def _plain(one: Issued) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name not in ("device", "pem")}


def _revoke(options: argparse.Namespace) -> int:
    with _book(options.home) as (_, certificates, _):
        count = certificates.revoke(options.name, options.why)
    print(f"{options.name} is locked out: {count} certificates taken back. A running server ends its connection now.")
    return 0


@contextmanager
def _book(home: Path) -> Iterator[tuple[Enrolment, Certificates, ServerConfig]]:
    """Raises: ConfigError where the home was never initialised."""
    config = server_config.load(home)
    with opened(home) as (store, _dataset):
        clock = SystemClock()
        certificates = Certificates(
            store, Authority(home, clock=clock), clock=clock, days=config.enrol.certificate_days
        )
        yield Enrolment(certificates, root=lambda: b"{}"), certificates, config


def _server(told: str | None, config: ServerConfig) -> str:
    """HOST:PORT of the enrolment page, as devices may reach it."""
    port = enrolment.DEFAULT_PORT
    if config.enrol.address:
        host, port = settings.address(config.enrol.address, what="enrol.address", default_port=port)
    if told:
        host, port = settings.address(told, what="server's address", default_port=port)
    elif not config.enrol.address or host in ("0.0.0.0", "::"):
        host = own_address()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def own_address() -> str:
    """This machine's address in its network, or its name where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_NOWHERE, 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return address


def _hours(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 30:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most 720 hours")
    return value
