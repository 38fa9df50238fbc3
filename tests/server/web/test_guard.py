"""Other web sites can neither read nor decide, whatever tricks they play with names."""

from __future__ import annotations

import http.client
import string
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from server.web.app import create_app
from server.web.guard import HEADERS, host_name, is_loopback, objection
from tests.server.dataset.moments import House
from tests.server.web.serving import FLAGGED, ask, post_json, served


def refused(method: str = "GET", **headers: str) -> int:
    found = objection(
        method, Headers({k.replace("_", "-"): v for k, v in headers.items()}), frozenset({"waycue.local"})
    )
    return found.status if found else 0


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST.",
        "127.0.0.1:1",
        "127.8.8.8",
        "[::1]:80",
        "review.localhost",
        "waycue.local:80",
    ],
)
def test_loopback_and_configured_names_are_answered(host: str) -> None:
    assert refused(host=host) == 0


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:127.0.0.1", "a@localhost",
     "localhost:80:80", "[::1", "192.168.1.4", "0.0.0.0", "localhost/x", "evil.example#localhost", "localhost:x",
     "127.1"],
)  # fmt: skip
def test_other_names_are_not(host: str) -> None:
    assert refused(host=host) == 421


@given(st.text(alphabet=string.printable, max_size=40))
def test_any_host_is_judged_without_an_error(host: str) -> None:
    name = host_name(host)
    assert name is None or isinstance(is_loopback(name), bool)


def test_a_request_without_browser_headers_may_decide() -> None:
    assert refused("POST", host="localhost", content_length="10") == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_a_browser_that_comes_from_another_site_may_not(site: str) -> None:
    assert refused("POST", host="localhost", content_length="10", sec_fetch_site=site) == 403
    assert refused("POST", host="localhost", content_length="10", sec_fetch_site="same-origin") == 0
    assert refused("GET", host="localhost", sec_fetch_site=site) == 0  # a link in a mail may lead here


@pytest.mark.parametrize(
    "origin", ["null", "", "http://evil.example", "http://localhost:81", "http://localhost.evil:80", "http://["]
)
def test_a_foreign_origin_may_not_decide(origin: str) -> None:
    assert refused("POST", host="localhost:80", content_length="10", origin=origin) == 403
    assert refused("DELETE", host="localhost:80", content_length="10", origin=origin) == 403
    assert refused("POST", host="localhost:80", content_length="10", origin="http://localhost:80") == 0


def test_a_body_must_say_a_small_length() -> None:
    assert refused("POST", host="localhost") == 411
    assert refused("POST", host="localhost", content_length="many") == 411
    assert refused("POST", host="localhost", content_length="20000") == 413
    assert refused("POST", host="localhost", content_length="9" * 5000) == 413


def test_a_foreign_form_changes_nothing(site: str, house: House) -> None:
    form = urlencode({"action": "reject"}).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = ask(f"{site}/moments/{FLAGGED}/review", method="POST", data=form, headers=headers | kind)
        assert answer.status == 403
        assert post_json(f"{site}/api/samples/{FLAGGED}/review", {"action": "reject"}, **headers).status == 403
    assert all(row.state == "pending" for row in house.dataset.rows())


def test_a_rebound_name_reads_nothing(site: str) -> None:
    answer = ask(f"{site}/api/samples", headers={"Host": "evil.example"})
    assert answer.status == 421
    assert b"evil.example" in answer.body
    assert b"samples" not in answer.body


@pytest.fixture
def named(house: House) -> Iterator[str]:
    with served(create_app(house.store, house.dataset, clock=house.clock, hosts=("Waycue.local",))) as url:
        yield url


def test_a_configured_name_is_answered(named: str) -> None:
    port = urlsplit(named).port
    assert ask(f"{named}/", headers={"Host": f"waycue.local:{port}"}).status == 200


@pytest.mark.parametrize("path", ["/", "/api/samples", "/static/review.css", "/media/frames/x", "/nowhere", "/healthz"])
def test_every_answer_carries_the_security_headers(site: str, path: str) -> None:
    answer = ask(f"{site}{path}")
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["Cache-Control"] in ("no-store", "no-cache")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_an_endless_body_is_not_read(site: str) -> None:
    parts = urlsplit(site)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request(
        "POST",
        f"/moments/{FLAGGED}/review",
        body=iter([b"x" * 1000] * 5),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert connection.getresponse().status == 411
    connection.close()
