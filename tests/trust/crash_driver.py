"""Kill signing and checking at every durable step in turn, start again, and report what is left. Run as a program.

After each kill (see tests.crash) the same work is done again on what the disk holds, and must come to its end. One JSON
line per try.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from server.releases import signing_keys
from server.releases.signing import Release
from shared.atomic import Step, no_step
from shared.clock import ManualClock
from shared.errors import Refused
from tests import crash
from tests.crash import Killer
from tests.trust.stage import NOW_S, Device, Files, Server, target

CALLS = ("fsync", "replace", "unlink")


# --- the server ---


def sign(place: Path, killer: Killer) -> None:
    killer.watch(names=CALLS)
    _sign(place, killer)


def _sign(place: Path, crash_point: Step) -> None:
    """From nothing to two models, under keys that were all replaced. Repeating it completes it."""
    release = Release.make(place / "home", clock=ManualClock(epoch_s=NOW_S), crash_point=crash_point)
    release.publish([target("m1")])
    release.publish([target("m1"), target("m2", 2)])
    root = release.status()[0]
    if root.version == 1:
        release.rotate(("targets", "snapshot", "timestamp", "root"), _root_key(place / "home", release))
    release.refresh(force=True)


def _root_key(home: Path, release: Release) -> Path:
    return next((home / "root-key").glob(f"root.{release.status()[0].keyid}.pem"))


def sign_again(place: Path) -> list[str]:
    """What is not as promised once the work was repeated: every device, whatever it saw, follows to m2."""
    seen = place / "home" / "release" / "metadata" / "1.root.json"
    first_root = seen.read_bytes() if seen.is_file() else None
    _sign(place, no_step)
    release = Release(place / "home", clock=ManualClock(epoch_s=NOW_S))
    files = {file.name: data for file, data in release.files()}
    for name, root in (("new", release.root_json()), ("old", first_root)):
        if root:
            Device(place / f"device-{name}", root).check(files, "m2")
    signing_keys.load(_root_key(place / "home", release))  # the root key in force must never be lost
    return [f"{status.role} key missing" for status in release.status() if not status.key_here]


# --- the device ---


def follow(place: Path, killer: Killer) -> None:
    """A device that trusted m1 is offered m2 under newer roots."""
    killer.watch(names=CALLS)
    _follow(place, killer)


def _follow(place: Path, crash_point: Step) -> None:
    old, new = (json.loads((place / name).read_bytes()) for name in ("old.json", "new.json"))
    device = Device(place / "device", old["root"].encode(), crash_point=crash_point)
    device.check(_bytes(new["files"]), "m2")


def follow_again(place: Path) -> list[str]:
    _follow(place, no_step)
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


def main(place: Path, *, every: bool) -> None:
    (place / "empty").mkdir()
    template = place / "template"
    template.mkdir()
    assert crash.fork(lambda: prepare_device(template)).status == 0
    for name, life, verdict, start in (
        ("sign", sign, sign_again, place / "empty"),
        ("follow", follow, follow_again, template),
    ):
        for one in crash.tries(place, start, life, verdict, chosen=crash.every if every else telling):
            print(json.dumps({"work": name, "step": one.step, "at": one.label, "problems": one.problems}), flush=True)


def telling(labels: list[str]) -> list[int]:
    """What is on the disk differs after a rename, hardly before a sync or a removal."""
    return [at for at, label in enumerate(labels) if not label.startswith(("fsync in", "unlink in"))]


if __name__ == "__main__":
    main(Path(sys.argv[1]), every="--every" in sys.argv)
