"""A night's bound on memory, and that what fails for want of memory is said as such, whichever library met it."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from shared.errors import Transient, WaycueError

_NONE_LEFT = re.compile(
    r"(?i)out of memory|(can't|failed to|cannot) allocate memory|not enough memory|bad_alloc"
    r"|^failed to serialize proto$"
)
"""The last is protobuf's, of a graph for which there was no room; one of over 2 GB is said otherwise."""


class HeldMemory:
    """Inside, this process gets no more memory than this, its threads' and libraries' included; 0 = as much as there
    is.

    The bound is lifted before anything else is done about an error: telling it, writing it down and closing a database
    take memory, too. A class because the generator of a context manager would need some to be resumed.

    raises: Transient where it was too little
    """

    def __init__(self, most_mb: int) -> None:
        self._most_mb = most_mb
        self._before = resource.getrlimit(resource.RLIMIT_DATA)

    def __enter__(self) -> Self:
        if self._most_mb:
            limit, (_, most) = self._most_mb * 1024 * 1024, self._before
            soft = limit if most == resource.RLIM_INFINITY else min(limit, most)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, most))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, self._before)
        if not isinstance(error, Exception) or isinstance(error, Transient):
            return
        # SystemError: of CPython, where it found no room for the frame of a call.
        if ran_out(error) or (self._most_mb and isinstance(error, SystemError)):
            raise too_little() from error


def ran_out(error: BaseException) -> bool:
    """Whether it is for want of memory, or came of such an error: a model "could not be loaded" then. Pure."""
    return any(
        isinstance(met, MemoryError) or (not isinstance(met, WaycueError) and _NONE_LEFT.search(str(met)))
        for met in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came of, and so on."""
    met: BaseException | None = error
    while met is not None:
        yield met
        met = met.__cause__ or met.__context__


def too_little() -> Transient:
    """What is said of it."""
    return Transient(
        "The night ran out of memory.",
        hint="Halve learn.batch and double learn.accumulate, or give more: learn.memory_mb (teach_memory_mb).",
    )
