"""A device in a process of its own: python -m tests.link.device_child FOLDER PORT. Sends all that is in the outbox."""

from __future__ import annotations

import sys
from pathlib import Path

from device.outbox.outbox import Outbox
from device.sync.link import Link
from shared.clock import SystemClock
from tests.device.outbox.records import DEVICE

if __name__ == "__main__":
    box = Outbox(Path(sys.argv[1]))
    link = Link(host="127.0.0.1", port=int(sys.argv[2]), device=DEVICE, outbox=box, clock=SystemClock())
    link.start()
    idle = link.wait_idle(120)
    link.stop()
    box.close()
    raise SystemExit(0 if idle else 1)
