"""waycue-server as a person or a script runs it: as a process, with pipes or at a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from server.commands.main import main
from tests.paths import ROOT

DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


def server(home: Path | None, *arguments: object, typed: str = "") -> Done:
    """Run a command to its end as a script would, with `typed` as its input.

    In this process: a process for each of a hundred commands costs minutes. `at_terminal` starts real ones.
    """
    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(typed)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = main(_arguments(home, arguments))
    except SystemExit as error:  # argparse, on wrong use
        status = int(error.code or 0)
    finally:
        sys.stdin = stdin
    return Done(status, out.getvalue(), err.getvalue())


def _arguments(home: Path | None, arguments: Sequence[object]) -> list[str]:
    return [*(["--home", str(home)] if home else []), *map(str, arguments)]


@dataclass(slots=True)
class Terminal:
    """A process that sits at a terminal."""

    process: subprocess.Popen[bytes]
    fd: int
    seen: str = field(default="", init=False)

    def expect(self, text: str) -> str:
        """Read until `text` appears; returns what came up to its end. Raises: AssertionError after a deadline."""
        until = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert time.monotonic() < until, f"{text!r} never came after {self.seen!r}"
            if not self._more():
                raise AssertionError(f"it ended without {text!r}: {self.seen!r}")
        found, _, self.seen = self.seen.partition(text)
        return found + text

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C while it waits for a key: Python keeps a signal that comes just before until the next key."""
        until = time.monotonic() + DEADLINE_S
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < until, "it never waits for a key"
        self.type("\x03")

    def end(self) -> int:
        """Read to its end; returns the exit status."""
        while self._more():
            pass
        return self.process.wait(DEADLINE_S)

    def _more(self) -> bool:
        ready, _, _ = select.select([self.fd], [], [], DEADLINE_S)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 4096)
        except OSError:  # Linux answers so once the other end is closed
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


def _take_terminal() -> None:
    """In the child: a session of its own whose terminal is its input, so that Ctrl-C there becomes SIGINT."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def at_terminal(home: Path | None, *arguments: object) -> Iterator[Terminal]:
    """A command whose input and output are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "server", *_arguments(home, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "TERM": "dumb"},
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
