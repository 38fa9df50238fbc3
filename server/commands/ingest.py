"""`waycue-server ingest`: a further process that takes in what devices send, and who has which of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from server import config as settings
from server import logs
from server.commands.opening import add_json, opened, print_json
from server.ingest import leases
from server.maintenance.home_lock import WORKERS
from shared.clock import SystemClock


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ingest",
        help="a further process that takes in what devices send, beside run",
        description="Takes in the devices of its share, beside a running `waycue-server run` on the same home, which "
        "has the others. Both need shared = true under [ingest] in waycue.toml.",
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
    parser.add_argument("--list", action="store_true", help="only print which process has which partitions of devices")
    add_json(parser, "that list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Take in until a signal stops it."""
    from server.worker import work

    overrides = {"broker.address": options.broker, "broker.tls": False if options.plain else None}
    config = settings.load(options.home, overrides)
    if options.list or options.json:
        return _list(options.home, config.ingest, as_json=options.json)
    logs.set_up(config.log)
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)
    work(options.home, config, SystemClock(), number=options.number, ready_file=options.ready_file)
    return 0


def _list(home: Path, section: settings.IngestSection, *, as_json: bool) -> int:
    with opened(home) as (store, _dataset):
        rows = leases.listing(store, now_s=SystemClock().utc_s(), lease_s=section.lease_s)
    if as_json:
        print_json([asdict(row) for row in rows])
        return 0
    if not section.shared:
        print("One process has all devices: the settings do not say shared = true under [ingest].")
        return 0
    for holder in sorted({row.holder for row in rows}):
        print(_described([row for row in rows if row.holder == holder]))
    return 0


def _described(rows: Sequence[leases.PartitionRow]) -> str:
    """What one process has, or nobody."""
    holder, numbers = rows[0].holder, ", ".join(str(row.partition) for row in rows)
    left_s = min(row.runs_s for row in rows)
    left = f"for {left_s:.0f} s more without a sign of it" if holder else "a process that runs takes them at once"
    return f"{holder or 'nobody'}: partitions {numbers} ({left})"
