"""The files that travel with the package and go elsewhere on a machine: units of systemd, the account, pinned versions.

In a wheel they lie in this folder (pyproject.toml, force-include); in a checkout where people edit them.
"""

from __future__ import annotations

from pathlib import Path

from shared.errors import ConfigError

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[1]
UNITS, PINS = "systemd", "constraints.txt"


def path_of(name: str) -> Path:
    """The file or folder. Raises: ConfigError for a wheel that was built without it."""
    for folder in (_HERE / "data", _CHECKOUT):
        if (folder / name).exists():
            return folder / name
    raise ConfigError(
        f"This copy of waycue came without {name}.", hint="Install it with pip from a wheel or a checkout."
    )


def unit(name: str) -> str:
    """The text of a file in systemd/."""
    return (path_of(UNITS) / name).read_text(encoding="utf-8")
