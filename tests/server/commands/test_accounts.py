"""`waycue-server accounts`, and what a server prints at its first start."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from server import config as server_config
from server.access.invitations import NewLogin
from server.access.person import Role
from server.web import first_start
from server.web.reached import PageReach, reach_of
from shared.errors import ConfigError
from tests.server.access.people import Town, town
from tests.server.commands.terminal import server


@pytest.fixture
def site(memory_path: Path) -> Town:
    with town(memory_path) as made:
        server_config.init(made.house.home)
        return made


def run(site: Town, *arguments: object) -> str:
    done = server(site.house.home, "accounts", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_invitation_is_a_link_that_works(site: Town) -> None:
    (link,) = json.loads(run(site, "invite", "--role", "wearer", "--wearer", "Ada", "--json"))["links"]
    base, _, token = link.rpartition("/join/")
    assert base == "http://127.0.0.1:8080"
    found = site.access.invitations.look(token)
    assert found is not None
    assert (found.role, found.wearers) == (Role.WEARER, frozenset({"Ada"}))
    text = run(site, "invite")
    assert "becomes a caregiver, for all wearers" in text
    assert "Only this machine reaches the page" in text
    assert server(site.house.home, "accounts", "invite", "--role", "wearer").returncode == 1


def test_people_are_listed_reset_and_removed(site: Town) -> None:
    assert [one["name"] for one in json.loads(run(site, "list", "--json"))] == ["Ana", "Carl", "Wanda"]
    assert "Carl                     caregiver  Ada; never logged in" in run(site, "list")
    assert "Carl sets a new password" in run(site, "reset", "carl")
    assert "can not come in any more" in run(site, "remove", "Carl")
    assert server(site.house.home, "accounts", "remove", "Carl").returncode == 1
    assert "last admin" in server(site.house.home, "accounts", "remove", "Ana").stderr
    run(site, "remove", "Wanda")
    assert "Nobody has an account now" in run(site, "remove", "Ana")
    assert "Nobody has an account yet" in run(site, "list")


def test_tokens_are_made_listed_and_revoked(site: Town) -> None:
    token = json.loads(run(site, "tokens", "--make", "Carl", "--scope", "review", "--days", "3", "--json"))["token"]
    found = site.access.tokens.account_of(token)
    assert found is not None
    (listed,) = json.loads(run(site, "tokens", "--json"))
    assert (listed["name"], listed["scopes"]) == ("Carl", ["review"])
    assert token not in run(site, "tokens")
    assert "is revoked" in run(site, "tokens", "--revoke", listed["id"])
    assert site.access.tokens.account_of(token) is None
    assert server(site.house.home, "accounts", "tokens", "--revoke", 99).returncode == 1
    assert run(site, "tokens") == "There is no token.\n"


def test_the_log_of_reads_is_shown(site: Town) -> None:
    site.access.audit.note("Carl", "looked", "m-1", address="192.0.2.1")
    site.access.audit.note("Ana", "looked", "m-2")
    site.access.audit.flush()
    run(site, "remove", "Wanda")
    assert [one["about"] for one in json.loads(run(site, "audit", "--name", "Carl", "--json"))] == ["m-1"]
    assert "Carl                 looked     m-1  192.0.2.1" in run(site, "audit", "--about", "m-1")
    assert "(command line)       removed    Wanda" in run(site, "audit")
    assert "Nothing is written down" in run(site, "audit", "--name", "Nobody")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def reach(host: str, **more: str) -> PageReach:
    values = {"tls": "auto", "proxies": "", "names": "", "url": "", **more}
    return reach_of((host, 8080), **values)  # type: ignore[arg-type]  # what a settings file holds


def test_the_first_start_prints_the_admins_invitation_to_a_terminal_alone(memory_path: Path) -> None:
    with town(memory_path, people=False) as empty:
        screen, log = Screen(), io.StringIO()
        first_start.tell(empty.access, reach("192.0.2.5"), screen)
        first_start.tell(empty.access, reach("192.0.2.5"), log)
        token = screen.getvalue().partition("https://192.0.2.5:8080/join/")[2].split()[0]
        found = empty.access.invitations.look(token)
        assert found is not None
        assert found.role is Role.ADMIN
        assert "▀" in screen.getvalue() or "█" in screen.getvalue(), "the QR code"
        assert "/join/" not in log.getvalue()
        assert "accounts invite --role admin" in log.getvalue()
        again = Screen()
        first_start.tell(empty.access, reach("192.0.2.5"), again)
        assert empty.access.invitations.look(token) is None, "the next start ends the link of the one before"
        alone = Screen()
        first_start.tell(empty.access, reach("127.0.0.1"), alone)
        assert "/join/" not in alone.getvalue()
        newest = again.getvalue().partition("/join/")[2].split()[0]
        empty.access.invitations.redeem(newest, NewLogin("Ana", "hash"))
        told = Screen()
        first_start.tell(empty.access, reach("192.0.2.5"), told)
        assert told.getvalue() == ""


@pytest.mark.parametrize(
    ("host", "more", "tls", "alone"),
    [
        ("127.0.0.1", {}, False, True),
        ("::1", {}, False, True),
        ("127.0.0.1", {"tls": "on"}, True, True),
        ("127.0.0.1", {"proxies": "127.0.0.1"}, False, False),
        ("192.0.2.5", {}, True, False),
        ("0.0.0.0", {}, True, False),
        ("192.0.2.5", {"proxies": "192.0.2.9, 10.0.0.0/24", "tls": "off"}, False, False),
    ],
)
def test_tls_is_on_wherever_others_reach_the_page(host: str, more: dict[str, str], tls: bool, alone: bool) -> None:
    found = reach(host, **more)
    assert (found.tls, found.alone) == (tls, alone)


@pytest.mark.parametrize(
    "more", [{"tls": "off"}, {"proxies": "proxy.example"}, {"url": "waycue.example"}, {"url": "https://a/b"}]
)
def test_settings_that_would_send_passwords_in_the_clear_or_mean_nothing_are_refused(more: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        reach("192.0.2.5", **more)


def test_the_addresses_that_are_printed_work() -> None:
    assert reach("127.0.0.1").urls() == ("http://127.0.0.1:8080",)
    assert reach("::1").urls() == ("http://[::1]:8080",)
    assert reach("192.0.2.5").urls() == ("https://192.0.2.5:8080",)
    assert reach("192.0.2.5", url="https://waycue.example/").urls() == ("https://waycue.example",)
    assert "waycue.example" in reach("192.0.2.5", url="https://waycue.example").hosts
    anywhere = reach("0.0.0.0")
    assert all("0.0.0.0" not in url for url in anywhere.urls())
    assert "0.0.0.0" in anywhere.hosts
    assert "0.0.0.0" not in anywhere.certificate_hosts()
