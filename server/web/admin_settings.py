"""/admin/settings: every setting with its meaning, checked by the server's own loader, written with comments kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from server.web.admin_desk import DONE_MOST, AdminDesk, back
from server.web.page import PageRenderer
from shared.errors import ConfigError, Refused

HERE = "/admin/settings"
SEEN = "seen"


def add_routes(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    """Looking and changing."""

    def shown(section: str, *, done: str = "", error: str = "", status: int = 200) -> HTMLResponse:
        groups = desk.settings.groups()
        group = next((each for each in groups if each.name == section), None)
        if section and group is None:
            return pages.trouble(404, f"There is no section {section!r:.40} in the settings.")
        waits = [f"{line.section}.{line.name}" for each in groups for line in each.lines if line.waits]
        return pages.render(
            "admin_settings.html",
            status=status,
            here="settings",
            groups=groups,
            group=group,
            waits=waits,
            seen=desk.settings.mark(),
            done=done,
            error=error,
        )

    @routes.get("/settings")
    def listed() -> HTMLResponse:
        return shown("")

    @routes.get("/settings/{section}")
    def one(section: str, done: Annotated[str, Query(max_length=DONE_MOST)] = "") -> HTMLResponse:
        return shown(section, done=done)

    @routes.post("/settings/{section}")
    async def change(section: str, request: Request) -> Response:
        form = await request.form(max_fields=200, max_files=0)
        values = {name: str(value) for name, value in form.items() if name != SEEN}
        try:
            seen = str(form.get(SEEN, ""))
            names = await run_in_threadpool(desk.settings.change, section, values, seen=seen)
        except Refused as refused:
            return await run_in_threadpool(shown, section, error=str(refused), status=409)
        except ConfigError as error:
            return await run_in_threadpool(shown, section, error=str(error), status=422)
        done = f"Changed: {', '.join(names)}." if names else "Nothing was changed."
        return back(f"{HERE}/{section}", done)
