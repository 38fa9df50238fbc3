"""The page /people, for admins: who has an account, invite, change, make a link for a new password, remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from server.access.accounts import PersonAccount, Wearers
from server.access.invitations import DEFAULT_HOURS
from server.access.person import Role
from server.access.service import Access
from server.database import store as db
from server.database.distinct import distinct
from server.web import person
from server.web.account_page import day
from server.web.numbers import RowNumber
from server.web.page import PageRenderer
from shared.errors import Refused

ROLES = (
    (Role.WEARER, "Wearer: sees and reviews their own moments"),
    (Role.CAREGIVER, "Caregiver: sees and reviews wearers' moments"),
    (Role.ADMIN, "Admin: all of it, and these pages"),
)
SAID = {"allowed": "Saved. It counts from their next click.", "removed": "They can not come in any more."}
MOST_NAMED = 50
WearersTyped = Annotated[str, Form(max_length=2000)]


def router(pages: PageRenderer, access: Access) -> APIRouter:
    """The routes of the page."""
    routes, people = APIRouter(include_in_schema=False), People(pages, access)

    @routes.get("/people")
    def everybody(said: str = "") -> HTMLResponse:
        return people.page(said=SAID.get(said, ""))

    @routes.post("/people/invite")
    def invite(
        request: Request, role: Annotated[Role, Form()] = Role.CAREGIVER, wearers: WearersTyped = ""
    ) -> Response:
        return people.tried(lambda: people.invite(request, role, wearers_of(wearers)))

    @routes.post("/people/{account_id}/reset")
    def reset(request: Request, account_id: RowNumber) -> Response:
        return people.tried(lambda: people.reset(request, account_id))

    @routes.post("/people/{account_id}/allow")
    def allow(
        request: Request, account_id: RowNumber, role: Annotated[Role, Form()], wearers: WearersTyped = ""
    ) -> Response:
        return people.tried(lambda: people.allow(request, account_id, role, wearers_of(wearers)))

    @routes.post("/people/{account_id}/remove")
    def remove(request: Request, account_id: RowNumber, sure: Annotated[str, Form()] = "") -> Response:
        return people.tried(lambda: people.remove(request, account_id, sure=sure == "yes"))

    return routes


class People:
    """What the routes of the page do."""

    def __init__(self, pages: PageRenderer, access: Access) -> None:
        self._pages, self._access = pages, access

    def page(self, *, status: int = 200, **values: Any) -> HTMLResponse:
        """The page, with what is to be said."""
        shown = {"error": "", "said": "", "link": "", "link_title": "", "qr": "", **values}
        return self._pages.render(
            "people.html",
            status=status,
            people=self._access.accounts.all(),
            wearers=self._known_wearers(),
            roles=ROLES,
            hours=f"{DEFAULT_HOURS:g}",
            provider=self._access.settings.provider_name if self._access.settings.provider else "",
            day=day,
            **shown,
        )

    def tried(self, act: Callable[[], Response]) -> Response:
        """What an act answers, or the page with why it was refused."""
        try:
            return act()
        except Refused as error:
            return self.page(status=422, error=str(error))

    def invite(self, request: Request, role: Role, wearers: Wearers) -> Response:
        """Raises: Refused."""
        by = person.of(request).name
        token = self._access.invitations.invite(role, wearers, by=by)
        self._access.audit.note(by, "let in", detail=f"invited: {role}, {told(wearers)}")
        return self._link(request, token, "An invitation")

    def reset(self, request: Request, account_id: int) -> Response:
        """Raises: Refused."""
        account, by = self._one(account_id), person.of(request).name
        token = self._access.invitations.reset(account.id, by=by)
        self._access.audit.note(by, "let in", account.person.name, detail="a link for a new password")
        return self._link(request, token, f"A link with which {account.person.name} sets a new password")

    def allow(self, request: Request, account_id: int, role: Role, wearers: Wearers) -> Response:
        """Raises: Refused."""
        account = self._one(account_id)
        self._access.accounts.allow(account.id, role, wearers)
        detail = f"{role}, {told(wearers)}"
        self._access.audit.note(person.of(request).name, "changed", account.person.name, detail=detail)
        return RedirectResponse("/people?said=allowed", status_code=303)

    def remove(self, request: Request, account_id: int, *, sure: bool) -> Response:
        """Raises: Refused."""
        account, by = self._one(account_id), person.of(request).name
        if not sure:
            raise Refused("Tick that they shall not come in any more.", hint="Nobody was removed.")
        if account.person.name == by:
            raise Refused("This is your own account.", hint="Another admin can remove it.")
        self._access.accounts.remove(account.id)
        self._access.audit.note(by, "removed", account.person.name)
        return RedirectResponse("/people?said=removed", status_code=303)

    def _link(self, request: Request, token: str, title: str) -> HTMLResponse:
        link = f"{request.base_url}join/{token}"
        qr = Markup(segno.make_qr(link).svg_inline(scale=5, border=4))
        return self.page(link=link, link_title=title, qr=qr)

    def _one(self, account_id: int) -> PersonAccount:
        account = self._access.accounts.by_id(account_id)
        if account is None:
            raise Refused("This account is not there any more.")
        return account

    def _known_wearers(self) -> list[str]:
        with self._access.store.reading() as connection:
            return distinct(connection, db.samples.c.wearer, most=MOST_NAMED)


def wearers_of(typed: str) -> Wearers:
    """Names that somebody typed, None = all. Pure."""
    return frozenset(filter(None, (one.strip() for one in typed.split(",")))) or None


def told(wearers: Wearers) -> str:
    """Wearers in words. Pure."""
    return "all wearers" if wearers is None else ", ".join(sorted(wearers))
