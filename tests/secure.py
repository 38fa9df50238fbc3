"""A whole secure site for tests: authority, broker with mutual TLS, its access rules, devices enrolled quickly."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.broker import dynsec_rules
from server.broker import files as broker_files
from server.broker.admission import AccessSync, EnrolledDevices
from server.broker.child import HOST, BrokerChild, free_port
from server.broker.dynsec_client import DynsecClient
from server.broker.settings import BrokerSettings
from server.database import store as db
from server.database.store import Store, open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from shared import tls
from shared.clock import Clock, SystemClock
from tests.pulse import until


@dataclass(frozen=True, slots=True)
class Card:
    """What a device holds after enrolment: files, and the TLS context of its link."""

    device: str
    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "device.key"

    @property
    def certificate(self) -> Path:
        return self.folder / "device.crt"

    def context(self) -> ssl.SSLContext:
        ca_pem = (self.folder / "ca.crt").read_text()
        return tls.client_context(ca_pem=ca_pem, certificate=self.certificate, key=self.key)


@dataclass(slots=True)
class SecureSite:
    """home: the server's; broker: runs from `home`/broker. Made by the fixture `secure_broker`."""

    home: Path
    store: Store
    authority: Authority
    certificates: Certificates
    broker: BrokerChild
    access: AccessSync
    link: DynsecClient
    enrolled: EnrolledDevices
    _cards: list[Card] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.broker.host

    @property
    def port(self) -> int:
        return self.broker.port

    @property
    def folder(self) -> Path:
        """The broker's files."""
        return BrokerSettings().files(self.home)

    def server_context(self, name: str = dynsec_rules.SERVER) -> ssl.SSLContext:
        """For a ServerLink, or for `waycue-worker-1`."""
        return self.authority.client_context(name)

    def enrol(self, device: str, *, days: float = 90.0, wait: bool = True) -> Card:
        """Let a device in, as a claim that was used does. Returns once the broker knows of it."""
        card = Card(device, self.home.parent / f"card-{device}-{len(self._cards)}")
        card.folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        book = Certificates(self.store, self.authority, clock=self.certificates.clock, days=days)
        with self.store.writing() as connection:
            book.revoke_all(connection, device, "enrolled anew")
            connection.execute(db.enrolments.delete().where(db.enrolments.c.device == device))
            connection.execute(
                db.enrolments.insert().values(device=device, cohort="", added_at=book.clock.utc_s(), why="")
            )
            issued = book.issue(connection, device, csr(key, device))
        write_card(card, key, issued.pem, self.authority.ca_pem)
        self._cards.append(card)
        if wait:
            self.settle()
        return card

    def revoke(self, device: str, *, wait: bool = True) -> None:
        """As `waycue-server devices revoke`."""
        self.certificates.revoke(device, "test")
        if wait:
            self.settle()

    def settle(self) -> None:
        """Until the broker has what the database says now."""
        self.access.in_sync.clear()
        self.access.wake()
        assert self.access.in_sync.wait(15), self.broker.log.read_text()


def csr(key: ec.EllipticCurvePrivateKey, device: str) -> str:
    """A request for a certificate."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def csr_of_new_key(device: str) -> str:
    """The same, of a device whose key nobody needs."""
    return csr(ec.generate_private_key(ec.SECP256R1()), device)


def write_card(card: Card, key: ec.EllipticCurvePrivateKey, pem: str, ca_pem: bytes) -> None:
    plain = serialization.NoEncryption()
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    card.key.write_bytes(data)
    card.key.chmod(0o600)
    card.certificate.write_text(pem)
    (card.folder / "ca.crt").write_bytes(ca_pem)


@contextmanager
def secure_site(
    folder: Path, *, clock: Clock | None = None, change: Callable[[str], str] = lambda conf: conf, sync: bool = True
) -> Iterator[SecureSite]:
    """change: what to alter in mosquitto.conf before the broker starts; sync: whether its rules are kept current. Both
    to see what a control is good for."""
    clock = clock or SystemClock()
    home = folder / "home"
    authority = Authority.make(home, clock=clock)
    plugin = broker_files.find_plugin()
    assert plugin is not None, "Mosquitto's dynamic-security plugin is not installed"
    files = BrokerSettings().files(home)
    broker_files.write(
        files, authority, broker_files.BrokerListener(HOST, free_port(), broker_files.own_account(), plugin)
    )
    conf = files / broker_files.CONF
    conf.write_text(change(conf.read_text()))
    opened = open_store(home)
    certificates = Certificates(opened, authority, clock=clock)
    broker = BrokerChild(folder / "broker", secure=files)
    link = DynsecClient(HOST, broker.port, tls=authority.client_context(dynsec_rules.CONTROLLER), clock=clock)
    access = AccessSync(certificates, link, folder=files)
    try:
        with broker:
            try:
                site = SecureSite(
                    home, opened, authority, certificates, broker, access, link, EnrolledDevices(certificates)
                )
                if sync:
                    access.start()
                    until(link.connected.is_set, "the broker's access client")
                    site.settle()
                yield site
            finally:
                access.stop()
    finally:
        opened.close()
