"""The page /account/push: messages of this server in one's own browsers, what of, and when not."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from server.access.accounts import PersonAccount
from server.telling.browsers import FOR_ROLES
from server.telling.loop import TEST_TEXT
from server.telling.push import PushWay
from server.telling.step import KIND_WORDS
from server.telling.webpush import ENDPOINT_MOST, PushSubscription
from server.web.account_page import NO_ACCOUNT, day
from server.web.numbers import RowNumber
from server.web.page import PageRenderer
from server.web.telling_form import ChoicesForm
from shared.errors import ConfigError, Refused

HERE = "/account/push"
OFF = "This server sends no messages to browsers. An admin can allow it in telling.push_services."
SAID = {
    "added": "This browser is told from now on. Send a test.",
    "removed": "That browser is told nothing any more.",
    "saved": "Saved.",
    "tested": "A test is on its way.",
}
KeyTyped = Annotated[str, Form(max_length=100)]


def router(pages: PageRenderer, push: PushWay) -> APIRouter:
    """The routes of the page."""
    routes, own = APIRouter(include_in_schema=False), OwnMessages(pages, push)

    @routes.get(HERE)
    def shown(request: Request, said: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
        return own.page(request, said=SAID.get(said, ""))

    @routes.post(HERE)
    def subscribe(
        request: Request, endpoint: Annotated[str, Form(max_length=ENDPOINT_MOST)], p256dh: KeyTyped, auth: KeyTyped
    ) -> Response:
        return own.tried(request, "added", lambda who: push.subscribe(who.id, PushSubscription(endpoint, p256dh, auth)))

    @routes.post(f"{HERE}/choices")
    def choose(request: Request, form: Annotated[ChoicesForm, Form()]) -> Response:
        return own.tried(request, "saved", lambda who: push.browsers.choose(who.id, form.told()))

    @routes.post(f"{HERE}/test")
    def test(request: Request) -> Response:
        return own.tried(request, "tested", lambda who: push.test(who.id, who.person, TEST_TEXT))

    @routes.post(f"{HERE}/{{browser_id}}/remove")
    def remove(request: Request, browser_id: RowNumber) -> Response:
        return own.tried(request, "removed", lambda who: push.browsers.remove(browser_id, who.id))

    return routes


class OwnMessages:
    """What the routes of the page do."""

    def __init__(self, pages: PageRenderer, push: PushWay) -> None:
        self._pages, self._push = pages, push

    def page(self, request: Request, *, status: int = 200, said: str = "", error: str = "") -> HTMLResponse:
        """The page, with what is to be said. Raises: HTTPException, ConfigError, OSError."""
        account = self._account(request)
        may = FOR_ROLES[account.person.role]
        return self._pages.render(
            "push.html",
            status=status,
            said=said,
            error=error,
            key=self._push.public_key(),
            browsers=self._push.browsers.of(account.id),
            choices=self._push.browsers.choices(account.id),
            kinds={kind: text for kind, text in KIND_WORDS.items() if kind in may},
            day=day,
        )

    def tried(self, request: Request, said: str, act: Any) -> Response:
        """Back to the page, or the page with why it was refused. Raises: HTTPException, OSError."""
        try:
            act(self._account(request))
        except (Refused, ConfigError) as error:
            return self.page(request, status=422, error=str(error))
        return RedirectResponse(f"{HERE}?{urlencode({'said': said})}", status_code=303)

    def _account(self, request: Request) -> PersonAccount:
        found: PersonAccount | None = getattr(request.state, "account", None)
        if found is None:
            raise HTTPException(404, NO_ACCOUNT)
        if not self._push.is_on:
            raise HTTPException(404, OFF)
        return found
