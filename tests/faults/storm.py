"""Several devices, one server, one broker, and for minutes everything goes wrong at random: then nothing is missing.

Each device sits behind its own relay, on a disk of its own whose power can be cut; so does the server, and so does its
PostgreSQL, where it has one. Faults come one after the other, drawn from a seed; whoever died is started again. Models
are offered meanwhile, some of them bad.

In the first quarter only links and devices fail: what is sent again is then what a cut costs. In the second everybody
does, servers, broker and database, too. In the second half parts are falsified besides, and nothing is counted.
"""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from device.outbox import outbox
from device.updates.slots import current_slot
from device.updates.state_file import load_denied
from server.dataset import line_log, merge
from server.ingest import arrivals, ingest, share
from server.releases.registry import Registry
from server.releases.signing import Release
from shared.clock import SystemClock
from tests.faults import disk
from tests.faults.actors import BAD_SUFFIX, LEASE_S, Fate
from tests.faults.aftermath import Aftermath, Plan, Resent
from tests.faults.cargo import Ledger
from tests.faults.databases import POSTGRESQL
from tests.faults.disk import PowerDisk
from tests.faults.failing_database import FailingDatabase, failing_database
from tests.faults.gremlin import Gremlin, Tap
from tests.faults.judge import Party, judge, model_trouble, open_home
from tests.faults.relay import Weather
from tests.faults.stories import new_keys
from tests.faults.world import Actor, DeviceSeat, World, stopped
from tests.shared.bundle.bundles import contents, make_bundle

FAIR = Weather(bytes_per_s=300_000, delay_s=0.02)  # a phone's uplink: most faults then hit a file on its way
TEN_YEARS_S = 10 * 365.25 * 86400
DEVICE_STEPS = outbox.STEPS
SERVER_STEPS = (
    *arrivals.CRASH_POINTS, *ingest.CRASH_POINTS, *share.CRASH_POINTS, *merge.STEPS, *line_log.STEPS,
)  # fmt: skip
FINISH_S = 240.0
LINK_FAULTS = ("cut", "close", "hush", "slow", "delay_and_loss", "silent", "refuse")
DEVICE_FAULTS = ("kill_device", "device_dies_at_a_step")
DEVICE_DISK_FAULTS = ("power_cut", "power_cut", "io_error", "disk_full")
DISK_FAULTS = (*DEVICE_DISK_FAULTS, "server_disk_full", "server_power_cut")
LEASE_FAULTS = ("server_stays_away", "server_wakes_too_late")
SERVER_FAULTS = (
    "kill_server", "server_dies_at_a_step", "freeze_server", "wrong_clock", *DISK_FAULTS[-2:], *LEASE_FAULTS,
)  # fmt: skip
OFFER_EVERY = 12  # faults
BAD_EVERY = 3  # offers
KEYS_EVERY = 4  # offers
MODEL_FILES = {"decoder_model_merged.onnx": 150_000, "tokenizer.json": 4_000, "golden/000.jpg": 20_000}


def storm(folder: Path, plan: Plan, *, reported: Callable[[str], None] = lambda text: None) -> Aftermath:
    """Play it to its end. The folder is best in memory."""
    with ExitStack() as stack:
        weather = _Storm(folder, plan, stack, reported)
        weather.begin()
        weather.rage()
        return weather.end()


class _Storm:
    def __init__(self, folder: Path, plan: Plan, stack: ExitStack, reported: Callable[[str], None]) -> None:
        self._plan, self._reported, self._stack = plan, reported, stack
        self._draw = random.Random(plan.seed)
        self._calm = threading.Event()
        self.after = Aftermath(plan, skipped=disk.why_not())
        self._disks: dict[str, PowerDisk] = {}
        self._server_disk = self._disk(folder / "server-disk", size_bytes=512 * 1024 * 1024)
        self._made = folder / "made"
        self._world = World(folder / "world", shared=plan.workers)
        self._home = self._world.home if self._server_disk is None else self._server_disk.path / "home"
        self._database: FailingDatabase | None = None
        self._seats: list[DeviceSeat] = []
        self._offers = 0
        self._had_model: set[str] = set()
        self._filled: set[str] = set()
        self._measured = True
        self._failing = False
        self._playing = ""
        self._marks: list[tuple[float, str]] = []
        self._servers_fail_s = float("inf")
        """Since when, monotonic."""

    def _disk(self, folder: Path, *, size_bytes: int = disk.DISK_BYTES) -> PowerDisk | None:
        return None if self.after.skipped else self._stack.enter_context(PowerDisk(folder, size_bytes=size_bytes))

    # --- beginning and end ---

    def begin(self) -> None:
        if self._plan.database == POSTGRESQL:
            with_disk = self._server_disk is not None
            self._database = self._stack.enter_context(failing_database(self._moment, disk=with_disk))
            self._database.homes.make(self._home)
        world = self._stack.enter_context(self._world)
        root = world.folder / "root.json"
        root.write_bytes(Release.make(self._home, clock=SystemClock()).root_json())
        for worker in self._workers:
            world.start_server(home=self._home, worker=worker)
        self._tap = self._stack.enter_context(Tap(world.broker.host, world.broker.port))
        names = tuple(f"pi-{number}" for number in range(1, self._plan.devices + 1))
        self._gremlin = self._stack.enter_context(
            Gremlin(world.broker.host, world.broker.port, devices=names, seed=self._plan.seed)
        )
        for number, name in enumerate(names):
            own = self._disk(world.folder / f"{name}-disk")
            if own is not None:
                self._disks[name] = own
            seat = world.add_device(
                name,
                state=None if own is None else own.path / "state",
                chunks=self._plan.chunks,
                pause_s=self._plan.pause_s,
                updates=self._plan.updates,
                root=root,
                stay=True,
                sealed=number % 2 == 0,
            )
            self._seats.append(seat)
            seat.relay.weather = FAIR
            seat.start()
        self._offer()

    def end(self) -> Aftermath:
        """Good weather, nobody dies any more, all is sent; then the judgement."""
        self._reported("the storm is over; everybody finishes")
        for seat in self._seats:
            self._restore(seat)
            seat.relay.weather = Weather()
        self._look_after()  # before a device may end by itself, because all is sent
        for seat in self._seats:
            seat.orders = replace(seat.orders, pause_s=0.0, stay=False)
            seat.actor.kill()
            self._look_at_model(seat)
            seat.start()
        for seat in self._seats:
            seat.actor.wait_for(lambda: False, FINISH_S)
            assert seat.actor.exit_code == 0, f"{seat.orders.name}: {seat.actor.exit_code}\n{seat.actor.tail(40)}"
            self._look_at_model(seat)
        for actor in self._workers.values():
            actor.stop()
        parties = [Party(seat.orders.name, seat.orders.state, seat.orders.ledger) for seat in self._seats]
        self.after.verdict = judge(self._home, parties)
        self._count_updates()
        return self.after

    def _count_updates(self) -> None:
        for seat in self._seats:
            lines = seat.orders.ledger
            if not self._plan.updates or not lines.exists():
                continue
            self.after.attempted += len(set(Ledger(lines).names("attempted")))
            self.after.activated += len(set(Ledger(lines).names("activated")))
            self.after.rolled_back += len(load_denied(seat.orders.state / "models"))

    # --- the storm ---

    def rage(self) -> None:
        kinds = self._kinds(servers_fail=False)
        for number in range(1, self._plan.faults + 1):
            if number == self._plan.faults // 4 + 1:
                kinds = self._kinds(servers_fail=True)
                self._let_servers_fail()
            if number == self._plan.faults // 2 + 1:
                self._measure_the_devices_word()
                self._measured = False
            name = self._draw.choice(kinds)
            seat = self._draw.choice(self._seats)
            self._playing = name
            if name in SERVER_FAULTS or name in self._of_database:
                self._mark()
            try:
                self._play(name, seat)
            finally:
                self._restore(seat)
            self.after.faults[name] += 1
            self._failing = name in DISK_FAULTS or name in self._of_database
            self._look_after()
            self._failing = False
            if number % OFFER_EVERY == 0:
                self._offer()
            if number % 10 == 0:
                self._reported(f"{number} faults, {sum(self.after.deaths.values())} deaths")
            self._calm.wait(self._draw.random() * self._plan.calm_s)

    def _play(self, name: str, seat: DeviceSeat) -> None:
        fault = self._of_database.get(name)
        if fault is not None:
            fault()
        else:
            getattr(self, f"_{name}")(seat)

    @property
    def _of_database(self) -> Mapping[str, Callable[[], None]]:
        """What can go wrong with it, by name."""
        return {} if self._database is None else self._database.faults

    def _mark(self) -> None:
        """The server is, or was, interrupted: what is sent again from here on has this cause."""
        self._tap.mark()
        self._marks.append((time.monotonic(), self._playing))

    def _let_servers_fail(self) -> None:
        self._playing = "the servers' turn"
        self._mark()
        self._listen_to_the_broker()
        self._servers_fail_s = self._marks[-1][0]

    def _measure_the_devices_word(self) -> None:
        """What the devices themselves say they sent again, from one interruption to the next."""
        for seat in self._seats:
            lines = Ledger(seat.orders.ledger).lines()
            cuts = sorted([*self._marks, *((line.more, "a connection") for line in lines if line.what == "online")])
            sums = Counter[int]()
            for line in lines:
                if line.what == "sent again":
                    sums[bisect(cuts, line.more, key=lambda cut: float(cut[0]))] += int(line.name)
            for at, again in sums.items():
                since_s, name = cuts[at - 1] if at else (0.0, "nothing")
                by_cut = since_s < self._servers_fail_s
                self.after.resent.append(Resent(again, seat.orders.name, "device", name, by_cut))

    def _kinds(self, *, servers_fail: bool) -> list[str]:
        of_devices = [*LINK_FAULTS, *DEVICE_FAULTS, "mischief", "mischief"]
        if not servers_fail:
            return [*of_devices, *(DEVICE_DISK_FAULTS if not self.after.skipped else ())]
        of_servers = ["kill_server", "server_dies_at_a_step", "kill_broker", "freeze_server", "wrong_clock"]
        of_leases = LEASE_FAULTS if self._plan.workers else ()
        of_disks = DISK_FAULTS if not self.after.skipped else ()
        return [*of_devices, *of_servers, *of_leases, *of_disks, *self._of_database]

    def _look_after(self) -> None:
        """Start again who died, at once, as systemd does."""
        if self._database is not None and self._database.revive():
            self._mark()
            self.after.deaths["database"] += 1
        for worker, actor in self._workers.items():
            if not actor.running:
                self._died("server", actor)
                self._start_server(worker)
        for seat in self._seats:
            if not seat.actor.running:
                self._died("device", seat.actor)
                self._look_at_model(seat)
                seat.start()
        self._listen_to_the_broker()

    def _listen_to_the_broker(self) -> None:
        """What it saw twice, up to the newest interruptions."""
        for device, again in self._tap.taken():
            if self._measured:
                by_cut = self._servers_fail_s == float("inf")
                self.after.resent.append(Resent(again, device, "broker", self._playing, by_cut))

    @property
    def _workers(self) -> dict[int, Actor]:
        """Everybody who takes in, by number."""
        return {0: self._world.server} | ({1: self._world.worker} if self._plan.workers else {})

    def _start_server(self, worker: int, fate: Fate | None = None) -> None:
        self._world.start_server(fate, home=self._home, worker=worker)
        if not self._workers[worker].running:
            self._died("server", self._workers[worker])
            self._world.start_server(home=self._home, worker=worker)

    def _died(self, who: str, actor: Actor) -> None:
        if who == "server":
            self._mark()
        # Where its disk fails while it starts, it says so and ends; systemd starts it again.
        allowed = (-9, 1) if self._failing else (-9,)
        assert actor.exit_code in allowed, f"{actor.name} ended by itself with {actor.exit_code}:\n{actor.tail(40)}"
        self.after.deaths[who] += 1

    def _one_of_them(self) -> tuple[int, Actor]:
        return self._draw.choice(list(self._workers.items()))

    def _look_at_model(self, seat: DeviceSeat) -> None:
        name = seat.orders.name
        trouble = model_trouble(seat.orders.state, had_one=name in self._had_model)
        if trouble:
            self.after.bricked.append(f"{name}: {trouble}")
        elif current_slot(seat.orders.state) is not None:
            self._had_model.add(name)

    def _offer(self) -> None:
        if not self._plan.updates:
            return
        self._offers += 1
        bad = self._offers % BAD_EVERY == 0
        version = f"v{self._offers}{BAD_SUFFIX if bad else ''}"
        fixed = contents(MODEL_FILES)
        changed = contents(MODEL_FILES, seed=self._offers + 1) | {"tokenizer.json": fixed["tokenizer.json"]}
        make_bundle(self._made / version, version, changed)
        if self._offers % KEYS_EVERY == 0:
            new_keys(self._home)
        with self._registry() as registry:
            registry.add(self._made / version)
            registry.promote(version, "the storm goes on")

    @contextmanager
    def _registry(self) -> Iterator[Registry]:
        with closing(open_home(self._home)) as store:
            yield Registry(self._home, store=store)

    def _restore(self, seat: DeviceSeat) -> None:
        seat.relay.weather = self._draw.choice((FAIR, Weather()))
        if seat.orders.name in self._filled:
            self._disks[seat.orders.name].empty()
            self._filled.discard(seat.orders.name)

    # --- the faults ---

    def _moment(self, least_s: float = 0.1, most_s: float = 0.8) -> None:
        self._calm.wait(least_s + self._draw.random() * (most_s - least_s))

    def _cut(self, seat: DeviceSeat) -> None:
        if self._draw.random() < 0.5:
            seat.relay.cut_after(self._draw.randrange(200_000), self._draw.choice(("up", "down")))
            self._moment()
        seat.relay.cut()

    def _close(self, seat: DeviceSeat) -> None:
        seat.relay.close_all()

    def _hush(self, seat: DeviceSeat) -> None:
        both = self._draw.random() < 0.5
        seat.relay.hush(*(("up", "down") if both else (self._draw.choice(("up", "down")),)))
        self._moment(0.3, 1.5)
        seat.relay.cut()  # keepalive would find out after 30 s; nobody waits for that here

    def _slow(self, seat: DeviceSeat) -> None:
        seat.relay.weather = Weather(bytes_per_s=64_000)
        self._moment(0.5, 2.0)

    def _delay_and_loss(self, seat: DeviceSeat) -> None:
        seat.relay.weather = Weather(delay_s=self._draw.random() * 0.3, loss=0.02)
        self._moment(0.5, 1.5)

    def _silent(self, seat: DeviceSeat) -> None:
        seat.relay.weather = Weather(takes_new="silent")
        seat.relay.cut()
        self._moment(0.3, 1.0)
        seat.relay.cut()

    def _refuse(self, seat: DeviceSeat) -> None:
        seat.relay.weather = Weather(takes_new="no")
        seat.relay.cut()
        self._moment(0.3, 1.0)

    def _kill_device(self, seat: DeviceSeat) -> None:
        seat.actor.kill()

    def _device_dies_at_a_step(self, seat: DeviceSeat) -> None:
        seat.actor.kill()
        self._look_at_model(seat)
        seat.start(Fate(self._draw.choice(DEVICE_STEPS), nth=self._draw.randrange(1, 5)))
        self._moment()

    def _kill_server(self, _seat: DeviceSeat) -> None:
        self._one_of_them()[1].kill()
        self._moment(0.0, 0.5)

    def _server_dies_at_a_step(self, _seat: DeviceSeat) -> None:
        worker, actor = self._one_of_them()
        actor.kill()
        self._start_server(worker, Fate(self._draw.choice(SERVER_STEPS), nth=self._draw.randrange(1, 8)))
        self._moment()

    def _kill_broker(self, _seat: DeviceSeat) -> None:
        self._world.broker.kill()
        self._moment(0.0, 0.5)
        self._world.broker.start()  # it has forgotten every session and every retained message

    def _freeze_server(self, _seat: DeviceSeat) -> None:
        began_s = time.monotonic()
        with stopped(self._one_of_them()[1]):
            self._moment(0.3, 1.5)
        if time.monotonic() - began_s > LEASE_S / 2:  # and it had renewed its lease some time before
            self._mark()  # its devices may have gone to another: a second interruption

    def _server_stays_away(self, _seat: DeviceSeat) -> None:
        """For so long that another takes its devices over."""
        self._one_of_them()[1].kill()
        self._moment(1.2 * LEASE_S, 2.0 * LEASE_S)

    def _server_wakes_too_late(self, _seat: DeviceSeat) -> None:
        """It goes on in the middle of what another has taken over meanwhile."""
        with stopped(self._one_of_them()[1]):
            self._moment(1.2 * LEASE_S, 2.0 * LEASE_S)
        self._mark()  # its devices went to another; now some come back: a second interruption

    def _wrong_clock(self, seat: DeviceSeat) -> None:
        """Ten years off, on the device and then on the server."""
        offset_s = self._draw.choice((-TEN_YEARS_S, TEN_YEARS_S))
        seat.actor.kill()
        seat.start(Fate(clock_offset_s=offset_s))
        worker, actor = self._one_of_them()
        actor.kill()
        self._start_server(worker, Fate(clock_offset_s=self._draw.choice((-TEN_YEARS_S, 0.0, TEN_YEARS_S))))
        self._moment()

    def _mischief(self, _seat: DeviceSeat) -> None:
        """Only in the second half: a falsified part costs the whole file, which would blur the bytes per cut."""
        done = self.after.faults
        rarest = min(sorted(self._gremlin.tricks), key=lambda name: done[f"mischief: {name}"])
        trick = "foreign" if self._measured else rarest
        self._gremlin.tricks[trick]()
        self.after.faults[f"mischief: {trick}"] += 1
        self._moment(0.1, 0.4)

    def _power_cut(self, seat: DeviceSeat) -> None:
        """Of a device: what it had not synced is gone."""
        own = self._disks[seat.orders.name]
        own.cut_power()
        seat.actor.kill()
        own.restore()
        self._boot_again(seat)

    def _io_error(self, seat: DeviceSeat) -> None:
        """The disk fails under a device that goes on for a while, and is fine after a restart."""
        own = self._disks[seat.orders.name]
        own.cut_power()
        self._moment(0.2, 0.8)
        seat.actor.kill()
        own.restore()
        self._boot_again(seat)

    def _boot_again(self, seat: DeviceSeat) -> None:
        """A disk that lost what was not synced comes with another run of the kernel: by that the outbox knows."""
        seat.orders = replace(seat.orders, boot=f"boot {sum(self.after.faults.values())}")

    def _disk_full(self, seat: DeviceSeat) -> None:
        self._filled.add(seat.orders.name)
        self._disks[seat.orders.name].fill(leave_bytes=self._draw.choice((0, 8_000, 60_000)))
        self._moment(0.5, 1.5)

    def _server_disk_full(self, _seat: DeviceSeat) -> None:
        assert self._server_disk is not None
        self._server_disk.fill(leave_bytes=self._draw.choice((0, 100_000, 2_000_000)))
        self._moment(0.5, 1.5)
        self._server_disk.empty()

    def _server_power_cut(self, _seat: DeviceSeat) -> None:
        assert self._server_disk is not None
        self._server_disk.cut_power()
        self._moment(0.0, 0.3)
        for actor in self._workers.values():
            actor.kill()
        self._server_disk.restore()
