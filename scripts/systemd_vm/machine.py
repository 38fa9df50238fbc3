"""A whole machine with a kernel of its own (QEMU, its processor emulated): for what a container has not.

Its sound card is an AC97 that the PulseAudio of the test plays, its keyboard a USB one that can be pressed, pulled
out and plugged in, its pins those of Linux's gpio-sim. Everything takes long: its processor is some thirty times as
slow as this one. What it writes to its disk is gone with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scripts.systemd_vm import kernel
from scripts.systemd_vm.container import CAMERA
from scripts.systemd_vm.image import Places
from scripts.systemd_vm.stage import Done
from shared.clock import Clock
from shared.errors import Unreachable

MEMORY_MB, PROCESSORS = 1536, 2
SLOWER = 20
"""How many times as long as in the container commands may take."""
POLL_S = 1.0
KEYBOARD = "usb-kbd,id=keys,bus=usb.0"
FILES = ("commands", "qmp")


class Machine:
    """`start` it, `run` commands inside, press its keys and pins, `stop` it. env: where its sound card plays."""

    def __init__(self, places: Places, env: Mapping[str, str], clock: Clock) -> None:
        self._places, self._env, self._clock = places, dict(env), clock
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: dict[str, _Lines] = {}

    @property
    def folder(self) -> Path:
        return self._places.work / "machine"

    def start(self) -> None:
        """Switch it on, with a disk that was never used."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.power_on()

    def power_on(self) -> None:
        linux, first_files = kernel.files(self._places)
        command = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-cpu", "max", "-smp", str(PROCESSORS)]
        command += ["-m", str(MEMORY_MB), "-nodefaults", "-display", "none", "-nic", "none"]
        command += ["-kernel", str(linux), "-initrd", str(first_files)]
        command += ["-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off systemd.show_status=no"]
        command += ["-drive", f"file={self._places.work / 'disk.img'},format=raw,if=virtio,snapshot=on"]
        command += ["-serial", f"file:{self.folder / 'console.log'}"]
        command += ["-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"]
        command += ["-chardev", f"socket,id=commands,path={self.folder / 'commands'},server=on,wait=off"]
        command += ["-device", "virtio-serial", "-device", "virtserialport,chardev=commands,name=commands"]
        command += ["-audiodev", "alsa,id=sound,in.try-poll=off,out.buffer-length=200000"]
        command += ["-device", "AC97,audiodev=sound"]
        command += ["-device", "qemu-xhci,id=usb", "-device", KEYBOARD]
        with (self.folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self._env
            )

    def until_up(self, timeout_s: float) -> float:
        """Wait until commands can be run inside. Returns after how many seconds. Raises: Unreachable."""
        began_s = self._clock.monotonic_s()
        while (waited_s := self._clock.monotonic_s() - began_s) < timeout_s:
            with contextlib.suppress(OSError):
                if not self._lines:
                    self._lines = {name: _Lines(self.folder / name) for name in FILES}
                    self._ask("qmp_capabilities")
                left_s = timeout_s - waited_s
                if self.run("true", timeout_s=left_s / SLOWER).status == 0:  # it waits there until it is read
                    return self._clock.monotonic_s() - began_s
            self._clock.sleep(POLL_S)
        raise Unreachable("The machine did not boot.", hint=f"See {self.folder / 'console.log'}.")

    def run(self, command: str, *, timeout_s: float = 60.0) -> Done:
        """Run a shell command inside, as root. Raises: Unreachable where it does not end."""
        lines = self._lines["commands"]
        try:
            lines.write({"command": command})
            answer = lines.read(timeout_s * SLOWER)
        except TimeoutError:
            raise Unreachable(f"Inside the machine this does not end: {command}") from None
        return Done(int(str(answer["status"])), str(answer["output"]))

    def camera_on(self) -> None:
        """The film appears, whole."""
        self.run(f"ln /srv/film.mp4 {CAMERA}/film.mp4")

    def press_key(self, name: str) -> None:
        """Of the USB keyboard, as QEMU names it: down and up."""
        for down in (True, False):
            key = {"down": down, "key": {"type": "qcode", "data": name}}
            self._ask("input-send-event", events=[{"type": "key", "data": key}])

    def pull_out_keyboard(self) -> None:
        self._ask("device_del", id="keys")

    def plug_in_keyboard(self) -> None:
        driver, *options = KEYBOARD.split(",")
        self._ask("device_add", driver=driver, **dict(option.split("=") for option in options))

    def _ask(self, what: str, **arguments: object) -> None:
        """Of QEMU itself. Raises: Unreachable where it refuses."""
        lines = self._lines["qmp"]
        lines.write({"execute": what, "arguments": arguments})
        while "return" not in (answer := lines.read(60.0)):  # greetings and events
            if "error" in answer:
                raise Unreachable(f"QEMU refuses {what}: {answer['error']}")

    def power_off(self) -> None:
        """Pull the plug."""
        for lines in self._lines.values():
            lines.close()
        self._lines = {}
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Pull the plug. May be called again."""
        self.power_off()


class _Lines:
    """Lines of JSON over a socket. Raises: OSError where nobody listens."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def write(self, said: Mapping[str, object]) -> None:
        self._socket.sendall(json.dumps(said).encode() + b"\n")

    def read(self, timeout_s: float) -> dict[str, object]:
        """Raises: TimeoutError; OSError where the other end is gone."""
        self._socket.settimeout(timeout_s)
        line = self._file.readline()
        if not line:
            raise ConnectionResetError("The machine has ended.")
        answer: dict[str, object] = json.loads(line)
        return answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()
