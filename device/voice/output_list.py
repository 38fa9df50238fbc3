"""What sound outputs this system has now: asked of a sound server through `pactl`, and of ALSA through /proc.

A server is asked only where its socket is: libpulse would start a server of its own for a service that has none, and
that would take the sound card away from ALSA.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from device.voice.outputs import SoundOutput, cards, ranked, sinks
from shared.clock import Clock

ANSWER_S = 1.5  # a server that hangs must not keep the next output from its turn
PROC = Path("/proc/asound")
SYSTEM_SOCKET = Path("/run/pulse/native")  # of `pulseaudio --system`
WATCH_AGAIN_S = 5.0


def use_server(place: str) -> None:
    """Reach the sound server at `place`, as libpulse writes it, in this process and those that it starts."""
    if place:
        os.environ["PULSE_SERVER"] = place


def server_of(environ: Mapping[str, str]) -> str | None:
    """Where a PulseAudio (or pipewire-pulse) is for this process; None = there is none."""
    if environ.get("PULSE_SERVER"):
        return environ["PULSE_SERVER"]
    session = environ.get("XDG_RUNTIME_DIR")
    sockets = [Path(session) / "pulse/native"] if session else []
    return next((str(socket) for socket in (*sockets, SYSTEM_SOCKET) if socket.exists()), None)


def pipewire_runs(environ: Mapping[str, str]) -> bool:
    """A PipeWire that ALSA's default may lead to."""
    folder = environ.get("PIPEWIRE_RUNTIME_DIR") or environ.get("XDG_RUNTIME_DIR")
    return bool(folder) and (Path(str(folder)) / "pipewire-0").exists()


def foreign_servers(proc: Path = Path("/proc")) -> dict[str, int]:
    """Sound servers of other users, which this process cannot reach: name → number of their user."""
    found = {}
    for name in proc.glob("[0-9]*/comm"):
        try:
            program, owner = name.read_text().strip(), name.stat().st_uid
        except OSError:
            continue
        if program in ("pulseaudio", "pipewire-pulse", "pipewire") and owner != os.getuid():
            found[program] = owner
    return found


def asked(*words: str) -> str | None:
    """What `pactl` answers; "" = there is no server, None = no answer in time."""
    try:
        done = subprocess.run(
            ["pactl", *words],
            capture_output=True,
            timeout=ANSWER_S,
            check=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return None
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode(errors="replace")


def server_info() -> dict[str, str]:
    """`pactl info` as a table, such as "Server Name" and "Default Sink"; empty = it does not answer."""
    lines = (asked("info") or "").splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if ": " in line)


def default_written(environ: Mapping[str, str]) -> bool:
    """Whether somebody has written what ALSA's default output is."""
    home = Path(environ.get("HOME") or "/nonexistent")
    files = [Path("/etc/asound.conf"), home / ".asoundrc", home / ".config/alsa/asoundrc"]
    files += [Path(name) for name in environ.get("ALSA_CONFIG_PATH", "").split(":")[1:]]
    return any("pcm.!default" in _read(file) for file in files)


class OutputList:
    """The outputs of this system, and whether they have changed. One thread uses it."""

    def __init__(self, clock: Clock, *, wanted: str = "") -> None:
        """wanted: voice.output"""
        self.wanted = wanted
        self._clock = clock
        self._cards = ""
        self._sinks: tuple[SoundOutput, ...] = ()
        self._stale = False
        """The server did not answer the last time."""
        self._watcher: subprocess.Popen[bytes] | None = None
        self._watch_at_s = 0.0

    def scan(self) -> tuple[SoundOutput, ...]:
        """What may be played on now, the best first. Takes about 20 ms where there is a server."""
        environ = os.environ
        server = server_of(environ)
        listed = "" if server is None else asked("list", "short", "sinks")
        self._stale = listed is None
        if listed is not None:  # a busy machine that does not answer in time has lost nothing yet
            self._sinks = sinks(listed, server_info().get("Default Sink", "") if listed else "")
        self._cards = _read(PROC / "cards")
        found = self._sinks + cards(self._cards, _read(PROC / "pcm"))
        expected = server is not None or pipewire_runs(environ)
        return ranked(found, wanted=self.wanted, default_written=default_written(environ), server_expected=expected)

    @property
    def answers(self) -> bool:
        """The server, where there is one, answered the last `scan`."""
        return not self._stale

    def changed(self) -> bool:
        """Whether something came, went or was silenced since `scan`. Microseconds; a server tells it by itself."""
        return self._server_told() or self._stale or _read(PROC / "cards") != self._cards

    def close(self) -> None:
        """End the program that listens to the server. May be called again."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.kill()
            watcher.wait()
            if watcher.stdout is not None:
                watcher.stdout.close()

    def _server_told(self) -> bool:
        if self._watcher is None:
            return self._watch()
        assert self._watcher.stdout is not None
        try:
            told = os.read(self._watcher.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if not told:  # the server is gone
            self.close()
            self._watch_at_s = self._clock.monotonic_s() + WATCH_AGAIN_S
            return True
        return any(what in told for what in (b" on sink #", b" on sink-input #", b" on server"))

    def _watch(self) -> bool:
        """Whether it has just begun to listen: what changed before is not told."""
        now_s = self._clock.monotonic_s()
        if now_s < self._watch_at_s or server_of(os.environ) is None or shutil.which("pactl") is None:
            return False
        self._watch_at_s = now_s + WATCH_AGAIN_S
        try:
            self._watcher = subprocess.Popen(
                ["pactl", "subscribe"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"LC_ALL": "C"},
            )
        except OSError:
            return False
        assert self._watcher.stdout is not None
        os.set_blocking(self._watcher.stdout.fileno(), False)
        return True


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
