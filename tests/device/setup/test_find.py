"""A server is announced by multicast DNS and found by it: real packets, over the loopback interface."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest

from device.setup.find import find_servers
from server.identity.announced import Announcement, addresses_of

pytest.importorskip("zeroconf", reason="zeroconf is not installed (pip install zeroconf)")
HERE = ("127.0.0.1",)


def test_a_server_is_found_while_it_is_announced_and_not_after_that() -> None:
    with closing(Announcement("attic", 18443, addresses=lambda: HERE)) as announcement:
        announcement.tick()
        assert "127.0.0.1:18443" in find_servers()
    assert "127.0.0.1:18443" not in find_servers(wait_s=0.5)


def test_an_address_that_changes_is_announced_anew_and_none_at_all_ends_it() -> None:
    addresses: tuple[str, ...] = HERE
    with closing(Announcement("cellar", 18444, addresses=lambda: addresses)) as announcement:
        announcement.tick()
        first = announcement._network
        announcement.tick()
        assert announcement._network is first
        addresses = ()
        announcement.tick()
        assert announcement._network is None
        addresses = HERE
        announcement.tick()
        assert announcement._network is not None


@pytest.mark.parametrize(
    ("host", "found"), [("127.0.0.1", ()), ("192.168.1.10", ("192.168.1.10",)), ("waycue.example", ()), ("::1", ())]
)
def test_only_what_others_can_reach_is_announced(host: str, found: tuple[str, ...]) -> None:
    assert addresses_of(host) == found
    assert all(not address.startswith("127.") for address in addresses_of("0.0.0.0"))


def test_without_the_library_nothing_is_found_and_nothing_ends() -> None:
    code = (
        "import sys; sys.modules['zeroconf'] = None\nfrom device.setup.find import find_servers\nprint(find_servers())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("()", 0), done.stderr
