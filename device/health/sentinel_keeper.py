"""Keeps the sentinel running, as the sentinel keeps an eye on the agent.

By hand the agent starts it, in a session of its own so that what ends the agent does not end it. As a service systemd
does, and the agent only says so where it is not there. Either way its sentences are rendered here, by the agent's
voice.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from device.health import announcements
from device.sentinel.board import OUTPUT, SPEECH, Board
from device.sentinel.sounds import RATE_HZ
from device.sentinel.watch import WORDS
from device.voice.espeak import Samples
from shared import atomic
from shared.background import Background
from shared.clock import Clock
from shared.errors import MediaError
from shared.wav import encode_wav

logger = logging.getLogger(__name__)

FOLDER = "sentinel"
"""In the state folder: its sentences."""
LOG = "sentinel.log"
EVERY_S = 1.0
BEAT_S = 3.0  # it writes ten times a second
START_S = 5.0  # to start, before it is started again
RENDER_EVERY_S = 60.0


def board_folder(state_dir: Path) -> Path:
    """Where the board of the agent with this state folder is: as a service the unit's RuntimeDirectory, else a folder
    of this user's in memory. It is made. Raises: OSError."""
    service = service_folder()
    if service is not None:
        return service
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(own) if own and os.access(own, os.W_OK) else Path("/dev/shm")
    private = base / f"waycue-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.is_symlink() or private.stat().st_uid != os.getuid():
        raise PermissionError(f"{private} belongs to somebody else.")
    made = private / hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:16]
    made.mkdir(mode=0o700, exist_ok=True)
    return made


def service_folder() -> Path | None:
    """The unit's RuntimeDirectory; None = run by hand."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(folder) if folder else None


class SentinelKeeper:
    """`start` and `close` it. Its thread may wait for the disk.

    render: int16 [n] at RATE_HZ of a sentence; raises: MediaError
    options: more of its command line
    """

    def __init__(
        self,
        board: Board,
        *,
        state_dir: Path,
        options: tuple[str, ...],
        render: Callable[[str], Samples],
        announce: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.output: Callable[[], Mapping[str, str] | None] = lambda: None
        """What leads to the output that the agent plays on, for the sentinel to follow; empty = the system's default,
        None = it is not known."""
        self._told: str | None = None
        """What of it stands beside the board."""
        self._board = board
        self._speech = state_dir / FOLDER
        self._options = options
        self._render = render
        self._announce = announce
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = self._rendered_s = float("-inf")
        self._rendered = False
        self._outage = announcements.Outage()
        self._rounds = Background.every(EVERY_S, self.tick, name="sentinel keeper", at_once=True)

    @property
    def watches(self) -> bool:
        """A sentinel is there and does its rounds."""
        told = self._board.sentinel()
        return told is not None and 0 <= self._clock.monotonic_s() - told.beat_s <= BEAT_S

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        """Leave the sentinel alone: it says that the agent ended, and ends itself then."""
        self._rounds.close()

    def tick(self) -> None:
        now_s = self._clock.monotonic_s()
        ended = self._process is not None and self._process.poll() is not None
        lost = not self.watches and now_s - self._started_s >= START_S
        if service_folder() is None and (ended or lost):
            self._started_s = now_s
            self._start_it()
        self._outage, text = announcements.watch_news(self._outage, now_s, watched=self.watches)
        if text is not None:
            self._announce(text)
        self._tell_output()
        if not self._rendered and now_s - self._rendered_s >= RENDER_EVERY_S:
            self._rendered_s = now_s
            self._rendered = self._prepare()

    def _tell_output(self) -> None:
        """A sentinel that does not learn of it finds an output by itself."""
        values = self.output()
        if values is None:
            return
        told = "".join(f"{name}={value}\n" for name, value in values.items())
        if told != self._told:
            self._told = told
            try:
                atomic.write_bytes(self._board.path.parent / OUTPUT, told.encode())
            except OSError as error:
                logger.warning("The sentinel is not told where sound comes out: %s", error)

    def _start_it(self) -> None:
        """Whatever keeps it from starting is no reason not to say that nobody watches."""
        try:
            self._start_another()
        except (OSError, subprocess.TimeoutExpired) as error:
            logger.error("The sentinel cannot be started: %s", error)

    def _start_another(self) -> None:
        if self._process is not None:
            self._process.kill()  # stopped, or it hangs
            self._process.wait(EVERY_S)
        folder = self._board.path.parent
        command = [sys.executable, "-m", "device.sentinel", "--board", str(self._board.path)]
        command += ["--speech", str(self._speech), *self._options]
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                command,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _prepare(self) -> bool:
        """Render its sentences: into memory, where a running sentinel looks for them, and for the next start."""
        try:
            for name, text in WORDS.items():
                data = encode_wav(self._render(text), RATE_HZ)
                for folder in (self._board.path.parent / SPEECH, self._speech):
                    file = folder / f"{name}.wav"
                    if not file.exists() or file.read_bytes() != data:
                        atomic.write_bytes(file, data)
        except (MediaError, OSError) as error:
            logger.warning("The sentinel has tones only: %s", error)
            return False
        return True
