"""Whose fault a failure is: what is asked for again, and what is refused because nobody foresaw it.

    the sender's       MessageError                                     refused at once
    this machine's     disk, memory, database, what waycue itself says  asked for again, for ever
    nobody's yet       anything else: a bug, or what somebody built     asked for again, MOST_TRIES in all, then refused

It is refused only once something else of its kind went well since it failed first: where none does, the fault is here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from shared.errors import MessageError, WaycueError

MOST_TRIES = 3
MAX_REMEMBERED = 1000
logger = logging.getLogger(__name__)

Name = tuple[str, str]
"""(device, transfer, record or file of a record)"""


class Failures:
    """Of one process. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._well: Counter[str] = Counter()
        """How many went well, by kind."""
        self._tries: dict[Name, tuple[int, int]] = {}
        """How often each failed unforeseen, and how many of its kind had gone well when it did so first."""

    def went_well(self, names: Iterable[Name]) -> None:
        """These did what they should."""
        with self._lock:
            self._well.update(map(_kind, names))

    def judge(self, name: Name, error: Exception) -> MessageError | OSError:
        """MessageError: it is to be refused. OSError: it is to be asked for again."""
        if isinstance(error, MessageError | OSError):
            return error
        if _is_ours(error):
            return OSError(str(error))
        told = unforeseen(name, error)
        if self._is_too_often(name):
            return MessageError(f"This server could not take it, {MOST_TRIES} times ({type(error).__name__}).")
        return told

    def _is_too_often(self, name: Name) -> bool:
        with self._lock:
            well = self._well[_kind(name)]
            tries, well_before = self._tries.pop(name, (0, well))
            if tries + 1 >= MOST_TRIES and well > well_before:
                return True
            self._tries[name] = tries + 1, well_before
            if len(self._tries) > MAX_REMEMBERED:
                del self._tries[next(iter(self._tries))]
            return False


def unforeseen(name: Name, error: Exception) -> OSError:
    """Log it, and say it as what is asked for again."""
    logger.error("%s of %s failed in a way that nobody foresaw.", name[1], name[0], exc_info=error)
    return OSError(f"unforeseen: {type(error).__name__}: {error}")


def _kind(name: Name) -> str:
    return name[1].rpartition(".")[2] if "." in name[1] else "record"


def _is_ours(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return not isinstance(error, DataError | IntegrityError | ProgrammingError)
    return isinstance(error, WaycueError | MemoryError)
