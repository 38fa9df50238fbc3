"""A device in a process of its own: python -m tests.link.device_child FOLDER PORT. Sends all that is in the outbox."""

from __future__ import annotations

import sys
from pathlib import Path

from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from shared.clock import SystemClock
from tests.device.outbox.records import DEVICE

if __name__ == "__main__":
    box = Outbox(Path(sys.argv[1]))
    link = Link(LinkSettings("127.0.0.1", int(sys.argv[2]), DEVICE), LinkPorts(box, SystemClock()))
    link.start()
    idle = link.wait_idle(120)
    link.stop()
    box.close()
    raise SystemExit(0 if idle else 1)
