"""A command run as a service would run it: by systemd, with the properties of the service's own unit and drop-ins.

So what fails in the service fails here: a group that is missing, a device that is hidden, a folder that is read-only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SPECIFIERS = {"%t": "/run", "%S": "/var/lib", "%%": "%"}
OF_A_DAEMON = frozenset(
    """
    ExecStart ExecReload Type NotifyAccess Restart RestartSec RestartSteps RestartMaxDelaySec RestartPreventExitStatus
    SuccessExitStatus WatchdogSec TimeoutStartSec TimeoutStopSec TimeoutAbortSec KillMode
    """.split()
)
"""How it is started, watched and ended: nothing that a command sees."""


def service_properties(unit: str) -> tuple[str, ...]:
    """KEY=VALUE of each line in [Service] that says what a process may see and do, in order.

    unit: text of the unit and of its drop-ins after one another, as `systemctl cat` prints them
    """
    joined = re.sub(r"\s*\\\n\s*", " ", unit)
    section, found = "", []
    for raw in joined.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            if key.strip() not in OF_A_DAEMON:
                found.append(f"{key.strip()}={_expanded(value.strip())}")
    return tuple(found)


def _expanded(value: str) -> str:
    """systemd-run takes values as they are: specifiers are the unit file's."""
    return re.sub("|".join(map(re.escape, SPECIFIERS)), lambda match: SPECIFIERS[match[0]], value)


def command(program: str, properties: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """What to type. program: systemd-run. words: the command, its program by its whole path."""
    how = (program, "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec")
    return (*how, *(f"--property={text}" for text in properties), "--", *words)


def unit_text(folder: Path, name: str) -> str | None:
    """The unit and its drop-ins, as systemd reads those of /etc. None = it is not installed. Raises: OSError."""
    path = folder / name
    if not path.is_file():
        return None
    parts = [path, *sorted((folder / f"{name}.d").glob("*.conf"))]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)
