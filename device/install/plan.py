"""What a machine must have to be a device, as data. Pure: what the machine is, is handed in.

Paths are absolute names on the machine to be; whoever carries a plan out puts them below a root folder.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

USER = "waycue"
STATE = "/var/lib/waycue-device"
CONFIG_FOLDER = "/etc/waycue"
SETTINGS = f"{CONFIG_FOLDER}/device.toml"
UNIT_FOLDER = "/etc/systemd/system"
DEVICE_UNIT, SENTINEL_UNIT = "waycue-device.service", "waycue-sentinel.service"
SERVICES = (SENTINEL_UNIT, DEVICE_UNIT)
ALWAYS_GROUPS = ("audio", "video")
"""Every Debian has them (base-passwd), so that the unit itself may name them."""
MACHINE_GROUPS = ("gpio", "i2c", "input", "render")
"""A unit that names a group which is not there does not start: these are named where they exist."""
GROWING_PAUSES_SINCE = 254
OLD_POLKIT = "/etc/polkit-1/localauthority"
WRITTEN_PREFIX = "/opt/waycue/"


class Reload(enum.StrEnum):
    """What must read a changed file again."""

    NOTHING = "nothing"
    UNITS = "units"
    MANAGER = "manager"
    JOURNAL = "journal"
    UDEV = "udev"
    MODULES = "modules"


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What a plan depends on."""

    systemd: int = 0
    """Its version; 0 = there is none."""
    groups: frozenset[str] = frozenset()
    has_watchdog: bool = False
    kind: str = ""
    """As device.health.machine_kind says."""
    has_picamera2: bool = False
    has_old_polkit: bool = False
    """One that knows no rules in JavaScript."""
    modules: frozenset[str] = frozenset()
    """Of MODULES, those that the kernel has to be told to load."""


@dataclass(frozen=True, slots=True)
class PlannedFolder:
    path: str
    mode: int = 0o755
    is_ours: bool = False
    """Belongs to the account, not to root."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    path: str
    text: str
    reload: Reload = Reload.NOTHING
    keep: bool = False
    """A person's own: written only where it is missing."""


@dataclass(frozen=True, slots=True)
class PlannedLink:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """In the order in which it is carried out: the account owns folders, units are enabled when all else is there."""

    groups: tuple[str, ...]
    """That the account must be a member of."""
    account_file: PlannedFile
    folders: tuple[PlannedFolder, ...]
    files: tuple[PlannedFile, ...]
    links: tuple[PlannedLink, ...]

    @property
    def all_files(self) -> tuple[PlannedFile, ...]:
        return (self.account_file, *self.files)

    @property
    def places(self) -> frozenset[str]:
        """Every folder that has to be there."""
        names = [*(file.path for file in self.all_files), *(link.path for link in self.links)]
        parents = {str(parent) for name in names for parent in Path(name).parents}
        return frozenset(parents | {folder.path for folder in self.folders})


MODULES = ("i2c-dev",)
"""i2c-dev: power HATs and motors on I2C; no driver asks for it."""

WATCHDOG = """\
# The board starts again when the kernel or systemd itself hangs. A minute: a card that stalls for 45 s is no reason.
# A file of a later name wins.
[Manager]
RuntimeWatchdogSec=1min
RebootWatchdogSec=10min
"""
JOURNAL = """\
# The log must not fill the card that flagged moments wait on. A file of a later name wins.
[Journal]
SystemMaxUse=100M
RuntimeMaxUse=32M
MaxRetentionSec=1month
"""


def plan(facts: MachineFacts, prefix: str, unit: Callable[[str], str]) -> InstallPlan:
    """prefix: the folder of the virtual environment. unit: the text of a file in systemd/."""
    groups = tuple(name for name in (*ALWAYS_GROUPS, *MACHINE_GROUPS) if name in facts.groups)
    return InstallPlan(
        groups=groups,
        account_file=PlannedFile("/etc/sysusers.d/waycue.conf", _account(groups, unit("waycue.sysusers.conf"))),
        folders=(PlannedFolder(CONFIG_FOLDER), PlannedFolder(STATE, 0o700, is_ours=True)),
        files=(
            PlannedFile(SETTINGS, settings_text(facts), keep=True),
            PlannedFile("/etc/systemd/journald.conf.d/10-waycue.conf", JOURNAL, Reload.JOURNAL),
            *_watchdog(facts),
            *_modules(facts),
            PlannedFile("/etc/udev/rules.d/70-waycue.rules", _udev_rules(facts.groups), Reload.UDEV),
            PlannedFile("/etc/polkit-1/rules.d/50-waycue-network.rules", unit("waycue-network.rules")),
            *_old_polkit(facts, unit),
            *(PlannedFile(f"{UNIT_FOLDER}/{name}", _at(prefix, unit(name)), Reload.UNITS) for name in SERVICES),
            *_drop_ins(facts, groups, unit),
        ),
        links=tuple(
            PlannedLink(f"{UNIT_FOLDER}/multi-user.target.wants/{name}", f"{UNIT_FOLDER}/{name}") for name in SERVICES
        ),
    )


def _at(prefix: str, text: str) -> str:
    return text.replace(WRITTEN_PREFIX, f"{prefix}/")


def _account(groups: tuple[str, ...], text: str) -> str:
    members = (f"m {USER} {name}\n" for name in groups)
    return text + "# Groups of this machine:\n" + "".join(members)


def _watchdog(facts: MachineFacts) -> tuple[PlannedFile, ...]:
    if not facts.has_watchdog:
        return ()
    return (PlannedFile("/etc/systemd/system.conf.d/10-waycue-watchdog.conf", WATCHDOG, Reload.MANAGER),)


def _modules(facts: MachineFacts) -> tuple[PlannedFile, ...]:
    names = [name for name in MODULES if name in facts.modules]
    if not names:
        return ()
    text = "# Loaded at boot, so that what is plugged in later can be used.\n" + "".join(f"{name}\n" for name in names)
    return (PlannedFile("/etc/modules-load.d/waycue.conf", text, Reload.MODULES),)


def _old_polkit(facts: MachineFacts, unit: Callable[[str], str]) -> tuple[PlannedFile, ...]:
    if not facts.has_old_polkit:
        return ()
    return (PlannedFile(f"{OLD_POLKIT}/50-local.d/waycue-network.pkla", unit("waycue-network.pkla")),)


def _udev_rules(groups: frozenset[str]) -> str:
    """Buttons, presenters and foot keys; I2C for a power HAT or a motor; GPIO. Raspberry Pi OS and JetPack have such
    rules for gpio and i2c; Debian and Ubuntu leave these devices to root."""
    owner = {name: name if name in groups else USER for name in ("input", "i2c", "gpio")}
    return (
        "# Who may use buttons, I2C and GPIO. The account's own group where the machine has none for it.\n"
        f'SUBSYSTEM=="input", KERNEL=="event*", GROUP="{owner["input"]}", MODE="0660"\n'
        f'SUBSYSTEM=="i2c-dev", GROUP="{owner["i2c"]}", MODE="0660"\n'
        f'SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="{owner["gpio"]}", MODE="0660"\n'
    )


def _drop_ins(facts: MachineFacts, groups: tuple[str, ...], unit: Callable[[str], str]) -> tuple[PlannedFile, ...]:
    folder = f"{UNIT_FOLDER}/{DEVICE_UNIT}.d"
    extra = [name for name in groups if name not in ALWAYS_GROUPS]
    files = []
    if extra:
        text = f"# Groups of this machine.\n[Service]\nSupplementaryGroups={' '.join(extra)}\n"
        files.append(PlannedFile(f"{folder}/groups.conf", text, Reload.UNITS))
    if facts.systemd >= GROWING_PAUSES_SINCE:
        text = unit(f"{DEVICE_UNIT}.d/restart-pauses.conf")
        files.append(PlannedFile(f"{folder}/restart-pauses.conf", text, Reload.UNITS))
    return tuple(files)


def settings_text(facts: MachineFacts) -> str:
    """The first device.toml."""
    source = '"picamera2"' if facts.has_picamera2 and facts.kind.startswith("raspberry-pi") else '"camera:0"'
    return f"""\
# Every setting is in docs/settings.md; what is not set here has its default.
# After a change: sudo systemctl restart waycue-sentinel waycue-device.

[device]
state = "{STATE}"

[capture]
source = {source}
"""
