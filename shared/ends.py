"""How a process is ended from outside: every end that it can see is the same end.

    Ctrl-C  SIGINT      service manager, kill  SIGTERM
    logout or a closed terminal  SIGHUP        Ctrl-\\  SIGQUIT

A pipe whose reader is gone is no end: what is shown is lost, the work goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = "Install waycue again with pip, with its extra [device] or [server]."
MISSING = {
    "onnxruntime": "On a Jetson: NVIDIA's onnxruntime-gpu for this Python. Elsewhere: the extra [device] or [server]."
}
"""Library → what to do where it is not installed, if that is not AGAIN."""
UNREAD = 141
"""Exit status where nobody reads what a command prints, as a shell names the end by SIGPIPE."""
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def ending(stop: Callable[[], None], *, numbers: tuple[signal.Signals, ...] = ENDS) -> Iterator[None]:
    """While in the block, each end calls `stop`. A second one ends the process at once, but for SIGHUP, which a shell
    and the kernel both send. nohup is respected. In the main thread only."""

    def end(number: int, _frame: FrameType | None) -> None:
        stop()
        signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)

    ours = [number for number in numbers if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def unread() -> int:
    """What a command prints goes nowhere from now on (`... | head` has seen enough). Returns the exit status for it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())  # the interpreter flushes once more at its end
    finally:
        os.close(nowhere)
    return UNREAD


@contextmanager
def interrupted_quietly() -> Iterator[None]:
    """While in the block, Ctrl-C ends the process without a word, as it does any program that has not begun: for the
    seconds in which libraries are imported, which nothing can catch everywhere. Where SIGINT is ignored it stays so."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # another thread imports: the main one decides
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def missing_named() -> Iterator[None]:
    """Around imports: a library that is not installed ends the process with what to do, and not with a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in ("", "device", "exporters", "server", "shared"):
            raise  # a fault of ours
        print(f"waycue: There is no {name} in {sys.prefix}. {MISSING.get(name, AGAIN)}", file=sys.stderr)
        raise SystemExit(1) from None
