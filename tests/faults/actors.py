"""A device and a server as processes that may be killed: the real parts, composed as the agent and `run` compose them.

    device_life   Outbox + Link + Updater; seals cargo until it has sealed all, and ends when nothing is left to send
    server_life   Store + Dataset + Merge + Ingest + Offers + ServerLink

Both are started by `tests.faults.world` in a process of their own and know nothing of their earlier lives but what lies
on disk.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.outbox import containers
from device.outbox.folder import REQUESTS
from device.outbox.inspect import ask_retry
from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from device.updates.permission import Permission
from device.updates.state import Settings
from device.updates.tuf_client import Trust
from device.updates.updater import Updater, UpdaterPorts
from server.broker.files import LEAST_QUEUED
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database.store import open_store
from server.dataset import line_log
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.leases import Leases
from server.ingest.limits import LimitsSettings
from server.ingest.share import Share
from server.releases.offers import Offers
from server.releases.registry import Registry
from server.releases.signing import FOLDER as RELEASE_FOLDER
from server.releases.signing import Release
from server.worker import NAME
from shared import bundle, topics
from shared.clock import Clock, SystemClock
from shared.errors import MessageError
from shared.floor import ClockFloor
from shared.messages import EraseRecord, Status
from tests.crash import Killer
from tests.faults import cargo
from tests.faults.cargo import Ledger
from tests.faults.strikes import Strike, Striker

TICK_S = 0.05
OFFERS_EVERY_S = 0.2
BAD_SUFFIX = "-bad"
"""Models whose version ends so fail on probation."""
PROBATION_LOOKS = 3
FRAMES = 4
"""So many functions name a call that a process dies at."""
LEASE_S = 2.0
FREE_MB = 32  # the disks of these tests are small
CUT_BYTES = 2_500
"""Of a log: a chunk or two, so that its end is cut and compressed in each story."""
_log = logging.getLogger(__name__)

SEALING_KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Of every server here."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a process is to die, and what its clock believes."""

    kill_at: str = ""
    nth: int = 1
    seen: Path | None = None
    """Gets the names of all durable steps that were taken; None = only the named ones of the product are watched."""
    watch_calls: bool = False
    clock_offset_s: float = 0.0
    hurry: float = 5.0
    """How much faster than real its timers run."""
    strike: Strike = Strike.KILL
    """What happens at that step."""
    struck: Path | None = None
    """A file that is made then."""
    postmaster: int = 0
    """Process of PostgreSQL."""

    def killer(self, striker: Striker | None = None) -> Killer:
        striker = striker or self.striker()
        killer = Killer(self.seen, name=self.kill_at or None, nth=self.nth, frames=FRAMES, strike=striker)
        if self.watch_calls:
            killer.watch()
        return killer

    def striker(self) -> Striker:
        return Striker(self.strike, self.struck, self.postmaster)

    def clock(self) -> SkewedClock:
        return SkewedClock(self.hurry, self.clock_offset_s)


class SkewedClock(SystemClock):
    """Timers that hurry, and a wall clock that is wrong."""

    def __init__(self, hurry: float = 1.0, offset_s: float = 0.0) -> None:
        self._hurry, self._offset_s = hurry, offset_s

    def monotonic_s(self) -> float:
        return time.monotonic() * self._hurry

    def utc_s(self) -> float:
        return super().utc_s() + self._offset_s


@dataclass(frozen=True, slots=True)
class DeviceOrders:
    """What one device is to do in this life."""

    name: str
    state: Path
    ledger: Path
    host: str
    port: int
    chunks: int
    """To seal over all lives, numbered from 0."""
    pause_s: float = 0.0
    """Between two of them."""
    prune_bytes: int = 0
    """Hold the outbox to this size after each; 0 = no limit."""
    poison: int = -1
    """Number of a chunk that the server must refuse."""
    forget: int = -1
    """Number of a chunk that is erased again once all are sealed."""
    updates: bool = False
    """Take the models that are offered; only signed ones where `root` is given."""
    root: Path | None = None
    """The first root of the server's releases, as it comes with an identity."""
    stay: bool = False
    """Go on until told to stop, also when all is sent."""
    online: bool = True
    sealed: bool = False
    """Encrypt what it keeps for the server."""
    boot: str | None = None
    """Names this run of its kernel; None = as it is."""
    fate: Fate = Fate()


@dataclass(frozen=True, slots=True)
class ServerOrders:
    """One life of a server on its home."""

    home: Path
    host: str
    port: int
    worker: int = 0
    """Several at once divide the devices between them."""
    shared: bool = False
    fate: Fate = Fate()

    @property
    def listen(self) -> tuple[str, ...]:
        """As server.worker has it."""
        if not self.shared:
            return topics.UP_ALL, topics.STATUS_ALL
        rest = (topics.WANT_ALL, topics.RENEW_ALL) if self.worker == 0 else ()
        return *rest, topics.STATUS_ALL

    @property
    def name(self) -> str:
        """At the broker, and of its leases."""
        return NAME.format(self.worker) if self.worker else "waycue-server"


def device_life(orders: DeviceOrders, ready: Path) -> None:
    """Ends when all is sealed and sent, or on SIGTERM."""
    stop = _until_told()
    life = _Device(orders, stop)
    try:
        life.begin()
        ready.touch()
        life.seal_everything()
        life.forget()
        life.drain()
        life.try_the_refused_again()
    finally:
        life.end()


class _Device:
    def __init__(self, orders: DeviceOrders, stop: threading.Event) -> None:
        self._orders, self._stop = orders, stop
        self._ledger = Ledger(orders.ledger)
        self._killer = orders.fate.killer()
        if orders.fate.watch_calls:
            self._killer.watch(containers, ("contained", "read"))  # a container is made while it is sent
        key = SEALING_KEY.public_key() if orders.sealed else None
        self._box = Outbox(orders.state / "outbox", crash_point=self._killer, boot=orders.boot, key=key)
        ports = LinkPorts(self._box, orders.fate.clock(), self._changed, lambda: 0.1)
        self._link = Link(LinkSettings(orders.host, orders.port, orders.name), ports)
        self._updater = self._made_updater() if orders.updates else None
        self._threads: list[threading.Thread] = []

    def _made_updater(self) -> Updater:
        ports = UpdaterPorts(
            clock=self._orders.fate.clock(),
            publish=self._link.publish,
            selftest=self._selftest,
            use_model=lambda _folder, version: self._ledger.say("activated", version),
        )
        updater = Updater(
            self._orders.state,
            ports,
            Permission(bundle.FOR_JUDGING, self._trust(), self._orders.name),
            settings=Settings(margin_bytes=1_000_000, probation_looks=PROBATION_LOOKS),
            crash_point=self._killer,
        )
        self._link.on("offer", lambda _levels, payload: updater.on_offer(payload))
        self._link.on("block", updater.on_block)
        return updater

    def _selftest(self, folder: Path) -> list[str]:
        self._ledger.say("attempted", bundle.read_manifest(folder).version)
        return _whole(folder)

    def _trust(self) -> Trust | None:
        if self._orders.root is None:
            return None
        floor = ClockFloor(self._orders.state, self._orders.fate.clock())
        root = self._orders.root.read_bytes()
        return Trust(self._orders.state / "trust", root, floor, crash_point=lambda name: self._killer(f"trust:{name}"))

    def begin(self) -> None:
        if self._updater is not None:
            self._updater.start()
            self._threads = [
                threading.Thread(target=self._updater.run, args=(self._stop,), name="updates", daemon=True),
                threading.Thread(target=self._look, name="looks", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
        if self._orders.online:
            self._threads.append(threading.Thread(target=self._count, name="count", daemon=True))
            self._threads[-1].start()
            self._link.start()

    def _changed(self, state: str) -> None:
        if self._updater is not None:
            self._updater.link_changed(state == "online")
        if state == "online":
            self._ledger.say("online", "", time.monotonic())

    def _count(self) -> None:
        """Write down what goes twice, soon after it went: a kill must not take that along."""
        known = 0
        while not self._stop.wait(TICK_S):
            if (size := self._link.resent_bytes) > known:
                self._ledger.say("sent again", str(size - known), time.monotonic())
                known = size

    def _look(self) -> None:
        """As guidance would: each look goes well, unless the model is a bad one."""
        assert self._updater is not None
        while not self._stop.wait(TICK_S):
            version = self._updater.current_version
            if version is not None and version.endswith(BAD_SUFFIX):
                self._updater.report_failure("it fails on every look", version)
            else:
                self._updater.report_look_ok(version)

    def seal_everything(self) -> None:
        done = set(self._ledger.names("sealed"))
        for number in range(self._orders.chunks):
            if cargo.chunk_id(self._orders.name, number) not in done:
                self._insist(lambda number=number: self._seal_chunk(number))  # type: ignore[misc]
            if cargo.has_correction(number) and cargo.correction_id(self._orders.name, number) not in done:
                self._insist(lambda number=number: self._seal_correction(number))  # type: ignore[misc]
            if self._orders.prune_bytes:
                self._prune()
            if self._stop.is_set():
                return

    def forget(self) -> None:
        """Erase what the orders say, here and on the server."""
        if self._orders.forget < 0:
            return
        name = self._orders.name
        chunk = cargo.chunk_id(name, self._orders.forget)
        wish = EraseRecord(f"{name}-erase", name, asked_at_utc=0.0, record_ids=(chunk,))

        def erase() -> None:
            self._box.seal_erase(wish)
            self._ledger.say("erased", chunk)

        self._insist(erase)

    def _insist(self, seal: Callable[[], None]) -> None:
        """A full or failing disk: nothing was promised, and the next try may work."""
        while not self._stop.is_set():
            try:
                seal()
                self._stop.wait(self._orders.pause_s)
                return
            except OSError as error:
                self._ledger.say("no room", str(error)[:80])
                self._stop.wait(0.2)

    def _seal_chunk(self, number: int) -> None:
        record, payloads = cargo.chunk(self._orders.name, number)
        if number == self._orders.poison:
            payloads["frame"] = b"no picture at all"
        try:
            self._box.seal_chunk(record, payloads)
        except MessageError as error:
            if "was refused" not in str(error):  # in an earlier life; it lies in failed/
                raise
        self._ledger.say("sealed", record.chunk_id)

    def _seal_correction(self, number: int) -> None:
        """It is held until the device has listened to it, as with corrections.transcribe = "device"."""
        record, wav = cargo.correction(self._orders.name, number)
        name, heard = record.correction_id, None
        self._box.hold(name)
        try:
            sealed = self._box.seal_correction(record, wav)
            heard = replace(sealed, heard=cargo.HEARD, heard_meaning=cargo.HEARD, heard_confidence=0.9, heard_by="x")
        except MessageError as error:
            if "with other content" not in str(error):  # an earlier life had listened to it already
                raise
        finally:
            self._box.let_go(name, heard)
        self._ledger.say("sealed", name)

    def _prune(self) -> None:
        for record_id in self._box.prune(self._orders.prune_bytes).lost:
            self._ledger.say("told lost", record_id)

    def try_the_refused_again(self) -> None:
        """As a person does with `waycue-device outbox retry`, once; it will be refused again."""
        poison = cargo.chunk_id(self._orders.name, self._orders.poison)
        if self._orders.poison < 0 or self._stop.is_set():
            return
        if poison not in self._ledger.names("retried"):
            ask_retry(self._orders.state / "outbox", poison)
            self._ledger.say("retried", poison)
        while not self._stop.is_set():
            waits = (self._orders.state / "outbox" / REQUESTS / poison).exists()
            if not waits and self._box.failures() and not self._box.counts().queued:
                return
            self._stop.wait(TICK_S)

    def drain(self) -> None:
        if not self._orders.online:
            return
        while not self._stop.is_set():
            try:
                idle = self._link.wait_idle(0.1)
            except OSError:
                self._stop.wait(0.1)
                continue
            if idle and not self._orders.stay and (self._updater is None or self._updater.phase == "idle"):
                return
            self._stop.wait(TICK_S)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        self._link.stop()
        if self._updater is not None:
            self._updater.close()
        self._box.close()


def _whole(folder: Path) -> list[str]:
    bundle.verify(folder)
    return []


def server_life(orders: ServerOrders, ready: Path) -> None:
    """As `waycue-server run` (worker 0) or `waycue-server ingest`, until SIGTERM."""
    stop = _until_told()
    striker, clock = orders.fate.striker(), orders.fate.clock()
    killer = orders.fate.killer(striker)
    store = open_store(orders.home)
    if orders.fate.watch_calls:
        striker.watch_commits(killer, store.engine)
    line_log.CUT_BYTES = CUT_BYTES
    dataset = Dataset(orders.home / "dataset", step=killer)
    merge = Merge(store, dataset, clock, step=killer)
    recover(store, dataset, merge, clock)
    registry = Registry(orders.home, store=store, clock=clock)
    push = Offers(registry, clock=clock, release=_release(orders.home, clock, killer))
    ingest = Ingest(
        orders.home / "incoming",
        merge,
        counts=DailyCounts(clock, store),
        settings=LimitsSettings(free_mb=FREE_MB),
        restores=not orders.shared,
        crash_point=killer,
    ).opening_with(SEALING_KEY)
    ingest.granting(LEAST_QUEUED)
    own = Leases(store, SystemClock(), orders.name, lease_s=LEASE_S)  # of one machine, whose clock they all have
    share = Share(ingest, own, crash_point=killer) if orders.shared else None

    def on_status(device: str, status: Status) -> None:
        for told in share.met(device, online=status.online) if share is not None else ():
            link.publish(*told)
        if not status.online:
            ingest.left(device)

    def on_statuses(statuses: Mapping[str, Status]) -> None:
        if orders.worker:
            return
        merge.put_statuses(statuses)
        for offer in filter(None, (push.offer_for(device) for device, status in statuses.items() if status.online)):
            link.publish(*offer, retain=True)

    link = ServerLink(
        BrokerSession(
            orders.host, orders.port, orders.name, filters=tuple(orders.listen), persistent=not orders.shared
        ),
        Ports(
            ingest.handle if share is None else share.handle,
            {"want": push.blocks.handle},
            settling=ingest,
            waits=lambda: ingest.waits,
            on_status=on_status,
            on_statuses=on_statuses,
        ),
    )
    if share is not None:
        share.link = link
        share.start()
    link.start()
    try:
        if _ready(link, stop):
            ready.touch()
        while not stop.wait(OFFERS_EVERY_S):
            if orders.worker == 0:
                _offer(push, link)
    finally:
        link.stop()
        if share is not None:
            share.stop()
        ingest.close()
        store.close()


def _release(home: Path, clock: Clock, killer: Killer) -> Release | None:
    if not (home / RELEASE_FOLDER).exists():
        return None
    return Release(home, clock=clock, crash_point=lambda name: killer(f"release:{name}"))


def _offer(push: Offers, link: ServerLink) -> None:
    try:
        for topic, payload in push.due():
            link.publish(topic, payload, retain=True)
    except Exception:  # noqa: BLE001  as server.run does: a disk that fails for a moment must not end the server
        _log.exception("No offers.")


def _ready(link: ServerLink, stop: threading.Event) -> bool:
    while not link.ready.wait(TICK_S):
        if stop.is_set():
            return False
    return True


def _until_told() -> threading.Event:
    """Set on SIGTERM. Ctrl-C belongs to whoever started this process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # all stacks into the log of who does not end
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(name)s: %(message)s")
    return stop
