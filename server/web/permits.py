"""Which role may ask for which route: one table. What is not in it is answered to nobody who had to log in.

A route that names a moment in its path (`{sample_id}`) or a file of the dataset (/media/…) is open to those who may see
that moment (server.access.visible): `server.web.entry` looks, for every such route, before the route does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from starlette.routing import compile_path

from server.access.person import Role
from server.access.tokens import TokenScope

READ, REVIEW, ADMINISTER, ACCOUNTS = TokenScope.READ, TokenScope.REVIEW, TokenScope.ADMIN, TokenScope.ACCOUNTS
MOMENT = "sample_id"
MEDIA = "/media/"


@dataclass(frozen=True, slots=True)
class Permit:
    """Who may ask for a route."""

    method: str
    path: str
    least: Role | None
    """The least role; None = everybody, without a log-in."""
    scope: TokenScope | None = READ
    """What an API token needs for it; None = a browser's log-in only."""
    before_accounts: bool = False
    """Is answered also where there is no account yet and the page can be reached from elsewhere."""


_EVERYBODY, _WEARER, _CAREGIVER, _ADMIN = None, Role.WEARER, Role.CAREGIVER, Role.ADMIN
PERMITS = (
    Permit("GET", "/healthz", _EVERYBODY, before_accounts=True),
    Permit("GET", "/static/{path:path}", _EVERYBODY, before_accounts=True),
    Permit("GET", "/join/{token}", _EVERYBODY, None, before_accounts=True),
    Permit("POST", "/join/{token}", _EVERYBODY, None, before_accounts=True),
    Permit("GET", "/login", _EVERYBODY, None),
    Permit("POST", "/login", _EVERYBODY, None),
    Permit("GET", "/login/provider", _EVERYBODY, None, before_accounts=True),
    Permit("GET", "/login/provider/back", _EVERYBODY, None, before_accounts=True),
    Permit("POST", "/logout", _EVERYBODY, None),
    Permit("GET", "/", _WEARER),
    Permit("GET", "/models", _WEARER),
    Permit("GET", "/moments/{sample_id}", _WEARER),
    Permit("POST", "/moments/{sample_id}/review", _WEARER, REVIEW),
    Permit("POST", "/moments/{sample_id}/where", _WEARER, REVIEW),
    Permit("GET", "/moments", _WEARER),
    Permit("POST", "/moments/several", _WEARER, REVIEW),
    Permit("POST", "/moments/{sample_id}/mark", _WEARER, REVIEW),
    Permit("POST", "/moments/{sample_id}/comment", _WEARER, REVIEW),
    Permit("POST", "/moments/{sample_id}/assign", _WEARER, REVIEW),
    Permit("GET", "/moments/{sample_id}/alike", _WEARER),
    Permit("POST", "/moments/{sample_id}/alike", _WEARER, REVIEW),
    Permit("POST", "/undo", _WEARER, REVIEW),
    Permit("GET", "/keys", _WEARER),
    Permit("GET", "/ear", _WEARER),
    Permit("GET", "/ear/sound/{token}", _WEARER),
    Permit("GET", "/manifest.webmanifest", _EVERYBODY, before_accounts=True),
    Permit("GET", "/sw.js", _EVERYBODY, before_accounts=True),
    Permit("GET", "/offline", _EVERYBODY, before_accounts=True),
    Permit("GET", "/batch", _WEARER),
    Permit("POST", "/batch", _WEARER, REVIEW),
    Permit("GET", "/teach", _CAREGIVER),
    Permit("POST", "/teach", _CAREGIVER, REVIEW),
    Permit("GET", "/media/{kind}/{name}", _WEARER),
    Permit("GET", "/api/openapi.json", _WEARER),
    Permit("GET", "/api/samples", _WEARER),
    Permit("GET", "/api/samples/{sample_id}", _WEARER),
    Permit("POST", "/api/samples/{sample_id}/review", _WEARER, REVIEW),
    Permit("GET", "/api/stats", _WEARER),
    Permit("POST", "/api/next", _WEARER, REVIEW),
    Permit("GET", "/api/choices", _WEARER),
    Permit("POST", "/api/samples/{sample_id}/lease", _WEARER, REVIEW),
    Permit("DELETE", "/api/samples/{sample_id}/lease", _WEARER, REVIEW),
    Permit("POST", "/api/batch", _WEARER, REVIEW),
    Permit("GET", "/api/undo", _WEARER),
    Permit("POST", "/api/undo", _WEARER, REVIEW),
    Permit("POST", "/api/samples/{sample_id}/skip", _WEARER, REVIEW),
    Permit("DELETE", "/api/samples/{sample_id}/skip", _WEARER, REVIEW),
    Permit("POST", "/api/samples/{sample_id}/difficult", _WEARER, REVIEW),
    Permit("POST", "/api/samples/{sample_id}/assign", _WEARER, REVIEW),
    Permit("GET", "/api/samples/{sample_id}/marks", _WEARER),
    Permit("POST", "/api/samples/{sample_id}/comments", _WEARER, REVIEW),
    Permit("DELETE", "/api/samples/{sample_id}/comments/{comment_id}", _WEARER, REVIEW),
    Permit("GET", "/api/samples/{sample_id}/near", _WEARER),
    Permit("GET", "/api/wording", _WEARER),
    Permit("GET", "/api/words", _ADMIN),
    Permit("POST", "/api/words", _ADMIN, ADMINISTER),
    Permit("DELETE", "/api/words", _ADMIN, ADMINISTER),
    Permit("POST", "/api/ear/next", _WEARER, REVIEW),
    Permit("POST", "/api/ear/undo", _WEARER, REVIEW),
    Permit("POST", "/api/ear/{sample_id}/do", _WEARER, REVIEW),
    Permit("GET", "/api/ear/{sample_id}/say", _WEARER),
    Permit("GET", "/api/ear/phrase", _WEARER),
    Permit("GET", "/api/ear/{sample_id}/walk", _WEARER),
    Permit("GET", "/api/ear/{sample_id}/alike", _WEARER),
    Permit("POST", "/api/ear/{sample_id}/alike", _WEARER, REVIEW),
    Permit("GET", "/api/ear/{sample_id}/blur", _WEARER),
    Permit("POST", "/api/ear/{sample_id}/blur", _WEARER, REVIEW),
    Permit("GET", "/api/ear/{sample_id}/delete", _WEARER),
    Permit("POST", "/api/ear/{sample_id}/delete", _WEARER, ADMINISTER),
    Permit("GET", "/wearers", _WEARER),
    Permit("GET", "/moments/{sample_id}/delete", _WEARER),
    Permit("POST", "/moments/{sample_id}/delete", _WEARER, ADMINISTER),
    Permit("GET", "/walks/{walk_id:path}/delete", _ADMIN),
    Permit("POST", "/walks/{walk_id:path}/delete", _ADMIN, ADMINISTER),
    Permit("GET", "/wearers/{name:path}/delete", _WEARER),
    Permit("POST", "/wearers/{name:path}/delete", _WEARER, ADMINISTER),
    Permit("GET", "/wearers/{name:path}", _WEARER),
    Permit("POST", "/wearers/{name:path}", _WEARER, ADMINISTER),
    Permit("GET", "/deletions", _WEARER),
    Permit("GET", "/deletions/{number}", _WEARER),
    Permit("POST", "/moments/{sample_id}/blur", _WEARER, REVIEW),
    Permit("GET", "/account", _WEARER, None),
    Permit("POST", "/account/password", _WEARER, None),
    Permit("GET", "/account/code", _WEARER, None),
    Permit("POST", "/account/code", _WEARER, None),
    Permit("POST", "/account/code/off", _WEARER, None),
    Permit("POST", "/account/tokens", _WEARER, None),
    Permit("POST", "/account/tokens/{token_id}/revoke", _WEARER, None),
    Permit("POST", "/account/everywhere", _WEARER, None),
    Permit("GET", "/account/push", _WEARER, None),
    Permit("POST", "/account/push", _WEARER, None),
    Permit("POST", "/account/push/choices", _WEARER, None),
    Permit("POST", "/account/push/test", _WEARER, None),
    Permit("POST", "/account/push/{browser_id}/remove", _WEARER, None),
    Permit("GET", "/admin", _ADMIN),
    Permit("GET", "/admin/progress", _ADMIN),
    Permit("GET", "/admin/coverage", _ADMIN),
    Permit("GET", "/admin/errors", _ADMIN),
    Permit("GET", "/admin/storage", _ADMIN),
    Permit("GET", "/admin/devices", _ADMIN),
    Permit("GET", "/admin/devices/{name}", _ADMIN),
    Permit("POST", "/admin/devices", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/devices/{name}/revoke", _ADMIN, ADMINISTER),
    Permit("GET", "/metrics", _EVERYBODY),  # looks itself: this machine, its token, or an admin
    Permit("GET", "/admin/models", _ADMIN),
    Permit("GET", "/admin/models/{version}", _ADMIN),
    Permit("POST", "/admin/models/{version}/promote", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/models/rollback", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/models/{version}/rollout", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/models/{version}/rollout/{step}", _ADMIN, ADMINISTER),
    Permit("GET", "/admin/nights", _ADMIN),
    Permit("GET", "/admin/nights/{run_id}", _ADMIN),
    Permit("POST", "/admin/nights", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/nights/end", _ADMIN, ADMINISTER),
    Permit("GET", "/admin/settings", _ADMIN),
    Permit("GET", "/admin/settings/{section}", _ADMIN),
    Permit("POST", "/admin/settings/{section}", _ADMIN, ADMINISTER),
    Permit("GET", "/admin/telling", _ADMIN),
    Permit("POST", "/admin/telling", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/telling/{name}/test", _ADMIN, ADMINISTER),
    Permit("POST", "/admin/telling/{name}/remove", _ADMIN, ADMINISTER),
    Permit("GET", "/people", _ADMIN, None),
    Permit("POST", "/people/invite", _ADMIN, None),
    Permit("POST", "/people/{account_id}/reset", _ADMIN, None),
    Permit("POST", "/people/{account_id}/allow", _ADMIN, None),
    Permit("POST", "/people/{account_id}/switch", _ADMIN, None),
    Permit("POST", "/people/{account_id}/remove", _ADMIN, None),
    Permit("GET", "/api/accounts", _ADMIN, ACCOUNTS),
    Permit("POST", "/api/accounts", _ADMIN, ACCOUNTS),
    Permit("POST", "/api/accounts/{account_id}/allow", _ADMIN, ACCOUNTS),
    Permit("POST", "/api/accounts/{account_id}/disable", _ADMIN, ACCOUNTS),
    Permit("POST", "/api/accounts/{account_id}/reset", _ADMIN, ACCOUNTS),
    Permit("DELETE", "/api/accounts/{account_id}", _ADMIN, ACCOUNTS),
    Permit("GET", "/api/accounts/{account_id}/tokens", _ADMIN, ACCOUNTS),
    Permit("DELETE", "/api/accounts/{account_id}/tokens/{token_id}", _ADMIN, ACCOUNTS),
)


@dataclass(frozen=True, slots=True)
class AskedRoute:
    """The permit that a request falls under, with what its path names."""

    permit: Permit
    names: dict[str, str]


def find(method: str, path: str) -> AskedRoute | None:
    """The permit of a request, None where no route of the table is meant. HEAD is GET. Pure."""
    method = "GET" if method == "HEAD" else method
    for pattern, permit in _compiled():
        if permit.method == method and (matched := pattern.match(path)):
            return AskedRoute(permit, matched.groupdict())
    return None


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], Permit], ...]:
    return tuple((compile_path(permit.path)[0], permit) for permit in PERMITS)
