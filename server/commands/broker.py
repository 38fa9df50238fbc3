"""`waycue-server broker config`: a complete Mosquitto configuration, with certificates and access rules."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from server import config
from server.broker import files
from server.database.store import has_database, open_store
from server.identity import certificates
from server.identity.authority import Authority
from shared import settings
from shared.clock import SystemClock
from shared.errors import ConfigError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its action."""
    parser = commands.add_parser("broker", help="the MQTT broker that devices reach")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    write = actions.add_parser(
        "config",
        help="write a complete configuration for Mosquitto 2.0 or 2.1",
        description="Writes mosquitto.conf, certificates and access rules into a folder. Safe to repeat; a broker that "
        "runs from it must be restarted then. Its queues are reckoned from how many devices are enrolled.",
    )
    write.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write into (broker.folder, or broker in the home)"
    )
    write.add_argument(
        "--address", default="0.0.0.0:8883", metavar="HOST:PORT", help="where it listens (default %(default)s)"
    )
    write.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name or address for its certificate, repeatable: for clients other than waycue's devices",
    )
    write.add_argument("--user", metavar="NAME", help="the account that Mosquitto runs as (default: this one)")
    write.add_argument("--plugin", type=Path, metavar="FILE", help=f"{files.PLUGIN}, where it is not found")
    write.set_defaults(run=_config)


def _config(options: argparse.Namespace) -> int:
    loaded = config.load(options.home)
    host, port = settings.address(options.address, default_port=settings.DEFAULT_TLS_PORT)
    folder = (options.out or loaded.broker.files(options.home)).expanduser().resolve()
    plugin = options.plugin or files.find_plugin()
    if plugin is None or not plugin.is_file():
        raise ConfigError(
            f"Mosquitto's plugin {files.PLUGIN} was not found.",
            hint="Run: apt install mosquitto, or say where it is with --plugin.",
        )
    listener = files.BrokerListener(host, port, options.user or files.own_account(), plugin.resolve())
    enrolled = _enrolled(options.home)
    files.write(folder, Authority(options.home, clock=SystemClock()), listener, hosts=options.host, enrolled=enrolled)
    limits = files.look(folder, enrolled).limits
    print(
        f"Wrote {folder}. Start the broker with: mosquitto -c {folder / files.CONF}\n"
        f"Its queues are reckoned for {limits.devices} devices ({enrolled} enrolled): {limits.messages} messages and "
        f"{limits.bytes / 2**20:.0f} MiB for each. A running server raises them when more are enrolled."
    )
    return 0


def _enrolled(home: Path) -> int:
    if not has_database(home):
        return 0
    with closing(open_store(home)) as store:
        return certificates.count_admitted(store, now_s=SystemClock().utc_s())
