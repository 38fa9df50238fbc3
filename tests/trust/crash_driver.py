"""Kill signing and checking at every durable step in turn, start again, and report what is left. Run as a program.

Each try is a forked child that kills itself (SIGKILL) before its n-th os.fsync, os.replace or os.unlink, or at the n-th
named step. Then the same work is done again on what the disk holds, and must come to its end. One JSON line per try.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.releases import signing_keys
from server.releases.signing import Release
from shared.clock import ManualClock
from shared.errors import Refused
from tests.trust.stage import NOW_S, Device, Files, Server, target

PATCHED = ("fsync", "replace", "unlink")
Step = Callable[[str], None]
Work = Callable[[Path, Step], None]


class Killer:
    """Counts steps, and dies at one of them."""

    def __init__(self, at: int, note: Path) -> None:
        self._at, self._note, self._count = at, note, 0
        note.write_text("")

    def step(self, label: str) -> None:
        with open(self._note, "a", encoding="utf-8") as note:
            note.write(label + "\n")
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1

    def install(self) -> None:
        for name in PATCHED:
            setattr(os, name, self._before(name, getattr(os, name)))

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            self.step(name)
            return call(*args, **more)

        return wrapped


# --- the server ---


def sign(place: Path, at: Step) -> None:
    """From nothing to two models, under keys that were all replaced. Repeating it completes it."""
    release = Release.make(place / "home", clock=ManualClock(epoch_s=NOW_S), crash_point=at)
    release.publish([target("m1")])
    release.publish([target("m1"), target("m2", 2)])
    root = release.status()[0]
    if root.version == 1:
        release.rotate(("targets", "snapshot", "timestamp", "root"), _root_key(place / "home", release))
    release.refresh(force=True)


def _root_key(home: Path, release: Release) -> Path:
    return next((home / "root-key").glob(f"root.{release.status()[0].keyid}.pem"))


def signed_wrong(place: Path, first_root: bytes | None) -> list[str]:
    """What is not as promised once the work was repeated: every device, whatever it saw, follows to m2."""
    release = Release(place / "home", clock=ManualClock(epoch_s=NOW_S))
    files = {file.name: data for file, data in release.files()}
    found = []
    for name, root in (("new", release.root_json()), ("old", first_root)):
        if root is not None:
            Device(place / f"device-{name}", root).check(files, "m2")
    signing_keys.load(_root_key(place / "home", release))  # the root key in force must never be lost
    found += [f"{status.role} key missing" for status in release.status() if not status.key_here]
    return found


# --- the device ---


def follow(place: Path, at: Step) -> None:
    """A device that trusted m1 is offered m2 under newer roots."""
    old, new = (json.loads((place / name).read_bytes()) for name in ("old.json", "new.json"))
    device = Device(place / "device", old["root"].encode(), at=at)
    device.check(_bytes(new["files"]), "m2")


def followed_wrong(place: Path) -> list[str]:
    old, new = (json.loads((place / name).read_bytes()) for name in ("old.json", "new.json"))
    device = Device(place / "device", old["root"].encode())
    device.check(_bytes(new["files"]), "m2")
    try:
        device.check(_bytes(old["files"]), "m1")
    except Refused:
        return []
    return ["an old offer was followed"]


def _bytes(files: dict[str, str]) -> Files:
    return {name: text.encode() for name, text in files.items()}


def prepare_device(place: Path) -> None:
    server = Server(place / "home")
    root = server.release.root_json().decode()
    for name, targets in (("old", [target("m1")]), ("new", [target("m1"), target("m2", 2)])):
        server.clock.sleep(3600)
        files = {file: data.decode() for file, data in server.publish(*targets).items()}
        (place / f"{name}.json").write_text(json.dumps({"root": root, "files": files}))
        server.release.rotate(("timestamp", "root"), server.root_key)
    new = {file: data.decode() for file, data in server.files().items()}
    (place / "new.json").write_text(json.dumps({"root": root, "files": new}))
    old = json.loads((place / "old.json").read_bytes())
    Device(place / "device", root.encode()).check(_bytes(old["files"]), "m1")


# --- the tries ---


def child(work: Callable[[], None]) -> int:
    """Run `work` in a fork; its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 (a fork must never return into the parent's code)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def killed(work: Work, place: Path, at: int, note: Path) -> int:
    def body() -> None:
        killer = Killer(at, note)
        killer.install()
        work(place, killer.step)

    return child(body)


def tries(
    name: str, work: Work, check: Callable[[Path, Path], list[str]], place: Path, template: Path, *, every: bool
) -> None:
    note = place / "note"
    dry = place / f"{name}-dry"
    shutil.copytree(template, dry)
    assert killed(work, dry, -1, note) == 0
    for at, label in enumerate(note.read_text().splitlines()):
        if label in ("fsync", "unlink") and not every:  # what is on the disk differs after a rename, hardly before
            continue
        here = place / f"{name}-{at}"
        shutil.copytree(template, here)
        status = killed(work, here, at, note)
        problems = [] if os.WIFSIGNALED(status) else [f"it was not killed: {status}"]

        def again(here: Path = here) -> None:
            seen = here / "home" / "release" / "metadata" / "1.root.json"
            (here / "first").write_bytes(seen.read_bytes() if seen.is_file() else b"")
            work(here, lambda label: None)
            (here / "problems").write_text("\n".join(check(here, here / "first")))

        if child(again) != 0:
            problems.append("it did not come to its end")
        else:
            problems += (here / "problems").read_text().splitlines()
        print(json.dumps({"work": name, "step": at, "at": label, "problems": problems}), flush=True)
        shutil.rmtree(here)


def main(place: Path, *, every: bool) -> None:
    (place / "empty").mkdir()
    tries(
        "sign",
        sign,
        lambda here, root: signed_wrong(here, root.read_bytes() or None),
        place,
        place / "empty",
        every=every,
    )
    template = place / "template"
    template.mkdir()
    assert child(lambda: prepare_device(template)) == 0
    tries("follow", follow, lambda here, root: followed_wrong(here), place, template, every=every)


if __name__ == "__main__":
    main(Path(sys.argv[1]), every="--every" in sys.argv)
