"""/admin/nights: what ran and what runs, live; begin one, end one. While one runs the page asks for itself again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from server.admin import nights
from server.admin.nights import RUNNING, NightRun
from server.web import person
from server.web.admin_desk import DONE_MOST, AdminDesk, back, when
from server.web.numbers import RowNumber
from server.web.page import PageRenderer
from server.web.teach import JUDGING, STAGES
from shared.errors import Refused, Transient

HERE = "/admin/nights"
AGAIN_S = 5
LINES_SHOWN = 200


def add_routes(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    """Looking, beginning, ending."""
    store = desk.watched.store

    def shown(run_id: int | None = None, *, done: str = "", error: str = "", status: int = 200) -> HTMLResponse:
        runs = nights.runs(store.home, store)
        run = next((each for each in runs if run_id in (None, each.id)), None)
        running = bool(runs) and runs[0].outcome == RUNNING
        return pages.render(
            "admin_nights.html",
            status=status,
            here="nights",
            runs=runs,
            run=run,
            said=nights.lines(store, run.id, most=LINES_SHOWN) if run else (),
            told=told(run),
            running=running,
            starting=desk.nights.starting,
            trouble=desk.nights.trouble,
            again_s=AGAIN_S if running or desk.nights.starting else 0,
            done=done,
            error=error,
            when=when,
        )

    @routes.get("/nights")
    def listed(done: Annotated[str, Query(max_length=DONE_MOST)] = "") -> HTMLResponse:
        return shown(done=done)

    @routes.get("/nights/{run_id}")
    def one(run_id: RowNumber) -> HTMLResponse:
        return shown(run_id)

    @routes.post("/nights")
    def begin(request: Request, force: Annotated[str, Form(max_length=8)] = "") -> Response:
        try:
            desk.nights.start(asked_by=person.of(request).name, force=bool(force))
        except Transient as error:
            return shown(error=str(error), status=409)
        return back(HERE, "The night begins.")

    @routes.post("/nights/end")
    def end() -> Response:
        try:
            desk.nights.cancel()
        except Refused as refused:
            return shown(error=str(refused), status=409)
        return back(HERE, "The night is told to end. Nothing is lost: the next one goes on where it was.")


def told(run: NightRun | None) -> str:
    """How a run stands, for a person."""
    if run is None:
        return ""
    if run.outcome == RUNNING:
        return f"It is {STAGES.get(run.stage, JUDGING)}." if run.stage else "It has begun."
    return run.outcome.capitalize() + (f": {run.version}." if run.version else ".")
