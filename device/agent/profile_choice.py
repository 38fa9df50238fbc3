"""Which profile is worn: chosen by the setting, then by presses, and kept over a restart.

<state>/profile.json holds the last choice and the setting under which it was made. Another setting counts more: who
edits the settings means it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from device import build, profiles
from device.config import Config
from shared import atomic
from shared.policy import PolicySettings

FILE = "profile.json"


class ProfileChoice:
    """One thread presses; another may `keep`."""

    def __init__(self, config: Config, state_dir: Path) -> None:
        self._config = config
        self._file = state_dir / FILE
        self._known = profiles.known(config.guidance.profiles)
        self.name = self._kept = self._read()
        """Of the one that is worn; "" = none."""

    def next(self, wear: Callable[[PolicySettings], None], tell: Callable[[str], None]) -> None:
        """Put on the next one, from the next look on."""
        self.name = name = profiles.after(self.name, self._known)
        wear(build.policy_settings(self._config, name))
        tell(profiles.announcement(name, self._known.get(name)))

    def keep(self) -> None:
        """Write the choice, where it is new. Raises: OSError."""
        name = self.name
        if name != self._kept:
            atomic.write_json(self._file, {"profile": name, "setting": self._config.guidance.profile})
            self._kept = name

    def _read(self) -> str:
        setting = self._config.guidance.profile
        try:
            value = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return setting
        if not isinstance(value, dict) or value.get("setting") != setting:
            return setting
        name = value.get("profile")
        return name if isinstance(name, str) and (name == "" or name in self._known) else setting
