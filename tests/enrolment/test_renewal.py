"""A certificate is renewed over the connection that the old one opened, durably, and for its own device only."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from device.identity import identity, renew
from device.identity.identity import Identity
from device.identity.renew import NEXT_KEY, REQUEST, Renewal, is_due
from device.outbox.outbox import Outbox
from device.sync.link import Link, LinkPorts, LinkSettings
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database import store as db
from server.database.store import open_store
from server.identity import sealing_key
from server.identity.authority import Authority
from server.identity.certificates import MOST_A_DAY, Certificates
from server.identity.sealing_key import SealingKey
from shared import atomic, messages, topics
from shared.clock import ManualClock, SystemClock
from shared.floor import ClockFloor
from shared.messages import Certificate, Renew
from tests.enrolment.quick import enrolled
from tests.pulse import until
from tests.secure import SecureSite

DAY_S = 86400.0
P256 = bytes.fromhex("06082a8648ce3d030107")  # its name in a certificate


@dataclass(slots=True)
class Pair:
    """A device and its server, with the broker between them left out. Both clocks move together."""

    clock: ManualClock
    certificates: Certificates
    state: Path
    renewal: Renewal
    sent: list[tuple[str, bytes]]
    first_key: bytes

    @property
    def identity(self) -> Identity:
        found = Identity.open(self.state, floor=self.renewal.identity.floor)
        assert found is not None
        return found

    def answers(self) -> list[tuple[str, bytes]]:
        """What the server says to all that was sent."""
        found = [self.certificates.renew("pi-1", ["up", "renew"], payload) for _, payload in self.sent]
        self.sent.clear()
        return [reply for replies in found for reply in replies]

    def ask_and_hear(self) -> None:
        self.renewal.tick()
        self.exchange()

    def exchange(self) -> None:
        for _, payload in self.answers():
            self.renewal.on_certificate(["certificate"], payload)


@pytest.fixture
def pair(tmp_path: Path, fresh_home: Path) -> Iterator[Pair]:
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    shutil.copytree(fresh_home, tmp_path / "home")
    store = open_store(tmp_path / "home")
    certificates = Certificates(store, Authority(tmp_path / "home", clock=clock), clock=clock)
    found = enrolled(certificates, tmp_path / "device", "pi-1", clock=clock)
    sent: list[tuple[str, bytes]] = []

    def publish(topic: str, payload: bytes) -> bool:
        sent.append((topic, payload))
        return True

    one = Renewal(tmp_path / "device", found, found.context(), publish=publish, clock=clock)
    first_key = (found.folder / identity.KEY).read_bytes()
    yield Pair(clock, certificates, tmp_path / "device", one, sent, first_key)
    store.close()


@given(st.floats(0, 1e9), st.floats(1, 1e9), st.floats(0, 2e9))
def test_it_is_due_in_the_last_third(issued_s: float, life_s: float, now_s: float) -> None:
    due = is_due(issued_s=issued_s, not_after_s=issued_s + life_s, now_s=now_s)
    if now_s > issued_s + life_s * 0.67:
        assert due
    if now_s < issued_s + life_s * 0.66:
        assert not due


def test_it_is_renewed_when_a_third_of_its_life_is_left_and_not_before(pair: Pair) -> None:
    first = pair.identity
    pair.clock.sleep(59 * DAY_S)
    assert not pair.renewal.tick()
    pair.clock.sleep(2 * DAY_S)
    assert pair.renewal.tick()
    assert [topic for topic, _ in pair.sent] == [topics.renew("pi-1")]
    pair.exchange()
    second = pair.identity
    assert second.not_after_utc - first.not_after_utc == pytest.approx(61 * DAY_S, abs=5)
    assert (second.folder / identity.KEY).read_bytes() == (pair.state / identity.FOLDER / identity.KEY).read_bytes()
    assert not first.folder.exists()
    assert not pair.renewal.tick(), "it is done"


def test_it_asks_again_until_it_is_answered_and_not_all_the_time(pair: Pair) -> None:
    pair.clock.sleep(61 * DAY_S)
    assert pair.renewal.tick()
    assert not pair.renewal.tick()
    pair.clock.sleep(renew.ASK_AGAIN_S)
    assert pair.renewal.tick()
    pair.exchange()
    assert len(pair.certificates.of("pi-1")) == 2, "asked twice, answered with one certificate"
    assert pair.renewal.counters == {"asked": 2, "renewed": 1}


def test_a_renewed_certificate_raises_the_clock_floor(pair: Pair) -> None:
    pair.clock.sleep(61 * DAY_S)
    pair.renewal.tick()
    pair.exchange()
    assert pair.identity.floor.floor_s() == pytest.approx(pair.clock.utc_s(), abs=5)


def test_a_wish_renews_at_once_and_is_forgotten_when_met(pair: Pair) -> None:
    pair.clock.sleep(50 * DAY_S)
    before = pair.identity
    renew.request_renewal(pair.state, rekey=False)
    assert pair.renewal.tick()
    pair.exchange()
    assert pair.identity.not_after_utc > before.not_after_utc
    assert not (pair.state / REQUEST).exists()


def test_a_wish_for_a_fresh_certificate_is_met_by_the_one_that_is_there(pair: Pair) -> None:
    before = pair.identity
    renew.request_renewal(pair.state, rekey=False)
    pair.renewal.tick()
    pair.exchange()
    assert pair.identity.certificate_pem == before.certificate_pem
    assert not (pair.state / REQUEST).exists()


def test_a_new_key_is_used_once_its_certificate_came(pair: Pair) -> None:
    old_key = (pair.identity.folder / identity.KEY).read_bytes()
    renew.request_renewal(pair.state, rekey=True)
    assert pair.renewal.tick()
    assert (pair.state / NEXT_KEY).stat().st_mode & 0o777 == 0o600
    assert (pair.identity.folder / identity.KEY).read_bytes() == old_key
    pair.exchange()
    assert (pair.identity.folder / identity.KEY).read_bytes() != old_key
    assert not (pair.state / NEXT_KEY).exists()


def test_power_lost_between_question_and_answer_keeps_the_new_key(pair: Pair) -> None:
    renew.request_renewal(pair.state, rekey=True)
    pair.renewal.tick()
    answers = pair.answers()
    reborn = Renewal(
        pair.state, pair.identity, pair.identity.context(), publish=lambda topic, payload: True, clock=pair.clock
    )
    for _, payload in answers:
        reborn.on_certificate(["certificate"], payload)
    assert reborn.counters["renewed"] == 1


class PowerLoss(BaseException):
    """What a crash test raises: nothing in the product catches it."""


@pytest.mark.parametrize("step", renew.STEPS)
def test_power_lost_at_any_step_leaves_a_whole_identity_and_the_wish(pair: Pair, step: str) -> None:
    def cut(name: str) -> None:
        if name == step:
            raise PowerLoss(name)

    def reborn(at: atomic.Step = atomic.no_step) -> Renewal:
        def publish(topic: str, payload: bytes) -> bool:
            pair.sent.append((topic, payload))
            return True

        held = pair.identity
        return Renewal(pair.state, held, held.context(), publish=publish, clock=pair.clock, crash_point=at)

    first = pair.identity
    renew.request_renewal(pair.state, rekey=True)
    pair.renewal = reborn(cut)
    with pytest.raises(PowerLoss):
        pair.ask_and_hear()
    pair.sent.clear()
    pair.renewal = reborn()
    if (pair.state / REQUEST).exists():
        assert pair.renewal.tick()
        pair.exchange()
    assert pair.identity.not_after_utc >= first.not_after_utc
    assert (pair.identity.folder / identity.KEY).read_bytes() != pair.first_key
    assert not (pair.state / REQUEST).exists()
    assert not (pair.state / NEXT_KEY).exists()
    assert len(pair.certificates.of("pi-1")) == 2


def test_what_is_not_ours_is_not_used(pair: Pair, tmp_path: Path) -> None:
    before = pair.identity
    pair.clock.sleep(61 * DAY_S)
    pair.renewal.tick()
    csr = messages.decode(Renew, pair.sent[0][1]).csr_pem
    foreign = Authority.make(tmp_path / "foreign", clock=pair.clock)
    ours = pair.certificates.authority
    other = identity.certificate_request(identity.new_key(), "pi-1")
    for pem, ca in (
        (foreign.issue_device(csr.encode(), "pi-1"), foreign.ca_pem),
        (foreign.issue_device(csr.encode(), "pi-1"), ours.ca_pem),
        (ours.issue_device(csr.encode(), "pi-2"), ours.ca_pem),
        (ours.issue_device(other.encode(), "pi-1"), ours.ca_pem),
        (ours.issue_device(csr.encode(), "pi-1", days=1), ours.ca_pem),
        (b"no certificate", ours.ca_pem),
    ):
        answer = Certificate(pem.decode(), ca.decode())
        pair.renewal.on_certificate(["certificate"], messages.encode(answer))
    pair.renewal.on_certificate(["certificate"], b"\xff")
    assert pair.renewal.counters["foreign"] == 7
    assert pair.identity == before


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payload=st.binary(max_size=300) | st.text(max_size=50).map(lambda text: json.dumps({"csr_pem": text}).encode()))
def test_any_bytes_on_up_renew_are_refused_in_words(pair: Pair, payload: bytes) -> None:
    assert pair.certificates.renew("pi-1", ["up", "renew"], payload) == []


def test_a_request_that_cannot_even_be_encoded_is_refused(pair: Pair) -> None:
    assert pair.certificates.renew("pi-1", ["up", "renew"], b'{"csr_pem": "\\ud800"}') == []


def test_who_is_revoked_gets_no_new_certificate(pair: Pair) -> None:
    pair.clock.sleep(61 * DAY_S)
    pair.renewal.tick()
    pair.certificates.revoke("pi-1", "lost")
    assert pair.answers() == []


def test_who_was_never_enrolled_gets_none(pair: Pair) -> None:
    csr = identity.certificate_request(identity.new_key(), "pi-2")
    assert pair.certificates.renew("pi-2", ["up", "renew"], messages.encode(Renew(csr))) == []


def own_key(pair: Pair) -> bytes:
    return (pair.identity.folder / identity.KEY).read_bytes()


def test_the_answer_is_for_the_device_of_the_topic_whatever_the_request_says(pair: Pair) -> None:
    csr = identity.certificate_request(identity.new_key(), "waycue-server")
    asked = Renew(csr, identity.proof_by(own_key(pair), csr))
    ((topic, payload),) = pair.certificates.renew("pi-1", ["up", "renew"], messages.encode(asked))
    assert topic == topics.certificate("pi-1")
    made = messages.decode(Certificate, payload).certificate_pem
    assert pair.certificates.of("pi-1")[0].pem == made
    assert x509.load_pem_x509_certificate(made.encode()).subject.rfc4514_string() == "CN=pi-1"


def test_a_broker_that_asks_in_a_devices_name_gets_nothing(pair: Pair) -> None:
    """It carries the question, and whoever breaks into it must not walk away with certificates."""
    evil = identity.new_key()
    csr = identity.certificate_request(evil, "pi-1")
    theirs = identity.certificate_request(identity.new_key(), "pi-1")
    for proof in ("", "not base64!", "AAAA", identity.proof_by(evil, csr), identity.proof_by(own_key(pair), theirs)):
        assert pair.certificates.renew("pi-1", ["up", "renew"], messages.encode(Renew(csr, proof))) == []


def test_a_key_that_was_taken_back_vouches_for_nothing(pair: Pair, tmp_path: Path) -> None:
    old_key = own_key(pair)
    enrolled(pair.certificates, tmp_path / "another card", "pi-1", clock=pair.clock)
    csr = identity.certificate_request(identity.new_key(), "pi-1")
    asked = messages.encode(Renew(csr, identity.proof_by(old_key, csr)))
    assert pair.certificates.renew("pi-1", ["up", "renew"], asked) == []


def test_nobody_gets_certificates_without_end(pair: Pair) -> None:
    keys = (identity.certificate_request(identity.new_key(), "pi-1") for _ in range(MOST_A_DAY + 5))
    asked = (messages.encode(Renew(csr, identity.proof_by(own_key(pair), csr))) for csr in keys)
    found = [pair.certificates.renew("pi-1", [], payload) for payload in asked]
    assert sum(map(len, found)) == MOST_A_DAY - 1, "the first of the day was the enrolment"


# over the broker


@pytest.fixture
def served(secure_broker: SecureSite) -> Iterator[SecureSite]:
    link = ServerLink(
        BrokerSession(secure_broker.host, secure_broker.port, tls=secure_broker.server_context()),
        Ports(lambda *_: [], {"renew": secure_broker.certificates.renew}),
    )
    link.start()
    assert link.ready.wait(60)
    yield secure_broker
    link.stop()


@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled device with its link and its renewal."""

    link: Link
    renewal: Renewal
    outbox: Outbox
    states: list[str]

    def close(self) -> None:
        self.link.stop()
        self.outbox.close()


def device(site: SecureSite, state: Path, *, days_ago: float) -> Device:
    """A device that was enrolled `days_ago`."""
    past = ManualClock(epoch_s=SystemClock().utc_s() - days_ago * DAY_S)
    book = Certificates(site.store, Authority(site.home, clock=past), clock=past)
    found = enrolled(book, state, "pi-1", broker=f"{site.host}:{site.port}", clock=past)
    site.settle()
    assert found.floor.floor_s() < found.not_after_utc
    found = Identity.open(state, floor=ClockFloor(state, SystemClock())) or found
    context, states = found.context(), list[str]()
    outbox = Outbox(state / "outbox")
    ports = LinkPorts(outbox, SystemClock(), states.append, lambda: 0.02)
    link = Link(LinkSettings(site.host, site.port, "pi-1", context), ports)
    one = Renewal(state, found, context, publish=link.publish, clock=SystemClock())
    link.on("certificate", one.on_certificate)
    link.start()
    return Device(link, one, outbox, states)


def test_the_next_connection_uses_the_renewed_certificate(served: SecureSite, tmp_path: Path) -> None:
    one = device(served, tmp_path / "device", days_ago=61)
    try:
        until(lambda: one.link.online, "the device to be online")
        (old,) = served.certificates.of("pi-1")
        assert one.renewal.tick()
        until(lambda: one.renewal.counters["renewed"] == 1, "the new certificate")
        with served.store.writing() as connection:  # the old one is taken back: its session ends, and cannot come back
            row = update(db.certificates).where(db.certificates.c.serial == old.serial)
            connection.execute(row.values(revoked_at=SystemClock().utc_s(), why="test"))
        served.settle()
        until(lambda: one.link.counters["connects"] >= 2 and one.link.online, "it to be back")
        assert one.renewal.identity.not_after_utc > old.not_after_s
        reported = json.loads((one.renewal.identity.folder / identity.ENROLMENT).read_bytes())
        assert reported["device"] == "pi-1"
    finally:
        one.close()


def test_a_certificate_that_has_ended_is_named_as_the_reason(served: SecureSite, tmp_path: Path) -> None:
    one = device(served, tmp_path / "device", days_ago=91)
    try:
        until(lambda: any("certificate expired" in state for state in one.states), "the reason")
        assert not one.link.online
    finally:
        one.close()


def test_a_certificate_of_a_curve_that_nobody_knows_is_counted_as_foreign(pair: Pair) -> None:
    pem = pair.identity.certificate_pem
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    assert P256 in der
    odd = ssl.DER_cert_to_PEM_cert(der.replace(P256, P256[:-1] + b"\x6f"))
    pair.renewal.on_certificate(["certificate"], messages.encode(Certificate(odd, odd)))
    assert pair.renewal.counters["foreign"] == 1
    assert pair.identity.certificate_pem == pem


def test_a_next_key_behind_a_passphrase_is_replaced(pair: Pair) -> None:
    key = identity.read_key(identity.new_key())
    closed = serialization.BestAvailableEncryption(b"x")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed)
    atomic.write_bytes(pair.state / NEXT_KEY, pem, mode=0o600)
    atomic.write_json(pair.state / REQUEST, {"rekey": True})
    pair.ask_and_hear()
    assert pair.renewal.counters["renewed"] == 1


def without_sealing_key(pair: Pair) -> Renewal:
    """The pair's device as it was enrolled by a server that named no key for sealing yet."""
    held = pair.identity
    files = {name: data for name, data in identity.files_of(held).items() if name != identity.SEALING}
    identity.store(pair.state, files)
    pair.renewal.identity = pair.identity
    assert pair.identity.sealing_key is None
    return pair.renewal


def test_a_device_enrolled_before_there_was_a_key_for_sealing_gets_it_with_its_next_certificate(pair: Pair) -> None:
    renewal = without_sealing_key(pair)
    pair.clock.sleep(61 * DAY_S)
    renewal.tick()
    pair.exchange()
    key = SealingKey.of(pair.certificates.authority).private.public_key()
    assert pair.identity.sealing_key == key


def test_a_wish_brings_the_key_for_sealing_at_once_also_where_the_certificate_stays(pair: Pair) -> None:
    renewal = without_sealing_key(pair)
    before = pair.identity.certificate_pem
    renew.request_renewal(pair.state, rekey=False)
    renewal.tick()
    pair.exchange()
    assert pair.identity.certificate_pem == before
    assert pair.identity.sealing_key is not None
    assert not (pair.state / REQUEST).exists()


def test_a_key_for_sealing_of_another_authority_is_dropped_with_all_that_came(pair: Pair, tmp_path: Path) -> None:
    foreign = SealingKey.of(Authority.make(tmp_path / "foreign", clock=pair.clock))
    pair.clock.sleep(61 * DAY_S)
    pair.renewal.tick()
    ((_, payload),) = pair.answers()
    answer = replace(messages.decode(Certificate, payload), sealing_pem=foreign.certificate_pem)
    before = identity.files_of(pair.identity)
    pair.renewal.on_certificate(["certificate"], messages.encode(answer))
    assert identity.files_of(pair.identity) == before
    assert pair.renewal.counters["foreign"] == 1


def test_a_certificate_of_an_older_server_leaves_the_key_for_sealing_as_it_is(pair: Pair) -> None:
    pair.clock.sleep(61 * DAY_S)
    pair.renewal.tick()
    ((_, payload),) = pair.answers()
    answer = replace(messages.decode(Certificate, payload), sealing_pem="")
    key = pair.identity.sealing_key
    pair.renewal.on_certificate(["certificate"], messages.encode(answer))
    assert pair.renewal.counters["renewed"] == 1
    assert (key is not None, pair.identity.sealing_key) == (True, key)


def test_a_device_that_connects_hears_of_a_new_key_for_sealing_and_uses_it_at_once(pair: Pair) -> None:
    certificates, used = pair.certificates, []
    pair.clock.sleep(61 * DAY_S)
    pair.ask_and_hear()
    pair.renewal.on_renewed = lambda renewed: used.append(renewed.sealing_key)
    assert certificates.greet({"pi-1": True}) == [], "it has the newest"
    made = sealing_key.rotate(certificates.authority)
    certificates.greet({"pi-1": False})
    ((topic, payload),) = certificates.greet({"pi-1": True})
    assert certificates.greet({"pi-1": True}) == [], "said once a connection"
    assert topic == topics.certificate("pi-1")
    before = pair.identity
    pair.renewal.on_certificate(["certificate"], payload)
    after = pair.identity
    assert after.sealing_key == made.private.public_key()
    assert used == [after.sealing_key]
    assert after.certificate_pem == before.certificate_pem
    pair.renewal.on_certificate(["certificate"], payload)
    assert (len(used), pair.renewal.counters["foreign"]) == (1, 0)


def test_news_of_a_key_for_sealing_ends_no_request_for_a_new_key_of_the_device(pair: Pair) -> None:
    pair.clock.sleep(DAY_S)
    renew.request_renewal(pair.state, rekey=True)
    pair.renewal.tick()
    sealing_key.rotate(pair.certificates.authority)
    ((_, payload),) = pair.certificates.greet({"pi-1": True})
    pair.renewal.on_certificate(["certificate"], payload)
    assert (pair.state / REQUEST).exists()
    key = (pair.identity.folder / identity.KEY).read_bytes()
    pair.exchange()
    assert not (pair.state / REQUEST).exists()
    assert (pair.identity.folder / identity.KEY).read_bytes() != key


def test_an_answer_with_an_older_key_for_sealing_that_somebody_kept_brings_that_key_not_back(pair: Pair) -> None:
    renew.request_renewal(pair.state, rekey=False)
    pair.renewal.tick()
    ((_, older),) = pair.answers()
    pair.clock.sleep(DAY_S)
    made = sealing_key.rotate(pair.certificates.authority)
    pair.renewal.on_certificate(["certificate"], pair.certificates.greet({"pi-1": True})[0][1])
    pair.renewal.on_certificate(["certificate"], older)
    assert pair.identity.sealing_key == made.private.public_key()
    assert pair.renewal.counters["foreign"] == 1
