"""The databases that a command opens are closed when it ends, whoever opened them and however it ends.

A registry or a desk opens one where it is given none; a command that had to hand each back would forget one. What
serves for long, or shares a process with others, closes its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol

_command: ContextVar[ExitStack | None] = ContextVar("command", default=None)


class _Closes(Protocol):
    def close(self) -> None:
        """Idempotent."""
        ...


@contextmanager
def closed_at_the_end() -> Iterator[None]:
    """What is opened in the block, on this thread, is closed after it."""
    with ExitStack() as stack:
        token = _command.set(stack)
        stack.callback(_command.reset, token)
        yield


def note(opened: _Closes) -> None:
    """This was opened now."""
    command = _command.get()
    if command is not None:
        command.callback(opened.close)
