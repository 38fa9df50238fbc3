"""The page /account: one's own password, code, tokens and log-ins.

What would let somebody stay in (a password, a code, a token) is changed with the present password only: a browser that
was left open is not enough.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from server.access import login, passwords, totp
from server.access.accounts import PersonAccount
from server.access.service import Access
from server.access.tokens import TokenScope
from server.web import cookies
from server.web.numbers import RowNumber
from server.web.page import PageRenderer
from shared.errors import Refused, Transient

SAID = {
    "password": "The password is changed. All other browsers are logged out.",
    "off": "You log in without a code from now on.",
    "revoked": "The token is revoked.",
}
SCOPES = (
    (TokenScope.READ, "Look at moments, files and figures"),
    (TokenScope.REVIEW, "Decide about moments"),
    (TokenScope.ADMIN, "What only admins may do"),
    (TokenScope.ACCOUNTS, "Let people in and out; admins only with the one above"),
)
NO_ACCOUNT = "There are no accounts here yet. Make the first in a terminal: waycue-server accounts invite --role admin"
Typed = Annotated[str, Form(max_length=400)]


def router(pages: PageRenderer, access: Access) -> APIRouter:
    """The routes of the page."""
    routes = APIRouter(include_in_schema=False)
    own = OwnAccount(pages, access)

    @routes.get("/account")
    def account(request: Request, said: str = "") -> HTMLResponse:
        return own.page(request, said=SAID.get(said, ""))

    @routes.post("/account/password")
    def change_password(request: Request, password: Typed, again: Typed, current: Typed = "") -> Response:
        return own.tried(request, lambda: own.change_password(request, current, password, again))

    @routes.get("/account/code")
    def code_page(request: Request) -> HTMLResponse:
        return own.code_page(request, totp.new_totp())

    @routes.post("/account/code")
    def set_code(request: Request, secret: Typed, code: Typed, current: Typed = "") -> Response:
        return own.set_code(request, secret, code, current)

    @routes.post("/account/code/off")
    def code_off(request: Request, current: Typed = "") -> Response:
        return own.tried(request, lambda: own.code_off(request, current))

    @routes.post("/account/tokens")
    def make_token(
        request: Request,
        label: Typed,
        scopes: Annotated[list[TokenScope], Form(default_factory=list)],
        days: Annotated[str, Form(max_length=4, pattern=r"^\s*[0-9]{0,4}\s*$")] = "",
        current: Typed = "",
    ) -> Response:
        return own.tried(request, lambda: own.make_token(request, current, label, scopes, days))

    @routes.post("/account/tokens/{token_id}/revoke")
    def revoke(request: Request, token_id: RowNumber) -> Response:
        access.tokens.revoke(token_id, own.of(request).id)
        return RedirectResponse("/account?said=revoked", status_code=303)

    @routes.post("/account/everywhere")
    def everywhere(request: Request) -> Response:
        access.sessions.close_all(own.of(request).id)
        answer = RedirectResponse("/login?said=everywhere", status_code=303)
        cookies.drop(request, answer, cookies.SESSION)
        return answer

    return routes


class OwnAccount:
    """What the routes of the page do."""

    def __init__(self, pages: PageRenderer, access: Access) -> None:
        self._pages, self._access = pages, access

    def of(self, request: Request) -> PersonAccount:
        """Whose page it is. Raises: HTTPException where there are no accounts."""
        found: PersonAccount | None = getattr(request.state, "account", None)
        if found is None:
            raise HTTPException(404, NO_ACCOUNT)
        return self._access.accounts.by_id(found.id) or found

    def page(self, request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
        """The page, with what is to be said."""
        account = self.of(request)
        shown = {"error": "", "said": "", "token": "", "codes": [], **values}
        return self._pages.render(
            "account.html",
            status=status,
            account=account,
            sessions=self._access.sessions.count(account.id),
            tokens=self._access.tokens.all(account.id),
            scopes=SCOPES,
            shortest=passwords.SHORTEST,
            day=day,
            **shown,
        )

    def tried(self, request: Request, act: Any) -> Response:
        """What an act answers, or the page with why it was refused."""
        try:
            answer: Response = act()
        except (Refused, Transient) as error:
            return self.page(request, status=422, error=str(error))
        return answer

    def change_password(self, request: Request, current: str, password: str, again: str) -> Response:
        """Raises: Refused, Transient."""
        account = self._confirmed(request, current)
        if password != again:
            raise Refused("The two new passwords are not the same.", hint="Type them again.")
        kept = self._access.passwords.hash(password, name=account.person.name)
        self._access.accounts.change(account.id, password=kept)
        sessions = self._access.sessions
        sessions.close_all(account.id)
        self._access.audit.note(account.person.name, "changed", account.person.name, detail="password")
        answer = RedirectResponse("/account?said=password", status_code=303)
        cookies.put(request, answer, cookies.SESSION, sessions.open(account.id), life_s=sessions.life.life_s)
        return answer

    def code_page(self, request: Request, secret: str, *, status: int = 200, error: str = "") -> HTMLResponse:
        """The page that sets up an app."""
        account = self.of(request)
        qr = Markup(segno.make_qr(totp.address(secret, account.person.name)).svg_inline(scale=6, border=4))
        return self._pages.render("code.html", status=status, account=account, secret=secret, qr=qr, error=error)

    def set_code(self, request: Request, secret: str, code: str, current: str) -> Response:
        """Take an app into use that has shown a right code."""
        if not totp.is_secret(secret):
            return self.code_page(
                request, totp.new_totp(), status=422, error="The key is not one of ours: begin again."
            )
        try:
            account = self._confirmed(request, current)
        except (Refused, Transient) as error:
            return self.code_page(request, secret, status=422, error=str(error))
        step = totp.step_of(secret, code, self._access.clock.utc_s(), after=0)
        if step is None:
            error_text = (
                "The code is wrong. Check that the phone's clock is right, and type the code that it shows now."
            )
            return self.code_page(request, secret, status=422, error=error_text)
        codes, kept = totp.new_recovery()
        self._access.accounts.change(account.id, totp=secret, totp_step=step, recovery=kept)
        self._access.audit.note(account.person.name, "changed", account.person.name, detail="code on")
        return self.page(request, said="From now on you log in with a code.", codes=codes)

    def code_off(self, request: Request, current: str) -> Response:
        """Raises: Refused, Transient."""
        account = self._confirmed(request, current)
        self._access.accounts.change(account.id, totp="", recovery=[])
        self._access.audit.note(account.person.name, "changed", account.person.name, detail="code off")
        return RedirectResponse("/account?said=off", status_code=303)

    def make_token(self, request: Request, current: str, label: str, scopes: list[TokenScope], days: str) -> Response:
        """Raises: Refused, Transient."""
        account = self._confirmed(request, current)
        token = self._access.tokens.make(account.id, label, scopes, days=float(days) if days.strip() else None)
        self._access.audit.note(account.person.name, "changed", account.person.name, detail=f"token {label}")
        return self.page(request, said="The token is made.", token=token)

    def _confirmed(self, request: Request, current: str) -> PersonAccount:
        account = self.of(request)
        if not login.confirm(self._access, account, current):
            raise Refused("Your present password is wrong, or was tried too often.", hint="Nothing was changed.")
        return account


def day(at_s: float) -> str:
    """A day for people."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"
