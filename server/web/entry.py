"""Who gets in: every request passes here behind the guard and before any route.

Rules that it keeps:

1. Without an account, only requests to a page that this machine alone can reach pass, as they always did; everywhere
   else the invitation's page is all there is.
2. With an account, everything asks for a log-in but what `server.web.permits` opens to everybody. A route that is not
   in that table is answered to nobody.
3. A moment or a file that a person may not see is answered like one that is not there, whatever the route.
4. What was looked at and decided is written down (server.access.audit).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access import visible
from server.access.accounts import PersonAccount
from server.access.person import ALONE, Person
from server.access.service import Access
from server.access.tokens import TokenScope
from server.web import cookies, no_database, permits, person, review
from server.web.guard import SAFE_METHODS
from server.web.permits import MEDIA, MOMENT, AskedRoute, Permit

NO_ACCOUNT = (
    "Nobody has an account here yet. Open the invitation that `waycue-server run` printed, or have one made in a"
    " terminal of the server: waycue-server accounts invite --role admin"
)
LOG_IN = "Log in first."
NOT_ALLOWED = "Your account may not do this. An admin can change what it may do."
NO_SCOPE = "This token is not good for that: it needs the scope {scope}."
SWITCHED_OFF = "Your account is switched off. An admin can switch it on again."
NOT_THERE = "There is no such page."
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MayPass:
    """A request that may go on."""

    person: Person | None
    """None = nobody is logged in, and the route is everybody's."""
    account: PersonAccount | None = None
    about: tuple[str, str] | None = None
    """What is written down once it was answered: (one of server.access.audit.ACTIONS, a moment or a file)."""
    scopes: frozenset[TokenScope] | None = None
    """What the token is good for; None = a browser's log-in."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A request that may not."""

    status: int
    reason: str
    person: Person | None = None
    """Who asked, where that is known."""


class Entry:
    """ASGI middleware inside `server.web.guard.Guard`."""

    def __init__(self, app: ASGIApp, access: Access, *, alone: bool, trouble: Callable[[int, str], Response]) -> None:
        """alone: only this machine can reach the page, so that it may be used before there is an account.
        trouble: (status, reason) → a page that says it"""
        self._app, self._access, self._alone, self._trouble = app, access, alone, trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            verdict = await run_in_threadpool(self.judge, request)
        except SQLAlchemyError as error:
            logger.error("The database did not say who asks for %s.", scope["path"], exc_info=error)
            verdict = TurnedAway(503, no_database.in_words(error))
        if isinstance(verdict, TurnedAway):
            with _shown_to(verdict.person):
                refusal = self._refusal(request, verdict)
            await refusal(scope, receive, send)
            return
        with _shown_to(verdict.person):
            await self._go_on(scope, receive, send, verdict)

    async def _go_on(self, scope: Scope, receive: Receive, send: Send, verdict: MayPass) -> None:
        status: list[int] = []

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        state = scope.setdefault("state", {})
        state["account"], state["listed"], state["scopes"] = verdict.account, [], verdict.scopes
        if verdict.person is not None:
            state["person"] = verdict.person
        await self._app(scope, receive, send_noted)
        if verdict.account is not None and status and status[0] < 400:
            seen = [("listed", sample_id) for sample_id in state["listed"]]
            seen += [verdict.about] if verdict.about else []
            if seen:
                await run_in_threadpool(self._note, Request(scope), verdict.account.person.name, seen)

    def judge(self, request: Request) -> MayPass | TurnedAway:
        """Whether a request may go on, and as whom. Raises: SQLAlchemyError."""
        asked = permits.find(request.method, path_of(request))
        if asked is not None and asked.permit.path.startswith("/static/"):
            return MayPass(None)  # the same files for everybody: no look into the database
        if not self._access.has_accounts:
            return self._before_accounts(request, asked)
        account, scopes = self._who(request)
        if account is None:
            return MayPass(None) if asked is not None and asked.permit.least is None else TurnedAway(401, LOG_IN)
        account = replace(account, person=replace(account.person, consents=self._access.consents()))
        return self._with_account(request, account, scopes, asked)

    def _with_account(
        self, request: Request, account: PersonAccount, scopes: frozenset[TokenScope] | None, asked: AskedRoute | None
    ) -> MayPass | TurnedAway:
        if account.disabled:  # another person may log in, or they log out
            everybodys = asked is not None and asked.permit.least is None
            return MayPass(None) if everybodys else TurnedAway(403, SWITCHED_OFF)
        if asked is None:
            return TurnedAway(404, NOT_THERE, account.person)
        objection = _objection(account.person, scopes, asked.permit)
        verdict = objection or self._about(request, account, asked)
        return replace(verdict, scopes=scopes) if isinstance(verdict, MayPass) else verdict

    def _before_accounts(self, request: Request, asked: AskedRoute | None) -> MayPass | TurnedAway:
        # A proxy on this machine that the settings do not name would open the page to all that it serves.
        if self._alone and not any(name in request.headers for name in FORWARDED):
            return MayPass(ALONE)
        if asked is not None and asked.permit.before_accounts:
            return MayPass(None)
        return TurnedAway(403, NO_ACCOUNT)

    def _who(self, request: Request) -> tuple[PersonAccount | None, frozenset[TokenScope] | None]:
        """(whose request it is, None = nobody's; what the token is good for, None = a browser's log-in)"""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found = self._access.tokens.account_of(bearer.strip())
            return found or (None, frozenset())
        session = cookies.read(request, cookies.SESSION)
        return (self._access.sessions.account_of(session) if session else None), None

    def _about(self, request: Request, account: PersonAccount, asked: AskedRoute) -> MayPass | TurnedAway:
        """What a request is about, if it names a moment or a file: may this person see it?"""
        who, moment, path = account.person, asked.names.get(MOMENT), path_of(request)
        if moment is not None:
            row = review.find(self._access.store, moment)
            if row is None or not visible.may_see(who, row):
                return TurnedAway(404, f"There is no moment {moment!r:.110}.", who)
            return MayPass(who, account, ("looked" if request.method in SAFE_METHODS else "decided", moment))
        if path.startswith(MEDIA):
            file = path.removeprefix(MEDIA)
            if not visible.may_open(self._access.store, who, file):
                return TurnedAway(404, "There is no such file in the dataset.", who)
            return MayPass(who, account, ("opened", file))
        return MayPass(who, account)

    def _note(self, request: Request, name: str, seen: list[tuple[str, str]]) -> None:
        address = request.client.host if request.client else ""
        for action, about in seen:
            self._access.audit.note(name, action, about, detail=path_of(request), address=address)

    def _refusal(self, request: Request, verdict: TurnedAway) -> Response:
        if is_for_programs(path_of(request)):
            headers = {"WWW-Authenticate": "Bearer"} if verdict.status == 401 else {}
            return JSONResponse({"detail": verdict.reason}, verdict.status, headers)
        if verdict.status == 401:
            here = path_of(request) + (f"?{request.url.query}" if request.url.query else "")
            after = here if request.method in SAFE_METHODS else "/"
            return RedirectResponse(f"/login?{urlencode({'after': after})}" if after != "/" else "/login", 303)
        return self._trouble(verdict.status, verdict.reason)


@contextmanager
def _shown_to(who: Person | None) -> Iterator[None]:
    token = person.shown_to.set(who)
    try:
        yield
    finally:
        person.shown_to.reset(token)


def path_of(request: Request) -> str:
    """The path as the routes match it. Not that of `request.url`, which ends at a "?" or "#" that was sent encoded."""
    path: str = request.scope["path"]
    return path


def is_for_programs(path: str) -> bool:
    """Whether what is answered there is read by programs, so that refusals are JSON. Pure."""
    return path.startswith(("/api/", "/media/", "/healthz", "/static/"))


def _objection(who: Person, scopes: frozenset[TokenScope] | None, permit: Permit) -> TurnedAway | None:
    """Why a person may not ask for a route, None where they may. Pure."""
    scope = permit.scope
    if permit.least is None:
        return None
    if not who.role.covers(permit.least):
        return TurnedAway(403, NOT_ALLOWED, who)
    if scopes is not None and (scope is None or scope not in scopes):
        return TurnedAway(403, NO_SCOPE.format(scope=scope) if scope else NOT_ALLOWED, who)
    return None
