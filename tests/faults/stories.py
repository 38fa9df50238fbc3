"""The stories of the sweep, each with its own cast of real processes; somebody comes to harm at one step of it.

sending     a device seals and sends, encrypted, while a server merges; one of its records is refused for good
pruning     a device without a network runs out of its share of the disk, then comes home
forgetting  one of the moments is erased again while they are sent: nothing of it is left on either side
sharing     as sending, with a second process that takes in
succession  who takes in dies in the middle and stays away: a second process takes its devices over when the lease
            has ended, and gives them back when it comes again
waking      the same, but it freezes, and wakes when another has what was its own
updating    a device goes from m1 to m2; the keys are changed; it is offered m3, which fails on probation and is
            taken back
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from device.outbox.folder import LOST
from device.updates.state_file import load_denied, load_state
from server.database.store import Store
from server.dataset.folder import RECORDS_NAME
from server.ingest.leases import listing
from server.ingest.partitions import PARTITIONS, partition_of
from server.releases.registry import Registry
from server.releases.signing import Release
from shared.bundle import read_manifest
from shared.clock import SystemClock
from tests.faults.actors import BAD_SUFFIX, LEASE_S, Fate
from tests.faults.judge import Party, judge, model_trouble, open_home
from tests.faults.strikes import Strike
from tests.faults.world import POLL_S, Actor, DeviceSeat, World

DEVICE = "pi-1"
SERVERS_OWN, WORKERS_OWN = "anna", "dora"  # of two processes, `run` has the one while both live, the other the other
CHUNKS, LINES = 6, 3  # of a chunk in records.jsonl: its record, picture and sound
POISON, FORGOTTEN = 4, 3
PRUNE_BYTES = 30_000
STORY_S = 120.0
ROOT, STRUCK = "root.json", "struck"
GOOD, BAD = "m2", f"m3{BAD_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Point:
    """A place to come to harm at: who, in which story, at which step."""

    story: str
    victim: str
    """device | server | worker: the second process that takes in"""
    name: str
    strike: Strike = Strike.KILL


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kill, or what else was struck, and what came of it."""

    point: Point
    nth: int
    killed: bool
    lost: int = 0
    duplicated: int = 0
    bricked: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Play:
    """One story, on its stage."""

    point: Point
    nth: int
    place: Path
    """A folder of its own; what is there when it begins belongs to the story."""
    root: Path
    """The first root of the releases in it, where it is about them."""
    fates: Mapping[str, Fate]
    """Of device, server and worker, where they have one."""
    revive: Callable[[], bool]
    """Starts the database again where it has ended; whether it had."""

    @property
    def struck(self) -> Path:
        """A file that is there once it happened."""
        return self.place / STRUCK

    def serve(self, world: World, worker: int = 0) -> None:
        """Start who takes in; where its fate overtakes it before it is ready, once more without."""
        world.start_server(self.fates.get("worker" if worker else "server"), worker=worker)
        if not world.intake(worker).running:
            self.revive()
            world.start_server(worker=worker)

    def survive(
        self,
        world: World,
        seat: DeviceSeat,
        *,
        until: Callable[[], bool],
        workers: tuple[int, ...] = (0,),
        died: Callable[[], None] = lambda: None,
    ) -> None:
        """Let the story go on until it is over; who dies is started again. workers: of those that take in. died: called
        where the device did."""
        end_s, tick = time.monotonic() + STORY_S, threading.Event()
        while True:
            self.revive()
            dead = [worker for worker in workers if not world.intake(worker).running]
            if seat.actor.exit_code not in (None, 0):
                self._look_at(seat.actor)
                died()
                seat.start()
            elif dead:
                self._look_at(world.intake(dead[0]))
                world.start_server(worker=dead[0])
            elif until():
                return
            else:
                assert time.monotonic() < end_s, f"It did not come to its end.\n{world.tails()}"
                tick.wait(POLL_S)
                continue
            end_s = time.monotonic() + STORY_S

    def _look_at(self, actor: Actor) -> None:
        """Who has ended was killed; a server whose database is away when it starts says so, and ends."""
        allowed = (-9, 1) if self.point.strike is Strike.DATABASE else (-9,)
        assert actor.exit_code in allowed, f"{actor.name} ended with {actor.exit_code}\n{actor.tail(40)}"

    def judged(self, world: World, seat: DeviceSeat, *, refused: int = 0, may_give_up: bool = False) -> Outcome:
        """refused: so many records must be."""
        self.revive()  # an end has commits of its own
        verdict = judge(world.home, [Party(seat.orders.name, seat.orders.state, seat.orders.ledger)])
        problems = list(verdict.problems)
        if len(verdict.refused) != refused:
            problems.append(f"refused: {sorted(verdict.refused)}")
        if verdict.named_lost and not may_give_up:
            problems.append(f"given up: {sorted(verdict.named_lost)}")
        problems += [f"lost: {one}" for one in sorted(verdict.lost)]
        lost, doubled = len(verdict.lost), len(verdict.duplicated)
        return Outcome(
            self.point, self.nth, self.struck.exists(), lost=lost, duplicated=doubled, problems=tuple(problems)
        )


def _sending(play: Play) -> Outcome:
    with World(play.place) as world:
        seat = world.add_device(DEVICE, chunks=CHUNKS, poison=POISON, sealed=True)
        play.serve(world)
        seat.start(play.fates.get("device"))
        play.survive(world, seat, until=lambda: _is_done(seat))
        world.server.stop()
        return play.judged(world, seat, refused=1)


def _forgetting(play: Play) -> Outcome:
    with World(play.place) as world:
        seat = world.add_device(DEVICE, chunks=CHUNKS, forget=FORGOTTEN)
        play.serve(world)
        seat.start(play.fates.get("device"))
        play.survive(world, seat, until=lambda: _is_done(seat))
        world.server.stop()
        return play.judged(world, seat)


def _sharing(play: Play) -> Outcome:
    with World(play.place, shared=True) as world:
        seat = world.add_device(SERVERS_OWN, chunks=CHUNKS, poison=POISON)
        assert partition_of(SERVERS_OWN) < PARTITIONS // 2
        play.serve(world)
        play.serve(world, worker=1)
        seat.start(play.fates.get("device"))
        play.survive(world, seat, until=lambda: _is_done(seat))
        world.worker.stop()
        world.server.stop()
        return play.judged(world, seat, refused=1)


def _succession(play: Play) -> Outcome:
    with World(play.place, shared=True) as world:
        seat = world.add_device(WORKERS_OWN, chunks=CHUNKS, pause_s=0.1)
        assert partition_of(WORKERS_OWN) >= PARTITIONS // 2
        play.serve(world)
        play.serve(world, worker=1)
        with closing(open_home(world.home)) as store:
            play.survive(world, seat, until=lambda: play.struck.exists() or _has(store, world.worker), workers=(0,))
        seat.start()
        _the_worker_goes(play, world, seat)
        began_s = time.monotonic()

        def taken_over() -> bool:
            # Who froze in a transaction holds up everybody: then it wakes first.
            return _is_done(seat) or (world.worker.frozen and time.monotonic() - began_s > 3 * LEASE_S)

        play.survive(world, seat, until=taken_over)
        _the_worker_comes_again(world)
        play.survive(world, seat, until=lambda: _is_done(seat), workers=(0, 1))
        seat.orders = replace(seat.orders, chunks=2 * CHUNKS)
        seat.start()
        with closing(open_home(world.home)) as store:
            play.survive(world, seat, until=lambda: _is_done(seat) and _is_even(store), workers=(0, 1))
        world.worker.stop()
        world.server.stop()
        return play.judged(world, seat)


def _the_worker_goes(play: Play, world: World, seat: DeviceSeat) -> None:
    """At its step; where it is not the victim, in the middle of something."""
    own = "worker" in play.fates and play.point.name
    log = world.home / "dataset" / RECORDS_NAME
    midway = CHUNKS // 2 * LINES
    seat.actor.wait_for(lambda: play.struck.exists() if own else _lines(log) >= midway, STORY_S)
    if not own:
        world.worker.kill()


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _the_worker_comes_again(world: World) -> None:
    world.worker.thaw()
    if not world.worker.running:
        world.start_server(worker=1)


def _is_done(seat: DeviceSeat) -> bool:
    return seat.actor.exit_code == 0


def _has(store: Store, actor: Actor) -> bool:
    """Whether this one takes in what the worker's own device sends."""
    return actor.name in _holders(store)[partition_of(WORKERS_OWN)]


def _is_even(store: Store) -> bool:
    """Whether both have their share again, whichever. Who woke may have been the first to find the leases ended."""
    counts = Counter(_holders(store))
    return len(counts) == 2 and set(counts.values()) == {PARTITIONS // 2}


def _holders(store: Store) -> list[str]:
    return [row.holder for row in listing(store, now_s=SystemClock().utc_s(), lease_s=LEASE_S)]


def _pruning(play: Play) -> Outcome:
    with World(play.place) as world:
        seat = world.add_device(DEVICE, chunks=CHUNKS + 4, prune_bytes=PRUNE_BYTES, online=False)
        seat.start(play.fates.get("device"))
        play.survive(world, seat, until=lambda: _is_done(seat), workers=())
        named = (seat.orders.state / "outbox" / LOST).read_text().splitlines()
        world.start_server()
        seat.orders = replace(seat.orders, online=True)
        seat.start()
        play.survive(world, seat, until=lambda: _is_done(seat))
        world.server.stop()
        outcome = play.judged(world, seat, may_give_up=True)
        reported = {json.loads(line)["record_id"] for line in named}
        return outcome if reported else replace(outcome, problems=(*outcome.problems, "nothing was pruned"))


def _updating(play: Play) -> Outcome:
    with World(play.place) as world, _registry(world.home) as registry:
        registry.promote(GOOD, "better")
        play.serve(world)
        seat = world.add_device(DEVICE, chunks=0, updates=True, root=play.root, stay=True)
        seat.start(play.fates.get("device"))
        offered = False
        problems: list[str] = []

        def done() -> bool:
            nonlocal offered
            if not offered and settled_on(seat, GOOD):
                new_keys(world.home)
                registry.promote(BAD, "worse, as it will turn out")
                offered = True
            return offered and settled_on(seat, GOOD) and _denied(seat, BAD)

        def died() -> None:
            trouble = model_trouble(seat.orders.state, had_one=True)
            problems.extend([f"bricked: {trouble}"] if trouble else [])

        play.survive(world, seat, until=done, died=died)
        seat.actor.stop()
        died()
        world.server.stop()
        outcome = play.judged(world, seat)
        return replace(outcome, bricked=len(problems), problems=(*outcome.problems, *problems))


STORIES: Mapping[str, Callable[[Play], Outcome]] = {
    "sending": _sending, "forgetting": _forgetting, "sharing": _sharing, "succession": _succession,
    "waking": _succession, "pruning": _pruning, "updating": _updating,
}  # fmt: skip


def new_keys(home: Path) -> None:
    """As `keys rotate` does: what comes next is signed by keys that the device does not know yet."""
    release = Release(home, clock=SystemClock())
    release.rotate(("targets", "timestamp"), release.root_keys_here()[-1])


@contextmanager
def _registry(home: Path) -> Iterator[Registry]:
    with closing(open_home(home)) as store:
        yield Registry(home, store=store)


def settled_on(seat: DeviceSeat, version: str) -> bool:
    models = seat.orders.state / "models"
    current = models / "current"
    if not (current / "manifest.json").exists() or load_state(models).phase != "idle":
        return False
    return read_manifest(current).version == version


def _denied(seat: DeviceSeat, version: str) -> bool:
    return any(one.version == version for one in load_denied(seat.orders.state / "models"))
