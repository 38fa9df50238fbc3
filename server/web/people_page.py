"""The page /people, for admins: who has an account, invite, change, make a link for a new password, remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from server.access.accounts import Wearers
from server.access.invitations import DEFAULT_HOURS
from server.access.letting_in import LettingIn
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
SAID = {
    "allowed": "Saved. It counts from their next click.",
    "removed": "They can not come in any more.",
    "off": "They are let in no more, until you switch them on.",
    "on": "They are let in again.",
}
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

    @routes.post("/people/{account_id}/switch")
    def switch(request: Request, account_id: RowNumber, off: Annotated[str, Form()] = "") -> Response:
        return people.tried(lambda: people.switch(request, account_id, off=off == "yes"))

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
        return self._link(request, self.by(request).invite(role, wearers), "An invitation")

    def reset(self, request: Request, account_id: int) -> Response:
        """Raises: Refused."""
        by = self.by(request)
        token, name = by.reset(account_id), by.one(account_id).person.name
        return self._link(request, token, f"A link with which {name} sets a new password")

    def allow(self, request: Request, account_id: int, role: Role, wearers: Wearers) -> Response:
        """Raises: Refused."""
        self.by(request).allow(account_id, role, wearers)
        return RedirectResponse("/people?said=allowed", status_code=303)

    def switch(self, request: Request, account_id: int, *, off: bool) -> Response:
        """Raises: Refused."""
        self.by(request).switch(account_id, off=off)
        return RedirectResponse(f"/people?said={'off' if off else 'on'}", status_code=303)

    def remove(self, request: Request, account_id: int, *, sure: bool) -> Response:
        """Raises: Refused."""
        if not sure:
            raise Refused("Tick that they shall not come in any more.", hint="Nobody was removed.")
        self.by(request).remove(account_id)
        return RedirectResponse("/people?said=removed", status_code=303)

    def by(self, request: Request) -> LettingIn:
        """What the admin who asks may do."""
        return LettingIn(self._access, person.of(request).name)

    def _link(self, request: Request, token: str, title: str) -> HTMLResponse:
        link = f"{request.base_url}join/{token}"
        qr = Markup(segno.make_qr(link).svg_inline(scale=5, border=4))
        return self.page(link=link, link_title=title, qr=qr)

    def _known_wearers(self) -> list[str]:
        with self._access.store.reading() as connection:
            return distinct(connection, db.samples.c.wearer, most=MOST_NAMED)


def wearers_of(typed: str) -> Wearers:
    """Names that somebody typed, None = all. Pure."""
    return frozenset(filter(None, (one.strip() for one in typed.split(",")))) or None
