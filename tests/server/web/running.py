"""A whole `waycue-server run` in a process of its own, as people reach it: on all addresses, with TLS, for those who
have an account."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.broker.child import free_port
from tests.paths import ROOT
from tests.server.commands.terminal import server

START_S = 60.0


@contextmanager
def running(home: Path) -> Iterator[str]:
    """The address of the page. home: of a server that was not set up yet, or was; its broker is away"""
    if not (home / "ca").exists():
        assert server(home, "init").returncode == 0
    port = free_port()
    command = [sys.executable, "-m", "server", "--home", str(home), "run", "--plain", "--enrol", ""]
    command += ["--web", f"0.0.0.0:{port}", "--broker", f"127.0.0.1:{free_port()}"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        told = child.stdout.readline()
        assert told.startswith("Review page https://"), child.stderr.read() if child.stderr and not told else told
        yield f"https://127.0.0.1:{port}"
    finally:
        child.send_signal(signal.SIGTERM)
        _, log = child.communicate(timeout=START_S)
    assert "Traceback" not in log, log


def invitation(home: Path, role: str, *, wearer: str = "") -> str:
    """The path of a new invitation, made by the command that an admin would use."""
    made = server(home, "accounts", "invite", "--role", role, *(["--wearer", wearer] if wearer else []))
    assert made.returncode == 0, made.stderr
    return "/join/" + made.stdout.partition("/join/")[2].split()[0]
