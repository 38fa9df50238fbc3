"""A server's registry and push, and a device's updater, joined by a wire that tests can cut, slow and falsify."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from device.updates import updater
from device.updates.permission import Permission
from device.updates.state import Settings
from device.updates.tuf_client import Trust
from device.updates.updater import Updater, UpdaterPorts
from server.releases.offers import Offers
from server.releases.registry import Registry
from server.releases.signing import Release
from shared import bundle, messages, strict, topics
from shared.atomic import Step, no_step
from shared.clock import Clock, ManualClock, SystemClock
from shared.floor import ClockFloor
from shared.messages import Offer
from tests.shared.bundle.bundles import PASSED, contents, make_bundle

DEVICE = "pi-1"
NOW_S = 1_795_200_000.0
DAY_S = 86_400.0
QUICK = Settings(margin_bytes=1_000_000, probation_looks=3)


def no_problems(folder: Path) -> list[str]:
    """A self-test of files: random bytes are no model, but they must be whole when it runs."""
    bundle.verify(folder)
    return []


class Server:
    """Real registry, real database, real push; with `signed`, real keys too."""

    def __init__(self, home: Path, *, clock: Clock | None = None, signed: bool = False) -> None:
        self.home = home
        self.clock = clock or SystemClock()
        self.registry = Registry(home, clock=self.clock)
        self.release = Release.make(home, clock=self.clock) if signed else None
        self.push = Offers(self.registry, clock=self.clock, release=self.release)
        self._made = home.parent / "made"

    def register(self, version: str, files: Mapping[str, bytes] | None = None, **more: Any) -> bundle.Manifest:
        manifest = make_bundle(self._made / version, version, files, **more)
        passed = PASSED if manifest.intended_use == bundle.FIELD else None
        self.registry.add(self._made / version, evaluation=passed)
        return manifest

    def offer(self, version: str) -> bytes:
        """The payload of the retained offer of a version."""
        return self.push.make(DEVICE, version)[1]


class Device:
    """An updater on a state folder, and the wire to a server. `restart` is what a power cut leaves."""

    def __init__(
        self,
        state_dir: Path,
        server: Server,
        *,
        settings: Settings = QUICK,
        crash_point: Step = no_step,
        uses: frozenset[str] = bundle.FOR_JUDGING,
        trust: Callable[[], Trust] | None = None,
        clock: ManualClock | None = None,
        name: str = DEVICE,
    ) -> None:
        self.state_dir, self.server, self.settings = state_dir, server, settings
        self.name, self._trust = name, trust
        self.clock = clock or ManualClock()
        self.online = True
        self.standing = True
        self.problems: list[str] = []
        self.broken: Exception | None = None
        """What the self-test raises."""
        self.selftests: list[Path] = []
        self.loaded: list[str] = []
        self.announced: list[str] = []
        self.spoil: Callable[[str, int, bytes], bytes | None] = lambda sha256, offset, data: data
        """What the wire makes of a block; None loses it."""
        self.carried: Counter[str] = Counter()
        """Bytes delivered, by SHA-256 of the file."""
        self.wire: deque[bytes] = deque()
        self.crash_point = crash_point
        self.uses = uses
        """The intended uses that the settings let guide; read at a start."""
        self.dropped: list[str] = []
        """Versions that were in use and may not guide any more."""
        self.updater = self.start()

    def start(self) -> Updater:
        ports = UpdaterPorts(
            clock=self.clock,
            publish=self._publish,
            selftest=self._selftest,
            use_model=lambda folder, version: self.loaded.append(version),
            use_no_model=lambda version, reason: self.dropped.append(version),
            may_switch=lambda: self.standing,
            announce=self.announced.append,
        )
        permission = Permission(self.uses, self._trust() if self._trust is not None else None, self.name)
        self.updater = Updater(
            self.state_dir, ports, permission, settings=self.settings, crash_point=lambda name: self.crash_point(name)
        )
        self.updater.start()
        return self.updater

    def restart(self) -> None:
        self.updater.close()
        self.wire.clear()
        self.start()

    def _selftest(self, folder: Path) -> list[str]:
        self.selftests.append(folder)
        if self.broken is not None:
            raise self.broken
        return self.problems or no_problems(folder)

    def _publish(self, topic: str, payload: bytes) -> bool:
        assert topic == topics.want(self.name)
        if self.online:
            self.wire.append(payload)
        return self.online

    def deliver(self, most: int | None = None) -> None:
        """Let the server answer what is on the wire; at most `most` blocks."""
        left = most
        while self.wire and self.online:
            for topic, data in self.server.push.blocks.handle(self.name, ["up", "want"], self.wire.popleft()):
                if left == 0:
                    return
                left = None if left is None else left - 1
                self.block(topic, data)

    def block(self, topic: str, data: bytes) -> None:
        found = topics.levels(topic)
        assert found is not None
        device, levels = found
        assert device == self.name
        assert levels[:2] == ["down", "block"]
        arrived = self.spoil(levels[2], int(levels[3]), data)
        if arrived is not None:
            self.carried[levels[2]] += len(arrived)
            self.updater.on_block(levels[1:], arrived)

    def go(self, until: Callable[[], bool], *, rounds: int = 400, step_s: float = 1.0) -> None:
        """Turn until something holds. Fails where it never does."""
        for _ in range(rounds):
            self.updater.tick()
            if until():
                return
            self.deliver()
            self.clock.sleep(step_s)
        raise AssertionError(f"not within {rounds} rounds: {self.updater.state_text()}")

    def install(self, version: str) -> None:
        """Take an offer and see it through its probation."""
        self.updater.on_offer(self.server.offer(version))
        self.go(lambda: self.updater.phase == "probation")
        self.prove()

    def prove(self) -> None:
        for _ in range(self.settings.probation_looks):
            self.updater.report_look_ok()
        self.go(lambda: self.updater.phase == "idle")

    @property
    def current(self) -> str:
        """The version in use, verified."""
        folder = updater.current_slot(self.state_dir)
        return "" if folder is None else bundle.verify(folder).version

    @property
    def previous(self) -> str:
        folder = updater.previous_slot(self.state_dir)
        return "" if folder is None else bundle.verify(folder).version

    def text(self) -> str:
        return self.updater.state_text()


class SignedHouse:
    """A server that signs, and a device that it enrolled, on one clock.

    models: version → intended use, registered in this order
    """

    def __init__(self, place: Path, models: Mapping[str, str], *, uses: frozenset[str] = bundle.FOR_JUDGING) -> None:
        self.place, self.clock, self._uses = place, ManualClock(epoch_s=NOW_S), uses
        self.server = Server(place / "home", clock=self.clock, signed=True)
        assert self.server.release is not None
        self.release: Release = self.server.release
        self._root = self.release.root_json()
        for seed, (version, use) in enumerate(models.items(), start=1):
            self.server.register(version, contents(seed=seed), intended_use=use)
        self.device = self.enrolled(DEVICE)

    def enrolled(self, name: str) -> Device:
        state = self.place / name

        def trust() -> Trust:
            return Trust(state / "trust", self._root, ClockFloor(state / "trust", self.clock))

        return Device(state, self.server, trust=trust, clock=self.clock, name=name, uses=self._uses)

    def offers(self, device: Device | None = None) -> bytes | None:
        """What the server says that a device should run now."""
        offer = self.server.push.offer_for((device or self.device).name)
        return None if offer is None else offer[1]

    def follow(self, payload: bytes | None = None, device: Device | None = None) -> str:
        """Let a device have an offer and bring it to its end; what it then says."""
        device = device or self.device
        payload = payload or self.offers(device)
        assert payload is not None
        device.updater.on_offer(payload)
        device.go(lambda: device.updater.phase in ("idle", "probation") or "expired" in device.text())
        if device.updater.phase == "probation":
            device.prove()
        return device.text()

    def close(self) -> None:
        self.device.updater.close()
        self.server.registry.close()


def altered(payload: bytes | None, **changes: object) -> bytes:
    """An offer with other fields."""
    assert payload is not None
    return messages.encode(strict.read(Offer, json.loads(payload) | changes))


def offer_of(manifest: bundle.Manifest, *, revision: int, **changed: object) -> bytes:
    """An offer made by hand."""
    data = bundle.manifest_bytes(manifest)
    offer = Offer(manifest.version, hashlib.sha256(data).hexdigest(), len(data), 1.0, revision)
    return messages.encode(strict.read(Offer, messages.to_dict(offer) | changed))
