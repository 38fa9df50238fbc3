"""Who gets a connection at all: each attempt is refused as configured, and works with that one control taken away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.broker import dynsec_rules
from server.identity.authority import Authority
from shared import tls
from shared.clock import ManualClock, SystemClock
from tests.secure import SecureSite, secure_site
from tests.security.changes import setting, taking_out
from tests.security.intruder import Intruder, without_certificate


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureSite]:
    with secure_site(tmp_path_factory.mktemp("guarded")) as site:
        yield site


def test_who_has_no_certificate_is_refused(guarded: SecureSite) -> None:
    with Intruder(guarded, without_certificate(guarded), client_id="anna", username="anna") as nobody:
        assert nobody.connect() != "Success"


def test_without_require_certificate_nobody_in_particular_would_get_in(tmp_path: Path) -> None:
    change = setting(
        require_certificate="false",
        use_identity_as_username="false",
        use_username_as_clientid="false",
        allow_anonymous="true",
    )
    with (
        secure_site(tmp_path, change=change, sync=False) as site,
        Intruder(site, without_certificate(site), client_id="anna") as nobody,
    ):
        assert nobody.connect() == "Success"


def test_plain_tcp_is_refused(guarded: SecureSite) -> None:
    with Intruder(guarded, None, client_id="anna") as nobody:
        assert nobody.connect() != "Success"


def test_a_certificate_of_another_authority_is_refused(guarded: SecureSite, tmp_path: Path) -> None:
    card = foreign_card(guarded, tmp_path)
    with Intruder(guarded, card, client_id=dynsec_rules.SERVER) as stranger:
        assert stranger.connect() != "Success"


def test_were_the_other_authority_trusted_it_would_get_in_as_the_server(tmp_path: Path) -> None:
    def trust_both(conf: str) -> str:
        own = Path(re.findall(r"^cafile (.*)$", conf, re.MULTILINE)[0])
        other = Authority.make(tmp_path / "other", clock=SystemClock())
        own.with_name("both.crt").write_bytes(own.read_bytes() + other.ca_pem)
        return taking_out("crlfile")(conf).replace("/ca.crt", "/both.crt")

    with (
        secure_site(tmp_path / "site", change=trust_both, sync=False) as site,
        Intruder(site, foreign_card(site, tmp_path), client_id="x") as stranger,
    ):
        assert stranger.connect() == "Success"
        assert stranger.subscribe("wc/v1/+/up/#") == "Granted QoS 1"


def foreign_card(site: SecureSite, folder: Path) -> tls.RoleContext:
    """The server's own name, certified by an authority that somebody else made."""
    other = Authority.make(folder / "other", clock=SystemClock())
    key, certificate = other.service(dynsec_rules.SERVER, server_auth=False)
    return tls.client_context(ca_pem=site.authority.ca_pem.decode(), certificate=certificate, key=key)


@pytest.mark.parametrize(("days", "let_in"), [(90.0, False), (200.0, True)])
def test_a_certificate_that_has_ended_is_refused(days: float, let_in: bool, tmp_path: Path) -> None:
    past = ManualClock(epoch_s=SystemClock().utc_s() - 100 * 86400)  # the server's book thinks that it still holds
    with secure_site(tmp_path, clock=past) as site:
        card = site.enrol("anna", days=days)
        with Intruder(site, card.context(), client_id="anna") as device:
            assert (device.connect() == "Success") is let_in


def test_when_the_last_certificate_of_a_device_ends_so_does_its_session(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    with secure_site(tmp_path, clock=clock) as site:
        card = site.enrol("anna", days=90)
        with Intruder(site, card.context(), client_id="anna") as device:
            assert device.connect() == "Success"
            clock.sleep(91 * 86400)
            site.settle()
            assert device.wait_end() == "Administrative action"


def test_a_certificate_for_servers_does_not_let_a_client_in(guarded: SecureSite) -> None:
    key, certificate = guarded.authority.service("broker", server_auth=True)
    context = tls.client_context(ca_pem=guarded.authority.ca_pem.decode(), certificate=certificate, key=key)
    with Intruder(guarded, context, client_id="broker") as stranger:
        assert stranger.connect() != "Success"


def test_a_device_that_says_another_name_keeps_its_own(guarded: SecureSite) -> None:
    anna = guarded.enrol("anna")
    with (
        Intruder(guarded, guarded.enrol("ben").context(), client_id="ben") as ben,
        Intruder(guarded, anna.context(), client_id="ben", username="ben") as spoofer,
    ):
        assert (ben.connect(), spoofer.connect()) == ("Success", "Success")
        assert spoofer.publish("wc/v1/ben/up/event") == "Not authorized"
        assert spoofer.publish("wc/v1/anna/up/event") != "Not authorized"
        assert ben.publish("wc/v1/ben/up/event") != "Not authorized"  # it was not thrown out by its name either
        assert ben.ended == ""


def test_without_names_from_certificates_a_device_would_throw_out_another(tmp_path: Path) -> None:
    with secure_site(tmp_path, change=setting(use_username_as_clientid="false")) as site:
        anna = site.enrol("anna")
        with Intruder(site, site.enrol("ben").context(), client_id="ben") as ben:
            assert ben.connect() == "Success"
            with Intruder(site, anna.context(), client_id="ben") as spoofer:
                assert spoofer.connect() == "Success"
                ben.wait_end()


OVERSIZE = b"x" * 400_000


def test_an_oversize_message_ends_the_connection_and_goes_nowhere(guarded: SecureSite) -> None:
    assert big_message_heard(guarded) == b"small"


def test_without_a_limit_it_would_reach_the_server(tmp_path: Path) -> None:
    with secure_site(tmp_path, change=taking_out("max_packet_size")) as site:
        assert big_message_heard(site) == OVERSIZE


def big_message_heard(site: SecureSite) -> bytes:
    """What the server hears first after a device sent too much, and then another a little."""
    loud, quiet = site.enrol("loud"), site.enrol("quiet")
    with Intruder(site, site.server_context(), client_id=dynsec_rules.SERVER) as server:
        assert (server.connect(), server.subscribe("wc/v1/+/up/#")) == ("Success", "Granted QoS 1")
        with Intruder(site, loud.context(), client_id="loud") as sender:
            assert sender.connect() == "Success"
            sender.send_and_vanish("wc/v1/loud/up/event", OVERSIZE)
            if site.folder.joinpath("mosquitto.conf").read_text().count("max_packet_size"):
                sender.wait_end()
            else:
                return server.next_heard()[1]
        with Intruder(site, quiet.context(), client_id="quiet") as sender:
            assert sender.connect() == "Success"
            sender.publish("wc/v1/quiet/up/event", b"small")
        return server.next_heard()[1]


def test_secrets_are_private(guarded: SecureSite) -> None:
    """What the server keeps secret is readable by its account only."""
    secrets = list(guarded.home.rglob("*.key"))
    assert len(secrets) >= 4
    assert {path.stat().st_mode & 0o077 for path in (*secrets, guarded.folder)} == {0}
