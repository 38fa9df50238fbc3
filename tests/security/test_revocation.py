"""A device that was taken out is out: its live session ends, and it does not come back. Also without a control."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from server.broker import dynsec_rules, files
from server.broker.link import BrokerSession, Ports, ServerLink
from server.database import store as db
from shared.clock import ManualClock, SystemClock
from tests.pulse import until
from tests.secure import Card, SecureSite, secure_site
from tests.security.changes import taking_out, without_rules
from tests.security.intruder import Intruder


def refused(site: SecureSite, card: Card) -> bool:
    with Intruder(site, card.context(), client_id=card.device) as device:
        return device.connect() != "Success"


def test_revoked_while_connected_the_session_ends_and_cannot_come_back(secure_broker: SecureSite) -> None:
    card = secure_broker.enrol("anna")
    with Intruder(secure_broker, card.context(), client_id="anna") as anna:
        assert anna.connect() == "Success"
        secure_broker.revoke("anna")
        assert anna.wait_end() == "Administrative action"
    assert refused(secure_broker, card)


def test_revoked_while_away_it_is_refused(secure_broker: SecureSite) -> None:
    card = secure_broker.enrol("anna")
    secure_broker.revoke("anna")
    assert refused(secure_broker, card)


def test_others_stay_connected_when_one_is_revoked(secure_broker: SecureSite) -> None:
    secure_broker.enrol("anna")
    with Intruder(secure_broker, secure_broker.enrol("ben").context(), client_id="ben") as ben:
        assert ben.connect() == "Success"
        secure_broker.revoke("anna")
        assert ben.publish("wc/v1/ben/up/event") != "Not authorized"


def test_without_the_list_a_revoked_device_could_connect_and_still_do_nothing(tmp_path: Path) -> None:
    with secure_site(tmp_path, change=taking_out("crlfile")) as site:
        card = site.enrol("anna")
        site.revoke("anna")
        with Intruder(site, card.context(), client_id="anna") as anna:
            assert anna.connect() == "Success"
            assert anna.publish("wc/v1/anna/up/event") == "Not authorized"
            assert anna.subscribe("wc/v1/anna/down/#") == "Not authorized"


def test_without_the_rules_looked_after_a_live_session_would_go_on(tmp_path: Path) -> None:
    """The list alone is read at the handshake only."""
    with secure_site(tmp_path, change=without_rules, sync=False) as site:
        card, other = site.enrol("anna", wait=False), site.enrol("ben", wait=False)
        with Intruder(site, card.context(), client_id="anna") as anna:
            assert anna.connect() == "Success"
            site.revoke("anna", wait=False)
            site.revoke("ben", wait=False)
            files.refresh(site.folder, site.authority)
            files.reload(site.folder)
            until(lambda: refused(site, other), "a broker that has read the list")
            assert anna.publish("wc/v1/anna/up/event") != "Not authorized"


def test_enrolled_anew_the_old_certificate_gets_nothing_back(secure_broker: SecureSite) -> None:
    old = secure_broker.enrol("anna")
    with Intruder(secure_broker, old.context(), client_id="anna") as before:
        assert before.connect() == "Success"
        new = secure_broker.enrol("anna")
        assert before.wait_end() == "Administrative action"
    assert refused(secure_broker, old)
    assert not refused(secure_broker, new)


def test_a_session_that_waits_without_rights_for_its_name_to_come_back_ends_then(tmp_path: Path) -> None:
    with secure_site(tmp_path, change=taking_out("crlfile")) as site:
        old = site.enrol("anna")
        site.revoke("anna")
        with Intruder(site, old.context(), client_id="anna") as waiting:
            assert waiting.connect() == "Success"
            site.enrol("anna")
            assert waiting.wait_end() == "Administrative action"


def test_a_broker_that_was_away_is_told_when_it_is_back(secure_broker: SecureSite) -> None:
    card = secure_broker.enrol("anna")
    secure_broker.broker.kill()
    secure_broker.revoke("anna", wait=False)
    secure_broker.broker.start()
    until(secure_broker.link.connected.is_set, "the access client, connected again")
    secure_broker.settle()
    assert refused(secure_broker, card)
    assert "anna" not in rules_of(secure_broker)


def test_a_broker_killed_at_once_keeps_what_it_was_told(secure_broker: SecureSite) -> None:
    card, gone = secure_broker.enrol("anna"), secure_broker.enrol("ben")
    secure_broker.revoke("ben")
    secure_broker.access.stop()
    secure_broker.broker.kill()
    secure_broker.broker.start()
    with Intruder(secure_broker, card.context(), client_id="anna") as anna:
        assert anna.connect() == "Success"
        assert anna.publish("wc/v1/anna/up/event") != "Not authorized"
    assert refused(secure_broker, gone)


def test_rules_changed_by_hand_or_restored_from_a_backup_are_put_right(secure_broker: SecureSite) -> None:
    file = secure_broker.folder / "dynamic-security.json"
    backup = json.loads(file.read_text())
    secure_broker.enrol("anna")
    backup["clients"].append({"username": "mallory", "roles": [{"rolename": "server"}]})
    backup["roles"].append({"rolename": "all", "acls": []})
    backup["defaultACLAccess"] = dict.fromkeys(dynsec_rules.DENIED, True)
    secure_broker.broker.stop()
    file.write_text(json.dumps(backup))
    secure_broker.broker.start()
    until(secure_broker.link.connected.is_set, "the access client, connected again")
    secure_broker.settle()
    now = json.loads(file.read_text())
    assert {client["username"] for client in now["clients"]} == {"anna", *dynsec_rules.wanted({}).clients}
    assert {role["rolename"] for role in now["roles"]} == {"device-anna", *dynsec_rules.wanted({}).roles}
    assert now["defaultACLAccess"] == dynsec_rules.DENIED


def rules_of(site: SecureSite) -> set[str]:
    read = json.loads((site.folder / "dynamic-security.json").read_text())
    return {client["username"] for client in read["clients"]}


@pytest.mark.parametrize("asked", [True, False])
def test_the_server_itself_listens_to_enrolled_devices_only(asked: bool, tmp_path: Path) -> None:
    """Were the broker to let everything through, the server would still not."""
    with secure_site(tmp_path, change=without_rules, sync=False) as site:
        card = site.enrol("anna", wait=False)
        heard: list[str] = []

        def handle(device: str, _levels: list[str], _payload: bytes) -> list[tuple[str, bytes]]:
            heard.append(device)
            return []

        link = ServerLink(
            BrokerSession(site.host, site.port, tls=site.server_context()),
            Ports(handle, is_enrolled=site.enrolled.__contains__) if asked else Ports(handle),
        )
        link.start()
        try:
            assert link.ready.wait(60)
            with Intruder(site, card.context(), client_id="anna") as anna:
                assert anna.connect() == "Success"
                anna.publish("wc/v1/stranger/up/event")
                anna.publish("wc/v1/anna/up/event")
                until(lambda: "anna" in heard, "the message of a device that is enrolled")
        finally:
            link.stop()
        assert heard == (["anna"] if asked else ["stranger", "anna"])
        assert link.counters["not_enrolled"] == asked


def test_a_database_that_was_lost_or_restored_lets_nobody_back_in(secure_broker: SecureSite, tmp_path: Path) -> None:
    """The broker knows a device by its name: the stolen card would be good for whoever gets that name next."""
    stolen = secure_broker.enrol("anna")
    secure_broker.revoke("anna")
    with secure_broker.store.writing() as connection:
        connection.execute(db.certificates.delete())
        connection.execute(db.enrolments.delete())
    new = secure_broker.enrol("anna")
    assert refused(secure_broker, stolen)
    assert not refused(secure_broker, new)


def test_the_list_forgets_certificates_that_have_ended(tmp_path: Path) -> None:
    with secure_site(tmp_path, clock=(clock := ManualClock(epoch_s=SystemClock().utc_s())), sync=False) as site:
        site.enrol("anna", wait=False)
        site.revoke("anna", wait=False)
        assert len(x509.load_pem_x509_crl(site.authority.crl().read_bytes())) == 1
        clock.sleep(91 * 86400)
        assert site.certificates.publish_crl()
        assert len(x509.load_pem_x509_crl(site.authority.crl().read_bytes())) == 0
