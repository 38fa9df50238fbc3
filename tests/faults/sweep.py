"""Every durable step, one after the other: who takes it dies there, starts again, and nothing is missing.

The stories are in `tests.faults.stories`. What all of them take is swept in one. With PostgreSQL more comes to harm: at
each commit of a server that merges, right before and right after it, the database is shut down as by a power cut, its
sessions are ended, or nobody hears that the commit was done.

The names of the steps are not written down here: an undisturbed run of each story collects them (tests.crash).
"""

from __future__ import annotations

import shutil
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from device.outbox import outbox
from server.releases.registry import Registry
from server.releases.signing import Release
from shared.clock import SystemClock
from shared.errors import WaycueError
from tests.faults.actors import Fate
from tests.faults.databases import HomeDatabases, PostgresHomes, SqliteHomes
from tests.faults.stories import BAD, DEVICE, GOOD, ROOT, STORIES, STORY_S, STRUCK, Outcome, Play, Point, settled_on
from tests.faults.strikes import Strike
from tests.faults.world import World
from tests.shared.bundle.bundles import contents, make_bundle

SEALING, SENDING, MERGING, LEASING, UPDATING = "sealing", "sending", "merging", "leasing", "updating"
DATABASE = "database"
TRIES = 6
"""To die at a step that comes in some runs of a story."""
VICTIMS = ("device", "server", "worker")
_AROUND_COMMITS = ("commit in ", "committed in ", "merge:")
_OUTBOX = tuple({step.partition(":")[0] + ":" for step in outbox.STEPS})
MODEL_FILES = {"decoder_model_merged.onnx": 200_000, "tokenizer.json": 4_000, "golden/000.jpg": 70_000}


@dataclass(frozen=True, slots=True)
class Theatre:
    """Where the stories are played: a folder, best in memory."""

    folder: Path
    databases: HomeDatabases = field(default_factory=SqliteHomes)

    def prepare(self) -> None:
        """The template of the updating story: a server with three models, a device that runs the first."""
        place = self.folder / "template"
        same = contents(MODEL_FILES)
        self.databases.make(place / "home")
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
            assert seat.actor.wait_for(lambda: settled_on(seat, "m1"), STORY_S), seat.actor.tail()
            seat.actor.stop()
            world.server.stop()

    def points(self) -> list[Point]:
        """All durable steps that the stories take, in the order in which they were first seen."""
        found: dict[tuple[str, str], Point] = {}
        for story in (name for name in STORIES if name != "waking"):
            seen = self.folder / f"{story}.seen"
            outcome = self.play(Point(story, "", ""), seen=seen)
            assert not outcome.problems, outcome
            for victim in VICTIMS:
                names = _seen_by(victim, seen)
                for name in names.read_text().splitlines() if names.exists() else ():
                    if _belongs(story, victim, name):
                        found.setdefault((_told_apart(story, victim), name), Point(story, victim, name))
        frozen = [
            replace(one, story="waking", strike=Strike.FREEZE)
            for one in found.values()
            if one.story == "succession" and one.victim == "worker" and " in " not in one.name
        ]
        return [*found.values(), *frozen]

    def database_points(self, points: list[Point]) -> list[Point]:
        """Where the database lets a server down, where it is one that can."""
        if not isinstance(self.databases, PostgresHomes):
            return []
        stories = ("sending", "sharing")
        of_server = [point for point in points if point.victim == "server" and point.story in stories]
        found = list[Point]()
        for point in of_server:
            strikes = [Strike.DATABASE, Strike.SESSIONS] if point.name.startswith(_AROUND_COMMITS) else []
            strikes += [Strike.ANSWER] if point.name.startswith("commit in ") else []
            found += [replace(point, strike=strike) for strike in strikes]
        return found

    def play(self, point: Point, nth: int = 1, *, seen: Path | None = None) -> Outcome:
        """One story; its victim dies at the nth time it takes the step, and lives again. seen: collect the steps that
        everybody takes, beside this name; nobody dies."""
        place = self.folder / f"try-{threading.get_ident()}"
        fates = {
            victim: self._fate(point, nth, place, seen=None if seen is None else _seen_by(victim, seen))
            for victim in VICTIMS
            if victim == point.victim or seen is not None
        }
        self._make(point.story, place)
        try:
            return STORIES[point.story](Play(point, nth, place, self.folder / ROOT, fates, self._revived))
        except (AssertionError, OSError, WaycueError):  # the others are tried all the same
            return Outcome(point, nth, killed=False, problems=(traceback.format_exc(),))
        finally:
            shutil.rmtree(place, ignore_errors=True)
            self.databases.drop(place / "home")

    def _fate(self, point: Point, nth: int, place: Path, *, seen: Path | None) -> Fate:
        fate = Fate(point.name, nth=nth, seen=seen, watch_calls=True, strike=point.strike, struck=place / STRUCK)
        if isinstance(self.databases, PostgresHomes):
            return replace(fate, postmaster=self.databases.postmaster)
        return fate

    def _revived(self) -> bool:
        return isinstance(self.databases, PostgresHomes) and self.databases.revive()

    def _make(self, story: str, place: Path) -> None:
        """The home before the story begins."""
        if story == "updating":
            shutil.copytree(self.folder / "template", place, symlinks=True, ignore=shutil.ignore_patterns("*.log"))
            self.databases.copy(self.folder / "template" / "home", place / "home")
        else:
            self.databases.make(place / "home")

    def sweep(
        self,
        points: list[Point],
        times: tuple[int, ...] = (1, 3),
        *,
        workers: int = 4,
        reported: Callable[[Outcome], None] = lambda outcome: None,
    ) -> list[Outcome]:
        """Die at all of them. workers: stories at once; half of their time they wait for a lease or a patience.
        Interrupted, it lets those that are being played come to their end."""
        pool = ThreadPoolExecutor(workers)
        try:
            plays = [(point, nth) for nth in times for point in points if nth in _times(point, times)]
            waiting = [pool.submit(self.play, point, nth) for point, nth in plays]
            outcomes = []
            for one in waiting:
                outcomes.append(one.result())
                reported(outcomes[-1])
            for several in [pool.submit(self._until_killed, point) for point in spared(points, outcomes)]:
                for again in several.result():
                    outcomes.append(again)
                    reported(again)
        finally:
            pool.shutdown(cancel_futures=True)
        return outcomes

    def _until_killed(self, point: Point) -> list[Outcome]:
        """Play what was seen and did not come this time: some steps depend on what comes together."""
        outcomes = [self.play(point)]
        while not outcomes[-1].killed and len(outcomes) < TRIES:
            outcomes.append(self.play(point))
        return outcomes

    def strike_database(
        self, points: list[Point], *, reported: Callable[[Outcome], None] = lambda outcome: None
    ) -> list[Outcome]:
        """One after the other: they have one database server."""
        outcomes = []
        for point in points:
            # Of what comes again and again the second, so that something is there already.
            again = any(what in point.name for what in ("merge:", "Merge.put ", "Leases.round"))
            outcomes.append(self.play(point, 2 if again else 1))
            reported(outcomes[-1])
        return outcomes


def spared(points: Sequence[Point], outcomes: Sequence[Outcome]) -> list[Point]:
    """Points at which nobody died. Pure."""
    killed = {one.point for one in outcomes if one.killed}
    return [point for point in points if point not in killed]


def _times(point: Point, times: tuple[int, ...]) -> tuple[int, ...]:
    """At which of its occurrences. Who wakes has slept for seconds: once."""
    return times[:1] if point.story == "waking" else times


def _told_apart(story: str, victim: str) -> str:
    """What is swept in more than one story."""
    return f"{story} {victim}" if story == "succession" else victim


def _seen_by(victim: str, beside: Path) -> Path:
    return beside.with_name(f"{beside.name}.{victim}")


def _belongs(story: str, victim: str, name: str) -> bool:
    """Whether a step is swept in this story. What all of them take is swept in one."""
    if story == "forgetting":
        return "eras" in name.lower()
    if story == "succession":
        return _in_succession(victim, name)
    of_outbox = "Outbox" in name or name.startswith(_OUTBOX)
    if victim == "server":
        return story in ("sending", "sharing") or (story == "updating" and "elease" in name)
    if story == "updating":
        return not of_outbox
    return story == "sending" or name.startswith("prune:") or "Outbox._give_up" in name


def _in_succession(victim: str, name: str) -> bool:
    """All that the product names of the one that goes; of the other what it does about its share."""
    of_share = name.startswith("share:") or "Leases" in name
    return of_share if victim == "server" else victim == "worker" and (of_share or " in " not in name)


def title(point: Point) -> str:
    """For the report."""
    whose = f", by the {point.victim}" if point.story == "succession" else ""
    how = "" if point.strike is Strike.KILL else f", {point.strike}"
    return f"{group(point)}: {point.name}{whose}{how}"


def group(point: Point) -> str:
    """Which thing the step is part of."""
    if point.story == "updating":
        return UPDATING
    if point.strike not in (Strike.KILL, Strike.FREEZE):
        return DATABASE
    if point.story in ("succession", "waking") or point.name.startswith("share:") or "Leases" in point.name:
        return LEASING
    if point.victim == "server":
        return MERGING
    return SEALING if point.name.startswith("seal:") or "_seal" in point.name or "seal_" in point.name else SENDING
