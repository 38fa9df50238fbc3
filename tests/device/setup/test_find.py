"""A server is announced by multicast DNS and found by it: real packets, over the loopback interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing

import pytest

from device.setup.find import find_servers
from server.identity.announced import Announcement, addresses_of
from shared.enrolment import SERVICE

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


def test_answers_without_a_port_or_of_another_kind_are_left_out_and_many_crowd_nobody_out() -> None:
    import zeroconf

    network = zeroconf.Zeroconf(interfaces=["127.0.0.1"], ip_version=zeroconf.IPVersion.V4Only)
    with closing(network):
        many = [f"127.0.1.{number}" for number in range(1, 9)]
        answers = (("liar", 0, ["127.0.0.9"]), ("many", 18448, many), ("new", 18447, ["fd00::7", "127.0.0.7"]))
        for name, port, addresses in answers:
            info = zeroconf.ServiceInfo(
                SERVICE, f"{name}.{SERVICE}", port=port, parsed_addresses=addresses, server=f"{name}.local."
            )
            network.register_service(info)
        found = find_servers()
    assert "127.0.0.7:18447" in found
    assert {server.rpartition(":")[2] for server in found} == {"18447", "18448"}
    assert not [server for server in found if "fd00" in server]


def test_where_there_is_no_network_at_all_nobody_is_found() -> None:
    code = "from device.setup.find import find_servers\nprint(find_servers(wait_s=0.1))"
    command = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else []), sys.executable, "-c", code]
    if shutil.which("unshare") is None or subprocess.run([*command[:-2], "-c", ""], capture_output=True).returncode:
        pytest.skip("no network of its own can be had here (unshare)")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("()", 0), done.stderr


def test_without_the_library_nothing_is_found_and_nothing_ends() -> None:
    code = (
        "import sys; sys.modules['zeroconf'] = None\nfrom device.setup.find import find_servers\nprint(find_servers())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("()", 0), done.stderr
