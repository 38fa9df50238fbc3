"""A Debian whose systemd is process 1, in namespaces of this machine (systemd-nspawn): the units run at its full speed.

What the units use is real: systemd's restarts, watchdog, sandbox and accounts, files, signals, ALSA's plugins. What a
container has not is a kernel of its own: its sound card is a PulseAudio of the test's own, its camera a film, its
memory card an ext4 in a file that is mounted here, so that it can be filled and frozen.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from scripts.systemd_vm.image import Places
from scripts.systemd_vm.stage import Done
from shared.clock import Clock
from shared.errors import Unreachable

CARD_MB = 96
POLL_S = 0.1
CAMERA, SOUND = "/srv/camera", "/srv/sound"
SHARE = Path("/sys/fs/cgroup/cpu/waycue-test")
WEIGHT = 16_384  # 1024 is what every other session of this machine has
GROUPS = ("payload", "supervisor")  # control groups that nspawn leaves behind where systemd does not run


class Container:
    """`start` it, `run` commands inside, `stop` it. What it writes to its root is in memory and gone with it."""

    def __init__(self, places: Places, sound: Path, film: Path, clock: Clock) -> None:
        self._places, self._sound, self._film, self._clock = places, sound, film, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    @property
    def folder(self) -> Path:
        return self._places.work / "run"

    @property
    def _card(self) -> Path:
        return self.folder / "card"

    def start(self) -> None:
        """Switch it on. Raises: Unreachable where it does not start."""
        self._unmount()
        self._card.mkdir(parents=True, exist_ok=True)
        image = self.folder / "card.img"
        image.unlink(missing_ok=True)
        with image.open("wb") as file:
            file.truncate(CARD_MB * 1_000_000)
        camera = self.folder / "camera"
        shutil.rmtree(camera, ignore_errors=True)
        camera.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(self._card)], check=True)
        self.power_on()

    def power_on(self) -> None:
        """Boot it with the card that is there."""
        command = [
            *own_share(),
            "systemd-nspawn",
            "--quiet",
            f"--directory={self._places.root}",
            "--volatile=overlay",
            "--boot",
        ]
        command += ["--register=no", "--keep-unit", "--console=pipe", "--private-network", "--link-journal=no"]
        command += ["--machine=waycue-test", f"--bind={self._card}:/var/lib/waycue-device"]
        command += [f"--bind={self.folder / 'camera'}:{CAMERA}", f"--bind={self._sound}:{SOUND}"]
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def until_up(self, timeout_s: float) -> float:
        """Wait until commands can be run inside. Returns after how many seconds. Raises: Unreachable."""
        began_s = self._clock.monotonic_s()
        while (waited_s := self._clock.monotonic_s() - began_s) < timeout_s:
            self._init = self._first_process()
            if self._init and self.run("systemctl show --property=Version").status == 0:
                return waited_s
            self._clock.sleep(POLL_S)
        raise Unreachable("The container did not boot.", hint=f"See {self.folder / 'console.log'}.")

    def _first_process(self) -> int:
        assert self._process is not None
        pid = self._process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    def run(self, command: str, *, timeout_s: float = 60.0) -> Done:
        """Run a shell command inside, as root. Raises: Unreachable where it does not end."""
        enter = ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        plain = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        whole = [*enter, "--", "/bin/bash", "-c", command]
        try:
            done = subprocess.run(whole, capture_output=True, timeout=timeout_s, env=plain, check=False)
        except subprocess.TimeoutExpired:
            raise Unreachable(f"Inside the container this does not end: {command}") from None
        return Done(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))

    def camera_on(self) -> None:
        """The film appears, whole."""
        os.link(self._film, self.folder / "camera" / "film.mp4")

    def stall_card(self) -> None:
        """Nothing that is written to it ends, until `thaw_card`; reading works."""
        subprocess.run(["fsfreeze", "--freeze", self._card], check=True)

    def thaw_card(self) -> None:
        subprocess.run(["fsfreeze", "--unfreeze", self._card], check=True)

    def power_off(self) -> None:
        """Pull the plug: every process is killed at once. The card stays."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first_process() or self._process.pid, 9)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Pull the plug and clean up. May be called again."""
        with contextlib.suppress(subprocess.CalledProcessError):
            if self._process is not None and os.path.ismount(self._card):
                subprocess.run(["fsfreeze", "--unfreeze", self._card], stderr=subprocess.DEVNULL, check=False)
        self.power_off()
        self._unmount()
        _remove_groups()

    def _unmount(self) -> None:
        if os.path.ismount(self._card):
            subprocess.run(["umount", self._card], check=True)


def own_share() -> list[str]:
    """What to put before a command: it and all that it starts get the processors first, as on a machine of their own.

    Without it what else this machine does would be heard as stutter. Nothing where there is no such control group.
    """
    if not SHARE.parent.exists():
        return []
    SHARE.mkdir(exist_ok=True)
    (SHARE / "cpu.shares").write_text(str(WEIGHT))
    return ["sh", "-c", f'echo $$ > {SHARE}/cgroup.procs && exec "$@"', "sh"]


def give_share_back() -> None:
    with contextlib.suppress(OSError):
        SHARE.rmdir()


def _remove_groups() -> None:
    for controller in Path("/sys/fs/cgroup").iterdir():
        for name in GROUPS:
            for folder, _, _ in os.walk(controller / name, topdown=False):
                with contextlib.suppress(OSError):  # not empty: another container's
                    os.rmdir(folder)
