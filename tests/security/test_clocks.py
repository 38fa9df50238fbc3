"""A server's clock that was wrong for a while must lock nobody out for good."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509

from server.authority import Authority
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError

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
