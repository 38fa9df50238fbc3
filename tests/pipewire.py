"""A PipeWire of the test's own, with wireplumber and pipewire-pulse, in a folder of its own and on no card."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.pulse import SPEAKERS, PulseChild, until

PROGRAMS = ("dbus-daemon", "pipewire", "wireplumber", "pipewire-pulse", "pactl", "parec")


def missing() -> str:
    """What has to be installed before PipeWireChild can run; "" = nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    packages = "dbus-daemon pipewire wireplumber pipewire-pulse pulseaudio-utils libasound2-plugins"
    return f"{', '.join(absent)} not installed (apt install {packages})" if absent else ""


class PipeWireChild(PulseChild):
    """Three processes that speak PulseAudio's protocol; what plays and records is the same as with PulseAudio."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._socket = folder / "pulse/native"
        own = {name: str(folder) for name in ("XDG_RUNTIME_DIR", "PIPEWIRE_RUNTIME_DIR", "XDG_CONFIG_HOME")}
        self.env |= {"PULSE_SERVER": f"unix:{self._socket}"} | own
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "asound.conf").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        alone = self.folder / "wireplumber/bluetooth.lua.d"
        alone.mkdir(parents=True, exist_ok=True)  # without a system bus wireplumber ends over its question to logind
        (alone / "51-alone.lua").write_text("bluez_monitor.enabled = false\n")
        bus = f"unix:path={self.folder / 'bus'}"
        away = {"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder), "DBUS_SESSION_BUS_ADDRESS": bus}
        environ = {name: value for name, value in os.environ.items() if name != "PULSE_SERVER"} | self.env | away
        commands = {
            "bus": ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={bus}"],
            "pipewire-0": ["pipewire"],
            "pulse/native": ["pipewire-pulse"],
        }
        with (self.folder / "pipewire.log").open("wb") as log:
            for socket, command in commands.items():
                self._processes.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
                until((self.folder / socket).exists, f"{command[0]}; its log: {self.folder / 'pipewire.log'}")
            self._processes.append(subprocess.Popen(["wireplumber"], env=environ, stdout=log, stderr=log))
        until(self._ready, "PipeWire to answer")
        self.control("load-module", "module-null-sink", f"sink_name={SPEAKERS}")
        until(lambda: self._is_default(SPEAKERS), "wireplumber to choose it")

    def stop(self) -> None:
        processes, self._processes = self._processes, []
        for process in reversed(processes):
            process.kill()
            process.wait()

    def _is_default(self, sink: str) -> bool:
        words = ["pactl", "set-default-sink", sink]
        subprocess.run(words, env=os.environ | self.env, capture_output=True, check=False, timeout=20)
        return f"Default Sink: {sink}" in self.control("info")

    def _ready(self) -> bool:
        done = subprocess.run(
            ["pactl", "info"], env=os.environ | self.env, capture_output=True, check=False, timeout=20
        )
        return b"PipeWire" in done.stdout
