"""A PulseAudio daemon of the test's own: real sound in and out on a machine without a sound card.

Two null sinks. `speakers` is the default output: `record` hears what a program plays. `room` is what the default
microphone hears: `play` puts a WAV file into it. PortAudio reaches both through ALSA's pulse plugin.

The daemon keeps its sockets, home and cookie in the folder it is given, so it neither sees nor disturbs the user's own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPEAKERS = "speakers"
ROOM = "room"
RATE_HZ = 16_000
PATIENCE_S = 60.0
_ALSA_CONF = Path("/usr/share/alsa/alsa.conf")
_ALSA_PLUGINS = ("/usr/lib/*/alsa-lib", "/usr/lib/alsa-lib", "/usr/lib64/alsa-lib")


def missing() -> str:
    """What has to be installed before PulseChild can run; "" = nothing."""
    if shutil.which("pulseaudio") is None or shutil.which("pactl") is None:
        return "PulseAudio is not installed (apt install pulseaudio pulseaudio-utils)"
    folders = [folder for pattern in _ALSA_PLUGINS for folder in Path("/").glob(pattern.lstrip("/"))]
    if not any((folder / "libasound_module_pcm_pulse.so").exists() for folder in folders):
        return "ALSA's pulse plugin is not installed (apt install libasound2-plugins)"
    return ""


def until(condition: Callable[[], bool], what: str, *, timeout_s: float = PATIENCE_S) -> None:
    """Wait for a condition in another process. Raises: TimeoutError naming what was awaited.

    timeout_s: ends a test that would hang; on a busy machine what takes a second may take half a minute
    """
    pause = threading.Event()
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        pause.wait(0.02)


class PulseChild:
    """One pulseaudio process. `env` is what a program needs in its environment to use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "native"
        self._process: subprocess.Popen[bytes] | None = None
        self.env = {"PULSE_SERVER": f"unix:{self._socket}", "PULSE_COOKIE": str(folder / "cookie")}
        if _ALSA_CONF.exists():
            self.env["ALSA_CONFIG_PATH"] = f"{_ALSA_CONF}:{folder / 'asound.conf'}"

    def start(self) -> None:
        """Returns once programs can connect."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "asound.conf").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        script = self.folder / "waycue.pa"
        script.write_text(
            f"load-module module-null-sink sink_name={SPEAKERS} rate=48000 channels=2\n"
            f"load-module module-null-sink sink_name={ROOM} rate=48000 channels=2\n"
            f"set-default-sink {SPEAKERS}\nset-default-source {ROOM}.monitor\n"
            f"load-module module-native-protocol-unix socket={self._socket} auth-anonymous=1\n"
        )
        # Run as root, pulseaudio only warns; --system=false keeps it away from /run/pulse.
        command = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--system=false", "--exit-idle-time=-1"]
        command += ["--use-pid-file=no", "--disable-shm=yes", "--realtime=no", "--high-priority=no"]
        own = {name: str(self.folder) for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "XDG_CONFIG_HOME")}
        environ = {name: value for name, value in os.environ.items() if name != "PULSE_SERVER"}
        with (self.folder / "pulse.log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environ | own, stdout=log, stderr=log)
        until(self._answers, f"PulseAudio; its log: {self.folder / 'pulse.log'}")

    def stop(self) -> None:
        """End the daemon; its sinks are gone with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop answering without closing anything: what a sound card does that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after freeze()."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def play(self, wav: Path, *, sink: str = ROOM) -> subprocess.Popen[bytes]:
        """Start playing a WAV file where the microphone hears it; wait() on the answer for its end."""
        return subprocess.Popen(["paplay", f"--device={sink}", str(wav)], env=os.environ | self.env)

    def plug_in(self, sink: str, *, channels: int = 2) -> str:
        """Another null sink, which becomes the default one, as a headset does. Returns what `unplug` needs."""
        module = self.control("load-module", "module-null-sink", f"sink_name={sink}", f"channels={channels}")
        self.control("set-default-sink", sink)
        return module

    def unplug(self, module: str) -> None:
        """Take a sink away again."""
        self.control("unload-module", module)

    def module_of(self, sink: str) -> str:
        """What `unplug` needs of a sink that was there from the start."""
        rows = (line.split("\t") for line in self.control("list", "short", "modules").splitlines())
        return next(row[0] for row in rows if f"sink_name={sink} " in f"{row[2]} ")

    def control(self, *words: str) -> str:
        """Ask `pactl`. Raises: CalledProcessError."""
        done = subprocess.run(["pactl", *words], env=os.environ | self.env, capture_output=True, check=True, timeout=20)
        return done.stdout.decode().strip()

    @contextmanager
    def record(self, *, sink: str = SPEAKERS, channels: int = 1) -> Iterator[Callable[[], NDArray[np.int16]]]:
        """While in the block, hear what is played on a sink: call the answer for the samples so far, at 16 kHz: [n],
        with more than one channel one after the other in each frame."""
        raw = self.folder / f"{sink}.raw"
        command = ["parec", f"--device={sink}.monitor", "--format=s16le", f"--rate={RATE_HZ}", f"--channels={channels}"]
        with raw.open("wb") as out:
            child = subprocess.Popen([*command, "--latency-msec=20"], stdout=out, env=os.environ | self.env)
            try:
                until(lambda: raw.stat().st_size > 0, "the recording to start")
                yield lambda: np.fromfile(raw, np.int16, count=raw.stat().st_size // 2)
            finally:
                child.kill()
                child.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PulseAudio ended: {(self.folder / 'pulse.log').read_text()}")
        if not self._socket.exists():
            return False
        command = ["pactl", "info"]
        done = subprocess.run(command, env=os.environ | self.env, capture_output=True, check=False, timeout=20)
        return done.returncode == 0


def rescan() -> None:
    """Let a PortAudio that this process has already loaded look for devices again: it lists them once, at its start."""
    sounddevice = sys.modules.get("sounddevice")
    if sounddevice is not None:
        sounddevice._terminate()
        sounddevice._initialize()
