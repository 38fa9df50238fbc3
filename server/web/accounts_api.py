"""The JSON API of accounts, for admins and for their tokens with the scope `accounts`. The same acts as /people,
but without the scope `admin` a token makes no admin and touches no admin's account.

    GET    /api/accounts                          {"accounts": […]}
    POST   /api/accounts                          {"role", "wearers", "hours"} → {"link", "hours"}: an invitation
    POST   /api/accounts/{id}/allow               {"role", "wearers"}
    POST   /api/accounts/{id}/disable             {"disabled"}
    POST   /api/accounts/{id}/reset               {"hours"} → {"link", "hours"}
    DELETE /api/accounts/{id}
    GET    /api/accounts/{id}/tokens              {"tokens": […]}, never what they are
    DELETE /api/accounts/{id}/tokens/{token_id}

A token is made by its owner alone, who shows their password for it (/account): whoever has stolen one cannot make more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from server.access.accounts import MOST_WEARERS, PersonAccount, Wearers
from server.access.invitations import DEFAULT_HOURS, MOST_HOURS
from server.access.letting_in import AboutAdmins, LettingIn, NoSuchAccount
from server.access.person import Role
from server.access.service import Access
from server.access.tokens import TokenScope
from server.web import person
from server.web.numbers import RowNumber
from shared.errors import Refused

_STRICT = ConfigDict(extra="forbid")
Answer = TypeVar("Answer")
Hours = Annotated[float, Field(gt=0, le=MOST_HOURS)]
Named = Annotated[str, Field(min_length=1, max_length=96)]


class RoleRequest(BaseModel):
    """What somebody may do."""

    model_config = _STRICT

    role: Role
    wearers: list[Named] | None = Field(None, min_length=1, max_length=MOST_WEARERS)
    """Whose moments they may see; null = all wearers', so no list is empty: nobody's is not everybody's."""

    @property
    def whose(self) -> Wearers:
        return None if self.wearers is None else frozenset(self.wearers)


class InviteRequest(RoleRequest):
    """Whom to let in, and how long the link is good."""

    hours: Hours = DEFAULT_HOURS


class LinkRequest(BaseModel):
    """How long a link is good."""

    model_config = _STRICT

    hours: Hours = DEFAULT_HOURS


class DisableRequest(BaseModel):
    """Whether somebody is let in no more."""

    model_config = _STRICT

    disabled: bool


def router(access: Access) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _looking(routes, access)
    _changing(routes, access)
    return routes


def _looking(routes: APIRouter, access: Access) -> None:
    @routes.get("/api/accounts")
    def accounts() -> dict[str, Any]:
        """Everybody who has an account, by name."""
        return {"accounts": [to_json(account) for account in access.accounts.all()]}

    @routes.get("/api/accounts/{account_id}/tokens")
    def tokens(request: Request, account_id: RowNumber) -> dict[str, Any]:
        """Somebody's API tokens."""
        account = _done(lambda: _by(request, access).one(account_id))
        return {"tokens": [asdict(token) for token in access.tokens.all(account.id)]}


def _changing(routes: APIRouter, access: Access) -> None:
    @routes.post("/api/accounts")
    def invite(body: InviteRequest, request: Request) -> dict[str, Any]:
        """A link for somebody new, good once."""
        token = _done(lambda: _by(request, access).invite(body.role, body.whose, hours=body.hours))
        return _link(request, token, body.hours)

    @routes.post("/api/accounts/{account_id}/allow")
    def allow(body: RoleRequest, request: Request, account_id: RowNumber) -> dict[str, Any]:
        """Another role, or other wearers; counts from their next request."""
        by = _by(request, access)
        _done(lambda: by.allow(account_id, body.role, body.whose))
        return to_json(by.one(account_id))

    @routes.post("/api/accounts/{account_id}/disable")
    def disable(body: DisableRequest, request: Request, account_id: RowNumber) -> dict[str, Any]:
        """Let somebody in no more for now, at once, or again."""
        by = _by(request, access)
        _done(lambda: by.switch(account_id, off=body.disabled))
        return to_json(by.one(account_id))

    @routes.post("/api/accounts/{account_id}/reset")
    def reset(body: LinkRequest, request: Request, account_id: RowNumber) -> dict[str, Any]:
        """A link with which somebody sets a new password; it ends all of their log-ins and tokens when it is used."""
        token = _done(lambda: _by(request, access).reset(account_id, hours=body.hours))
        return _link(request, token, body.hours)

    @routes.delete("/api/accounts/{account_id}")
    def remove(request: Request, account_id: RowNumber) -> dict[str, str]:
        """Take somebody's access away for good. What they decided stays, with their name."""
        _done(lambda: _by(request, access).remove(account_id))
        return {"status": "ok"}

    @routes.delete("/api/accounts/{account_id}/tokens/{token_id}")
    def revoke(request: Request, account_id: RowNumber, token_id: RowNumber) -> dict[str, str]:
        """End one of somebody's tokens."""
        _done(lambda: _by(request, access).revoke(account_id, token_id))
        return {"status": "ok"}


def to_json(account: PersonAccount) -> dict[str, Any]:
    """An account as the API gives it: nothing that lets anybody in."""
    who = account.person
    told: dict[str, Any] = {"id": account.id, "name": who.name, "role": who.role, "disabled": account.disabled}
    told |= {"wearers": None if who.wearers is None else sorted(who.wearers), "code": bool(account.totp)}
    return told | {
        "provider": bool(account.provider_id),
        "made_at_s": account.made_at_s,
        "seen_at_s": account.seen_at_s,
    }


def _by(request: Request, access: Access) -> LettingIn:
    who = person.of(request)
    if who.role is not Role.ADMIN:
        raise HTTPException(403, "Only an admin may do this.")
    scopes = request.state.scopes
    return LettingIn(access, who.name, about_admins=scopes is None or TokenScope.ADMIN in scopes)


def _link(request: Request, token: str, hours: float) -> dict[str, Any]:
    return {"link": f"{request.base_url}join/{token}", "hours": hours}


def _done(act: Callable[[], Answer]) -> Answer:
    """What an act gives. Raises: HTTPException with why it was refused."""
    try:
        return act()
    except NoSuchAccount as error:
        raise HTTPException(404, str(error)) from None
    except AboutAdmins as error:
        raise HTTPException(403, f"{error} {error.hint}") from None
    except Refused as error:
        raise HTTPException(422, str(error)) from None
