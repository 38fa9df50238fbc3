"""Whatever stands in an address where a number, a name or a day is meant: an answer, and no error of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from server.web.permits import PERMITS
from tests.server.access.people import SAME_SITE, SITE, Town, town

HUGE = str(10**30)
ODD = (HUGE, "-1", "%00", "..%2f..%2fetc")
FORM = {"sure": "yes", "why": "x", "role": "wearer"}


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with town(tmp_path_factory.mktemp("town")) as site:
        yield _admin(site)


def _admin(site: Town) -> TestClient:
    browser = TestClient(
        site.app(whole=True), base_url=SITE, headers=SAME_SITE, follow_redirects=False, raise_server_exceptions=False
    )
    browser.cookies.set("waycue", site.access.sessions.open(site.id_of("Ana")))
    return browser


@pytest.mark.parametrize("odd", ODD)
def test_no_name_in_a_path_is_an_error_of_the_server(odd: str, admin: TestClient) -> None:
    failed = []
    for permit in PERMITS:
        if "{" not in permit.path or permit.path.startswith("/static/"):
            continue
        path = _filled(permit.path, odd)
        for form in (None, FORM) if permit.method == "POST" else (None,):
            answer = admin.request(permit.method, path, data=form)
            if answer.status_code >= 500:
                failed.append((permit.method, permit.path, answer.status_code, answer.text[:300]))
    assert failed == []


def _filled(path: str, odd: str) -> str:
    path = path.replace("{what}", "wearers").replace("{sample_id}", "pi-1-b00t-000000", 1)
    parts = [odd if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


@pytest.mark.parametrize("address", ["/", "/moments", "/api/samples"])
@pytest.mark.parametrize("days", ["until=9999-12-31", "since=9999-12-31", "since=0001-01-01&until=0001-01-01"])
def test_the_first_and_the_last_day_that_there_is_can_be_searched_for(
    address: str, days: str, admin: TestClient
) -> None:
    assert admin.get(f"{address}?{days}").status_code == 200
