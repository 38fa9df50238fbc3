"""Every durable step, one after the other: the process that takes it dies there, starts again, and nothing is missing.

Five stories, each with its own cast of real processes:

    sending     a device seals and sends, encrypted, while a server merges; one of its records is refused for good
    pruning     a device without a network runs out of its share of the disk, then comes home
    forgetting  one of the moments is erased again while they are sent: nothing of it is left on either side
    sharing     the same with a second process that takes in, and takes over what the killed one had
    updating    a device goes from m1 to m2; the keys are changed; it is offered m3, which fails on probation and is
                taken back

The names of the steps are not written down here: an undisturbed run of each story collects them (tests.crash).
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from device.outbox import outbox
from device.outbox.folder import LOST
from device.updates.state_file import load_denied, load_state
from server.ingest.partitions import PARTITIONS, partition_of
from server.releases.registry import Registry
from server.releases.signing import Release
from shared.bundle import read_manifest
from shared.clock import SystemClock
from tests.faults.actors import BAD_SUFFIX, Fate
from tests.faults.judge import Party, judge, model_trouble, open_home
from tests.faults.world import Actor, DeviceSeat, World
from tests.shared.bundle.bundles import contents, make_bundle

DEVICE = "pi-1"
SERVERS_OWN = "anna"  # of two processes, `run` has it while it lives
CHUNKS = 6
POISON, FORGOTTEN = 4, 3
PRUNE_BYTES = 30_000
STORY_S = 60.0
ROOT = "root.json"
SEALING, SENDING, MERGING, UPDATING = "sealing", "sending", "merging", "updating"
_OUTBOX = tuple({step.partition(":")[0] + ":" for step in outbox.STEPS})
MODEL_FILES = {"decoder_model_merged.onnx": 200_000, "tokenizer.json": 4_000, "golden/000.jpg": 70_000}
GOOD, BAD = "m2", f"m3{BAD_SUFFIX}"

Fates = Mapping[str, Fate]
"""Of device and server, where they have one."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place to die at: who, in which story, at which step."""

    story: str
    victim: str
    """device | server"""
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kill and what came of it."""

    point: Point
    nth: int
    killed: bool
    lost: int = 0
    duplicated: int = 0
    bricked: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Theatre:
    """Where the stories are played: a folder, best in memory."""

    folder: Path

    def prepare(self) -> None:
        """The template of the updating story: a server with three models, a device that runs the first."""
        place = self.folder / "template"
        same = contents(MODEL_FILES)
        registry = Registry(place / "home")
        release = Release.make(place / "home", clock=SystemClock())
        (self.folder / ROOT).write_bytes(release.root_json())
        for number, version in enumerate(("m1", GOOD, BAD), start=1):
            changed = contents(MODEL_FILES, seed=number) | {"tokenizer.json": same["tokenizer.json"]}
            make_bundle(place / "made" / version, version, changed)
            registry.add(place / "made" / version)
        registry.promote("m1", "the first")
        registry.close()
        with World(place) as world:
            world.start_server()
            seat = world.add_device(DEVICE, chunks=0, updates=True, root=self.folder / ROOT, stay=True)
            seat.start()
            assert seat.actor.wait_for(lambda: _settled_on(seat, "m1"), STORY_S), seat.actor.tail()
            seat.actor.stop()
            world.server.stop()

    def points(self) -> list[Point]:
        """All durable steps that the stories take, in the order in which they were first seen."""
        found: dict[tuple[str, str], Point] = {}
        for story in STORIES:
            seen = self.folder / f"{story}.seen"
            outcome = self.play(Point(story, "", ""), seen=seen)
            assert not outcome.problems, outcome
            for victim in ("device", "server"):
                names = _seen_by(victim, seen)
                for name in names.read_text().splitlines() if names.exists() else ():
                    if _belongs(story, victim, name):
                        found.setdefault((victim, name), Point(story, victim, name))
        return list(found.values())

    def play(self, point: Point, nth: int = 1, *, seen: Path | None = None) -> Outcome:
        """One story; its victim dies at the nth time it takes the step, and lives again. seen: collect the steps that
        everybody takes, beside this name; nobody dies."""
        place = self.folder / f"try-{threading.get_ident()}"
        fates = {
            victim: Fate(point.name, nth=nth, seen=None if seen is None else _seen_by(victim, seen), watch_calls=True)
            for victim in ("device", "server")
            if victim == point.victim or seen is not None
        }
        try:
            return STORIES[point.story](self, place, point, fates)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def sweep(
        self,
        points: list[Point],
        times: tuple[int, ...] = (1, 3),
        *,
        workers: int = 2,
        reported: Callable[[Outcome], None] = lambda outcome: None,
    ) -> list[Outcome]:
        """Die at all of them. Interrupted, it lets the stories that are being played come to their end."""
        pool = ThreadPoolExecutor(workers)
        try:
            waiting = [pool.submit(self.play, point, nth) for point in points for nth in times]
            outcomes = []
            for one in waiting:
                outcomes.append(one.result())
                reported(outcomes[-1])
        finally:
            pool.shutdown(cancel_futures=True)
        return outcomes


def _seen_by(victim: str, beside: Path) -> Path:
    return beside.with_name(f"{beside.name}.{victim}")


def _belongs(story: str, victim: str, name: str) -> bool:
    """Whether a step is swept in this story. What all of them take is swept in one."""
    if story == "forgetting":
        return "eras" in name.lower()
    of_outbox = "Outbox" in name or name.startswith(_OUTBOX)
    if victim == "server":
        return story in ("sending", "sharing") or (story == "updating" and "elease" in name)
    if story == "updating":
        return not of_outbox
    return story == "sending" or name.startswith("prune:") or "Outbox._give_up" in name


def group(point: Point) -> str:
    """Which of the four things the step is part of."""
    if point.story == "updating":
        return UPDATING
    if point.victim == "server":
        return MERGING
    return SEALING if point.name.startswith("seal:") or "_seal" in point.name or "seal_" in point.name else SENDING


# --- the stories ---


def _sending(theatre: Theatre, place: Path, point: Point, fates: Fates) -> Outcome:
    with World(place) as world:
        seat = world.add_device(DEVICE, chunks=CHUNKS, poison=POISON, sealed=True)
        killed = world.start_server_until_ready(fates.get("server"))
        seat.start(fates.get("device"))
        killed += _survive(world, seat, until=lambda: seat.actor.exit_code == 0)
        killed += _ended(world.server)
        return _judged(world, seat, point, fates, killed=killed)


def _forgetting(theatre: Theatre, place: Path, point: Point, fates: Fates) -> Outcome:
    with World(place) as world:
        seat = world.add_device(DEVICE, chunks=CHUNKS, forget=FORGOTTEN)
        killed = world.start_server_until_ready(fates.get("server"))
        seat.start(fates.get("device"))
        killed += _survive(world, seat, until=lambda: seat.actor.exit_code == 0)
        killed += _ended(world.server)
        return _judged(world, seat, point, fates, killed=killed)


def _sharing(theatre: Theatre, place: Path, point: Point, fates: Fates) -> Outcome:
    with World(place, shared=True) as world:
        seat = world.add_device(SERVERS_OWN, chunks=CHUNKS, poison=POISON)
        assert partition_of(SERVERS_OWN) < PARTITIONS // 2
        killed = world.start_server_until_ready(fates.get("server"))
        world.start_server(worker=1)
        seat.start(fates.get("device"))
        killed += _survive(world, seat, until=lambda: seat.actor.exit_code == 0)
        world.worker.stop()
        killed += _ended(world.server)
        return _judged(world, seat, point, fates, killed=killed)


def _pruning(theatre: Theatre, place: Path, point: Point, fates: Fates) -> Outcome:
    with World(place) as world:
        seat = world.add_device(DEVICE, chunks=CHUNKS + 4, prune_bytes=PRUNE_BYTES, online=False)
        seat.start(fates.get("device"))
        killed = _survive(world, seat, until=lambda: seat.actor.exit_code == 0, with_server=False)
        named = (seat.orders.state / "outbox" / LOST).read_text().splitlines()
        world.start_server()
        seat.orders = replace(seat.orders, online=True)
        seat.start()
        _survive(world, seat, until=lambda: seat.actor.exit_code == 0)
        world.server.stop()
        outcome = _judged(world, seat, point, fates, killed=killed)
        reported = {json.loads(line)["record_id"] for line in named}
        return outcome if reported else replace(outcome, problems=(*outcome.problems, "nothing was pruned"))


def _updating(theatre: Theatre, place: Path, point: Point, fates: Fates) -> Outcome:
    shutil.copytree(theatre.folder / "template", place, symlinks=True, ignore=shutil.ignore_patterns("*.log"))
    with World(place) as world, _registry(world.home) as registry:
        registry.promote(GOOD, "better")
        killed = world.start_server_until_ready(fates.get("server"))
        seat = world.add_device(DEVICE, chunks=0, updates=True, root=theatre.folder / ROOT, stay=True)
        seat.start(fates.get("device"))
        offered = False
        problems: list[str] = []

        def done() -> bool:
            nonlocal offered
            if not offered and _settled_on(seat, GOOD):
                new_keys(world.home)
                registry.promote(BAD, "worse, as it will turn out")
                offered = True
            return offered and _settled_on(seat, GOOD) and _denied(seat, BAD)

        def died() -> None:
            trouble = model_trouble(seat.orders.state, had_one=True)
            problems.extend([f"bricked: {trouble}"] if trouble else [])

        killed += _survive(world, seat, until=done, died=died)
        killed += _ended(seat.actor)
        died()
        killed += _ended(world.server)
        outcome = _judged(world, seat, point, fates, killed=killed)
        return replace(outcome, bricked=len(problems), problems=(*outcome.problems, *problems))


STORIES: Mapping[str, Callable[[Theatre, Path, Point, Fates], Outcome]] = {
    "sending": _sending, "forgetting": _forgetting, "sharing": _sharing, "pruning": _pruning, "updating": _updating,
}  # fmt: skip


def _survive(
    world: World,
    seat: DeviceSeat,
    *,
    until: Callable[[], bool],
    died: Callable[[], None] = lambda: None,
    with_server: bool = True,
) -> int:
    """Let the story go on until it is over; who dies is started again. Returns how often that was."""
    kills = 0

    def over() -> bool:
        return until() or not seat.actor.running or (with_server and not world.server.running)

    while True:
        seat.actor.wait_for(over, STORY_S)
        if not seat.actor.running and seat.actor.exit_code != 0:
            kills += _was_killed(seat.actor)
            died()
            seat.start()
        elif with_server and not world.server.running:
            kills += _was_killed(world.server)
            world.start_server()
            if until():
                return kills
        elif until():
            return kills


def _was_killed(actor: Actor) -> int:
    assert actor.exit_code == -9, f"{actor.name} ended with {actor.exit_code}\n{actor.tail(40)}"
    return 1


def _ended(actor: Actor) -> int:
    """Ask it to end. Returns 1 where it died on the way: an end has durable steps of its own."""
    return int(actor.stop() == -9)


def _judged(world: World, seat: DeviceSeat, point: Point, fates: Fates, *, killed: int) -> Outcome:
    nth = next(iter(fates.values())).nth
    verdict = judge(world.home, [Party(seat.orders.name, seat.orders.state, seat.orders.ledger)])
    problems = list(verdict.problems)
    if point.story in ("sending", "sharing") and len(verdict.refused) != 1:
        problems.append(f"refused: {sorted(verdict.refused)}")
    if point.story != "pruning" and verdict.named_lost:
        problems.append(f"given up: {sorted(verdict.named_lost)}")
    problems += [f"lost: {one}" for one in sorted(verdict.lost)]
    return Outcome(
        point, nth, killed > 0, lost=len(verdict.lost), duplicated=len(verdict.duplicated), problems=tuple(problems)
    )


def new_keys(home: Path) -> None:
    """As `keys rotate` does: what comes next is signed by keys that the device does not know yet."""
    release = Release(home, clock=SystemClock())
    release.rotate(("targets", "timestamp"), release.root_keys_here()[-1])


@contextmanager
def _registry(home: Path) -> Iterator[Registry]:
    with closing(open_home(home)) as store:
        yield Registry(home, store=store)


def _settled_on(seat: DeviceSeat, version: str) -> bool:
    models = seat.orders.state / "models"
    current = models / "current"
    if not (current / "manifest.json").exists() or load_state(models).phase != "idle":
        return False
    return read_manifest(current).version == version


def _denied(seat: DeviceSeat, version: str) -> bool:
    return any(one.version == version for one in load_denied(seat.orders.state / "models"))
