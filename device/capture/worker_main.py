"""The capture process: `python -m device.capture.worker_main MODULE:FUNCTION OPTIONS PIPE`.

Started by device.capture.worker_process, never by hand. It is a program of its own, not a fork and not multiprocessing:
it loads one capture library and nothing else of the agent, adds no helper process, and nothing waits for it at exit.
libcamera and PortAudio calls are known to hang for ever; whoever started this process may kill it at any moment.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from typing import NoReturn

from device.capture.pipe import Outlet
from device.capture.source import SeveralCameras
from shared.errors import MediaError

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(argv: list[str]) -> NoReturn:
    """Run one capture function until it ends, fails or the agent is gone."""
    target, options, fd = argv
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # of a terminal go to the whole group …
        signal.signal(number, signal.SIG_IGN)  # … but the agent stops us in its own time
    out = Outlet(int(fd))
    module, _, function = target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(out, **json.loads(options))
        out.end()
    except MediaError as error:
        out.trouble(error.args[0], error.hint, several=isinstance(error, SeveralCameras))
        code = 3
    except BrokenPipeError:
        code = 0
    else:
        code = 0
    sys.stderr.flush()
    os._exit(code)  # the pipe is written unbuffered; a capture library that hangs in its own exit code must not keep us


def die_with_parent() -> None:
    """An agent that was killed must not leave a process holding the camera (Linux only)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except AttributeError:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
