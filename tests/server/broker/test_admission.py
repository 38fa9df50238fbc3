"""What the admission to the broker promises when things go wrong between the database, the files and the broker."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from server.broker import dynsec_rules, files
from server.broker.admission import AccessSync, EnrolledDevices, session_marks
from server.database import store as db
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from shared.clock import ManualClock, SystemClock
from tests.secure import SecureSite, secure_site
from tests.security.intruder import Intruder

DAY_S = 86400.0


def test_only_enrolled_devices_with_a_certificate_that_holds_are_known(secure_broker: SecureSite) -> None:
    secure_broker.enrol("anna", wait=False)
    enrolled = EnrolledDevices(secure_broker.certificates)
    assert ("anna" in enrolled, "ben" in enrolled) == (True, False)
    secure_broker.enrol("ben", wait=False)
    secure_broker.revoke("anna", wait=False)
    later = EnrolledDevices(secure_broker.certificates)
    assert ("anna" in later, "ben" in later) == (False, True)


def test_what_is_known_is_not_older_than_a_second(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    with secure_site(tmp_path, clock=clock, sync=False) as site:
        site.enrol("anna", wait=False)
        enrolled = EnrolledDevices(site.certificates)
        assert "anna" in enrolled
        site.revoke("anna", wait=False)
        site.enrol("ben", wait=False)
        clock.sleep(0.3)
        assert "ben" in enrolled  # a name that is not known is looked up sooner
        assert "anna" not in enrolled


def test_a_mark_changes_with_each_certificate_taken_back(secure_broker: SecureSite) -> None:
    secure_broker.enrol("anna", wait=False)
    first = session_marks(secure_broker.certificates)["anna"]
    secure_broker.enrol("anna", wait=False)
    second = session_marks(secure_broker.certificates)["anna"]
    secure_broker.enrol("anna", wait=False)
    third = session_marks(secure_broker.certificates)["anna"]
    assert first == ""
    assert len({first, second, third}) == 3
    assert session_marks(secure_broker.certificates)["anna"] == third


def test_a_revocation_by_another_process_reaches_the_broker(secure_broker: SecureSite) -> None:
    """`waycue-server devices revoke` writes the authority's list itself; the running server still carries it over."""
    card = secure_broker.enrol("anna")
    secure_broker.certificates.revoke("anna", "by a command")
    assert not secure_broker.certificates.publish_crl()  # nothing new to write
    secure_broker.settle()
    with Intruder(secure_broker, card.context(), client_id="anna") as anna:
        assert anna.connect() != "Success"


def test_who_was_shut_out_is_not_shown_as_online(secure_broker: SecureSite) -> None:
    for name in ("anna", "ben"):
        secure_broker.enrol(name, wait=False)
        with secure_broker.store.writing() as connection:
            connection.execute(db.devices.insert().values(device=name, seen_at=1.0, online=True, status={}))
    secure_broker.revoke("anna")
    with secure_broker.store.reading() as connection:
        rows = connection.execute(select(db.devices.c.device, db.devices.c.online))
        shown = {row.device: row.online for row in rows}
    assert shown == {"anna": False, "ben": True}


def test_a_change_that_nobody_told_the_broker_of_is_told_at_the_next_start(tmp_path: Path) -> None:
    with secure_site(tmp_path, sync=False) as site:
        card = site.enrol("anna", wait=False)
        site.certificates.revoke("anna", "and then the power went")
        files.refresh(site.folder, site.authority)
        site.access.start()
        site.settle()
        with Intruder(site, card.context(), client_id="anna") as anna:
            assert anna.connect() != "Success"


def test_a_command_that_fails_is_run_again_and_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, trace = ManualClock(epoch_s=SystemClock().utc_s()), tmp_path / "trace"
    script = tmp_path / "reload.py"
    script.write_text(
        f"import pathlib, sys\np = pathlib.Path({str(trace)!r})\ntext = p.read_text() if p.exists() else ''\n"
        "p.write_text(text + 'x')\nsys.exit(len(text) < 2)\n"
    )
    home = tmp_path / "home"
    authority = Authority.make(home, clock=clock)
    opened = open_store(home)
    try:
        certificates = Certificates(opened, authority, clock=clock)
        access = AccessSync(certificates, None, folder=tmp_path / "elsewhere", reload=f"{sys.executable} {script}")
        with caplog.at_level(logging.INFO, logger="server.broker.admission"):
            rounds = [access.sync() for _ in range(4)]
        assert rounds == [False, False, True, True]
        assert trace.read_text() == "xxx"  # and not again while nothing changes
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        authority.revoke({5: clock.utc_s()})  # the list changes, and changes back: the broker may have read it
        assert access.sync()
        assert trace.read_text() == "xxxx"
    finally:
        opened.close()


def test_renewed_certificates_reach_open_contexts(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    home = tmp_path / "home"
    authority = Authority.make(home, clock=clock)
    opened = open_store(home)
    loaded: list[Path] = []

    class Context:
        def load_cert_chain(self, certificate: Path, _key: Path) -> None:
            loaded.append(certificate)

    try:
        certificates = Certificates(opened, authority, clock=clock)
        before = authority.service(dynsec_rules.SERVER, server_auth=False)[1].read_bytes()
        contexts = {dynsec_rules.SERVER: Context()}
        access = AccessSync(certificates, None, folder=tmp_path / "x", contexts=contexts)  # type: ignore[arg-type]
        assert (access.sync(), access.sync(), len(loaded)) == (True, True, 1)
        clock.sleep(300 * DAY_S)
        access.sync()
        assert len(loaded) == 2
        assert loaded[-1].read_bytes() != before
    finally:
        opened.close()
