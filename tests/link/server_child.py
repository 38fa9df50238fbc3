"""A server in a process of its own, killed at a named step: python -m tests.link.server_child HOME PORT STEP NTH

Prints "ready" once it hears devices. With STEP "none" it runs until it is killed.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from server.broker.files import LEAST_QUEUED
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.ingest.ingest import Ingest
from shared.clock import SystemClock
from tests.crash import Killer

if __name__ == "__main__":
    home, port, step, nth = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    killer = Killer(name=step, nth=nth)
    store, dataset, clock = open_store(home), Dataset(home / "dataset"), SystemClock()
    merge = Merge(store, dataset, clock, step=killer)
    recover(store, dataset, merge, clock)
    ingest = Ingest(home / "incoming", merge, crash_point=killer).granting(LEAST_QUEUED)
    ports = Ports(ingest.handle, settling=ingest, waits=lambda: ingest.waits)
    link = ServerLink(BrokerSession("127.0.0.1", port), ports)
    link.start()
    link.ready.wait(60)
    print("ready", flush=True)
    threading.Event().wait()
