"""A Mosquitto child process on a loopback port, for the demo, the tests and a first look.

Promises: `start` returns once the broker accepts connections; the port stays the same over stop, kill and start; only
the process started here is ever ended. Without `secure` it has no passwords and listens on loopback only: never point a
real device at it. With `secure` it runs from the files that `waycue-server broker config` wrote, as in the field.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from shared import atomic
from shared.errors import ConfigError, Unreachable

HOST = "127.0.0.1"
_UP = re.compile(rb"mosquitto version \S+ running")
_START_TRIES = 5  # another program may take a free port between our look and the broker's bind


def find_mosquitto() -> str | None:
    """Path of the broker program, or None. Debian keeps it in sbin, which is not on everyone's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def listening_port(conf: Path) -> int:
    """The port of a configuration file's listener. Raises: ConfigError, OSError."""
    listener = re.search(r"^listener (\d+)", conf.read_text(), re.MULTILINE)
    if listener is None:
        raise ConfigError(f"{conf} names no listener.", hint="Write it again with: waycue-server broker config")
    return int(listener[1])


class BrokerChild:
    """One Mosquitto process. Use as a context manager, or call start() and stop().

    folder: gets mosquitto.conf and mosquitto.log; port: None picks a free one; options: more lines for the
    configuration, such as "max_packet_size 100000"; secure: the folder that `broker_files.write` wrote, which says the
    port and everything else.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, options: Sequence[str] = (), secure: Path | None = None
    ) -> None:
        self.host = HOST
        self.folder = folder
        self.port = (port or free_port()) if secure is None else listening_port(secure / "mosquitto.conf")
        self._may_move = port is None and secure is None
        self._options = tuple(options)
        self._secure = secure
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def conf(self) -> Path:
        """The configuration file in use."""
        return (self._secure or self.folder) / "mosquitto.conf"

    @property
    def log(self) -> Path:
        """What the broker printed, over all its starts."""
        return self.folder / "mosquitto.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id, None while it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    def start(self, timeout_s: float = 15.0) -> None:
        """Start and wait until it accepts connections. Does nothing where it runs already.

        Raises: ConfigError where Mosquitto is not installed, Unreachable where it does not come up.
        """
        program = find_mosquitto()
        if program is None:
            raise ConfigError("The MQTT broker Mosquitto is not installed.", hint="Run: apt install mosquitto")
        if self.running:
            return
        for left in reversed(range(_START_TRIES)):
            atomic.make_dirs(self.folder)
            if self._secure is None:
                atomic.write_bytes(self.conf, self._configuration().encode())
            with open(self.log, "ab") as log:
                log_from = log.tell()
                # A session of its own: Ctrl-C in a terminal must reach the agents first, the broker last.
                command = [program, "-c", str(self.conf)]
                self._process = subprocess.Popen(
                    command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
                )
            if self._is_up(log_from, timeout_s):
                self._may_move = False
                return
            self.kill()
            if self._may_move and left:
                self.port = free_port()
        raise Unreachable(f"Mosquitto did not come up on {self.host}:{self.port}.", hint=f"See {self.log}.")

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask it to end and wait; after the timeout it is killed. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _configuration(self) -> str:
        lines = [f"listener {self.port} {self.host}", "allow_anonymous true", "persistence false", "log_dest stderr"]
        # Without it every small answer waits up to 40 ms for a TCP acknowledgement, and a quarter of the speed is left.
        lines.append("set_tcp_nodelay true")
        if os.geteuid() == 0:
            lines.append("user root")  # else it changes to an account that cannot read a temp folder
        return "\n".join([*lines, *self._options, ""])

    def _is_up(self, log_from: int, timeout_s: float) -> bool:
        """Whether it logged that it listens; to connect would not do, another program may answer on the same port."""
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            if _UP.search(self.log.read_bytes()[log_from:]):
                return True
            time.sleep(0.02)
        return False
