"""Programs of the system: what they say when they fail is handed on."""

from __future__ import annotations

import shutil
import signal
import subprocess

from shared.errors import ConfigError, Permanent

COMMAND_S = 120.0
AGAIN = "Mend that, then run this again: what is done already is left alone."


class ProgramFailed(Permanent):
    """A program of the system said no."""


def run_program(*command: str, timeout_s: float = COMMAND_S) -> str:
    """What it printed. Raises: ProgramFailed."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Ctrl-C is for us to deal with
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailed(f"{command[0]} cannot be run: {error}.", hint=AGAIN) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ProgramFailed(f"`{' '.join(command)}` failed: {said}", hint=AGAIN)
    return done.stdout


def run_whole(*command: str) -> None:
    """As run_program, and Ctrl-C waits for its end: one that is killed while it changes accounts leaves files behind.

    raises: ProgramFailed; KeyboardInterrupt afterwards
    """
    interrupted = []
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    try:
        run_program(*command)
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt


def sbin(name: str) -> str:
    """Its path: sudo and cron may have a PATH without the programs of the administrator. Raises: ConfigError."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise ConfigError(f"There is no {name}.", hint="Install the package passwd.")
    return found
