"""The processes of the demo, started through waycue's public commands and stopped whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import WaycueError


def command(name: str) -> str:
    """Path of one of waycue's own commands, from the environment this runs in."""
    return str(Path(sys.executable).parent / name)


@dataclass(slots=True)
class Child:
    """A running process, its name and its log."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def running(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def error(self, problem: str) -> WaycueError:
        """With the end of its log."""
        return WaycueError(f"{problem}\n{self.tail()}", hint=f"See {self.log}.")


@dataclass(slots=True)
class Children:
    """All processes of one demo. A context manager: leaving it ends every one of them."""

    logs: Path
    _children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop_all()

    def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start a process in a group of its own (Ctrl-C reaches only us, and we end it in order)."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Waiting threads sleep instead of spinning: several processes share two cores here.
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"},
            )
        child = Child(name, log, process)
        self._children.append(child)
        return child

    def wait(self, child: Child, *, timeout_s: float, watch: Callable[[], None] = lambda: None) -> None:
        """Until it ended well. `watch` is called a few times a second. Raises: WaycueError with the end of its log."""
        deadline = time.monotonic() + timeout_s
        while child.running():
            watch()
            if time.monotonic() > deadline:
                raise child.error(f"{child.name} did not end within {timeout_s:.0f} s.")
            time.sleep(0.2)
        if child.process.returncode != 0:
            raise child.error(f"{child.name} failed with status {child.process.returncode}.")

    def until(self, child: Child, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Until `ready()` while the child runs. Raises: WaycueError."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not child.running():
                raise child.error(f"{child.name} ended while waiting for {what}.")
            if time.monotonic() > deadline:
                raise child.error(f"No {what} within {timeout_s:.0f} s.")
            time.sleep(0.1)

    def stop(self, child: Child) -> None:
        """SIGTERM: no child inherits it as ignored, as it does SIGINT from nohup. SIGKILL to the group after 8 s."""
        if child.running():
            child.process.terminate()
            try:
                child.process.wait(8)
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()

    def stop_all(self) -> None:
        for child in reversed(self._children):
            self.stop(child)
        self._children.clear()
