"""Dies at a chosen durable step, as if the power went: SIGKILL to its own process, without any hook in product code.

A durable step is either one that the product names itself (the `step=` and `at=` callbacks of Outbox, Ingest, Merge,
Updater …) or a call of the operating system that makes something durable, named after the functions that lead to it:

    seal:renamed                                            said by the product
    fsync in Outbox._seal > write_folder > _write_synced    seen by `install`, before it happens

`seen` collects all names, so that a first, undisturbed run yields the list of places to die at.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Engine, event

from tests import paths

CALLS = ("fsync", "fdatasync", "replace", "rename", "unlink", "rmdir", "symlink")
PACKAGES = tuple(f"{name}{os.sep}" for name in ("device", "server", "shared"))
FRAMES = 4
ROOT = str(paths.ROOT) + os.sep


class Killer:
    """at: the name of the step, "" = none. nth: of its occurrences. seen: file that gets every new name, or None."""

    def __init__(self, at: str = "", *, nth: int = 1, seen: Path | None = None) -> None:
        self._at, self._left = at, nth
        self._seen_file = seen
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def step(self, name: str) -> None:
        """What the product's step callbacks call; any thread."""
        with self._lock:
            if self._seen_file is not None and name not in self._seen:
                self._seen.add(name)
                with open(self._seen_file, "a") as file:
                    file.write(name + "\n")
            if name != self._at:
                return
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    __call__ = step

    def install(self) -> None:
        """Watch the calls that make something durable, in this process, for good."""
        for name in CALLS:
            setattr(os, name, self._before(name, getattr(os, name)))

    def watch_commits(self, engine: Engine) -> None:
        """See the commits of a database, too, before they happen."""
        event.listen(engine, "commit", lambda _connection: self.step(f"commit in {_ours(depth=1)}"))

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **more: Any) -> Any:
            where = _ours()
            if where:
                self.step(f"{name} in {where}")
            return call(*args, **more)

        return watched


def _ours(*, depth: int = 2) -> str:
    """The functions of the product that lead to this call, outermost first; "" = it is not the product's doing."""
    found: list[str] = []
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and len(found) < FRAMES:
        code = frame.f_code
        file = code.co_filename
        if file.startswith(ROOT) and file[len(ROOT) :].startswith(PACKAGES):
            found.append(code.co_qualname.replace("<locals>.", ""))
        frame = frame.f_back
    return " > ".join(reversed(found))
