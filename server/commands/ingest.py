"""`waycue-server ingest`: a further process that takes in what devices send."""

from __future__ import annotations

import argparse
from pathlib import Path

from server import config as settings
from server import logs
from server.maintenance.home_lock import WORKERS
from shared.clock import SystemClock


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ingest",
        help="a further process that takes in what devices send, beside run",
        description="Shares the devices' messages with a running `waycue-server run` on the same home. Both need "
        "shared = true under [ingest] in waycue.toml.",
    )
    parser.add_argument(
        "--number",
        type=int,
        default=1,
        metavar="N",
        help=f"which worker this is, 1 to {WORKERS[-1]}; each runs once (default 1)",
    )
    parser.add_argument("--broker", metavar="HOST:PORT", help="MQTT broker (broker.address)")
    parser.add_argument(
        "--plain", action="store_true", help="no TLS: for a broker on this machine only, to try things out (broker.tls)"
    )
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written once the broker was reached")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Take in until a signal stops it."""
    from server.worker import work

    overrides = {"broker.address": options.broker, "broker.tls": False if options.plain else None}
    config = settings.load(options.home, overrides)
    logs.set_up(config.log)
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    work(options.home, config, SystemClock(), number=options.number, ready_file=options.ready_file)
    return 0
