"""The pages at the door: log in, log out, follow an invitation, log in with a provider.

    GET  /login?after=              the form; POST takes name, password and code
    POST /logout                    ends this browser's log-in
    GET  /join/{token}              what an invitation is for; POST uses it up
    GET  /login/provider            sends the browser to the provider; /login/provider/back takes it back

A log-in always gets a new token, and the one that the browser brought ends. How often an address may try is bounded
before a password is looked at.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from server.access import login, passwords
from server.access.invitations import GONE, NewLogin, OpenInvitation
from server.access.login import LoginAttempt
from server.access.service import Access
from server.access.sessions import BROWSER_LIFE_S
from server.identity.connection_limit import network_of
from server.review import leases
from server.web import cookies
from server.web.page import PageRenderer
from shared.errors import Refused, Transient
from shared.token_bucket import RateLimiter

if TYPE_CHECKING:
    from server.access.provider import Provider, VouchedFor

BURST, REFILL_S = 20, 3.0
MOST_ADDRESSES = 4096
TOO_OFTEN = "There were too many tries from your address. Wait a minute and try again."
SAID = {"out": "You are logged out.", "everywhere": "All browsers are logged out."}
Typed = Annotated[str, Form(max_length=400)]


class DoorRates:
    """How often an address may try to come in. Safe from any thread."""

    def __init__(self, access: Access) -> None:
        self._clock = access.clock
        self._rates = RateLimiter(rate_per_s=1 / REFILL_S, capacity=BURST, max_keys=MOST_ADDRESSES)
        self._lock = threading.Lock()

    def allow(self, request: Request) -> bool:
        """Whether another try is read."""
        with self._lock:
            return self._rates.allows(network(request), self._clock.monotonic_s())


class Door:
    """What the pages at the door share."""

    def __init__(self, pages: PageRenderer, access: Access) -> None:
        """Raises: ConfigError where the settings of the provider are wrong."""
        self.pages, self.access, self.rates = pages, access, DoorRates(access)
        self.provider = _provider(access) if access.settings.provider else None

    def form(
        self, *, status: int = 200, error: str = "", name: str = "", after: str = "/", said: str = ""
    ) -> HTMLResponse:
        """The log-in's page."""
        return self.pages.render(
            "login.html",
            status=status,
            error=error,
            name=name,
            after=after,
            said=said,
            **self._about_provider({"after": after}),
        )

    def invitation(
        self, token: str, found: OpenInvitation | None, *, status: int = 200, error: str = "", name: str = ""
    ) -> HTMLResponse:
        """The invitation's page. found: None = the link is good for nothing"""
        if found is None:
            return self.pages.trouble(404, f"{GONE} Ask for a new one.")
        return self.pages.render(
            "join.html",
            status=status,
            token=token,
            invitation=found,
            error=error,
            name=name,
            shortest=passwords.SHORTEST,
            **self._about_provider({"token": token}),
        )

    def let_in(self, request: Request, account_id: int, after: str) -> Response:
        """Log a browser in, under a token that it did not have before."""
        sessions, answer = self.access.sessions, RedirectResponse(own_path(after), status_code=303)
        session = sessions.open(account_id, instead_of=cookies.read(request, cookies.SESSION))
        cookies.put(request, answer, cookies.SESSION, session, life_s=sessions.life.life_s)
        browser = sessions.remember(account_id, cookies.read(request, cookies.BROWSER))
        cookies.put(request, answer, cookies.BROWSER, browser, life_s=BROWSER_LIFE_S)
        return answer

    def back_from_provider(self, request: Request, subject: VouchedFor) -> Response:
        """Somebody whom the provider vouches for: they have an account, or were invited. Raises: Refused."""
        kind, _, value = subject.purpose.partition(" ")
        if kind == "token":
            found = self.access.invitations.look(value)
            name = found.name if found and found.account_id else subject.name
            account_id = self.access.invitations.redeem(value, NewLogin(name, provider_id=subject.id))
            return self.let_in(request, account_id, "/")
        account = self.access.accounts.by_provider(subject.id)
        if account is None:
            self.access.audit.note(subject.name, "refused", detail="provider", address=network(request))
            raise Refused(
                "You have no account here.", hint="Ask an admin for an invitation, and follow its link first."
            )
        self.access.accounts.seen(account.id)
        self.access.audit.note(account.person.name, "logged in", detail="provider", address=network(request))
        return self.let_in(request, account.id, value)

    def _about_provider(self, query: dict[str, str]) -> dict[str, str | bool]:
        name = self.provider.name if self.provider else ""
        return {"provider": name, "provider_query": urlencode(query)}


def router(pages: PageRenderer, access: Access) -> APIRouter:
    """The routes at the door. Raises: ConfigError where the settings of the provider are wrong."""
    routes, door = APIRouter(include_in_schema=False), Door(pages, access)
    _add_login(routes, door)
    _add_invitation(routes, door)
    if door.provider is not None:
        _add_provider(routes, door, door.provider)
    return routes


def _add_login(routes: APIRouter, door: Door) -> None:
    @routes.get("/login")
    def login_page(
        after: Annotated[str, Query(max_length=2000)] = "/", said: Annotated[str, Query(max_length=20)] = ""
    ) -> HTMLResponse:
        return door.form(after=own_path(after), said=SAID.get(said, ""))

    @routes.post("/login")
    def log_in(
        request: Request, name: Typed, password: Typed, code: Typed = "", after: Annotated[str, Form()] = "/"
    ) -> Response:
        after = own_path(after)
        if not door.rates.allow(request):
            return door.form(status=429, error=TOO_OFTEN, name=name, after=after)
        browser = cookies.read(request, cookies.BROWSER)
        typed = LoginAttempt(name, password, code, network(request), browser)
        try:
            result = login.attempt(door.access, typed)
        except Transient as error:
            return door.form(status=503, error=str(error), name=name, after=after)
        if result.account is not None:
            return door.let_in(request, result.account.id, after)
        if result.wait_s > 0:
            wait = f"{login.WRONG} There were many tries: wait {round(result.wait_s) + 1} seconds before the next."
            return door.form(status=429, error=wait, name=name, after=after)
        return door.form(status=401, error=login.WRONG, name=name, after=after)

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        token = cookies.read(request, cookies.SESSION)
        account = door.access.sessions.account_of(token) if token else None
        if account is not None:
            leases.release(door.access.store, account.person.name)  # others need not wait for what nobody looks at
        door.access.sessions.close(token)
        answer = RedirectResponse("/login?said=out", status_code=303)
        cookies.drop(request, answer, cookies.SESSION)
        return answer


def _add_invitation(routes: APIRouter, door: Door) -> None:
    @routes.get("/join/{token}")
    def invitation_page(request: Request, token: str) -> HTMLResponse:
        if not door.rates.allow(request):
            return door.pages.trouble(429, TOO_OFTEN)
        return door.invitation(token, door.access.invitations.look(token))

    @routes.post("/join/{token}")
    def join(request: Request, token: str, name: Typed, password: Typed, again: Typed) -> Response:
        if not door.rates.allow(request):
            return door.pages.trouble(429, TOO_OFTEN)
        found = door.access.invitations.look(token)
        if found is None:
            return door.invitation(token, None)
        name = found.name or name
        try:
            if password != again:
                raise Refused("The two passwords are not the same.", hint="Type them again.")
            kept = door.access.passwords.hash(password, name=name)
            account_id = door.access.invitations.redeem(token, NewLogin(name, kept))
        except (Refused, Transient) as error:
            still = door.access.invitations.look(token)
            return door.invitation(token, still, status=422, error=str(error), name=name)
        door.access.accounts.seen(account_id)
        door.access.audit.note(name, "logged in", detail="invitation", address=network(request))
        return door.let_in(request, account_id, "/")


def _provider(access: Access) -> Provider:
    """Authlib is loaded only where the settings name a provider."""
    from server.access.provider import Provider

    return Provider(access.settings, access.clock)


def _add_provider(routes: APIRouter, door: Door, provider: Provider) -> None:
    @routes.get("/login/provider")
    def to_provider(
        request: Request,
        after: Annotated[str, Query(max_length=2000)] = "/",
        token: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        if not door.rates.allow(request):
            return door.pages.trouble(429, TOO_OFTEN)
        purpose = f"token {token}" if token else f"after {own_path(after)}"
        try:
            url, browser = provider.begin(f"{request.base_url}login/provider/back", purpose)
        except Transient as error:
            return door.form(status=503, error=str(error), after=own_path(after))
        answer = RedirectResponse(url, status_code=303)
        cookies.put(request, answer, cookies.PROVIDER, browser, life_s=600)
        return answer

    @routes.get("/login/provider/back")
    def from_provider(request: Request) -> Response:
        try:
            subject = provider.finish(request.query_params, cookies.read(request, cookies.PROVIDER))
            answer = door.back_from_provider(request, subject)
        except (Refused, Transient) as error:
            answer = door.form(status=403 if isinstance(error, Refused) else 503, error=str(error))
        cookies.drop(request, answer, cookies.PROVIDER)
        return answer


def network(request: Request) -> str:
    """Where a request comes from, as it is counted: an IPv6 address stands for its /64."""
    return network_of(request.client.host) if request.client else ""


def own_path(after: str) -> str:
    """A path of this server to go on to, "/" for anything else: our log-in leads on to no other site. Pure."""
    plain = after if after.isprintable() and "\\" not in after else "/"
    try:
        parts = urlsplit(plain)
    except ValueError:
        return "/"
    own = plain.startswith("/") and not plain.startswith("//") and not parts.netloc and not parts.scheme
    return plain if own and not parts.path.startswith(("/login", "/join", "/logout")) else "/"
