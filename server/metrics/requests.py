"""Counts what is asked of the page: by route (never by address, which holds ids), method and status."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.metrics.names import TABLE

OTHER = "other"
"""Everything that is no route of ours: whoever tries addresses must not make a label of each."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class RequestCounts:
    """The counters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        count, took = TABLE["waycue_http_requests"], TABLE["waycue_http_request_seconds"]
        self._count = Counter("waycue_http_requests", count.meaning, count.labels, registry=registry)
        self._took = Histogram(
            "waycue_http_request_seconds", took.meaning, took.labels, registry=registry, buckets=SECONDS
        )

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request that was answered."""
        self._count.labels(route, method if method in METHODS else OTHER, str(status)).inc()
        self._took.labels(route).observe(seconds)


class Counted:
    """ASGI middleware around an application whose router leaves the route in the scope."""

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self._app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began_s = 500, time.perf_counter()

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            self._counts.add(route, scope["method"], status, time.perf_counter() - began_s)
