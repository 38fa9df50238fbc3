"""Kill a process at one of its durable steps, as if the power went: SIGKILL to itself, without any hook in the product.

A step is named by the product (its `crash_point` or `step` callback is a `Killer`), or it is a call that makes
something durable, seen right before it happens and named after the functions of the product that lead to it:

    seal:renamed                                the product's own name
    fsync in Staging.copy > writing             seen by `Killer.watch`

`tries` plays a life in forks, killed once at each of its steps, and asks each time what is wrong afterwards. A process
of its own can also be told by name where to die: `Killer(name="seal:renamed", nth=2)`.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tests import paths

if TYPE_CHECKING:
    from sqlalchemy import Engine

CALLS = ("fsync", "fdatasync", "replace", "rename", "unlink", "rmdir", "symlink")
PACKAGES = ("device", "server", "shared", "exporters")
FRAMES = 3
HALF_WRITTEN = "half a block written"


class Killer:
    """Counts the steps of this process, and dies at one of them.

    log: file that gets the name of every step, in order; None: none
    at: index of the step to die at; or its `name`, and at which (`nth`) of its occurrences. Neither: it only counts.
    packages: of the product, whose calls are steps and whose functions name them
    frames: how many functions name a call
    strike: what happens at the step to die at; None = SIGKILL
    """

    def __init__(
        self,
        log: Path | None = None,
        *,
        at: int | None = None,
        name: str | None = None,
        nth: int = 1,
        packages: tuple[str, ...] = PACKAGES,
        frames: int = FRAMES,
        strike: Callable[[], object] | None = None,
    ) -> None:
        self._log, self._at, self._name, self._nth = log, at, name, nth
        self._folders = tuple(str(paths.ROOT / package) + os.sep for package in packages)
        self._frames = frames
        self._strike = strike or _die
        self._count = self._named = 0
        self._lock = threading.Lock()

    def step(self, label: str) -> None:
        """A durable step: what the product's callbacks call. Any thread."""
        with self._lock:
            if self._log is not None:
                with open(self._log, "a", encoding="utf-8") as log:
                    log.write(label + "\n")
            if self.strikes(label):
                self._strike()
            self._count += 1
            self._named += label == self._name

    __call__ = step

    def strikes(self, label: str) -> bool:
        """Whether the next step is the one to die at, if it is `label`."""
        return self._count == self._at or (label == self._name and self._named == self._nth - 1)

    def watch(self, owner: Any = os, names: tuple[str, ...] = CALLS, *, after: bool = False) -> None:
        """Make calls of these functions of a module or class steps, in this process and for good.

        after: also right after the call; the steps are then named "before NAME …" and "after NAME …"
        """
        for name in names:
            setattr(owner, name, self._watched(name, getattr(owner, name), after=after))

    def watch_commits(self, engine: Engine | type[Engine]) -> None:
        """Make the commits of a database, or of all, steps, right before they happen."""
        from sqlalchemy import event  # takes a second: only those who ask pay

        event.listen(engine, "commit", lambda _connection: self.step(f"commit in {self.callers()}"))

    def watch_half_writes(self) -> None:
        """Make each os.write of the product a step at which half of the bytes were written."""
        write = os.write

        def half(fd: int, data: Any) -> int:
            if self.callers():
                if self.strikes(HALF_WRITTEN):
                    write(fd, data[: len(data) // 2])
                self.step(HALF_WRITTEN)
            return write(fd, data)

        os.write = half

    def _watched(self, name: str, call: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        @wraps(call)
        def watched(*args: Any, **more: Any) -> Any:
            where = self.callers()
            if not where:
                return call(*args, **more)
            self.step(f"{'before ' if after else ''}{name} in {where}")
            result = call(*args, **more)
            if after:
                self.step(f"after {name} in {where}")
            return result

        return watched

    def callers(self) -> str:
        """The functions of the packages that lead to this call, outermost first; "": it is not the product's doing."""
        names: list[str] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and len(names) < self._frames:
            if frame.f_code.co_filename.startswith(self._folders):
                names.append(frame.f_code.co_qualname.replace("<locals>.", ""))
            frame = frame.f_back
        return " > ".join(reversed(names))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Fork:
    """How a fork ended. result: what its work returned, None where it never did."""

    status: int
    result: Any = None

    @property
    def was_killed(self) -> bool:
        return os.WIFSIGNALED(self.status)


def fork(work: Callable[[], object]) -> Fork:
    """Run `work` in a fork. Its result must have a JSON form; of this process only the memory is shared."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        gc.freeze()  # to go through what it inherits would copy all of that memory
        try:
            os.close(reading)
            with open(writing, "w", encoding="utf-8") as pipe:
                json.dump(work(), pipe)
        except BaseException:  # noqa: BLE001 (a fork must never return into the parent's code)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return Fork(status, json.loads(text) if status == 0 else None)


Life = Callable[[Path, Killer], None]
Chosen = Callable[[list[str]], list[int]]


@dataclass(frozen=True, slots=True)
class Try:
    """One life that was killed. problems: what is wrong after it; label: of the step where it died."""

    step: int
    label: str
    problems: list[str]


def every(labels: list[str]) -> list[int]:
    """All steps."""
    return list(range(len(labels)))


def last(labels: list[str]) -> list[int]:
    """The last step of each kind."""
    return sorted({label: index for index, label in enumerate(labels)}.values())


def first_and_last(labels: list[str]) -> list[int]:
    """The first and the last step of each kind."""
    first = {label: index for index, label in reversed(list(enumerate(labels)))}
    last = {label: index for index, label in enumerate(labels)}
    return sorted({*first.values(), *last.values()})


def steps_of(life: Life, here: Path, log: Path, **options: Any) -> list[str]:
    """The steps of a life that is not disturbed, which ends in the folder `here`. options: of Killer."""
    log.write_text("")
    ended = fork(lambda: life(here, Killer(log, **options)))
    assert ended.status == 0, "the undisturbed life did not come to its end"
    return log.read_text(encoding="utf-8").splitlines()


def tries(
    place: Path,
    template: Path,
    life: Life,
    verdict: Callable[[Path], list[str]],
    *,
    chosen: Chosen = every,
    **options: Any,
) -> Iterator[Try]:
    """Play `life` on copies of the folder `template`, each time killed at another step.

    verdict: lives again on what the disk then holds, in a fork of its own, and returns what is wrong
    chosen: which of the steps of an undisturbed life, which is played first
    options: of Killer
    """
    log, here = place / "steps", place / "life"
    shutil.copytree(template, here, symlinks=True)
    labels = steps_of(life, here, log, **options)
    shutil.rmtree(here)
    for at in chosen(labels):
        shutil.copytree(template, here, symlinks=True)
        log.write_text("")
        killer = Killer(log, at=at, **options)
        ended = fork(lambda killer=killer: life(here, killer))  # type: ignore[misc]
        problems = [] if ended.was_killed else [f"it was not killed: {ended.status}"]
        after = fork(lambda: verdict(here))
        problems += ["it did not come to its end"] if after.status != 0 else after.result
        yield Try(at, log.read_text(encoding="utf-8").splitlines()[-1], problems)
        shutil.rmtree(here)
