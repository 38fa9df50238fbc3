"""Logging in with an OpenID Connect provider: a real one, small, on a port of the test's own."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.testclient import TestClient

from server.access.person import Role
from server.access.provider import PENDING_S, Provider
from server.access.settings import AccessSettings
from shared.errors import ConfigError
from tests.server.access.people import ADAS, SAME_SITE, SITE, Town, town

CLIENT, SECRET = "waycue", "a-secret-of-the-provider"
LIFE_S = 300


@dataclass
class Issuer:
    """A provider whose only user is logged in already. It checks what RFC 6749, 7636 and OpenID Connect Core ask."""

    url: str = ""
    subject: str = "248289761001"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    shown: RSAKey | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    """Claims that are other than they should be."""
    now_s: int = 0
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def about() -> dict[str, str]:
            ends = {"authorization_endpoint": "/authorise", "token_endpoint": "/token", "jwks_uri": "/keys"}
            return {"issuer": self.url, **{name: self.url + path for name, path in ends.items()}}

        @app.get("/keys")
        def keys() -> Any:
            return KeySet([self.shown or self.key]).as_dict(private=False)

        @app.get("/authorise")
        def authorise(request: Request) -> Response:
            asked = dict(request.query_params)
            assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
            assert asked["code_challenge_method"] == "S256"
            code = secrets.token_urlsafe(8)
            self.codes[code] = asked
            return RedirectResponse(
                f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302
            )

        @app.post("/token")
        async def token(request: Request) -> Response:
            form = {name: str(value) for name, value in (await request.form()).items()}
            return self._token(request.headers.get("authorization", ""), form)

        return app

    def _token(self, authorization: str, form: dict[str, str]) -> Response:
        asked = self.codes.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or authorization != f"Basic {basic}" or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": self.subject,
            "aud": CLIENT,
            "nonce": asked["nonce"],
            "name": "Paula P.",
        }
        claims |= {"exp": self.now_s + LIFE_S, "iat": self.now_s, **self.changes}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(made.app(), log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield made
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def site(memory_path: Path, issuer: Issuer) -> Iterator[Town]:
    (memory_path / "secret").write_text(SECRET + "\n")
    settings = AccessSettings(provider=issuer.url, client_id=CLIENT, client_secret_file=str(memory_path / "secret"))
    issuer.changes, issuer.shown = {}, None
    with town(memory_path, settings=settings) as made:
        issuer.now_s = int(made.clock.utc_s())
        yield made


@contextmanager
def browsing(site: Town, app: FastAPI | None = None) -> Iterator[TestClient]:
    yield TestClient(app or site.app(), base_url=SITE, headers=SAME_SITE, follow_redirects=False)


def to_provider_and_back(browser: TestClient, query: str) -> str:
    """The path with which the provider sends a browser back."""
    sent = browser.get(f"/login/provider?{query}")
    assert sent.status_code == 303
    back = httpx.get(sent.headers["location"], follow_redirects=False, trust_env=False).headers["location"]
    assert back.startswith(f"{SITE}/login/provider/back?")
    return str(back.removeprefix(SITE))


def test_an_invited_person_logs_in_with_the_provider_from_then_on(site: Town) -> None:
    token = site.access.invitations.invite(Role.CAREGIVER, frozenset({"Ada"}), by="Ana")
    with browsing(site) as browser:
        assert "instead of a password" in browser.get(f"/join/{token}").text
        joined = browser.get(to_provider_and_back(browser, f"token={token}"))
        assert (joined.status_code, joined.headers["location"]) == (303, "/")
        assert browser.get(f"/moments/{ADAS}").status_code == 200
    account = site.access.accounts.named("Paula P.")
    assert (account.person.role, account.password) == (Role.CAREGIVER, "")
    with browsing(site) as other:
        back = other.get(to_provider_and_back(other, f"after=/moments/{ADAS}"))
        assert back.headers["location"] == f"/moments/{ADAS}"
        assert other.get(f"/moments/{ADAS}").status_code == 200
        assert other.post("/account/password", data={"password": "x" * 12, "again": "x" * 12}).status_code == 422


def test_the_provider_alone_lets_nobody_in(site: Town) -> None:
    with browsing(site) as browser:
        answer = browser.get(to_provider_and_back(browser, "after=/"))
        assert answer.status_code == 403
        assert "no account here" in answer.text
        assert browser.get("/").headers["location"] == "/login"


def test_what_comes_back_to_another_browser_twice_or_late_is_refused(site: Town) -> None:
    token = site.access.invitations.invite(Role.ADMIN, None, by="Ana")
    app = site.app()
    with browsing(site, app) as mallory, browsing(site, app) as victim:
        planted = to_provider_and_back(mallory, f"token={token}")
        assert victim.get(planted).status_code == 403, "log-in forgery: it was begun in another browser"
        assert mallory.get(planted).status_code == 403, "and is used up by that"
        late = to_provider_and_back(mallory, f"token={token}")
        site.house.clock.sleep(PENDING_S + 1)
        assert mallory.get(late).status_code == 403
        query = parse_qs(urlsplit(late).query)
        assert mallory.get(f"/login/provider/back?code={query['code'][0]}&state=made-up").status_code == 403
        assert mallory.get("/login/provider/back?error=access_denied").status_code == 403
    assert site.access.accounts.by_provider(f"{site.access.settings.provider} 248289761001") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "http://127.0.0.1:1"}, {"aud": "another program"}, {"nonce": "another"}, {"exp": 1}, {"sub": None},
        {"aud": [CLIENT, "another"]}, {},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_provider_signed_must_be_for_this_log_in(changes: dict[str, Any], site: Town, issuer: Issuer) -> None:
    issuer.changes = changes
    if not changes:
        issuer.shown = RSAKey.generate_key(2048, {"kid": "one"})  # signed with another key
    token = site.access.invitations.invite(Role.CAREGIVER, None, by="Ana")
    with browsing(site) as browser:
        assert browser.get(to_provider_and_back(browser, f"token={token}")).status_code == 403
    assert site.access.invitations.look(token) is not None


def test_a_provider_that_is_away_is_told(site: Town) -> None:
    site.access.settings = AccessSettings(provider="http://127.0.0.1:9", client_id=CLIENT)
    with browsing(site) as browser:
        answer = browser.get("/login/provider")
        assert answer.status_code == 503
        assert "does not answer" in answer.text


@pytest.mark.parametrize(
    "settings",
    [
        AccessSettings(provider="http://example.org", client_id="x"),
        AccessSettings(provider="example.org", client_id="x"),
        AccessSettings(provider="https://example.org"),
        AccessSettings(provider="https://example.org", client_id="x", client_secret_file="/nowhere/at all"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: AccessSettings, site: Town) -> None:
    with pytest.raises(ConfigError):
        Provider(settings, site.clock)
