"""`waycue-server run`: ingest, transcription, block serving, offers and the review page in one process.

Threads: the broker's (server.link has two), one that listens to spoken corrections and one that looks after offers;
the main thread serves the page and ends the others when it is told to stop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import uvicorn

from server import ledger, speech, store
from server.config import DEFAULT_WEB_PORT, ServerConfig
from server.dataset import Dataset
from server.ingest import Ingest
from server.link import ServerLink
from server.merge import Merge
from server.push import Push
from server.registry import Registry
from server.web.app import create_app
from shared import atomic, settings
from shared.clock import Clock
from shared.messages import Status
from shared.notify import READY, STOPPING, notify

OFFERS_EVERY_S = 1.0
LISTEN_AGAIN_S = 30.0  # after a failure of the recogniser
_log = logging.getLogger(__name__)


def run(home: Path, config: ServerConfig, clock: Clock, *, ready_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    ready_file: written (with the page's address) once the broker was reached and the page is up
    raises: ConfigError, OSError
    """
    host, port = settings.address(config.broker.address)
    web_host, web_port = _web_address(config)
    with closing(store.open_store(home)) as opened:
        dataset = Dataset(home / "dataset")
        heard, stopping = threading.Event(), threading.Event()
        merge = Merge(opened, dataset, clock, on_correction=heard.set)
        ledger.reconcile(opened, dataset, now_s=clock.utc_s())
        registry = Registry(home, store=opened, clock=clock)
        push = Push(registry, clock=clock)
        ingest = Ingest(home / "incoming", merge, on_telemetry=merge.put_telemetry, clock=clock)

        def on_status(device: str, status: Status) -> None:
            merge.put_status(device, status)
            offer = push.offer_for(device) if status.online else None
            if offer is not None:
                link.publish(*offer, retain=True)

        link = ServerLink(
            host, port, {"want": push.handle, "": ingest.handle}, settle=ingest.settle, on_status=on_status
        )
        web = _web(opened, dataset, registry, config, clock)
        threads = [
            threading.Thread(target=_listen, args=(merge, config, heard, stopping), name="listen", daemon=True),
            threading.Thread(target=_offer, args=(push, link, stopping), name="offers", daemon=True),
            threading.Thread(
                target=_announce, args=(web, link, stopping, f"http://{web_host}:{web_port}", config, ready_file),
                name="ready", daemon=True,
            ),
        ]  # fmt: skip
        link.start()
        for thread in threads:
            thread.start()
        try:
            web.run()
        finally:
            notify(STOPPING)
            stopping.set()
            heard.set()
            link.stop()
            for thread in threads:
                thread.join(10)


def _web(
    opened: store.Store, dataset: Dataset, registry: Registry, config: ServerConfig, clock: Clock
) -> uvicorn.Server:
    hosts = tuple(name.strip() for name in config.web.hosts.split(",") if name.strip())
    app = create_app(opened, dataset, clock=clock, model=registry.champion, hosts=hosts)
    host, port = _web_address(config)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            timeout_graceful_shutdown=3,
            ws="none",
            server_header=False,
        )
    )


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


def _offer(push: Push, link: ServerLink, stopping: threading.Event) -> None:
    """A retrain or a rollback in another process changes the champion: devices learn of it within a second."""
    while not stopping.wait(OFFERS_EVERY_S):
        _safely("offers", lambda: [link.publish(*offer, retain=True) for offer in push.due_offers()])


def _listen(merge: Merge, config: ServerConfig, heard: threading.Event, stopping: threading.Event) -> None:
    """Transcribe corrections as they come, and those that came while nobody listened."""
    if config.speech.recogniser == "none":
        return
    transcriber: speech.Transcriber | None = None
    heard.set()
    while not stopping.is_set():
        heard.wait()
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
