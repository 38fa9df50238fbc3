"""Who is let in: keeps the broker's door as the database says, while the server runs.

Promises:

1. A device that was enrolled may speak within about a second; one that was revoked, or whose certificates all ended, is
   cut off within about a second, and cannot come back.
2. The list of revoked certificates reaches the broker before the session is ended, so that it ends once.
3. A broker that is away or refuses is told again until it took everything, also after a restart of the server.
4. Whoever was shut out is not shown as online.
5. The server listens to nobody who is not enrolled, whatever the broker lets through.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from sqlalchemy import select, update

from server.broker import files
from server.broker.dynsec_client import AccessLink
from server.database import store as db
from server.identity.certificates import Certificates
from shared.background import Background
from shared.errors import WaycueError

EVERY_S = 1.0
CONNECT_LOOKS, CONNECT_LOOK_S = 100, 0.1  # a broker that starts beside us on a slow machine takes seconds
SOON_S = 0.2  # a name that is not known may have been enrolled just now; looked up at most this often
RENEW_EVERY_S = 3600.0
COMPLAIN_AGAIN_S = 300.0
_log = logging.getLogger(__name__)


def marks(certificates: Certificates) -> dict[str, str]:
    """Device → mark (see server.broker.dynsec_rules), of those that may come in now. A mark changes with each
    certificate that is taken back from a device, so that a session under an old one ends when the device is enrolled
    anew."""
    table = db.certificates.c
    with certificates.store.reading() as connection:
        rows = connection.execute(
            select(table.device, table.serial).where(table.revoked_at.is_not(None)).order_by(table.serial)
        ).all()
    taken_back: dict[str, list[str]] = {device: [] for device in certificates.admitted()}
    for device, serial in rows:
        if device in taken_back:
            taken_back[device].append(serial)
    return {device: _mark(serials) for device, serials in taken_back.items()}


def say_offline(certificates: Certificates, devices: Collection[str]) -> None:
    """Whoever was shut out cannot say so: its last will has no rights any more, and its last status says "online"."""
    table = db.devices.c
    with certificates.store.reading() as connection:
        online = set(connection.scalars(select(table.device).where(table.online)))
    if gone := online - set(devices):
        with certificates.store.writing() as connection:
            connection.execute(update(db.devices).where(table.device.in_(gone)).values(online=False))


def _mark(serials: list[str]) -> str:
    return hashlib.sha256(" ".join(serials).encode()).hexdigest()[:16] if serials else ""


class Enrolled:
    """The devices that are let in now, for whoever handles their messages. Any thread may ask."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._names: frozenset[str] = frozenset()
        self._read_at_s: float | None = None

    def knows(self, device: str) -> bool:
        """Promise 5. Raises: sqlalchemy's errors where the database cannot be read."""
        now_s = self._certificates.clock.monotonic_s()
        good_for_s = EVERY_S if device in self._names else SOON_S
        if self._read_at_s is None or now_s - self._read_at_s > good_for_s:
            self._names, self._read_at_s = self._certificates.admitted(), now_s
        return device in self._names


class Door:
    """Looks after the broker, each second. link: None where the broker's access rules are not ours to keep (EMQX).

    folder: where the broker's files are; reload: see broker_files.reload. contexts: certificate name → TLS context that
    must get the renewed certificate.
    """

    def __init__(
        self,
        certificates: Certificates,
        link: AccessLink | None,
        *,
        folder: Path,
        reload: str = "",
        contexts: Mapping[str, ssl.SSLContext] | None = None,
    ) -> None:
        self.kept = threading.Event()
        """The broker has all that the database said at the last look."""
        self._certificates = certificates
        self._authority = certificates.authority
        self._link = link
        self._folder = folder
        self._clock = certificates.clock
        self._reload = reload
        self._contexts = dict(contexts or {})
        self._told = b""  # of a change before this start nobody knows whether the broker was told: it is told again
        self._reload_due = True
        self._renewed_at_s: float | None = None
        self._complaints: dict[str, tuple[str, float]] = {}
        self._wake = threading.Event()
        self._work = Background(self._run, name="admission", wake=self._wake.set)
        self._stop = self._work.stopping

    def start(self) -> None:
        """Begin to look, at once and each second."""
        if self._link is not None:
            self._link.start()
        self._work.start()

    def wake(self) -> None:
        """Look now: something was changed."""
        self._wake.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the look under way, and the connection. Idempotent."""
        self._work.close(timeout_s)
        if self._link is not None:
            self._link.stop()

    def look(self) -> bool:
        """One round. Returns whether everything is as it should be."""
        devices = marks(self._certificates)
        told = self._tried("certificates", self._files)
        link = self._link
        ruled = link is None or self._tried("access", lambda: self._rules(link, devices))
        say_offline(self._certificates, devices)
        return told and ruled

    def _run(self) -> None:
        link, patience = self._link, CONNECT_LOOKS
        while link is not None and patience and not (link.connected.wait(CONNECT_LOOK_S) or self._stop.is_set()):
            patience -= 1  # that a connection takes a moment is nothing to complain of, nor that it was tried too early
        while not self._stop.is_set():
            if self._tried_all():
                self.kept.set()
            else:
                self.kept.clear()
            self._wake.wait(EVERY_S)
            self._wake.clear()

    def _tried_all(self) -> bool:
        try:
            return self.look()
        except Exception:  # noqa: BLE001 - a task's top: the door must be looked after for as long as the server runs
            _log.exception("The broker's door could not be looked after.")
            return False

    def _rules(self, link: AccessLink, devices: Mapping[str, str]) -> None:
        count = link.keep(devices)
        if count:
            _log.info("%s changes of who may use the broker; %s devices may.", count, len(devices))

    def _files(self) -> None:
        """Revocations and renewals, to the broker's folder and into our own connections."""
        self._certificates.publish_crl()
        revoked = self._authority.crl().read_bytes()
        self._reload_due |= revoked != self._told
        if (self._folder / files.CONF).exists():
            self._reload_due |= files.refresh(self._folder, self._authority)
        if self._reload_due:
            files.reload(self._folder, self._reload)
            self._told, self._reload_due = revoked, False
        now_s = self._clock.monotonic_s()
        if self._renewed_at_s is None or now_s - self._renewed_at_s > RENEW_EVERY_S:
            for name, context in self._contexts.items():
                key, certificate = self._authority.service(name, server_auth=False)
                context.load_cert_chain(certificate, key)
            self._renewed_at_s = now_s

    def _tried(self, what: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except (WaycueError, OSError) as error:
            text, now_s = str(error), self._clock.monotonic_s()
            before, at_s = self._complaints.get(what, ("", 0.0))
            if text != before or now_s - at_s > COMPLAIN_AGAIN_S:
                self._complaints[what] = (text, now_s)
                _log.warning("Who may use the broker (%s): %s", what, text)
            return False
        if self._complaints.pop(what, None) is not None:
            _log.info("Who may use the broker (%s): all is well again.", what)
        return True
