"""`waycue-server ingest`: one more process that takes in what devices send, beside `waycue-server run`.

Both hear the same shared subscription, so that the broker gives each message to one of them. They share the database,
the dataset and the folder of unfinished files; parts of one transfer may land in both (server.ingest.arrivals,
server.ingest.coordination). Block requests, offers, certificates, speech and the page stay with `run`.

A worker's session ends with its connection: what the broker had for it is lost with it, and devices ask again. A
lasting one would keep its share of all messages from everybody while it is away.
"""

from __future__ import annotations

import logging
import signal
import ssl
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from server.broker.admission import RENEW_EVERY_S, Enrolled
from server.broker.link import ServerLink
from server.config import ServerConfig, broker_address
from server.database import store
from server.database.store import Store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.ingest.counters import Tally
from server.ingest.ingest import Ingest
from server.maintenance import home_lock
from shared import atomic, topics
from shared.clock import Clock
from shared.errors import ConfigError, WaycueError
from shared.notify import READY, STOPPING, notify

NAME = "waycue-worker-{}"
SHARED_LISTEN = (topics.SHARED_EVENTS, topics.SHARED_TRANSFERS)
"""What every ingest worker hears, `run` included."""
_log = logging.getLogger(__name__)


def open_ingest(home: Path, opened: Store, merge: Merge, config: ServerConfig, clock: Clock) -> Ingest:
    """The intake of a process, as the settings want it. Raises: OSError."""
    return Ingest(
        home / "incoming",
        merge,
        on_telemetry=merge.put_telemetry,
        limits=config.limits,
        tally=Tally(clock, opened),
        shared=config.ingest.shared,
        clock=clock,
    )


def listens(config: ServerConfig) -> Sequence[str]:
    """What `run` hears: everything, or its share of what workers take in and all that only it can answer."""
    if not config.ingest.shared:
        return topics.UP_ALL, topics.STATUS_ALL
    return *SHARED_LISTEN, topics.WANT_ALL, topics.RENEW_ALL, topics.STATUS_ALL


def work(home: Path, config: ServerConfig, clock: Clock, *, number: int, ready_file: Path | None = None) -> None:
    """Take in until SIGINT or SIGTERM. ready_file: written once the broker was reached.

    raises: ConfigError, OSError
    """
    if not config.ingest.shared:
        raise ConfigError(
            "The settings give all messages to one process.",
            hint="Set shared = true under [ingest] in waycue.toml, and restart waycue-server run.",
        )
    host, port = broker_address(config)
    name, stopping = NAME.format(number), threading.Event()
    with home_lock.serving(home), home_lock.numbered(home, number), closing(store.open_store(home)) as opened:
        dataset = Dataset(home / "dataset")
        merge = Merge(opened, dataset, clock)
        recover(opened, dataset, merge, clock)
        authority = Authority(home, clock=clock) if config.broker.tls else None
        context = authority.client_context(name) if authority else None
        enrolled = Enrolled(Certificates(opened, authority, clock=clock)) if authority else None
        with closing(open_ingest(home, opened, merge, config, clock)) as ingest:
            link = ServerLink(
                host,
                port,
                {"": ingest.handle},
                settle=ingest.settle,
                again=lambda: ingest.waits,
                client_id=name,
                tls=context,
                lets_in=enrolled.knows if enrolled else None,
                listen=SHARED_LISTEN,
                lasting=False,
            )
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, lambda *_: stopping.set())
            link.start()
            try:
                _stay(link, authority, context, name, stopping, ready_file)
            finally:
                notify(STOPPING)
                link.stop()


def _stay(
    link: ServerLink,
    authority: Authority | None,
    context: ssl.SSLContext | None,
    name: str,
    stopping: threading.Event,
    ready_file: Path | None,
) -> None:
    while not link.ready.wait(0.05):
        if stopping.is_set():
            return
    print(f"Ready: {name} takes in, broker {link.host}:{link.port}. Ctrl-C stops.", flush=True)
    notify(READY)
    if ready_file is not None:
        atomic.write_bytes(ready_file, f"{name}\n".encode())
    while not stopping.wait(RENEW_EVERY_S):
        if authority is not None and context is not None:
            with suppress(WaycueError, OSError):  # tried again in an hour; a third of its life is left
                key, certificate = authority.service(name, server_auth=False)
                context.load_cert_chain(certificate, key)
