"""Requests that schemathesis makes up from the OpenAPI document: none is an error of the server, and none gets past the
log-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.access.tokens import TokenScope
from server.web.permits import PERMITS
from tests.server.access.people import SITE, Town, town

ROUTES = [
    (permit.method, permit.path)
    for permit in PERMITS
    if permit.path.startswith(("/api/", "/media/")) and permit.path != "/api/openapi.json"
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Town]:
    with town(tmp_path) as made:
        yield made


@pytest.mark.soak  # ten seconds of processor: the generator of bodies is thorough
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_request_of_the_document_is_an_error_of_the_server(method: str, path: str, site: Town) -> None:
    token = site.access.tokens.make(site.id_of("Wanda"), "schemathesis", list(TokenScope))
    app = site.app(whole=True)
    browser = TestClient(app, base_url=SITE, follow_redirects=False, raise_server_exceptions=True)
    schema = schemathesis.openapi.from_dict(app.openapi())

    @given(data=st.data())
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def tried(data: st.DataObject) -> None:
        case = data.draw(schema[path][method].as_strategy())
        for headers, refused in (({}, True), ({"Authorization": f"Bearer {token}"}, False)):
            asked = case.as_transport_kwargs(base_url=SITE, headers=headers)
            asked.pop("cookies", None)
            answer = browser.request(**asked)
            assert answer.status_code < 500
            assert answer.status_code in (401, 404, 411, 413, 431) or not refused

    tried()


def test_every_route_of_the_document_is_tried(site: Town) -> None:
    paths = site.app(whole=True).openapi()["paths"]
    known = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert known == {*ROUTES, ("GET", "/healthz")}
