"""A server's clock that was wrong for a while must lock nobody out for good."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509

from device.identity import identity
from server.database import store as db
from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from shared import messages
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError
from shared.messages import Renew
from tests.enrolment.quick import enrolled

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S


@pytest.mark.parametrize("name", ["broker", "waycue-server"])
def test_a_certificate_that_was_made_while_the_clock_was_ahead_is_made_anew(name: str, tmp_path: Path) -> None:
    """The server's own parts look at the time: they would not meet for five years."""
    now_s = SystemClock().utc_s()
    for clock_s in (now_s, now_s + 5 * YEAR_S, now_s):
        authority = Authority.make(tmp_path, clock=ManualClock(epoch_s=clock_s))
        _, path = authority.service(name, server_auth=name == "broker")
    held = x509.load_pem_x509_certificate(path.read_bytes())
    now = dt.datetime.fromtimestamp(now_s, dt.UTC)
    assert held.not_valid_before_utc <= now <= held.not_valid_after_utc


def test_past_the_authoritys_own_end_nothing_is_issued_and_it_says_so(tmp_path: Path) -> None:
    now_s = SystemClock().utc_s()
    Authority.make(tmp_path, clock=ManualClock(epoch_s=now_s))
    with pytest.raises(ConfigError, match="clock is wrong"):
        Authority(tmp_path, clock=ManualClock(epoch_s=now_s + 30 * YEAR_S)).service("broker", server_auth=True)


def test_a_question_for_a_certificate_past_that_end_is_refused_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a traceback for each, and a device asks every five minutes."""
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    store = open_store(tmp_path / "home")
    book = Certificates(store, Authority.make(tmp_path / "home", clock=clock), clock=clock, days=40 * 365)
    found = enrolled(book, tmp_path / "device", "pi-1", clock=clock)
    asked = Renew(identity.certificate_request((found.folder / identity.KEY).read_bytes(), "pi-1"))
    with store.writing() as connection:  # a certificate that outlives the authority, so that only the issue can fail
        connection.execute(db.certificates.update().values(not_after=clock.utc_s() + 40 * YEAR_S))
    clock.sleep(30 * YEAR_S)
    assert book.renew("pi-1", ["up", "renew"], messages.encode(asked)) == []
    assert "clock is wrong" in caplog.text
    store.close()
