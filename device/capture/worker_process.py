"""One capture process and our ends of its pipes. device.capture.worker watches it; device.capture.worker_main is
inside."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from device.capture import pipe
from device.capture.source import Kind
from device.capture.supervisor import Limits

KILL_S = 1.0
_PIPE_BYTES = 1 << 20  # the most an ordinary user may ask for; a 640×480 picture then fits whole
_LAST_WORDS_BYTES = 2000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    """For people: "camera 0"."""
    kind: Kind
    target: str
    """MODULE:FUNCTION, called as function(outlet, **options) in the process."""
    options: Mapping[str, Any]
    """Plain JSON values."""
    hint: str = ""
    """What to do when it does not start."""
    limits: Limits = field(default_factory=Limits)


class Child:
    def __init__(self, plan: Plan) -> None:
        ours, theirs = os.pipe()
        _widen(theirs)
        command = [
            sys.executable,
            "-m",
            "device.capture.worker_main",
            plan.target,
            json.dumps(plan.options),
            str(theirs),
        ]
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        try:
            self.process = subprocess.Popen(
                command,
                env=environ,
                pass_fds=(theirs,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        assert self.process.stderr is not None
        self.fd, self.stderr_fd = ours, self.process.stderr.fileno()
        os.set_blocking(self.stderr_fd, False)
        self.inlet = pipe.Inlet(ours)
        self.last_words = b""
        self.talks = True

    def listen(self) -> None:
        """Take what the process wrote to stderr; the end of it says why a process died."""
        try:
            words = os.read(self.stderr_fd, 65536)
        except BlockingIOError:
            return
        self.talks = bool(words)
        self.last_words = (self.last_words + words)[-_LAST_WORDS_BYTES:]

    def epitaph(self) -> str:
        """Why the process is gone, as far as is known."""
        try:
            self.process.wait(KILL_S / 4)  # its pipe closes a moment before it is gone
        except subprocess.TimeoutExpired:
            return "the capture process closed its pipe"
        self.listen()
        lines = self.last_words.decode(errors="replace").strip().splitlines()
        code = self.process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"the capture process {how}" + (f": {lines[-1]}" if lines else "")

    def kill(self) -> None:
        """End the process, whatever it is doing, and let go of the pipes."""
        self.process.kill()
        try:
            self.process.wait(KILL_S)
        except subprocess.TimeoutExpired:  # inside a driver; the kernel ends it when the driver lets go
            logger.error("Capture process %d cannot be killed yet: it hangs in a driver.", self.process.pid)
        os.close(self.fd)
        assert self.process.stderr is not None
        self.process.stderr.close()


def _widen(fd: int) -> None:
    """Room for a whole picture, so that a slow turn of the agent does not hold the camera up."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:  # more than this user may have: 64 KiB works too, in more turns
        return
