"""What takes all moments is reckoned beside the server, remembered with its time, and shown from memory.

A page that asks gets what was reckoned last, at once, and has newer figures begun where the home has changed since. So
no request takes longer the more moments there are. A home with FEW moments is reckoned in the request itself.

Nothing of it is kept on the disk. After a deletion or an erasing, which write the log anew, all of it is forgotten.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select

from server.admin import reckoning
from server.admin.reckoning import Inputs
from server.consent.tables import consents
from server.database import store as db
from server.database.store import Store
from server.dataset import line_log
from server.dataset.folder import Dataset
from server.review import order
from shared.clock import Clock

FEW = 500
"""Moments that are reckoned in the request: some 20 ms."""
LEAST_WAIT_S, WAIT_SHARE = 10.0, 10.0
"""Between two times for the same figures: that long, and so many times as long as they took."""
AGED_S = 900.0
"""Older than that, figures are worked out anew also where nothing seems to have changed: folders of a night grow."""
KEPT = 50
MOST_S = 3600.0
CHILD = (sys.executable, "-m", "server.admin.reckoning")
FAILED = "These figures could not be worked out. The log of the server says why; it is tried again with the next visit."
logger = logging.getLogger(__name__)
_Key = tuple[str, str]
_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReckonedFigures:
    """What is known now."""

    value: Any = None
    """None = nothing yet."""
    as_of_utc: float = 0.0
    coming: bool = False
    """Newer ones are being worked out."""
    share: float = 0.0
    """Of these, 0..1."""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    value: Any
    stamp: _Stamp
    as_of_utc: float
    again_s: float
    """Not before that, on the monotonic clock."""
    trouble: str = ""

    def is_stale(self, stamp: _Stamp, now_s: float) -> bool:
        """Whether it should be worked out anew now."""
        changed = self.stamp != stamp or bool(self.trouble) or now_s >= self.again_s + AGED_S
        return changed and now_s >= self.again_s


class Reckoned:
    """One for a server; its owner calls `close`. Any thread."""

    def __init__(self, store: Store, clock: Clock, *, few: int = FEW, command: Sequence[str] = CHILD) -> None:
        self._store, self._clock, self._few, self._command = store, clock, few, tuple(command)
        self._log = Dataset(store.home / "dataset").log
        self._lock = threading.Lock()
        self._known: dict[_Key, _Known] = {}
        self._wanted: dict[_Key, float] = {}
        """What is being worked out, and how far; the first one now."""
        self._worker: threading.Thread | None = None
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def get(self, name: str, argument: str = "") -> ReckonedFigures:
        """At once. Raises, in a home with few moments: as `reckoning.reckon`."""
        if self._is_small():
            return ReckonedFigures(self._now(name, argument), self._clock.utc_s())
        key, stamp = (name, argument), self._stamp()
        with self._lock:
            self._forget_rewritten(stamp)
            known = self._known.get(key)
            if known is None or known.is_stale(stamp, self._clock.monotonic_s()):
                self._want(key)
            coming, share = key in self._wanted, self._wanted.get(key, 0.0)
        if known is None:
            return ReckonedFigures(coming=coming, share=share)
        return ReckonedFigures(known.value, known.as_of_utc, coming, share, known.trouble)

    def fresh(self, name: str, argument: str = "") -> Any:
        """Reckoned now, however long it takes; None where that fails. For a thread that nobody waits for."""
        if self._is_small():
            return self._now(name, argument)
        return self._reckon((name, argument)).value

    def close(self) -> None:
        """End what is being worked out. Idempotent."""
        with self._lock:
            self._closed, worker = True, self._worker
            self._wanted.clear()
            for process in self._processes:
                process.kill()
        if worker is not None:
            worker.join()

    def _now(self, name: str, argument: str) -> Any:
        return reckoning.reckon(Inputs(self._store, self._clock), name, argument)

    def _is_small(self) -> bool:
        with self._store.reading() as connection:
            return sum(order.counts(connection).values()) <= self._few

    def _stamp(self) -> _Stamp:
        """Another one where figures may have changed: what was erased, the log, what wearers agreed to, the registered
        versions. One of the first two changes where lines of the log were written anew: what is erased counts only once
        it is gone."""
        with self._store.reading() as connection:
            answer = connection.execute(select(func.max(consents.c.id))).scalar() or 0
            erased = connection.execute(select(func.count()).select_from(db.erasures)).scalar() or 0
        found = [int(erased)]
        found += line_log.rewritten(self._log), line_log.size(self._log)
        for path in (self._log, self._store.home / "models"):
            try:
                found.append(path.stat().st_mtime_ns)
            except FileNotFoundError:
                found.append(0)
        return (*found, int(answer))

    def _forget_rewritten(self, stamp: _Stamp) -> None:
        self._known = {key: known for key, known in self._known.items() if known.stamp[:2] == stamp[:2]}

    def _want(self, key: _Key) -> None:
        """Have it worked out, after what is wanted already."""
        if key in self._wanted or self._closed:
            return
        self._wanted[key] = 0.0
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="reckoned", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                key = next(iter(self._wanted), None)
                if key is None:
                    self._worker = None
                    return
            known = self._reckon(key)
            with self._lock:
                self._wanted.pop(key, None)
                before = self._known.pop(key, None)
                if known.trouble and before is not None:
                    known = _Known(before.value, known.stamp, before.as_of_utc, known.again_s, known.trouble)
                self._known[key] = known
                while len(self._known) > KEPT:
                    self._known.pop(next(iter(self._known)))

    def _reckon(self, key: _Key) -> _Known:
        began_s, as_of_utc = self._clock.monotonic_s(), self._clock.utc_s()
        stamp: _Stamp = ()
        value, trouble = None, ""
        try:
            stamp = self._stamp()
            value = self._asked(key)
        except (OSError, msgspec.MsgspecError, RuntimeError) as error:
            if not self._closed:
                logger.error("The figures %s could not be worked out: %s", key[0], error)
            trouble = FAILED
        except Exception:  # the thread's top: without it nothing would be worked out any more
            logger.exception("The figures %s could not be worked out.", key[0])
            trouble = FAILED
        now_s = self._clock.monotonic_s()
        return _Known(value, stamp, as_of_utc, now_s + max(LEAST_WAIT_S, WAIT_SHARE * (now_s - began_s)), trouble)

    def _asked(self, key: _Key) -> Any:
        """Raises: RuntimeError where the process fails, OSError, msgspec.MsgspecError."""
        process = subprocess.Popen(
            [*self._command, str(self._store.home), *key],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        hung = threading.Timer(MOST_S, process.kill)
        hung.daemon = True
        hung.start()
        with self._lock:
            self._processes.add(process)
            if self._closed:
                process.kill()
        found: msgspec.Raw | None = None
        try:
            for line in process.stdout or ():
                said = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
                if "share" in said:
                    self._note(key, msgspec.json.decode(said["share"], type=float))
                found = said.get("value", found)
        finally:
            hung.cancel()
            process.kill()
            status = process.wait()
            if process.stdout is not None:
                process.stdout.close()
            with self._lock:
                self._processes.discard(process)
        if found is None:
            raise RuntimeError(f"its process ended with {status}")
        return reckoning.decoded(key[0], bytes(found))

    def _note(self, key: _Key, share: float) -> None:
        with self._lock:
            if key in self._wanted:
                self._wanted[key] = share
