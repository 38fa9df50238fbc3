"""A device that is enrolled and killed at one step: STATE SERVER CODE STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from device.identity.enrol import Invitation, enrol
from shared.clock import SystemClock
from shared.floor import ClockFloor


def main() -> None:
    state, server, code, step = Path(sys.argv[1]), *sys.argv[2:]

    def kill(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    clock = SystemClock()
    invitation = Invitation(server, code, "pi-1")
    enrol(state, invitation, floor=ClockFloor(state, clock), clock=clock, crash_point=kill)


if __name__ == "__main__":
    main()
