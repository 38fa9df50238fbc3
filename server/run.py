"""`waycue-server run`: ingest, transcription, block serving, offers and the review page in one process.

Threads: the broker's (server.broker.link has two), one that listens to spoken corrections and one that looks after
offers; the main thread serves the page and ends the others when it is told to stop.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvicorn

from server import speech, worker
from server.broker.link import Handler, ServerLink
from server.broker.secured import Secured, secured
from server.config import DEFAULT_WEB_PORT, ServerConfig, broker_address
from server.database import store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.claims import Enrolment
from server.identity.enrol_http import EnrolmentService
from server.maintenance import home_lock
from server.releases.offers import Push
from server.releases.registry import Registry
from server.releases.signing import Release
from server.web.app import create_app
from shared import atomic, enrolment, settings
from shared.background import Background
from shared.clock import Clock
from shared.messages import Status
from shared.notify import READY, STOPPING, notify

OFFERS_EVERY_S = 1.0
LISTEN_EVERY_S = 2.0  # another worker's corrections are found by looking
LISTEN_AGAIN_S = 30.0  # after a failure of the recogniser
_log = logging.getLogger(__name__)


def run(home: Path, config: ServerConfig, clock: Clock, *, ready_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    ready_file: written (with the page's address) once the broker was reached and the page is up
    raises: ConfigError, OSError
    """
    host, port = broker_address(config)
    web_host, web_port = _web_address(config)
    with home_lock.serving(home), closing(store.open_store(home)) as opened:
        dataset = Dataset(home / "dataset")
        heard, stopping = threading.Event(), threading.Event()
        merge = Merge(opened, dataset, clock, on_correction=heard.set)
        recover(opened, dataset, merge, clock)
        registry = Registry(home, store=opened, clock=clock)
        # Unsigned only where devices come without an identity too: over a broker on this machine.
        release = Release(home, clock=clock) if config.broker.tls else None
        push = Push(registry, clock=clock, release=release)
        ingest = worker.open_ingest(home, opened, merge, config, clock)

        def on_status(device: str, status: Status) -> None:
            merge.put_status(device, status)
            offer = push.greet(device, online=status.online)
            if offer is not None:
                link.publish(*offer, retain=True)

        safe = _secured(home, opened, config, clock)
        handlers: dict[str, Handler] = {"want": push.handle, "": ingest.handle}
        if safe:
            handlers["renew"] = safe.certificates.renew
        link = ServerLink(
            host,
            port,
            handlers,
            settle=ingest.settle,
            again=lambda: ingest.waits,
            on_status=on_status,
            listen=worker.listens(config),
            lasting=not config.ingest.shared,
            tls=safe.context if safe else None,
            lets_in=safe.enrolled.knows if safe else None,
        )
        web = _web(opened, dataset, registry, config, clock)
        url = f"http://{web_host}:{web_port}"
        threads = [
            Background(lambda: _listen(merge, config, heard, stopping), name="transcription"),
            Background.every(OFFERS_EVERY_S, lambda: _offer(push, link), name="offers"),
            Background(lambda: _announce(web, link, stopping, url, config, ready_file), name="ready"),
        ]
        if safe:
            safe.start()
        link.start()
        for thread in threads:
            thread.start()
        try:
            _serve(web)
        finally:
            notify(STOPPING)
            stopping.set()
            heard.set()
            link.stop()
            ingest.close()
            if safe:
                safe.stop()
            for thread in threads:
                thread.close()


def _secured(home: Path, opened: store.Store, config: ServerConfig, clock: Clock) -> Secured | None:
    """None with `broker.tls = false`, which the settings accept for a broker on this machine only."""
    if not config.broker.tls:
        return None
    host, port = broker_address(config)
    days = config.enrol.certificate_days
    certificates = Certificates(opened, Authority(home, clock=clock), clock=clock, days=days)
    safe = secured(
        home,
        certificates,
        host=host,
        port=port,
        folder=config.broker.folder,
        reload=config.broker.reload,
        own_rules=config.broker.access == "mosquitto",
    )
    return replace(safe, enrolling=_enrolling(home, safe, config, clock))


def _enrolling(home: Path, safe: Secured, config: ServerConfig, clock: Clock) -> EnrolmentService | None:
    """None where no device can be added."""
    if not config.enrol.address:
        return None
    book = Enrolment(safe.certificates, root=lambda: Release(home, clock=clock).root_json())
    return EnrolmentService(
        book,
        safe.certificates.authority,
        clock=clock,
        enrolled=safe.door.wake,
        address=settings.address(config.enrol.address, what="enrol.address", default_port=enrolment.DEFAULT_PORT),
        broker=config.enrol.broker or f":{broker_address(config)[1]}",
    )


def _web(
    opened: store.Store, dataset: Dataset, registry: Registry, config: ServerConfig, clock: Clock
) -> uvicorn.Server:
    hosts = tuple(name.strip() for name in config.web.hosts.split(",") if name.strip())
    app = create_app(opened, dataset, clock=clock, model=registry.champion, hosts=hosts)
    host, port = _web_address(config)
    return uvicorn.Server(
        uvicorn.Config(
            app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=3, ws="none", server_header=False
        )
    )


def _serve(web: uvicorn.Server) -> None:
    """The page, until SIGINT or SIGTERM. uvicorn raises the signal again once it has shut down: by itself, SIGTERM
    would end the process before the other parts have ended."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        web.run()
    finally:
        signal.signal(signal.SIGTERM, before)


def _web_address(config: ServerConfig) -> tuple[str, int]:
    return settings.address(config.web.address, what="web address", default_port=DEFAULT_WEB_PORT)


def _announce(
    web: uvicorn.Server, link: ServerLink, stopping: threading.Event, url: str, config: ServerConfig, file: Path | None
) -> None:
    while not (web.started and link.ready.is_set()):
        if stopping.wait(0.05):
            return
    print(f"Ready: review page {url}, broker {config.broker.address}. Ctrl-C stops.", flush=True)
    notify(READY)
    if file is not None:
        atomic.write_bytes(file, (url + "\n").encode())


def _offer(push: Push, link: ServerLink) -> None:
    """A retrain or a rollback in another process changes the champion: devices learn of it within a second."""
    for offer in push.due_offers():
        link.publish(*offer, retain=True)


def _listen(merge: Merge, config: ServerConfig, heard: threading.Event, stopping: threading.Event) -> None:
    """Transcribe corrections as they come, and those that came while nobody listened."""
    if config.speech.recogniser == "none":
        return
    transcriber: speech.Transcriber | None = None
    heard.set()
    while not stopping.is_set():
        heard.wait(LISTEN_EVERY_S if config.ingest.shared else None)
        heard.clear()
        if stopping.is_set():
            return
        if transcriber is None:
            transcriber = speech.open_transcriber(config.speech.recogniser, model=config.speech.model)
        listen = partial(speech.transcribe_waiting, merge, transcriber, stop=stopping.is_set)
        if not _safely("transcription", listen):
            stopping.wait(LISTEN_AGAIN_S)
            heard.set()


def _safely(what: str, work: Callable[[], object]) -> bool:
    """A background task's top: its failures are logged with their traceback, and the server goes on."""
    try:
        work()
    except Exception:  # noqa: BLE001 - a task's top
        _log.exception("%s failed", what)
        return False
    return True
