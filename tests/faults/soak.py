"""`make soak`: everything that can go wrong, for an hour and a half, and a report of what came of it.

    1  every durable step of sealing, sending, merging and updating: who takes it is killed there (tests.faults.sweep)
    2  at least 200 random faults over at least 500 flagged chunks of three devices (tests.faults.storm)
    3  meanwhile, for ten minutes: fuzzers on every reader of outside input (tests.faults.fuzz)
    4  the tests that are too long for `make test` (pytest -m soak)
    5  meanwhile: agents that are killed, stopped and hung, and whether the sentinel is heard; an hour of walk in which
       it must be silent (tests.faults.sentinel)
    6  meanwhile: an agent in real time whose network, broker, camera and disk fail every half minute, and whether it
       stays as small and as quick as it was (tests.faults.long_walk)

    python -m tests.faults.soak [--out build/soak] [--seed N] [--database sqlite|postgresql] [--faults N] [--fuzz-s N]
                                [--sentinel-trials N] [--calm-minutes N] [--long-minutes N] [--no-walks]

With PostgreSQL (apt's, started for this) it is among those who come to harm in 1 and 2, and 4 runs on it, too.

1 to 4 take half an hour: with --calm-minutes 5 --long-minutes 15 so does everything, and says what it missed. 5 and 6
know nothing of the server: --no-walks leaves them out.

Writes OUT/report.json and exits 1 where a bar is missed, naming it; what 1 and 2 found is in OUT/so-far.json when they
are through, what the tests of 4 say in OUT/tests.log.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.broker.child import find_mosquitto
from shared import atomic
from tests import postgres, pulse
from tests.faults import databases, long_walk, sweep
from tests.faults.aftermath import Aftermath, Plan
from tests.faults.fuzz import engine
from tests.faults.long_walk import LongWalk
from tests.faults.sentinel import SentinelTrials
from tests.faults.stories import Outcome
from tests.faults.storm import storm
from tests.faults.sweep import Theatre
from tests.paths import ROOT

WINDOW_BYTES = 512 * 1024
MAX_WINDOW_BYTES = 8 * 1024 * 1024
SO_FAR, TESTS_LOG = "so-far.json", "tests.log"
DATABASE_POINTS = 20
BARS = {"kill_points": 40, "random_faults": 200, "chunks": 500, "corrections": 50, "devices": 3, "fuzz_s": 600}
SENTINEL_TRIALS, CALM_MINUTES, LONG_MINUTES = 100, 60, 90
_INPUTS = re.compile(r"number_of_executed_units:\s*(\d+)")
_STARTED = re.compile(r"started_after_s:\s*([\d.]+)")
_began_s = time.monotonic()


class Fuzzing:
    """Runs one target after the other, each in a process of its own, below everybody else's priority; two at once when
    nothing else is left to do."""

    def __init__(self, out: Path, scratch: Path, *, total_s: float, seed: int) -> None:
        """scratch: a folder for what they write; libFuzzer ends without tidying up."""
        self._out, self._scratch, self._seed = out, scratch, seed
        self._names = sorted(engine.targets())
        self._each_s = math.ceil(total_s / len(self._names))
        self._waiting = deque(self._names if total_s else ())
        self._found: list[dict[str, Any]] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._again: set[str] = set()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """One more at a time."""
        self._threads.append(threading.Thread(target=self._run, name="fuzzing", daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        """End those that run; no other begins."""
        with self._lock:
            self._stopped = True
            for process in self._running.values():
                process.kill()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (name := self._begun()) is not None:
            self._end(name, time.monotonic())

    def _begun(self) -> str | None:
        """The next target, whose process runs; None = there is none left."""
        with self._lock:
            if self._stopped or not self._waiting:
                return None
            name = self._waiting.popleft()
            command = [
                "nice",
                "-n",
                "5",
                sys.executable,
                "-m",
                "tests.faults.fuzz.engine",
                name,
                "--seconds",
                str(self._each_s),
                "--out",
                str(self._out),
                "--seed",
                str(self._seed),
            ]
            with open(self._log(name), "wb") as file:
                # Of its own group: Ctrl-C at the terminal is for us, and we end it. Not of its own session: the kernel
                # shares the processors between sessions, and only within one by priority.
                self._running[name] = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdout=file,
                    stderr=file,
                    process_group=0,
                    env={**os.environ, "TMPDIR": str(self._scratch)},
                )
            return name

    def _end(self, name: str, began_s: float) -> None:
        status = self._running[name].wait()
        with self._lock:
            del self._running[name]
            if self._stopped:
                return
            if status == -signal.SIGALRM and name not in self._again:
                self._again.add(name)  # libFuzzer's own timer, before it listened to it: seen once in 150 starts
                self._waiting.append(name)
                return
        text = self._log(name).read_text(errors="replace")
        inputs, started = _INPUTS.search(text), _STARTED.search(text)
        passed_s = time.monotonic() - began_s - float(started[1]) if started else 0.0
        seconds = round(min(max(0.0, passed_s), self._each_s), 1)
        self._found.append(
            {"target": name, "seconds": seconds, "inputs": int(inputs[1]) if inputs else 0, "crashes": int(status != 0)}
        )
        if status:
            say(f"FUZZING FOUND SOMETHING in {name}: see {self._log(name)}")

    def _log(self, name: str) -> Path:
        return self._out / f"{name.replace(' ', '-')}.log"

    def report(self) -> dict[str, Any]:
        """Once all are through."""
        for thread in self._threads:
            thread.join()
        return {
            "engine": "atheris" if engine.has_atheris() else "hypothesis",
            "seconds": round(sum(one["seconds"] for one in self._found), 1),
            "inputs": sum(one["inputs"] for one in self._found),
            "crashes": sum(one["crashes"] for one in self._found),
            "targets": sorted(self._found, key=lambda one: str(one["target"])),
        }


def say(text: str) -> None:
    """A line with the time since the beginning."""
    passed_s = int(time.monotonic() - _began_s)
    print(f"soak {passed_s // 60:3d}:{passed_s % 60:02d}  {text}", flush=True)


def swept(folder: Path, database: str) -> list[Outcome]:
    """Kill everybody at every durable step, twice; let the database down at every commit, where it is one that can."""
    with databases.databases(database) as homes:
        theatre = Theatre(folder, homes)
        theatre.prepare()
        points = theatre.points()
        of_database = theatre.database_points(points)
        groups = dict(Counter(map(sweep.group, [*points, *of_database])))
        say(f"{len(points)} durable steps to be killed at, and {len(of_database)} harms to the database: {groups}")
        done = 0

        def reported(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            if outcome.problems:
                say(f"AT {sweep.title(outcome.point)}: {'; '.join(outcome.problems)}")
            if done % 40 == 0:
                say(f"{done} kills tried")

        outcomes = theatre.sweep(points, reported=reported)
        return [*outcomes, *theatre.strike_database(of_database, reported=reported)]


def report(outcomes: Sequence[Outcome], after: Aftermath) -> dict[str, Any]:
    """What sweep and storm found, under the names that the bars are about."""
    by_name: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by_name[sweep.title(one.point)].append(one)
    verdict = after.verdict
    return {
        "kill_points": [_kill_point(name, some) for name, some in by_name.items()],
        "random_faults": sum(count for name, count in after.faults.items() if not name.startswith("mischief: ")),
        "chunks": verdict.chunks,
        "corrections": verdict.corrections,
        "lost": len(verdict.lost | verdict.named_lost | verdict.refused) + sum(one.lost for one in outcomes),
        "duplicated": len(verdict.duplicated) + sum(one.duplicated for one in outcomes),
        "resent_bytes_per_cut": after.most_resent_bytes(by_cut=True),
        "resent_bytes_per_outage": after.most_resent_bytes(by_cut=False),
        "updates": _updates(outcomes, after),
        "devices": after.plan.devices,
        "database": after.plan.database,
        "seed": after.plan.seed,
        "faults": dict(sorted(after.faults.items())),
        "deaths": dict(after.deaths),
        "problems": [*verdict.problems, *after.bricked, *(text for one in outcomes for text in one.problems)],
        "skipped": after.skipped,
        "most_resent": [asdict(one) for one in sorted(after.resent, reverse=True)[:5]],
    }


def _kill_point(name: str, some: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "name": name,
        "kills": sum(one.killed for one in some),
        "lost": sum(one.lost for one in some),
        "duplicated": sum(one.duplicated for one in some),
    }


def _updates(outcomes: Sequence[Outcome], after: Aftermath) -> dict[str, int]:
    """Each story of an update that ended well activated a good model and a bad one, and took the bad one back."""
    stories = [one for one in outcomes if one.point.story == "updating"]
    well = sum(not one.problems for one in stories)
    return {
        "attempted": after.attempted + 2 * len(stories),
        "activated": after.activated + 2 * well,
        "rolled_back": after.rolled_back + well,
        "bricked": len(after.bricked) + sum(one.bricked for one in outcomes),
    }


def missed(found: dict[str, Any]) -> list[str]:
    """The bars that a report does not reach, in words."""
    killed = sum(point["kills"] > 0 for point in found["kill_points"])
    spared = [point["name"] for point in found["kill_points"] if not point["kills"] and " in " not in point["name"]]
    updates, fuzz, tests = found["updates"], found["fuzz"], found["tests"]
    of_database = sum(point["kills"] > 0 for point in found["kill_points"] if point["name"].startswith(sweep.DATABASE))
    least = DATABASE_POINTS if found["database"] == databases.POSTGRESQL else 0
    by_cut, by_outage = found["resent_bytes_per_cut"], found["resent_bytes_per_outage"]
    wanted = {
        f"{killed} named kill points, at least {BARS['kill_points']}": killed >= BARS["kill_points"],
        f"steps that the product names and nobody died at, none: {', '.join(spared)}": not spared,
        f"{of_database} harms to the database, at least {least}": of_database >= least,
        f"{found['lost']} records lost, none": found["lost"] == 0,
        f"{found['duplicated']} records duplicated, none": found["duplicated"] == 0,
        f"{by_cut} bytes sent again after a cut, at most {WINDOW_BYTES}": by_cut <= WINDOW_BYTES,
        f"{by_outage} bytes sent again after an outage, at most {MAX_WINDOW_BYTES}": by_outage <= MAX_WINDOW_BYTES,
        f"{updates['bricked']} devices without a model, none": updates["bricked"] == 0,
        f"{updates['activated']} updates activated, some": updates["activated"] > 0,
        f"{updates['rolled_back']} updates taken back, some": updates["rolled_back"] > 0,
        f"{fuzz['crashes']} readers that crash, none": fuzz["crashes"] == 0,
        f"{fuzz['seconds']} s of fuzzing, at least {BARS['fuzz_s']}": fuzz["seconds"] >= BARS["fuzz_s"],
        **_of_walks(found),
        f"pytest -m soak ended with {tests['status']}, 0 or 5": tests["status"] in (0, 5),
        f"{len(found['problems'])} other problems, none": not found["problems"],
    }
    for name in ("random_faults", "chunks", "corrections", "devices"):
        wanted[f"{found[name]} {name}, at least {BARS[name]}"] = found[name] >= BARS[name]
    return [text for text, reached in wanted.items() if not reached]


def _of_walks(found: dict[str, Any]) -> dict[str, bool]:
    """The bars of parts 5 and 6, in words, and whether they are reached."""
    if "sentinel" not in found:
        return {"the sentinel's trials and the long walk, which were left out": False}
    sentinel = found["sentinel"]
    trials, heard = sentinel["trials"], sentinel["heard_within_3s"]
    return {
        f"{trials} faults that silence an agent, at least {SENTINEL_TRIALS}": trials >= SENTINEL_TRIALS,
        f"{heard} of {trials} heard within 3 s, all": heard == trials,
        f"{sentinel['false_alarms']} false alarms of the sentinel, none": sentinel["false_alarms"] == 0,
        f"{sentinel['walk_minutes']} minutes without a fault, {CALM_MINUTES}": sentinel["walk_minutes"] >= CALM_MINUTES,
        **long_walk.reached(found["long_walk"], minutes=LONG_MINUTES),
    }


def long_tests(database: str, log: Path) -> dict[str, Any]:
    """The tests that only run here, on that database where they do not say which. Status 5 = there are none. log: gets
    what they say, while they say it"""
    with log.open("wb") as out:
        pytest = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-m", "soak", "tests"],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, databases.VARIABLE: database},
        )
    try:
        pytest.wait()
    except BaseException:
        pytest.send_signal(signal.SIGINT)  # so that it ends what it started
        pytest.wait()
        raise
    said = log.read_text("utf-8", errors="replace")
    summary = (said.strip().splitlines() or [""])[-1]
    say(f"pytest -m soak: {summary}")
    if pytest.returncode not in (0, 5):
        print(said.rpartition(" short test summary info ")[2][-10_000:], f"All of it: {log}", sep="\n")
    return {"status": pytest.returncode, "summary": summary}


@contextmanager
def _memory() -> Iterator[Path]:
    """A folder in memory, where the machine has one: a kill leaves the same files there, and fsync costs nothing."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="waycue-soak-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _found(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in its order; leaves no process behind, however it ends."""
    (scratch := folder / "fuzz").mkdir()
    with ExitStack() as stack:
        fuzzing = Fuzzing(options.out / "fuzz", scratch, total_s=options.fuzz_s, seed=options.seed)
        stack.callback(fuzzing.stop)
        fuzzing.start()
        walks = {} if options.no_walks else _walks(options, folder, stack)
        outcomes = swept(folder / "sweep", options.database)
        say(f"{sum(one.killed for one in outcomes)} kills at named steps; now the storm")
        plan = Plan(faults=options.faults, seed=options.seed, database=options.database)
        after = storm(folder / "storm", plan, reported=say)
        found = report(outcomes, after)
        atomic.write_json(options.out / SO_FAR, found)
        say(f"{found['lost']} lost, {found['duplicated']} duplicated, {len(found['problems'])} other problems so far")
        tests = long_tests(options.database, options.out / TESTS_LOG)
        say("waiting for the fuzzers")
        fuzzing.start()  # a second one at a time: now there is room
        found |= {"fuzz": fuzzing.report(), "tests": tests}
        for name, walk in walks.items():
            say(f"waiting for the {name.replace('_', ' ')}")
            found[name] = walk.report()
        return found


def _walks(options: argparse.Namespace, folder: Path, stack: ExitStack) -> dict[str, SentinelTrials | LongWalk]:
    """Started, by the name of their report; ended with the stack."""
    trials, minutes = options.sentinel_trials, options.calm_minutes
    sentinel = SentinelTrials(folder / "sentinel", trials=trials, lanes=2, seed=options.seed, calm_minutes=minutes)
    walk = LongWalk(options.out / "long-walk", minutes=options.long_minutes)
    walks: dict[str, SentinelTrials | LongWalk] = {"sentinel": sentinel, "long_walk": walk}
    for one in walks.values():
        stack.callback(one.stop)
        one.start()
    return walks


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--database",
        choices=databases.NAMES,
        default=databases.wanted(),
        help=f"of the servers; also by {databases.VARIABLE}",
    )
    parser.add_argument("--faults", type=int, default=220)
    parser.add_argument("--fuzz-s", type=float, default=700.0, help="of all targets together; 0 = none")
    parser.add_argument("--sentinel-trials", type=int, default=110)
    parser.add_argument("--calm-minutes", type=float, default=CALM_MINUTES, help="of the walk without a fault")
    parser.add_argument("--long-minutes", type=float, default=LONG_MINUTES, help="of the walk with faults")
    parser.add_argument("--no-walks", action="store_true", help="leave out the sentinel's trials and the long walk")
    return parser.parse_args(argv)


def _missing(database: str) -> str:
    """What is not installed here, in words; "" = nothing."""
    if find_mosquitto() is None:
        return "the broker Mosquitto is not installed: apt install mosquitto"
    if database == databases.POSTGRESQL and not postgres.installed():
        return postgres.MISSING
    return pulse.missing()


def main(argv: Sequence[str]) -> int:
    """The command above."""
    options = _options(argv)
    if missing := _missing(options.database):
        print(f"soak: {missing}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)  # also where we were started in the background, with Ctrl-C switched off
    (options.out / "fuzz").mkdir(parents=True, exist_ok=True)
    try:
        with _memory() as folder:
            found = _found(options, folder)
    except KeyboardInterrupt:
        say("interrupted: no report")
        return 130
    found["seconds"] = round(time.monotonic() - _began_s, 1)
    atomic.write_json(options.out / "report.json", found)
    say(f"report: {options.out / 'report.json'}")
    problems = missed(found)
    for text in problems:
        say(f"MISSED: {text}")
    say("all bars are reached" if not problems else f"{len(problems)} bars are missed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
