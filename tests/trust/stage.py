"""A server that signs, a device that checks, and someone between them who may change what is delivered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from device.updates.tuf_client import Trust
from server.releases.rollout_rules import Grant
from server.releases.signing import Release, ReleaseTarget
from shared import atomic
from shared.clock import ManualClock
from shared.floor import ClockFloor
from shared.messages import Offer

NOW_S = 1_795_200_000.0  # 2026-11-20
DAY_S = 86_400.0
DEVICE = "anna"

Files = dict[str, bytes]


def manifest(version: str) -> bytes:
    """Bytes that stand for a model's manifest: only their hash and size matter here."""
    return f"the manifest of {version}".encode()


def target(version: str, order: int = 1, percent: int = 100, devices: tuple[str, ...] = ()) -> ReleaseTarget:
    data = manifest(version)
    return ReleaseTarget(Grant(version, order, percent, devices), hashlib.sha256(data).hexdigest(), len(data))


def offer(version: str) -> Offer:
    one = target(version)
    return Offer(version, one.manifest_sha256, one.manifest_size, NOW_S)


class Server:
    """Signs releases under `home`. Its clock moves only when told to."""

    def __init__(self, home: Path, *, now_s: float = NOW_S) -> None:
        self.home, self.clock = home, ManualClock(epoch_s=now_s)
        self.release = Release.make(home, clock=self.clock)

    def publish(self, *targets: ReleaseTarget) -> Files:
        self.release.publish(targets)
        return self.files()

    def files(self) -> Files:
        return {file.name: data for file, data in self.release.files()}

    @property
    def root_key(self) -> Path:
        """The newest of the root keys."""
        return max((self.home / "root-key").glob("*.pem"), key=lambda path: path.stat().st_mtime_ns)


class Device:
    """A device whose identity holds `root_json`. What it once trusted is kept in `folder`, as over restarts."""

    def __init__(
        self, folder: Path, root_json: bytes, *, now_s: float = NOW_S, crash_point: atomic.Step = atomic.no_step
    ) -> None:
        self.folder, self.clock, self._root_json = folder, ManualClock(epoch_s=now_s), root_json
        self._crash_point = crash_point
        self.restart()

    def restart(self) -> None:
        self.floor = ClockFloor(self.folder, self.clock)
        self.trust = Trust(self.folder, self._root_json, self.floor, crash_point=self._crash_point)

    def check(self, files: Mapping[str, bytes], version: str, device: str = DEVICE) -> None:
        self.trust.check(files, offer(version), device)
