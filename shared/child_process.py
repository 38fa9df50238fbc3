"""What a program does first that another started: it ends with that, and stands back for it. No import of weight."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent() -> None:
    """Be killed when the thread that started this program ends, however it ends (Linux only)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except AttributeError:
        return


def stand_back(nicer: int) -> None:
    """Have a low priority, and be the first to be killed for memory."""
    os.nice(nicer)
    with contextlib.suppress(OSError):  # not in every sandbox
        Path("/proc/self/oom_score_adj").write_text("1000")
