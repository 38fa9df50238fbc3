"""`waycue-server ingest`: one more process that takes in what devices send, beside `waycue-server run`.

The devices are divided between them by leases (server.ingest.share). They share the database, the dataset and the
folder of unfinished files, of which each touches those of its devices. Block requests, offers, certificates, speech and
the page stay with `run`.

A worker's session ends with its connection: what the broker had for it is lost with it, and devices ask again. A
persistent one would keep what another has taken over.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

from server.broker import files as broker_files
from server.broker.admission import RENEW_EVERY_S, EnrolledDevices
from server.broker.link import BrokerSession, Ports, ServerLink
from server.config import ServerConfig
from server.database.store import Store, open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.sealing_key import SealingKey, finder
from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.leases import Leases
from server.ingest.share import Share
from server.maintenance import home_lock
from shared import atomic, topics
from shared.background import Background
from shared.clock import Clock
from shared.ends import ending
from shared.errors import ConfigError, WaycueError
from shared.messages import Status
from shared.notify import READY, STOPPING, notify

NAME = "waycue-worker-{}"
QUEUE_EVERY_S = 60.0  # how late credit follows a broker that was restarted with longer queues
WORKER_FILTERS = (topics.STATUS_ALL,)
"""What a worker subscribes to, beside the topics of its devices: it meets these by their status."""


def open_ingest(
    home: Path, store: Store, merge: Merge, config: ServerConfig, clock: Clock, *, enrolled: EnrolledDevices | None
) -> Ingest:
    """The intake of a process, as the settings say. enrolled: None = nobody can be enrolled, and nothing is sealed.
    Raises: ConfigError, OSError."""
    ingest = Ingest(
        home / "incoming",
        merge,
        settings=config.limits,
        counts=DailyCounts(clock, store),
        restores=not config.ingest.shared,
    )
    ingest.granting(queue_of(home, config), int if enrolled is None else enrolled.__len__)
    if enrolled is None:
        return ingest
    return ingest.opening_with(SealingKey.of(enrolled.authority).private, others=finder(enrolled.authority))


def queue_of(home: Path, config: ServerConfig) -> int:
    """How many messages the broker keeps for this process, as far as its files or the settings say."""
    return broker_files.look(config.broker.files(home), 0, queued=config.broker.queued).limits.messages


def keep_up(ingest: Ingest, home: Path, config: ServerConfig) -> None:
    """Grant by what the broker keeps now: it may have been restarted with longer queues, or shorter ones."""
    if ingest.credit is not None:
        ingest.credit.queue = queue_of(home, config)


def keeping_up(ingest: Ingest, home: Path, config: ServerConfig) -> Background:
    """The same again and again."""
    return Background.every(QUEUE_EVERY_S, lambda: keep_up(ingest, home, config), name="broker queue")


def open_share(
    name: str, ingest: Ingest, store: Store, config: ServerConfig, clock: Clock, enrolled: EnrolledDevices | None
) -> Share | None:
    """The part of the devices that a process takes in; None where it takes in all."""
    if not config.ingest.shared:
        return None
    leases = Leases(store, clock, name, lease_s=config.ingest.lease_s)
    return Share(ingest, leases, tuple if enrolled is None else enrolled.names)


def filters(config: ServerConfig) -> tuple[str, ...]:
    """What `run` subscribes to: everything, or what only it can answer; the topics of its devices come by its share."""
    if not config.ingest.shared:
        return topics.UP_ALL, topics.STATUS_ALL
    return topics.WANT_ALL, topics.RENEW_ALL, topics.STATUS_ALL


def work(home: Path, config: ServerConfig, clock: Clock, *, number: int, ready_file: Path | None = None) -> None:
    """Take in until SIGINT or SIGTERM. ready_file: written once the broker was reached.

    raises: ConfigError, OSError
    """
    if not config.ingest.shared:
        raise ConfigError(
            "The settings give all messages to one process.",
            hint="Set shared = true under [ingest] in waycue.toml, and restart waycue-server run.",
        )
    host, port = config.broker.host_port()
    name, stopping = NAME.format(number), threading.Event()
    with ExitStack() as stack:
        stack.enter_context(home_lock.serving(home))
        stack.enter_context(home_lock.numbered(home, number))
        store = stack.enter_context(closing(open_store(home)))
        dataset = Dataset(home / "dataset")
        merge = Merge(store, dataset, clock, split_by=config.dataset.split_by)
        recover(store, dataset, merge, clock)
        authority = Authority(home, clock=clock) if config.broker.tls else None
        tls = authority.client_context(name) if authority else None
        enrolled = EnrolledDevices(Certificates(store, authority, clock=clock)) if authority else None
        ingest = stack.enter_context(closing(open_ingest(home, store, merge, config, clock, enrolled=enrolled)))
        share = open_share(name, ingest, store, config, clock, enrolled)
        assert share is not None

        def on_status(device: str, status: Status) -> None:
            for told in share.met(device, online=status.online):
                link.publish(*told)
            if not status.online:
                ingest.left(device)

        ports = Ports(share.handle, settling=ingest, waits=lambda: ingest.waits, on_status=on_status)
        if enrolled is not None:
            ports = replace(ports, is_enrolled=enrolled.__contains__)
        share.link = link = ServerLink(BrokerSession(host, port, name, tls, WORKER_FILTERS, persistent=False), ports)
        stack.enter_context(ending(stopping.set))
        share.start()
        stack.callback(share.stop)
        link.start()
        stack.callback(link.stop)
        stack.callback(notify, STOPPING)
        # Ready without the broker, as `run` is: to be restarted would bring nothing nearer.
        notify(READY, f"STATUS=waiting for the broker at {host}:{port}")
        if _ready(link, stopping):
            print(f"Ready: {name} takes in, broker {host}:{port}. Ctrl-C stops.", flush=True)
            notify(f"STATUS=broker {host}:{port}")
            if ready_file is not None:
                atomic.write_bytes(ready_file, f"{name}\n".encode())
        upkeep = keeping_up(ingest, home, config)
        upkeep.start()
        stack.callback(upkeep.close)
        while not stopping.wait(RENEW_EVERY_S):
            _renew(authority, name, tls)


def _renew(authority: Authority | None, name: str, tls: ssl.SSLContext | None) -> None:
    if authority is not None and tls is not None:
        with suppress(WaycueError, OSError):  # tried again in an hour; a third of its life is left
            authority.load_service(name, tls)


def _ready(link: ServerLink, stopping: threading.Event) -> bool:
    while not link.ready.wait(0.05):
        if stopping.is_set():
            return False
    return True
