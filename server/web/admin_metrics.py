"""/metrics: for Prometheus on this machine, for whoever shows the token, and for an admin who is logged in."""

from __future__ import annotations

import hmac

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from server.web.admin_desk import AdminDesk
from server.web.person import Role
from shared.settings import is_loopback

TYPE = "text/plain; version=0.0.4; charset=utf-8"
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-host")


def add_routes(routes: APIRouter, desk: AdminDesk) -> None:
    """The one route."""

    @routes.get("/metrics")
    def metrics(request: Request) -> Response:
        if not may_read(request, desk.metrics_token):
            raise HTTPException(403, "Metrics are for this machine, or for who shows the token of metrics.token_file.")
        return Response(desk.metrics.text(), media_type=TYPE)


def may_read(request: Request, token: str) -> bool:
    """Whoever a proxy speaks for is not this machine; who never logged in is no admin here."""
    shown = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
    if token and hmac.compare_digest(shown, token.encode()):
        return True
    asks = getattr(request.state, "person", None)
    if asks is not None and asks.role is Role.ADMIN:
        return True
    here = request.client is not None and is_loopback(request.client.host)
    return here and not any(name in request.headers for name in FORWARDED)
