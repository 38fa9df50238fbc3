"""/etc/waycue/install.json: what `install` made on this machine, so that `uninstall` removes that and nothing else.

Written before each change and again after the last: what an interrupted install was about to make is listed, too, and
whatever of it is missing counts as removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.install.machine import at
from device.install.plan import CONFIG_FOLDER
from shared import atomic, strict
from shared.errors import ConfigError, MessageError

PATH = f"{CONFIG_FOLDER}/install.json"
LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class InstallManifest:
    version: str = ""
    """Of waycue."""
    prefix: str = ""
    files: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    account: bool = False
    """The account did not exist before."""
    complete: bool = False


def read(root: Path) -> InstallManifest | None:
    """None = nothing was installed here. Raises: ConfigError, OSError."""
    path = at(root, PATH)
    if not path.exists():
        return None
    try:
        return strict.decode(InstallManifest, path.read_bytes(), limit=LIMIT_BYTES)
    except MessageError as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="Delete it, then install again.") from error


def write(root: Path, manifest: InstallManifest) -> None:
    """Raises: OSError."""
    atomic.write_json(at(root, PATH), strict.plain(manifest))
