"""What makes the pages installable on a phone, and what is there without a connection.

GET /manifest.webmanifest   name, colours, icons
GET /sw.js                  the service worker: keeps the shell, and nothing of any moment; shows what is pushed
GET /offline                the page that it shows where the server does not answer
GET /keys                   the page on which keys are chosen
"""

from __future__ import annotations

import hashlib

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, Response

from server.web.page import PageRenderer

_SHELL = (
    "review.css", "keys.js", "keys_page.js", "offline.js", "player.js", "review.js", "ear.js", "push.js",
    "icon.svg", "icon-192.png", "icon-512.png",
)  # fmt: skip
_MANIFEST = {
    "name": "waycue review",
    "short_name": "waycue",
    "description": "Review what the device said, and teach it what it should have said.",
    "start_url": "/",
    "scope": "/",
    "display": "standalone",
    "background_color": "#f4f2ed",
    "theme_color": "#0b4f8a",
}


def router(pages: PageRenderer) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    files = [f"/static/{name}?v={pages.marks[name]}" for name in _SHELL]
    version = hashlib.sha256("".join(files).encode()).hexdigest()[:12]

    @routes.get("/manifest.webmanifest")
    def manifest() -> JSONResponse:
        icons = [
            {"src": f"/static/icon-{size}.png", "sizes": f"{size}x{size}", "type": "image/png", "purpose": "any"}
            for size in (192, 512)
        ]
        maskable = {**icons[1], "purpose": "maskable"}
        return JSONResponse({**_MANIFEST, "icons": [*icons, maskable]}, media_type="application/manifest+json")

    @routes.get("/sw.js")
    def worker() -> Response:
        text = pages.text("sw.js", version=version, files=files)
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @routes.get("/offline")
    def offline() -> HTMLResponse:
        return pages.render("offline.html", person=None, logged_in=False)  # is kept in the browser: of nobody

    @routes.get("/keys")
    def keys() -> HTMLResponse:
        return pages.render("keys.html")

    return routes
