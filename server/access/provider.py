"""Log-ins with an OpenID Connect provider, through Authlib: authorisation code with PKCE, state and nonce.

The provider says who somebody is and nothing more: only a person who was invited has an account. A log-in that was
begun is bound to the browser that began it, ends after PENDING_S, and is finished at most once.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import ClaimsOption

from server.access import hashed
from server.access.settings import AccessSettings
from shared import settings as shared_settings
from shared.clock import Clock
from shared.errors import ConfigError, Refused, Transient

PENDING_S = 600.0
MOST_PENDING = 1000
KNOWN_S = 3600.0
TIMEOUT_S = 10.0
MAX_ID = 400
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
FAILED = "The log-in with the provider did not work."


@dataclass(frozen=True, slots=True)
class VouchedFor:
    """Whom the provider vouches for, and what for the log-in was begun."""

    id: str
    """Issuer and subject."""
    name: str
    """What the provider calls them; "" = it does not say."""
    purpose: str
    """As `begin` was told."""


@dataclass(frozen=True, slots=True)
class _Pending:
    browser: str
    nonce: str
    verifier: str
    back: str
    purpose: str
    at_s: float


class Provider:
    """The provider that the settings name. Safe from any thread."""

    def __init__(self, settings: AccessSettings, clock: Clock) -> None:
        """Raises: ConfigError where the settings do not go together."""
        self.name, self._issuer = settings.provider_name, settings.provider.rstrip("/")
        parts = urlsplit(self._issuer)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and shared_settings.is_loopback(parts.hostname or "")
        ):
            raise ConfigError(
                f"access.provider {self._issuer!r} is not an https address.", hint="Write the provider's issuer."
            )
        if not settings.client_id:
            raise ConfigError("access.provider is set and access.client_id is empty.", hint="The provider gives it.")
        self._client_id, self._clock = settings.client_id, clock
        self._secret = _secret_of(settings.client_secret_file)
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._known: tuple[float, dict[str, Any]] | None = None

    def begin(self, back: str, purpose: str) -> tuple[str, str]:
        """(address to send the browser to, token that the browser keeps until it comes back).

        back: address of this server that the provider sends the browser to; purpose: kept until then
        raises: Transient where the provider does not answer
        """
        browser, state = hashed.new_secret(), hashed.new_secret()
        nonce, verifier = hashed.new_secret(), hashed.new_secret()
        with self._client(back) as client:
            url, _ = client.create_authorization_url(
                self._metadata()["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        now_s = self._clock.monotonic_s()
        with self._lock:
            old = [key for key, one in self._pending.items() if now_s - one.at_s > PENDING_S]
            for key in [*old, *list(self._pending)[: max(0, len(self._pending) - MOST_PENDING + 1)]]:
                self._pending.pop(key, None)
            self._pending[state] = _Pending(hashed.hash_of(browser), nonce, verifier, back, purpose, now_s)
        return str(url), browser

    def finish(self, query: Mapping[str, str], browser: str) -> VouchedFor:
        """Who came back. query: of the address; browser: what the browser kept. Raises: Refused, Transient."""
        with self._lock:
            begun = self._pending.pop(query.get("state", ""), None)
        if begun is None or self._clock.monotonic_s() - begun.at_s > PENDING_S:
            raise Refused(FAILED, hint="It was not begun here, or too long ago: begin again.")
        if not hmac.compare_digest(begun.browser, hashed.hash_of(browser)):
            raise Refused(FAILED, hint="It was begun in another browser: begin again.")
        if "code" not in query:
            raise Refused(FAILED, hint="The provider did not let you in.")
        claims = self._claims(self._id_token(query["code"], begun), begun.nonce)
        subject = f"{self._issuer} {claims['sub']}"
        if len(subject) > MAX_ID:
            raise Refused(FAILED, hint="The provider's subject is too long.")
        name = claims.get("name") or claims.get("preferred_username") or ""
        return VouchedFor(subject, str(name)[:64], begun.purpose)

    def _id_token(self, code: str, begun: _Pending) -> str:
        try:
            with self._client(begun.back) as client:
                answer = client.fetch_token(
                    self._metadata()["token_endpoint"],
                    code=code,
                    code_verifier=begun.verifier,
                    grant_type="authorization_code",
                )
            return str(answer["id_token"])
        except httpx.HTTPError as error:
            raise Transient(f"The provider does not answer ({error}).", hint="Try again in a minute.") from None
        except (AuthlibBaseError, ValueError, KeyError, TypeError):
            raise Refused(FAILED, hint="The provider refused the code: begin again.") from None

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """What the provider signed. Raises: Refused, Transient."""
        keys = self._get(self._metadata()["jwks_uri"])
        required: ClaimsOption = {"essential": True}
        rules = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.utc_s()),
            leeway=60,
            iss={"essential": True, "value": self._metadata()["issuer"]},
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": nonce},
            sub=required,
            exp=required,
        )
        try:
            claims = dict(jwt.decode(token, KeySet.import_key_set(keys), algorithms=ALGORITHMS).claims)  # type: ignore[arg-type]  # read from JSON
            rules.validate(claims)
        except (JoseError, ValueError, KeyError, TypeError):
            raise Refused(FAILED, hint="What the provider sent is not signed by it, or not for this log-in.") from None
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._client_id:
            raise Refused(FAILED, hint="What the provider sent is for another program.")
        return claims

    def _metadata(self) -> dict[str, Any]:
        """What the provider publishes about itself, asked once an hour. Raises: Transient."""
        now_s = self._clock.monotonic_s()
        if self._known is None or now_s - self._known[0] > KNOWN_S:
            found = self._get(f"{self._issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise Transient("The provider says that it is another one.", hint="Check access.provider.")
            if not all(
                isinstance(found.get(key), str) for key in ("authorization_endpoint", "token_endpoint", "jwks_uri")
            ):
                raise Transient("The provider's own description is incomplete.", hint="Check access.provider.")
            self._known = (now_s, found)
        return self._known[1]

    def _get(self, url: str) -> dict[str, Any]:
        try:
            answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Transient(f"The provider does not answer ({error}).", hint="Try again in a minute.") from None
        if not isinstance(found, dict):
            raise Transient("The provider answers something else.", hint="Check access.provider.")
        return found

    def _client(self, back: str) -> Any:
        return OAuth2Client(
            self._client_id,
            self._secret,
            scope="openid profile",
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
            trust_env=False,
        )


def _secret_of(path: str) -> str | None:
    if not path:
        return None
    try:
        return Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"access.client_secret_file {path} cannot be read ({error}).", hint="Name another.") from None
