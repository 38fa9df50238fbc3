"""Kill the updater at every durable step in turn, start it again, and report what is left. Run as a program.

Each try is a forked child that updates a device from m1 to m2 and then to m3, which fails on probation, and that kills
itself (SIGKILL) before its n-th os.fsync, os.replace, os.unlink, os.rmdir or os.symlink, at the n-th named step of the
updater, or after half a block was written. What the disk then holds is checked; another child starts on it and must
bring the update to its end. One JSON line per try: where it was killed, what is wrong, how many bytes came twice.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device.updates.slots import Checkpoint, current_slot, previous_slot
from device.updates.state_file import load_denied
from device.updates.tuf_client import Trust
from server.releases.signing import Release
from shared import bundle
from shared.bundle import BLOCK_BYTES
from shared.clock import ManualClock
from shared.errors import BundleError
from shared.floor import ClockFloor
from tests.device.updates.house import DEVICE, Device, Server
from tests.shared.bundle.bundles import contents

DECODER = "decoder_model_merged.onnx"
FILES = {DECODER: 300_000, "tokenizer.json": 4_000, "golden/000.jpg": 70_000}
NOW_S = 1_795_200_000.0
PATCHED = ("fsync", "replace", "unlink", "rmdir", "symlink")
ENOUGH_ROUNDS = 300


def server_of(place: Path) -> Server:
    """With keys: the device is enrolled."""
    return Server(place / "home", clock=ManualClock(epoch_s=NOW_S), signed=True)


def device_of(place: Path, server: Server, at: Checkpoint = lambda name: None) -> Device:
    state, clock = place / "state", ManualClock(epoch_s=NOW_S)
    root = Release(server.home, clock=ManualClock(epoch_s=NOW_S)).root_json()

    def trust() -> Trust:
        return Trust(state / "trust", root, ClockFloor(state / "trust", clock), at=at)

    return Device(state, server, at=at, trust=trust, clock=clock)


def offered(device: Device, version: str) -> bytes:
    """The signed offer of a version to everyone."""
    device.server.registry.promote(version, "next")
    reply = device.server.push.offer_for(DEVICE)
    assert reply is not None
    return reply[1]


def prepare(place: Path) -> None:
    """A server with three models, and a device with the first. Of the decoder only one block changes."""
    server = server_of(place)
    same = contents(FILES)
    for number in (1, 2, 3):
        decoder = bytearray(same[DECODER])
        decoder[number * BLOCK_BYTES : number * BLOCK_BYTES + 100] = bytes(100)
        server.register(
            f"m{number}",
            contents(FILES, seed=number) | {"tokenizer.json": same["tokenizer.json"], DECODER: bytes(decoder)},
        )
    device = device_of(place, server)
    device.updater.on_offer(offered(device, "m1"))
    device.go(lambda: device.updater.phase == "probation")
    device.prove()
    device.updater.close()
    server.registry.close()


def live(device: Device) -> None:
    """Whatever the device's state: bring it to m2 in use and m3 denied."""
    for _ in range(ENOUGH_ROUNDS):
        device.updater.tick()
        phase, current = device.updater.phase, device.current
        denied = {one.version for one in load_denied(device.state_dir / "models")}
        if phase == "probation" and current == "m3":
            device.updater.report_failure("it fails")
        elif phase == "probation":
            device.updater.report_look_ok()
        elif phase == "idle" and "m3" in denied and current == "m2":
            return
        elif phase == "idle":
            device.updater.on_offer(offered(device, "m3" if current == "m2" else "m2"))
        device.deliver()
        device.clock.sleep(1)
    raise AssertionError(f"never done: {device.text()}, {device.current} in use")


class Killer:
    """Counts steps, and dies at one of them."""

    def __init__(self, at: int, note: Path, *, package: str = "device") -> None:
        self.at, self.note, self.labels = at, note, list[str]()
        self._folder = f"{os.sep}{package}{os.sep}"

    def step(self, label: str) -> None:
        self.labels.append(label)
        if len(self.labels) - 1 == self.at:
            self.note.write_text(label)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        for name in PATCHED:
            setattr(os, name, self._before(name, getattr(os, name)))
        os.write = self._half(os.write)

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            if where := self._ours():
                self.step(f"{name} in {where}")
            return call(*args, **more)

        return wrapped

    def _half(self, call: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def wrapped(fd: int, data: Any) -> int:
            if self._ours():
                if len(self.labels) == self.at:
                    call(fd, data[: len(data) // 2])
                self.step("half a block written")
            return call(fd, data)

        return wrapped

    def _ours(self) -> str:
        """The functions of the package that lead to this call, "" = not ours (SQLite, the tests)."""
        frames = [f for f in traceback.extract_stack() if self._folder in f.filename and "tests" not in f.filename]
        names = [frame.name for frame in frames if frame.name not in ("_handle", "_do", "_check", "tick", "start")]
        return " > ".join(names[-3:])


def child(work: Callable[[], None]) -> int:
    """Run `work` in a fork; its wait status. Nothing of this process is used there but memory."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a fork must never return into the parent's code)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def run(place: Path, carried: mmap.mmap, killer: Killer | None, labels: Path | None = None) -> None:
    server = server_of(place)
    if killer is not None:
        killer.install()
    device = device_of(place, server, killer.step if killer is not None else lambda name: None)
    count = device.block

    def counted(topic: str, data: bytes) -> None:
        before = int.from_bytes(carried[:8], "little")
        carried[:8] = (before + len(data)).to_bytes(8, "little")
        count(topic, data)

    device.block = counted  # type: ignore[method-assign]
    live(device)
    if labels is not None and killer is not None:
        labels.write_text(json.dumps(killer.labels))
    device.updater.close()


def wrong(state_dir: Path) -> list[str]:
    """What is not as promised on a disk whose power went."""
    found = []
    for name, folder in (("current", current_slot(state_dir)), ("previous", previous_slot(state_dir))):
        if folder is None:
            found += [f"there is no {name} model"] if name == "current" else []
            continue
        try:
            bundle.verify(folder)
        except BundleError as error:
            found.append(f"{name}: {error}")
    return found


def chosen(labels: list[str], *, every: bool) -> list[int]:
    """Steps to be killed at: all, or the first and the last of each kind."""
    if every:
        return list(range(len(labels)))
    first = {label: index for index, label in reversed(list(enumerate(labels)))}
    last = {label: index for index, label in enumerate(labels)}
    return sorted({*first.values(), *last.values()})


def main(place: Path, *, every: bool) -> None:
    carried = mmap.mmap(-1, 8)
    template = place / "template"
    assert child(lambda: prepare(template)) == 0
    labels_file = place / "labels.json"
    dry = place / "dry"
    shutil.copytree(template, dry, symlinks=True)
    assert child(lambda: run(dry, carried, Killer(-1, place / "note"), labels_file)) == 0
    labels = json.loads(labels_file.read_text())
    whole = int.from_bytes(carried[:8], "little")
    for index in chosen(labels, every=every):
        carried[:8] = bytes(8)
        here, note = place / f"try{index}", place / f"note{index}"
        shutil.copytree(template, here, symlinks=True)
        status = child(lambda here=here, note=note, index=index: run(here, carried, Killer(index, note)))  # type: ignore[misc]
        problems = [] if os.WIFSIGNALED(status) else [f"it was not killed: {status}"]
        problems += wrong(here / "state")
        if child(lambda here=here: run(here, carried, None)) != 0:  # type: ignore[misc]
            problems.append("the update did not come to its end")
        problems += wrong(here / "state")
        twice = int.from_bytes(carried[:8], "little") - whole
        label = note.read_text() if note.exists() else labels[index]
        print(json.dumps({"step": index, "at": label, "problems": problems, "twice_bytes": twice}), flush=True)
        shutil.rmtree(here)


if __name__ == "__main__":
    main(Path(sys.argv[1]), every="--every" in sys.argv)
