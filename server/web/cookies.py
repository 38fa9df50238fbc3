"""The cookies of a log-in: not for scripts, not sent along by other sites, over TLS with the __Host- prefix, so that
neither plain HTTP nor a neighbour's name can set one."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.responses import Response

SESSION, BROWSER, PROVIDER = "waycue", "waycue-browser", "waycue-provider"
HOST_PREFIX = "__Host-"


def read(request: HTTPConnection, name: str) -> str:
    """A cookie of ours, "" where there is none."""
    return request.cookies.get(_name(request, name), "")


def put(request: HTTPConnection, response: Response, name: str, value: str, *, life_s: float) -> None:
    """Have the browser keep a cookie for so long."""
    response.set_cookie(
        _name(request, name),
        value,
        max_age=int(life_s),
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="lax",
    )


def drop(request: HTTPConnection, response: Response, name: str) -> None:
    """Have the browser forget a cookie."""
    response.delete_cookie(_name(request, name), path="/", secure=is_secure(request), httponly=True, samesite="lax")


def is_secure(request: HTTPConnection) -> bool:
    """Whether the request came over TLS, to us or to the proxy that the settings name."""
    return request.url.scheme == "https"


def _name(request: HTTPConnection, name: str) -> str:
    return f"{HOST_PREFIX}{name}" if is_secure(request) else name
