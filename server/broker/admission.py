"""Who may use the broker: keeps its access rules and certificates as the database says, while the server runs.

Promises:

1. A device that was enrolled may speak within about a second; one that was revoked, or whose certificates all ended, is
   cut off within about a second, and cannot come back.
2. The list of revoked certificates reaches the broker before the session is ended, so that it ends once.
3. Where the broker is away or refuses a change, it is tried again until it took everything, also after a restart of
   the server.
4. A device that was locked out is not shown as online.
5. The server handles no message of a device that is not enrolled, whatever the broker lets through.
6. Where more devices are enrolled than the broker's queues are reckoned for, its configuration is raised, as far as it
   is here; the log says what is left to do.
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
from server.broker.dynsec_client import DynsecClient
from server.database import store as db
from server.identity.certificates import Certificates
from shared.background import Background
from shared.errors import WaycueError

EVERY_S = 1.0
CONNECT_TRIES, CONNECT_TRY_S = 100, 0.1  # a broker that starts beside us on a slow machine takes seconds
SOON_S = 0.2  # a name that is not known may have been enrolled just now; looked up at most this often
RENEW_EVERY_S = 3600.0
LOG_AGAIN_S = 300.0
logger = logging.getLogger(__name__)


def session_marks(certificates: Certificates) -> dict[str, str]:
    """Device → mark (server.broker.dynsec_rules), of those that may come in now. A mark changes with each certificate
    of the device that is revoked, so that a session under an old one ends when the device is enrolled anew."""
    table = db.certificates.c
    with certificates.store.reading() as connection:
        rows = connection.execute(
            select(table.device, table.serial).where(table.revoked_at.is_not(None)).order_by(table.serial)
        ).all()
    revoked: dict[str, list[str]] = {device: [] for device in certificates.admitted()}
    for device, serial in rows:
        if device in revoked:
            revoked[device].append(serial)
    return {device: _mark(serials) for device, serials in revoked.items()}


def mark_offline(certificates: Certificates, admitted: Collection[str]) -> None:
    """Mark all devices but the admitted ones offline: the broker does not publish the last will of one locked out."""
    table = db.devices.c
    with certificates.store.reading() as connection:
        online = set(connection.scalars(select(table.device).where(table.online)))
    if gone := online - set(admitted):
        with certificates.store.writing() as connection:
            connection.execute(update(db.devices).where(table.device.in_(gone)).values(online=False))


def _mark(serials: list[str]) -> str:
    return hashlib.sha256(" ".join(serials).encode()).hexdigest()[:16] if serials else ""


class EnrolledDevices:
    """The devices that may come in now, for whoever handles their messages. Any thread may ask."""

    def __init__(self, certificates: Certificates) -> None:
        self.authority = certificates.authority
        """Of this server."""
        self._certificates = certificates
        self._names: frozenset[str] = frozenset()
        self._read_at_s: float | None = None

    def __len__(self) -> int:
        """How many there were at the last look."""
        return len(self._names)

    def __contains__(self, device: str) -> bool:
        """Raises: sqlalchemy's errors where the database cannot be read."""
        self._look(EVERY_S if device in self._names else SOON_S)
        return device in self._names

    def names(self) -> frozenset[str]:
        """All of them. Raises: as `in`."""
        self._look(EVERY_S)
        return self._names

    def _look(self, good_for_s: float) -> None:
        now_s = self._certificates.clock.monotonic_s()
        if self._read_at_s is None or now_s - self._read_at_s > good_for_s:
            self._names, self._read_at_s = self._certificates.admitted(), now_s


class AccessSync:
    """Brings the broker in line with the database, each second.

    client: None where the broker's access rules are not ours to keep (EMQX). folder: of the broker's files.
    reload: see server.broker.files.reload. contexts: by certificate name, to be loaded with renewed certificates.
    queued: see server.broker.files.look.
    """

    def __init__(
        self,
        certificates: Certificates,
        client: DynsecClient | None,
        *,
        folder: Path,
        reload: str | None = None,
        contexts: Mapping[str, ssl.SSLContext] | None = None,
        queued: int = 0,
    ) -> None:
        self.in_sync = threading.Event()
        """The broker has all that the database said at the last look."""
        self._certificates = certificates
        self._authority = certificates.authority
        self._client = client
        self._folder = folder
        self._clock = certificates.clock
        self._reload = reload
        self._contexts = dict(contexts or {})
        self._loaded_crl = b""  # whether the broker has loaded what changed before this start is not known: it reloads
        self._reload_due = True
        self._queued, self._roomy_for = queued, 0
        """So many devices were looked at whether the queue is enough for them."""
        self._renewed_at_s: float | None = None
        self._failures: dict[str, tuple[str, float]] = {}
        """What failed → the error as logged, and when."""
        self._wake = threading.Event()
        self._work = Background(self._run, name="broker access", wake=self._wake.set)

    def start(self) -> None:
        """Begin, at once and each second."""
        if self._client is not None:
            self._client.start()
        self._work.start()

    def wake(self) -> None:
        """Do it now: something was changed."""
        self._wake.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the round under way, and the connection. Idempotent."""
        self._work.close(timeout_s)
        if self._client is not None:
            self._client.stop()

    def sync(self) -> bool:
        """One round. Returns whether the broker has everything."""
        devices = session_marks(self._certificates)
        self._try("queue", lambda: self._sync_limits(len(devices)))
        files_done = self._try("certificates", self._sync_files)
        rules_done = self._try("access", lambda: self._sync_rules(devices))
        mark_offline(self._certificates, devices)
        return files_done and rules_done

    def _run(self) -> None:
        tries = CONNECT_TRIES  # not to log that the very first round came before the connection
        while self._client is not None and tries and not self._client.connected.wait(CONNECT_TRY_S):
            tries = 0 if self._work.stopping.is_set() else tries - 1
        while not self._work.stopping.is_set():
            try:
                done = self.sync()
            except Exception:
                logger.exception("The broker's access could not be brought up to date.")
                done = False
            (self.in_sync.set if done else self.in_sync.clear)()
            self._wake.wait(EVERY_S)
            self._wake.clear()

    def _sync_rules(self, devices: Mapping[str, str]) -> None:
        count = self._client.sync(devices) if self._client is not None else 0
        if count:
            logger.info("%s changes of who may use the broker; %s devices may.", count, len(devices))

    def _sync_limits(self, enrolled: int) -> None:
        if enrolled <= self._roomy_for:
            return
        if limits := files.raise_limits(self._folder, enrolled):
            text = "%s devices are enrolled: the broker's configuration has queues for %s now, %s messages each."
            logger.info(text, enrolled, limits.devices, limits.messages)
        if lacks := files.look(self._folder, enrolled, queued=self._queued).trouble:
            logger.warning("The broker: %s %s", *lacks)
        self._roomy_for = enrolled

    def _sync_files(self) -> None:
        """Revocations and renewals, to the broker's folder and into our own connections."""
        self._certificates.publish_crl()
        crl = self._authority.crl().read_bytes()
        self._reload_due |= crl != self._loaded_crl
        if (self._folder / files.CONF).exists():
            self._reload_due |= files.refresh(self._folder, self._authority)
        if self._reload_due:
            files.reload(self._folder, self._reload)
            self._loaded_crl, self._reload_due = crl, False
        now_s = self._clock.monotonic_s()
        if self._renewed_at_s is None or now_s - self._renewed_at_s > RENEW_EVERY_S:
            for name, context in self._contexts.items():
                self._authority.load_service(name, context)
            self._renewed_at_s = now_s

    def _try(self, what: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except (WaycueError, OSError) as error:
            text, now_s = str(error), self._clock.monotonic_s()
            logged, at_s = self._failures.get(what, ("", 0.0))
            if text != logged or now_s - at_s > LOG_AGAIN_S:
                self._failures[what] = (text, now_s)
                logger.warning("Who may use the broker (%s): %s", what, text)
            return False
        if self._failures.pop(what, None) is not None:
            logger.info("Who may use the broker (%s): all is well again.", what)
        return True
