"""A device that is enrolled and killed at one step: STATE SERVER CODE STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from device.identity.enrol import enrol
from shared.clock import SystemClock
from shared.floor import ClockFloor


def main() -> None:
    state, server, code, step = Path(sys.argv[1]), *sys.argv[2:]

    def kill(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    clock = SystemClock()
    enrol(state, server=server, code=code, device="pi-1", floor=ClockFloor(state, clock), clock=clock, step=kill)


if __name__ == "__main__":
    main()
