"""A one-time code lets one device in once, and nobody else, whoever sits in between."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from device.commands.main import main
from device.health import sight_told
from device.identity import identity
from device.identity.enrol import PENDING, STEPS
from device.identity.identity import Identity
from server.identity.authority import Authority
from server.identity.enrol_http import BURST, EnrolmentService
from shared import claim_code, enrolment
from shared.clock import SystemClock
from shared.errors import ConfigError, Refused, Unreachable
from shared.floor import ClockFloor
from tests.enrolment.conftest import Desk
from tests.enrolment.quick import ROOT, SHOWN, ask
from tests.shared.bundle.bundles import make_bundle


class PowerLoss(BaseException):
    """What a crash test raises: nothing in the product catches it."""


def test_the_code_makes_a_device_known_to_its_server(desk: Desk) -> None:
    found = desk.enrol(desk.book.add("pi-1").code)
    assert (found.device, found.broker, found.root_json) == ("pi-1", "127.0.0.1:8883", ROOT)
    assert desk.certificates.admitted() == {"pi-1"}
    assert [one.pem.encode() for one in desk.certificates.of("pi-1")] == [found.certificate_pem]
    found.context()


def test_what_is_secret_on_the_device_is_for_its_owner_only(desk: Desk) -> None:
    found = desk.enrol(desk.book.add("pi-1").code)
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(found.folder.stat().st_mode) == 0o700
    assert not (desk.state / PENDING).exists()


def test_a_key_that_others_can_read_is_not_used(desk: Desk) -> None:
    found = desk.enrol(desk.book.add("pi-1").code)
    (found.folder / identity.KEY).chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        Identity.open(desk.state, floor=ClockFloor(desk.state, SystemClock()))


def test_a_code_may_be_typed_as_people_type(desk: Desk) -> None:
    code = desk.book.add("pi-1").code
    desk.enrol(f"  {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} ")


def test_a_mistyped_code_is_noticed_before_anything_is_sent(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="four groups"):
        desk.enrol("K7QX-3M9T-0AZW")
    assert not desk.state.exists()


def test_the_code_is_stored_nowhere(desk: Desk) -> None:
    code = desk.book.add("pi-1").code
    desk.enrol(code)
    plain = code.replace("-", "")
    for path in [path for path in desk.folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        assert code.encode() not in data, path
        assert plain.encode() not in data, path


def test_a_code_lets_nobody_in_a_second_time(desk: Desk) -> None:
    code = desk.book.add("pi-1").code
    first = desk.enrol(code)
    with pytest.raises(Refused, match="did not take the code"):
        desk.enrol(code)  # with a new key: the pending one is gone
    again = Identity.open(desk.state, floor=first.floor)
    assert again is not None
    assert again.certificate_pem == first.certificate_pem, "the refused try did no harm"


def test_of_two_devices_with_one_code_one_comes_in(desk: Desk) -> None:
    code = desk.book.add("pi-1").code
    requests = [ask(code, "pi-1", identity.certificate_request(identity.new_key(), "pi-1")) for _ in range(6)]

    def redeem(number: int) -> int:
        try:
            desk.book.redeem(requests[number], fingerprints={SHOWN}, broker="b:1")
        except Refused:
            return 0
        return 1

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(redeem, range(6))) == 1
    assert len(desk.certificates.of("pi-1")) == 1


def answers_to(desk: Desk, body: bytes) -> tuple[int, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(*desk.address, timeout=10, context=context)
    connection.request("POST", enrolment.PATH, body)
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def test_whoever_is_refused_learns_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    used, expired = desk.book.add("used").code, desk.book.add("expired", hours=1).code
    csr = identity.certificate_request(identity.new_key(), "x")
    shown = enrolment.fingerprint(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(desk.address)))
    assert answers_to(desk, enrolment.encode(ask(used, "used", csr, shown=shown)))[0] == 200
    desk.clock.sleep(3601)
    other = identity.certificate_request(identity.new_key(), "x")
    bodies = [
        enrolment.encode(ask(used, "used", other, shown=shown)),
        enrolment.encode(ask(expired, "expired", csr, shown=shown)),
        enrolment.encode(ask(claim_code.new_code(), "expired", csr, shown=shown)),
        enrolment.encode(ask(used, "nobody", csr, shown=shown)),
        enrolment.encode(ask(desk.book.add("bad").code, "bad", "no request", shown=shown)),
        b"not json",
        b"x" * (enrolment.MAX_REQUEST_BYTES + 1),
    ]
    assert {answers_to(desk, body) for body in bodies} == {(403, b'{"detail":"not accepted"}')}
    reported = "\n".join(caplog.messages)
    for reason in ("used already", "has expired", "wrong", "No code was ever made", "cannot be read", "not JSON"):
        assert reason in reported
    assert used not in reported


def test_a_code_expires(desk: Desk) -> None:
    code = desk.book.add("pi-1", hours=2).code
    desk.clock.sleep(2 * 3600 + 1)
    with pytest.raises(Refused):
        desk.enrol(code)


def test_a_newer_code_ends_the_older_one(desk: Desk) -> None:
    older = desk.book.add("pi-1").code
    newer = desk.book.add("pi-1").code
    with pytest.raises(Refused):
        desk.enrol(older)
    desk.enrol(newer)


def test_revoking_ends_certificates_and_open_codes(desk: Desk) -> None:
    desk.enrol(desk.book.add("pi-1").code)
    code = desk.book.add("pi-1").code
    assert desk.certificates.revoke("pi-1", "lost on the bus") == 1
    assert desk.certificates.admitted() == frozenset()
    with pytest.raises(Refused):
        desk.enrol(code)
    listed = x509.load_pem_x509_crl(desk.certificates.authority.crl().read_bytes())
    assert [f"{entry.serial_number:x}" for entry in listed] == [desk.certificates.of("pi-1")[0].serial]
    (known,) = desk.book.devices()
    assert (known.state, known.revoked_why, known.code_open) == ("revoked", "lost on the bus", False)


def test_adding_a_revoked_device_does_not_bring_its_old_certificate_back(desk: Desk) -> None:
    desk.enrol(desk.book.add("pi-1").code)
    desk.certificates.revoke("pi-1", "lost")
    code = desk.book.add("pi-1").code
    assert "pi-1" not in desk.certificates.admitted()
    desk.enrol(code)
    assert "pi-1" in desk.certificates.admitted()


def test_enrolling_again_makes_a_new_key_and_ends_the_copy_on_a_stolen_card(desk: Desk) -> None:
    first = desk.enrol(desk.book.add("pi-1").code)
    old_key = (first.folder / identity.KEY).read_bytes()
    second = desk.enrol(desk.book.add("pi-1").code)
    assert (second.folder / identity.KEY).read_bytes() != old_key
    assert [one.revoked_at_s is None for one in desk.certificates.of("pi-1")] == [True, False]
    assert not first.folder.exists()


def test_an_unknown_device_cannot_be_revoked(desk: Desk) -> None:
    with pytest.raises(Refused, match="No device"):
        desk.certificates.revoke("nobody", "why")


@pytest.mark.parametrize("name", ["broker", "waycue-server", "Anna", "a b", ""])
def test_some_names_cannot_be_added(desk: Desk, name: str) -> None:
    with pytest.raises(Refused):
        desk.book.add(name)


def test_a_cohort_stays_until_another_is_named(desk: Desk) -> None:
    desk.book.add("pi-1", cohort="clinic")
    desk.book.add("pi-1")
    assert desk.book.devices()[0].cohort == "clinic"
    desk.book.add("pi-1", cohort="home")
    assert desk.book.devices()[0].cohort == "home"


@pytest.mark.soak
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_costs_nothing_but_typing_it_again(desk: Desk, step: str) -> None:
    code = desk.book.add("pi-1").code
    child = [sys.executable, "-m", "tests.enrolment.enrol_child", str(desk.state), desk.server, code, step]
    assert subprocess.run(child, timeout=60, check=False).returncode == -signal.SIGKILL
    comes_in_after_all(desk, code, step)


@pytest.mark.parametrize("step", STEPS)
def test_power_lost_at_any_step_costs_nothing_but_typing_it_again(desk: Desk, step: str) -> None:
    code = desk.book.add("pi-1").code

    def cut(name: str) -> None:
        if name == step:
            raise PowerLoss(name)

    with pytest.raises(PowerLoss):
        desk.enrol(code, step=cut)
    comes_in_after_all(desk, code, step)


def comes_in_after_all(desk: Desk, code: str, step: str) -> None:
    early = Identity.open(desk.state, floor=ClockFloor(desk.state, SystemClock()))
    assert (early is not None) == (step in ("pointed", "forgotten"))
    found = early if step == "forgotten" else desk.enrol(code)
    assert found is not None
    assert [one.pem.encode() for one in desk.certificates.of("pi-1")] == [found.certificate_pem]
    assert not (desk.state / PENDING).exists()


def test_the_floor_takes_the_servers_time_even_where_it_was_wrong_before(desk: Desk) -> None:
    floor = ClockFloor(desk.state, SystemClock())
    floor.reset(SystemClock().utc_s() + 5 * 365 * 86400)
    found = desk.enrol(desk.book.add("pi-1").code)
    assert abs(found.floor.floor_s() - desk.clock.utc_s()) < 120


class InTheMiddle:
    """Answers in the server's place with a certificate of its own, and passes on what it hears, changed or not."""

    def __init__(self, desk: Desk, folder: Path, *, forge: bool) -> None:
        self._desk, self._forge = desk, forge
        self._foreign = Authority.make(folder, clock=SystemClock())
        key, certificate = self._foreign.service("enrol", server_auth=True)
        self.fingerprint = enrolment.fingerprint(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with self._context.wrap_socket(plain, server_side=True) as connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, body = data.split(b"\r\n\r\n", 1)
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            status, mac, answer = self._pass_on(body) if not self._forge else self._forged(body)
            lines = f"HTTP/1.1 {status} X\r\n{enrolment.MAC_HEADER}: {mac}\r\nContent-Length: {len(answer)}\r\n\r\n"
            connection.sendall(lines.encode() + answer)

    def _pass_on(self, body: bytes) -> tuple[int, str, bytes]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        behind = http.client.HTTPSConnection(*self._desk.address, timeout=10, context=context)
        behind.request("POST", enrolment.PATH, body)
        response = behind.getresponse()
        found = response.status, response.headers.get(enrolment.MAC_HEADER, ""), response.read()
        behind.close()
        return found

    def _forged(self, body: bytes) -> tuple[int, str, bytes]:
        request = enrolment.decode(enrolment.EnrolRequest, body)
        answer = enrolment.EnrolAnswer(
            self._foreign.issue_device(request.csr_pem.encode(), request.device).decode(),
            self._foreign.ca_pem.decode(),
            "evil.example:8883",
            "{}",
        )
        made = enrolment.encode(answer)
        return 200, enrolment.answer_mac(claim_code.key_of(claim_code.new_code()), request.csr_pem, made), made

    def close(self) -> None:
        self._listener.close()
        self._thread.join(60)


@contextmanager
def in_the_middle(desk: Desk, folder: Path, *, forge: bool) -> Iterator[InTheMiddle]:
    found = InTheMiddle(desk, folder, forge=forge)
    try:
        yield found
    finally:
        found.close()


def test_somebody_in_the_middle_who_passes_everything_on_is_noticed(desk: Desk, tmp_path: Path) -> None:
    code = desk.book.add("pi-1").code
    with in_the_middle(desk, tmp_path / "evil", forge=False) as middle, pytest.raises(Refused, match="not take"):
        desk.enrol(code, server=middle.server)
    assert desk.certificates.of("pi-1") == ()
    desk.enrol(code)  # the code is still good


def test_without_the_fingerprint_in_the_proof_he_would_not_be(desk: Desk, tmp_path: Path) -> None:
    """The control removed: a server that takes proofs for another's certificate, too."""
    code = desk.book.add("pi-1").code
    with in_the_middle(desk, tmp_path / "evil", forge=False) as middle:
        lax = EnrolmentService(desk.book, address=("127.0.0.1", 0), broker=":1", clock=SystemClock())
        lax.fingerprints.add(middle.fingerprint)
        object.__setattr__(desk, "address", lax.start())
        try:
            assert desk.enrol(code, server=middle.server).device == "pi-1"
        finally:
            lax.stop()


def test_an_answer_from_somebody_else_is_not_read(desk: Desk, tmp_path: Path) -> None:
    code = desk.book.add("pi-1").code
    with in_the_middle(desk, tmp_path / "evil", forge=True) as middle, pytest.raises(Refused, match="not from"):
        desk.enrol(code, server=middle.server)
    assert Identity.open(desk.state, floor=ClockFloor(desk.state, SystemClock())) is None


def test_without_the_mac_it_would_be(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control removed: a device that takes any MAC trusts whoever answers."""
    code = desk.book.add("pi-1").code
    monkeypatch.setattr(enrolment, "is_equal", lambda one, other: True)
    with in_the_middle(desk, tmp_path / "evil", forge=True) as middle:
        assert desk.enrol(code, server=middle.server).broker == "evil.example:8883"


def test_a_server_that_is_not_there_is_named(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot be reached"):
        desk.enrol(desk.book.add("pi-1").code, server=f"127.0.0.1:{port}")


def test_one_address_cannot_keep_the_server_busy(desk: Desk) -> None:
    found = [answers_to(desk, b"{}")[0] for _ in range(BURST + 3)]
    assert found == [403] * BURST + [429] * 3


def test_who_must_know_of_a_new_device_is_told_once_it_is_in(desk: Desk) -> None:
    """The broker's door: else the device would be turned away for a second."""
    reported: list[frozenset[str]] = []
    service = EnrolmentService(
        desk.book,
        address=("127.0.0.1", 0),
        broker=":1",
        clock=SystemClock(),
        on_enrolled=lambda: reported.append(desk.certificates.admitted()),
    )
    address = "{}:{}".format(*service.start())
    code = desk.book.add("pi-1").code
    with pytest.raises(Refused):
        desk.enrol(desk.book.add("pi-2").code, server=address)
    assert reported == []
    desk.enrol(code, server=address)
    service.stop()
    assert reported == [frozenset({"pi-1"})]


def test_a_port_that_is_taken_is_said_at_once(desk: Desk) -> None:
    again = EnrolmentService(desk.book, address=desk.address, broker=":1", clock=SystemClock())
    with pytest.raises(ConfigError, match="cannot listen"):
        again.start()


def test_the_service_shows_nothing_else(desk: Desk) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(*desk.address, timeout=10, context=context)
    for path in ("/", "/docs", "/openapi.json"):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (404, {"detail": "Not Found"})
    connection.close()


def test_the_helper_reads_what_the_model_sees_and_the_wearer_is_told_anew(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def enrol_by_command() -> str:
        code = desk.book.add("pi-1").code
        assert (
            main(["enroll", "--state", str(desk.state), "--server", desk.server, "--code", code, "--device", "pi-1"])
            == 0
        )
        return capsys.readouterr().out

    assert "No model yet" in enrol_by_command()
    eyes = {"objects": ["person"], "sides": ["ahead"], "look": {"names": ["person"]}}
    make_bundle(desk.state / "models" / "a", "m1", model=eyes)
    (desk.state / "models" / "current").symlink_to("a")
    (desk.state / sight_told.FILE).write_text("[]")
    assert "This model sees people.\nIt does not see curbs, " in enrol_by_command()
    assert not (desk.state / sight_told.FILE).exists()
