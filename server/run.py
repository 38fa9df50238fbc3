"""`waycue-server run`: ingest, transcription, block serving, offers and the review page in one process.

Threads: the broker's (server.broker.link has two), one that transcribes spoken corrections, one that publishes offers,
one that keeps the review queue in order and, where the settings name one, one that asks a language model; the main
thread serves the page and ends the others when a signal stops it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from server import watching, worker
from server.access import audit
from server.access.service import Access
from server.admin import storage
from server.admin.reckoned import Reckoned
from server.admin.teachable import teachable_to
from server.broker import dynsec_rules
from server.broker.link import BrokerSession, Handler, Ports, ServerLink
from server.broker.secured import SecuredBroker, secured
from server.config import ServerConfig, page_reach, spoken_language
from server.consent import register as consent
from server.database.store import Store, open_store
from server.dataset import own_words
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.dataset.rollups import filling
from server.dataset.view import LoadableView
from server.dataset.viewing import ViewApart
from server.identity import announced
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.claims import Claims
from server.identity.enrol_http import EnrolmentService
from server.ingest.ingest import Ingest
from server.ingest.share import Share
from server.maintenance import home_lock, readiness
from server.maintenance.readiness import ServerPlaces, ServerStanding
from server.privacy import deletion, making_room, retention
from server.privacy.deletion import DeletionPort
from server.privacy.desk import PrivacyDesk
from server.releases.offers import Offers
from server.releases.registry import Registry
from server.releases.sheet import sheets
from server.releases.signing import Release
from server.review import ranking, rereading
from server.review.ranking import Ranking
from server.review.teaching import Lessons
from server.speech.known import Knowing
from server.speech.listener import CorrectionListener
from server.speech.requests import RecogniserOptions
from server.web import connections, first_start, page_tls
from server.web.admin_desk import AdminDesk
from server.web.app import create_app
from server.web.connections import ConnectionLimits, PageServer
from server.web.page_tls import PageCertificate
from shared import atomic, enrolment, messages, settings, topics
from shared.background import Background
from shared.clock import Clock
from shared.ends import ending
from shared.messages import CorrectionHeard, Status
from shared.notify import STOPPING, notify

if TYPE_CHECKING:
    from server.privacy.blurring import PeopleFinder

OFFERS_EVERY_S = 1.0
VIEW_EVERY_S = 60.0
PACK_EVERY_S, PACK_REST_S = 60.0, 0.2
"""How far the view for `load_dataset` may be behind: it is written whole, and reviews bring a row every few seconds."""
LISTEN_EVERY_S = 2.0  # another worker's corrections are found by looking
LLM_LEFT_AFTER_S = 2.0  # a call may take minutes, and holds nothing meanwhile: the end of the server never waits for it
LOOK_AGAIN_S = 1.0  # whether the broker is still there, for the line of `systemctl status`
TRANSCRIBE_AGAIN_S = 30.0  # after a failure of the recogniser


@dataclass(frozen=True, slots=True)
class WebDesks:
    """What the pages beside the review work on."""

    privacy: PrivacyDesk
    admin: AdminDesk


def run(home: Path, config: ServerConfig, clock: Clock, *, ready_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    ready_file: written (with the page's address) once the broker was reached and the page is up
    raises: ConfigError, also where another `run` is at work on this home; OSError
    """
    own_words.use(home)
    with ExitStack() as stack:
        stack.enter_context(home_lock.serving(home))
        stack.enter_context(home_lock.the_server(home))
        store = stack.enter_context(closing(open_store(home)))
        consent.use_default(store, config.consent.default, now_s=clock.utc_s())
        dataset, correction = Dataset(home / "dataset"), threading.Event()
        split_by = config.dataset.split_by
        merge = Merge(store, dataset, clock, on_correction=correction.set, split_by=split_by)
        recover(store, dataset, merge, clock)
        registry = Registry(home, store=store, clock=clock)
        broker = _secured_broker(home, store, config, clock)
        # Unsigned only where devices come without an identity too: over a broker on this machine.
        offers = Offers(registry, clock=clock, release=Release(home, clock=clock) if broker else None)
        deletes = deletion.port_of(home, store, dataset, clock, merge)
        access = Access(store, clock, config.access)
        stack.callback(access.audit.flush)
        certificate = _page_certificate(home, config, clock)
        watch = watching.watch(registry, dataset, config, clock, lambda: link.ready.is_set())  # the link comes below
        privacy = PrivacyDesk(deletes, config.consent, lambda: _finder(home, registry), watch.counted)
        web = _web(access, dataset, registry, config, certificate, WebDesks(privacy, watch.desk))
        stack.callback(web.close)
        if broker is not None:
            _start_access(home, broker, config, stack)
        enrolled = broker.enrolled if broker else None
        ingest = worker.open_ingest(home, store, merge, config, clock, enrolled=enrolled)
        stack.callback(ingest.close)
        share = worker.open_share(dynsec_rules.SERVER, ingest, store, config, clock, enrolled)
        link = _link(config, broker, ingest, share, offers, merge.put_statuses)
        if share is not None:
            share.link = link
            share.start()
            stack.callback(share.stop)
        link.start()
        stack.callback(link.stop)
        ear = _ear(home, Knowing(store, dataset, registry.champion_bundle), config, clock)
        transcription = _transcription(merge, ear, correction, link, config)
        publishing = Background.every(OFFERS_EVERY_S, lambda: _publish_offers(offers, link), name="offers")
        ready = Background(lambda: _announce(web, link, ready.stopping, config, access, ready_file), name="ready")
        keeping = Background.every(retention.EVERY_S, lambda: _keep(deletes, config), name="retention", at_once=True)
        backgrounds = [transcription, publishing, ready, keeping, *_page_upkeep(access, certificate)]
        backgrounds += _dataset_upkeep(home, store, merge, dataset, config, apart := ViewApart())
        for background in (*backgrounds, worker.keeping_up(ingest, home, config)):
            background.start()
            stack.callback(background.close)
        stack.callback(ear.close)  # before its thread is waited for
        stack.callback(apart.close)  # likewise
        if config.llm.url:
            asks = _asking(home, store, dataset, config, clock)
            asks.start()
            stack.callback(asks.close, LLM_LEFT_AFTER_S)
        watch.start(stack)
        stack.callback(notify, STOPPING)
        _serve(web)


def _keep(port: DeletionPort, config: ServerConfig) -> None:
    """A round of retention: first by age, then by space."""
    retention.run(port, config.consent)
    coming = storage.coming_a_day(port.store, now_s=port.clock.utc_s())
    making_room.run(port, config.space, config.consent, coming)


def _transcription(
    merge: Merge, ear: CorrectionListener, correction: threading.Event, link: ServerLink, config: ServerConfig
) -> Background:
    """Puts spoken corrections into words, and tells the devices."""

    def tell(device: str, words: CorrectionHeard) -> None:
        link.publish(topics.heard(device), messages.encode(words))

    every_s = LISTEN_EVERY_S if config.ingest.shared else None
    transcription = Background(
        lambda: _transcribe(merge, ear, correction, transcription.stopping, tell, every_s=every_s),
        name="transcription",
        restart_s=TRANSCRIBE_AGAIN_S,
        wake=correction.set,
    )
    return transcription


def _page_upkeep(access: Access, certificate: PageCertificate | None) -> list[Background]:
    """What the page needs beside those who ask."""
    found = [Background.every(audit.FLUSH_S, access.audit.tick, name="access log")]
    if certificate is not None:
        found.append(Background.every(page_tls.REFRESH_S, certificate.refresh, name="page certificate"))
    return found


def _dataset_upkeep(
    home: Path, store: Store, merge: Merge, dataset: Dataset, config: ServerConfig, apart: ViewApart
) -> list[Background]:
    """The queue in its order, the view for `load_dataset`, words that became known since, logs to be compressed."""

    def working() -> bool:
        return not packing.stopping.wait(PACK_REST_S)

    packing = Background.every(PACK_EVERY_S, lambda: dataset.pack(going_on=working), name="logs")
    rank = Ranking(store, dataset).refresh
    reread = partial(rereading.round_of, own_words.OwnWordsFile(home), store, merge, spoken_language(config))
    return [
        Background.every(VIEW_EVERY_S, LoadableView(dataset, write=apart.write).refresh, name="view"),
        Background.every(ranking.EVERY_S, rank, name="queue", at_once=True),
        Background.every(rereading.EVERY_S, reread, name="words", at_once=True),
        packing,
        filling(store),
    ]


def _asking(home: Path, store: Store, dataset: Dataset, config: ServerConfig, clock: Clock) -> Background:
    """A language model's proposals, on a thread of their own: nothing waits for them."""
    from server.review import asking

    def wait(seconds: float) -> bool:
        return background.stopping.wait(seconds)

    asked = asking.Asking(home, store, dataset, clock, config.llm, wait)
    background = Background.every(asking.EVERY_S, lambda: asking.round_of(asked), name="llm")
    return background


def _finder(home: Path, registry: Registry) -> PeopleFinder:
    """The detectors are loaded with the first picture that somebody wants blurred."""
    from server.privacy import blurring

    return blurring.finder_of(home, registry)


def _ear(home: Path, know: Knowing, config: ServerConfig, clock: Clock) -> CorrectionListener:
    """The recogniser's process, as the settings say."""
    own = config.speech
    folder = str(Path(own.languages).expanduser()) if own.languages else ""
    options = RecogniserOptions(own.recogniser, own.model, own.language, folder, str(home))
    return CorrectionListener(options, know, clock)


def _secured_broker(home: Path, store: Store, config: ServerConfig, clock: Clock) -> SecuredBroker | None:
    """None with `broker.tls = false`, which the settings accept for a broker on this machine only."""
    if not config.broker.tls:
        return None
    days = config.enrol.certificate_days
    certificates = Certificates(store, Authority(home, clock=clock), clock=clock, days=days)
    return secured(home, certificates, config.broker)


def _start_access(home: Path, broker: SecuredBroker, config: ServerConfig, stack: ExitStack) -> None:
    """Keep the broker's access up to date and, unless enrol.address is empty, let new devices enrol."""
    broker.access.start()
    stack.callback(broker.access.stop)
    if not config.enrol.address:
        return
    certificates, clock = broker.certificates, broker.certificates.clock
    address = settings.address(config.enrol.address, what="enrol.address", default_port=enrolment.DEFAULT_PORT)
    service = EnrolmentService(
        Claims(certificates, root=lambda: Release(home, clock=clock).root_json()),
        clock=clock,
        on_enrolled=broker.access.wake,
        address=address,
        broker=config.enrol.broker or f":{config.broker.host_port()[1]}",
    )
    service.start()
    stack.callback(service.stop)
    if config.enrol.announce:
        announcement = announced.of_this_machine(address[1], address[0])
        announcement.start()
        stack.callback(announcement.close)


def _link(
    config: ServerConfig,
    broker: SecuredBroker | None,
    ingest: Ingest,
    share: Share | None,
    offers: Offers,
    put_statuses: Callable[[Mapping[str, Status]], None],
) -> ServerLink:
    def on_status(device: str, status: Status) -> None:
        for told in share.met(device, online=status.online) if share is not None else ():
            link.publish(*told)
        if not status.online:
            ingest.left(device)

    def on_statuses(statuses: Mapping[str, Status]) -> None:
        put_statuses(statuses)
        online = {device: status.online for device, status in statuses.items()}
        for offer in offers.greet(online):
            link.publish(*offer, retain=True)
        for news in broker.certificates.greet(online) if broker is not None else ():
            link.publish(*news)

    handlers: dict[str, Handler] = {"want": offers.blocks.handle}
    if broker is not None:
        handlers["renew"] = broker.certificates.renew
    session = BrokerSession(
        *config.broker.host_port(),
        tls=broker.tls if broker else None,
        filters=worker.filters(config),
        persistent=not config.ingest.shared,
    )
    ports = Ports(
        ingest.handle if share is None else share.handle,
        handlers,
        settling=ingest,
        waits=lambda: ingest.waits,
        on_status=on_status,
        on_statuses=on_statuses,
        is_enrolled=broker.enrolled.__contains__ if broker else lambda _device: True,
    )
    link = ServerLink(session, ports)
    return link


def _page_certificate(home: Path, config: ServerConfig, clock: Clock) -> PageCertificate | None:
    """None where the page is served without TLS."""
    reach = page_reach(config)
    return PageCertificate(Authority(home, clock=clock), reach.certificate_hosts) if reach.tls else None


def _web(
    access: Access,
    dataset: Dataset,
    registry: Registry,
    config: ServerConfig,
    certificate: PageCertificate | None,
    desks: WebDesks,
) -> PageServer:
    reach, clock = page_reach(config), access.clock
    app = create_app(
        access.store,
        dataset,
        clock=clock,
        model=registry.champion,
        models=lambda: sheets(registry),
        hosts=reach.hosts,
        lessons=_lessons(registry.store, desks.admin.reckoned, config, clock),
        access=access,
        alone=reach.alone,
        privacy=desks.privacy,
        desk=desks.admin,
    )
    limits = ConnectionLimits()
    if reach.proxies:  # all connections come from there
        limits = ConnectionLimits(most_each=limits.most)
    listener = connections.listen(reach.host, reach.port, clock=clock, limits=limits)
    return PageServer(app, listener, tls=certificate.context if certificate else None, proxies=reach.proxies)


def _lessons(store: Store, reckoned: Reckoned, config: ServerConfig, clock: Clock) -> Lessons:
    """What a person may have taught at once, from the page."""
    least = config.learn.teach_least
    return Lessons(store.home, lambda who: teachable_to(who, store, reckoned, least=least), clock, least=least)


def _serve(web: uvicorn.Server) -> None:
    """The page, until an end from outside. uvicorn raises SIGINT and SIGTERM again once it has shut down: by itself,
    SIGTERM would end the process before the other parts have ended."""
    with ending(lambda: web.handle_exit(signal.SIGTERM, None), numbers=(signal.SIGHUP, signal.SIGQUIT)):
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            web.run()
        finally:
            signal.signal(signal.SIGTERM, before)


def _announce(
    web: uvicorn.Server,
    link: ServerLink,
    stopping: threading.Event,
    config: ServerConfig,
    access: Access,
    ready_file: Path | None,
) -> None:
    """Tell systemd how far the server is for as long as it runs, and people once: where the page is, how the first of
    them gets in, and that the broker was reached."""
    reach = page_reach(config)
    urls = reach.urls()
    places, before = ServerPlaces(", ".join(urls), config.broker.address), ServerStanding()
    reached = False
    while not stopping.wait(LOOK_AGAIN_S if reached else 0.05):
        now = ServerStanding(web.started, link.ready.is_set())
        notify(*readiness.told(before, now, places))
        _print_standing("" if reached else readiness.printed(before, now, places))
        if now.page and not before.page:
            first_start.tell(access, reach, sys.stdout)
        if now.complete and not reached and ready_file is not None:
            atomic.write_bytes(ready_file, (urls[0] + "\n").encode())
        reached, before = reached or now.complete, now


def _print_standing(text: str) -> None:
    if text:
        print(text, flush=True)


def _publish_offers(offers: Offers, link: ServerLink) -> None:
    """A retrain or a rollback in another process changes the champion: devices get the new offer within a second."""
    for offer in offers.due():
        link.publish(*offer, retain=True)


def _transcribe(
    merge: Merge,
    ear: CorrectionListener,
    correction: threading.Event,
    stopping: threading.Event,
    tell: Callable[[str, CorrectionHeard], object],
    *,
    every_s: float | None,
) -> None:
    """Transcribe corrections as they come, and those that came while no server ran. correction: one came."""
    correction.set()
    while not stopping.is_set():
        correction.wait(every_s)
        correction.clear()
        if stopping.is_set():
            return
        ear.listen(merge, stop=stopping.is_set, tell=tell)
