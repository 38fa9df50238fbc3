"""waycue-device install, uninstall, upgrade: make this machine a device with one command, undo it, keep it new."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.install import environment, machine, manifest, package_data, services
from device.install.carry_out import Installer
from device.install.machine import HOST, at
from device.install.plan import SETTINGS, plan
from device.install.programs import AGAIN
from device.install.upgrade import Upgrade, source_of
from shared import file_lock
from shared.errors import ConfigError, InUse, Permanent

COMMANDS = ("install", "uninstall", "upgrade")
PREFIX = "/opt/waycue"
LOCK, UPGRADE_LOCK = "/run/waycue-install.lock", "/run/waycue-upgrade.lock"
"""Of its own: an upgrade has the newer version install itself."""
HINTS = {
    errno.EROFS: f"Make it writable (sudo mount -o remount,rw /; raspi-config: overlay file system). {AGAIN}",
    errno.ENOSPC: f"Make room. {AGAIN}",
}
INSTALL_EPILOG = """\
examples:
  sudo /opt/waycue/bin/waycue-device install
  sudo /opt/waycue/bin/waycue-device install --dry-run            say what would change
  sudo /opt/waycue/bin/waycue-device install --root /mnt/card     on a card or an image that is mounted there

Made are: the account, its groups and folders, the units of the agent and the sentinel, udev rules, the hardware
watchdog, limits of the log, and a first /etc/waycue/device.toml where there is none. Safe to repeat.
"""


class InstallStopped(Permanent):
    """The file system said no, in the middle."""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    install = commands.add_parser(
        "install",
        help="make this machine a device: account, folders, units, udev rules, watchdog (needs root)",
        epilog=INSTALL_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    install.add_argument("--prefix", default=PREFIX, metavar="DIR", help=f"the virtual environment ({PREFIX})")
    install.add_argument("--no-start", action="store_true", help="enable the services for the next boot only")
    _common(install)
    uninstall = commands.add_parser("uninstall", help="remove what install made; settings and moments stay")
    uninstall.add_argument("--purge", action="store_true", help="settings, moments, models and the account, too")
    _common(uninstall)
    _upgrade_parser(commands)


UPGRADE_EPILOG = """\
The newer version is installed into a copy of the environment, tried, and switched to in one step; the services are then
started again. Where they do not come up, the former version is in use again. Moments, models and settings stay.
"""


def _upgrade_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    upgrade = commands.add_parser(
        "upgrade", help="a newer waycue beside the one in use, or --back", epilog=UPGRADE_EPILOG
    )
    what = upgrade.add_mutually_exclusive_group()
    what.add_argument("source", nargs="?", metavar="SOURCE", help="a wheel or a checkout (default: as installed)")
    what.add_argument("--back", action="store_true", help="to the version before")
    upgrade.add_argument("--prefix", metavar="DIR", help=f"the virtual environment (as installed, else {PREFIX})")
    upgrade.add_argument("--config", type=Path, metavar="FILE", help="settings for the trial (default: as for run)")
    upgrade.add_argument("--no-start", action="store_true", help="leave the services as they run")


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=Path, default=HOST, metavar="DIR", help="on the machine whose root is there")
    command.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    command.add_argument("--json", action="store_true", help="print the changes as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Raises: WaycueError, OSError."""
    is_upgrade = arguments.command == "upgrade"
    dry = not is_upgrade and arguments.dry_run
    if not dry and os.geteuid() != 0:
        raise ConfigError("This changes the system and needs root.", hint=f"Run it as: sudo {_typed()}")
    root = HOST if is_upgrade else arguments.root.expanduser().resolve()
    if not (root / "etc").is_dir():
        raise ConfigError(f"{root} is no root folder of a machine: it has no etc.", hint="Name the mounted root.")
    if dry:
        return _by_verb(arguments, root)
    os.umask(0o022)
    with _named(root):
        at(root, LOCK).parent.mkdir(exist_ok=True)
        busy = InUse("Another waycue-device install is at work here.", hint="Wait until it is done.")
        with file_lock.locked(at(root, UPGRADE_LOCK if is_upgrade else LOCK), busy=busy):
            return _upgrade(arguments) if is_upgrade else _by_verb(arguments, root)


@contextmanager
def _named(root: Path) -> Iterator[None]:
    """What the file system refuses, with the next step."""
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0, AGAIN)
        raise InstallStopped(f"{error.filename or root}: {error.strerror or error}.", hint=hint) from error


def _upgrade(arguments: argparse.Namespace) -> int:
    made = manifest.read(HOST)
    prefix = Path(arguments.prefix or (made.prefix if made and made.prefix else PREFIX))
    checked_prefix(HOST, str(prefix))
    upgrade = Upgrade(prefix, say=Told(quiet=False), config=arguments.config)
    if arguments.back:
        upgrade.back(start=not arguments.no_start)
    else:
        upgrade.to(source_of(arguments.source), start=not arguments.no_start)
    return 0


def _typed() -> str:
    return " ".join([os.path.abspath(sys.argv[0]), *sys.argv[1:]])


class Told:
    """The changes, printed as they are made. quiet: kept for JSON."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if not self._quiet:
            print(line, flush=True)


def _by_verb(arguments: argparse.Namespace, root: Path) -> int:
    told = Told(quiet=arguments.json)
    installer = Installer(root, say=told, dry_run=arguments.dry_run)
    {"install": _install, "uninstall": _uninstall}[arguments.command](arguments, root, installer, told)
    advice = services.advice(root) if arguments.command == "install" else []
    if arguments.json:
        print(json.dumps({"changes": told.lines, "advice": advice}, indent=1, ensure_ascii=False))
        return 0
    if not installer.changes:
        print("Nothing to change.")
    for line in advice:
        print(f"→ {line}")
    return 0


def _install(arguments: argparse.Namespace, root: Path, installer: Installer, told: Told) -> None:
    prefix = checked_prefix(root, arguments.prefix)
    environment.check(root, Path(prefix))
    facts = machine.look_at(root)
    reloads = installer.install(plan(facts, prefix, package_data.unit), prefix)
    if machine.systemd_runs(root) and not arguments.dry_run:
        services.reload(reloads, say=told)
        if not arguments.no_start:
            services.start(restart=bool(installer.changes), say=told)
    elif installer.changes and not arguments.json:
        print(f"Settings: {at(root, SETTINGS)}.{' The services start at the next boot.' if facts.systemd else ''}")


def checked_prefix(root: Path, prefix: str) -> str:
    """Raises: ConfigError for a place from which the units cannot start."""
    folder = Path(prefix)
    if not folder.is_absolute() or any(sign.isspace() or sign in "%$\\\"'" for sign in prefix):
        raise ConfigError(f"--prefix {prefix!r} is no absolute path of plain signs.", hint=f"As in --prefix {PREFIX}")
    if not at(root, f"{prefix}/bin/waycue-device").exists():
        own = f"; this one is in {sys.prefix}" if root == HOST else ""
        raise ConfigError(
            f"There is no waycue in {at(root, prefix)}{own}.",
            hint="Install it there with pip first, or name another --prefix.",
        )
    return str(folder)


def _uninstall(arguments: argparse.Namespace, root: Path, installer: Installer, told: Told) -> None:
    if manifest.read(root) is None:
        raise ConfigError(f"Nothing was installed here: there is no {at(root, manifest.PATH)}.")
    if machine.systemd_runs(root) and not arguments.dry_run:
        services.stop(say=told)
    installer.uninstall(purge=arguments.purge)
    if machine.systemd_runs(root) and not arguments.dry_run:
        services.reload(services.ALL, say=told)
