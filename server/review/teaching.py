"""Teach now: what a person may have taught at once, how far that is, and what came of it.

    <home>/teach.lock    held by the process that teaches, from before it is started to its end
    <home>/teach.json    TeachState as that process wrote it last

The server only starts that process (`waycue-server teach now`) and reads these files. A state that says "running" while
nobody holds the lock was left by one that was killed: asked again for the same, it goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from server.access.person import Person
from server.dataset.sample_row import SampleRow
from server.dataset.teaching import training_rows
from server.releases.registry import Registry
from shared import atomic, file_lock, vocabulary
from shared.clock import Clock
from shared.errors import BundleError, ConfigError, Refused, Transient

NEVER, RUNNING, ENDED, FAILED, INTERRUPTED = "never", "running", "ended", "failed", "interrupted"
LOCK_FD = "WAYCUE_TEACH_LOCK"
"""Environment variable: the descriptor of the lock that the process was started with."""
BUSY = Transient("Another lesson is being taught.", hint="Wait until it has ended: waycue-server teach status")


@dataclass(frozen=True, slots=True)
class TeachState:
    """How the newest lesson stands."""

    phase: str = NEVER
    """never | running | ended | failed | interrupted"""
    thing: str = ""
    stage: str = ""
    """What it is at."""
    share: float = 0.0
    """Of the expected work that is done, 0..1."""
    eta_s: float | None = None
    """Seconds until its end; None = not known yet."""
    began_utc_s: float = 0.0
    seconds: float = 0.0
    """It has taken, or took."""
    outcome: str = ""
    """Of one that ended: promoted | trial | refused | overtaken | skipped"""
    reasons: tuple[str, ...] = ()
    """Why; of one that failed: what went wrong."""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Teachable:
    """A thing of which people have confirmed moments."""

    thing: str
    new: int
    """Confirmed moments that no model has learnt from yet."""
    least: int

    @property
    def enough(self) -> bool:
        return self.new >= self.least


def teachable(rows: Iterable[SampleRow], taught: Iterable[str], *, least: int) -> list[Teachable]:
    """Things with new moments, those with most first. Moments of walks that are held out count from the oldest one
    on that would teach: they were confirmed with them, and judge what is taught.

    rows: of the dataset; taught: identities of the rows that registered versions learnt from
    """
    known = {name.rpartition(":")[0] for name in taught}
    new, judging = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for row in rows:  # one after the other, and little is kept: there may be a million
        if row.reviewed and row.split != "train":
            judging[_thing(row)].append(row.timestamp)
        elif row.row_id not in known and training_rows([row]):
            new[_thing(row)].append(row.timestamp)
    found = [
        Teachable(thing, len(mine) + sum(at >= min(mine) for at in judging[thing]), least)
        for thing, mine in new.items()
        if thing
    ]
    return sorted(found, key=lambda item: (-item.new, item.thing))


def _thing(row: SampleRow) -> str:
    """What a confirmed sentence names, "" where it names nothing."""
    slots = vocabulary.parse(row.ground_truth)
    return slots.object if slots is not None else ""


def learnt(registry: Registry) -> set[str]:
    """Identities of the rows that registered versions learnt from; a list that cannot be read counts for none."""
    found = set[str]()
    for model in registry.list():
        with suppress(BundleError, OSError, ValueError):
            found.update(registry.taught_by(model.version))
    return found


def check(thing: str, things: Iterable[Teachable], *, least: int) -> Teachable:
    """The one to teach. Raises: ConfigError for a thing that is none; Refused where too few moments are confirmed."""
    if thing not in vocabulary.load().objects:
        raise ConfigError(f"{thing!r:.60} is no thing of the vocabulary.", hint="See: waycue-server vocabulary")
    found = next((item for item in things if item.thing == thing), Teachable(thing, 0, least))
    if not found.enough:
        raise Refused(
            f"{found.new} confirmed moments of a {thing} are new, {least} are needed.",
            hint="Confirm more of them on the review page.",
        )
    return found


def state_of(home: Path) -> TeachState:
    """How the newest lesson stands."""
    state = _read(home / "teach.json")
    return replace(state, phase=INTERRUPTED, eta_s=None) if state.phase == RUNNING and not _held(home) else state


def write(home: Path, state: TeachState) -> None:
    """Raises: OSError."""
    atomic.write_json(home / "teach.json", asdict(state))


def start(home: Path, thing: str, clock: Clock) -> subprocess.Popen[bytes]:
    """Start the process that teaches, with the lock in its hands. Raises: Transient where one is running, OSError."""
    if _held(home, "nightly.lock"):
        raise Transient("A night is running on this server.", hint="Ask again when it has ended.")
    with file_lock.acquire(home / "teach.lock", busy=BUSY) as lock:
        write(home, TeachState(RUNNING, thing, "starting", began_utc_s=clock.utc_s()))
        command = [sys.executable, "-m", "server", "--home", str(home), "teach", "now", thing]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock.fileno(),),
            env={**os.environ, LOCK_FD: str(lock.fileno())},
            start_new_session=True,  # Ctrl-C for the server is none for the lesson
        )


class Lessons:
    """What the page asks: one for a server."""

    def __init__(
        self, home: Path, things: Callable[[Person], Sequence[Teachable] | None], clock: Clock, *, least: int
    ) -> None:
        """things: what could be taught now of the moments that a person may see, None = it is being counted; least:
        LearnSettings.teach_least"""
        self._home, self._things, self._clock, self.least = home, things, clock, least
        self._child: subprocess.Popen[bytes] | None = None

    def things(self, person: Person) -> Sequence[Teachable] | None:
        return self._things(person)

    def state(self) -> TeachState:
        if self._child is not None and self._child.poll() is not None:
            self._child = None  # it has ended: no zombie stays
        return state_of(self._home)

    def start(self, thing: str, person: Person) -> None:
        """Raises: ConfigError, Refused where this person sees too few moments of it, Transient, OSError."""
        state = self.state()
        if not (state.phase == INTERRUPTED and state.thing == thing):
            known = self._things(person)
            if known is None:
                raise Transient("What can be taught is being counted.", hint="Try again in a minute.")
            check(thing, known, least=self.least)
        self._child = start(self._home, thing, self._clock)


def _held(home: Path, name: str = "teach.lock") -> bool:
    try:
        with file_lock.locked(home / name, busy=BUSY):
            return False
    except Transient:
        return True


def _read(file: Path) -> TeachState:
    """What it says; nothing where it is missing or unreadable."""
    try:
        value: dict[str, Any] = json.loads(file.read_bytes())
        known = {item.name for item in fields(TeachState)}
        state = TeachState(**{name: found for name, found in value.items() if name in known})
        return replace(state, reasons=tuple(map(str, state.reasons)))
    except (OSError, ValueError, TypeError, AttributeError):
        return TeachState()
