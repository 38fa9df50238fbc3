"""Fuzz targets: what a server reads back from its own home, and what the broker's plugin answers to it."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

from server import config
from server.broker import dynsec_rules, files
from server.broker.dynsec_client import DynsecClient
from server.labelling import folder as label
from server.maintenance.check import check
from server.releases import signing_keys
from server.releases.rollout_rules import Grant
from server.releases.signing import Release, ReleaseTarget
from shared import assignment
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError, DatasetError, MessageError, Refused, Transient
from tests.faults.fuzz.shape import DEEP, RAW, SHAPED, WHOLE, joined, replaced, several, shaped
from tests.faults.fuzz.target import Run, Target, emptied, scratch
from tests.server.dataset.moments import House, moment

EPOCH_S = 1_795_200_000.0
DIGEST = "0" * 64


def _checks() -> Run:
    """`check --repair` on a home whose logs lie: it ends, and what it says it mended is mended."""
    folder = scratch()
    good = folder / "good"
    config.init(good)
    house = House(good, clock=SystemClock())
    house.send_all([moment(0), moment(1)])
    house.close()
    logs = ("metadata.jsonl", "records.jsonl")
    lines = {name: (good / "dataset" / name).read_bytes().splitlines(keepends=True) for name in logs}

    def run(data: bytes) -> None:
        home = folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(good, home)
        name = logs[data[0] % 2] if data else logs[0]
        rest = data[1:]
        changed = shaped(rest, lines[name])
        (home / "dataset" / name).write_bytes(b"".join((*lines[name][:-1], changed, b"\n", lines[name][-1])))
        found = check(home, SystemClock(), repair=True)
        assert all(one.done for one in found.findings), found.findings
        assert check(home, SystemClock()).well

    return run


def _labels() -> Run:
    """A folder of labels that somebody edited by hand."""
    folder = scratch()
    line = b'{"frame_path": "frames/a_chunk0001.jpg", "audio_path": "audio/a.wav", "instruction": "Stop, curb ahead."}'
    videos = json.dumps({"a": {"sha256": DIGEST, "skipped": [3, 4]}}).encode()

    def run(data: bytes) -> None:
        root = emptied(folder / "labels")
        for part in ("frames", "audio"):
            (root / part).mkdir()
        (root / "frames" / "a_chunk0001.jpg").write_bytes(b"x")
        (root / "audio" / "a.wav").write_bytes(b"x")
        about_videos = data[:1] >= b"\x80"
        changed = shaped(data[1:], [videos if about_videos else line])
        (root / label.LOG_NAME).write_bytes(line + b"\n" if about_videos else changed + b"\n" + line + b"\n")
        (root / label.VIDEOS_NAME).write_bytes(changed if about_videos else videos)
        with contextlib.suppress(DatasetError):
            label.labelled(root)
        try:
            with label.opened(root) as opened:
                opened.counts("a")
                opened.save("a", 1, "Stop, curb ahead.")
        except DatasetError:
            return

    return run


def _releases() -> Run:
    """Signed files and keys on the server's own disk: it signs anew, or says which one is damaged."""
    folder = scratch()
    clock = ManualClock(epoch_s=EPOCH_S)
    release = Release.make(folder / "good", clock=clock)
    release.publish([ReleaseTarget(Grant("m1", 1, 100), DIGEST, 500)])
    places = sorted((folder / "good" / "release" / "metadata").iterdir())
    contents = [place.read_bytes() for place in places]

    def run(data: bytes) -> None:
        home = folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(folder / "good", home)
        for one in several(data, most=3):
            at = one[0] % len(places) if one else 0
            changed = shaped(one[1:], [contents[at]]) if one[1:2] >= SHAPED else replaced(one[1:], contents[at])
            (home / places[at].relative_to(folder / "good")).write_bytes(changed)
        opened = Release(home, clock=clock)
        for look in (opened.status, opened.refresh, opened.files):
            try:
                look()
            except (ConfigError, Refused, Transient, OSError):
                continue

    return run


def _assignments() -> Run:
    good = assignment.to_custom(assignment.Assignment("m1", 3, 50, frozenset({"0" * assignment.HASH_CHARS})))
    examples = [json.dumps(good).encode()]

    def run(data: bytes) -> None:
        path, _, rest = data.partition(b"\n")
        try:
            value = json.loads(shaped(rest, examples))
        except (ValueError, RecursionError):
            return
        try:
            found = assignment.read(path.decode("utf-8", "replace") or assignment.target_path("m1"), value)
        except MessageError:
            return
        assignment.may_run(found, "pi-1")

    return run


def _plugin_answers() -> Run:
    """The dynamic-security plugin, or whoever may write in its place."""
    clock = ManualClock(epoch_s=EPOCH_S)
    good = json.dumps(_responses()).encode()

    def run(data: bytes) -> None:
        link = DynsecClient("127.0.0.1", 1, tls=ssl.create_default_context(), clock=clock)
        link.connected.set()
        link._numbers = itertools.count(1)

        def answer(*_: object, **__: object) -> None:
            link._responses.put(shaped(data, [good]))
            link._responses.put(b"{}")  # or it would wait for the right one

        link._client.publish = answer  # type: ignore[assignment]
        with contextlib.suppress(Transient, MessageError):
            link.sync({"pi-1": "x"})

    return run


def _responses() -> dict[str, object]:
    rules = dynsec_rules.initial(dynsec_rules.wanted({"pi-1": ""}))
    denied = [{"acltype": kind, "allow": allow} for kind, allow in dynsec_rules.DENIED.items()]
    return {
        "responses": [
            {"command": "listClients", "correlationData": "1", "data": {"clients": rules["clients"]}},
            {"command": "listRoles", "correlationData": "1", "data": {"roles": rules["roles"]}},
            {"command": "getDefaultACLAccess", "correlationData": "1", "data": {"acls": denied}},
        ]
    }


def _one_file(name: str, read: Callable[[Path], object], *allowed: type[Exception]) -> Callable[[], Run]:
    def make() -> Run:
        folder = scratch()

        def run(data: bytes) -> None:
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
            try:
                read(folder / name)
            except allowed:
                return

        return run

    return make


TARGETS = (
    Target("home check", _checks, (
        b"\x00\x40", b"\x01\x40\x00\x00\x09", b"\x01" + RAW + b"{}", b"\x00" + DEEP, b"\x01\x41\x03\x00\x10",
    )),
    Target("labels", _labels, (
        b"\x00\x40", b"\x80\x40", b"\x00\x40\x01\x00\x09", b"\x80\x40\x02\x00\x10", b"\x00" + DEEP,
        b"\x80" + DEEP,
    )),
    Target("release files", _releases, (
        b"", b"\x00\x04\x00\x40\x03\x00\x10", b"\x00\x06\x01\x00\x00\x09\x01A", b"\x00\x03\x02\x00\x00",
        *(joined([bytes((at, *WHOLE)) + DEEP[1:2000]]) for at in range(4)),
    )),
    Target("assignments", _assignments, (b"\n\x40", b"\n\x40\x00\x00\x09", b"models/../manifest.json\n\x40")),
    Target("plugin answers", _plugin_answers, (
        b"\x40", b"\x40\x00\x00\x09", b"\x40\x05\x00\x1a", RAW + b"[]", DEEP, b"\x40\x04\x01\x00",
    )),
    Target("release keys", _one_file("x.pem", signing_keys.load, ConfigError), (
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----\n", b"",
    )),
    Target("broker files", _one_file(files.PID, lambda path: files.running(path.parent)),
           (b"1", b"x", b"-5")),
)  # fmt: skip
