"""/admin/telling: who is told what in time. Addresses are secrets: the page takes them and never shows them again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response

from server.telling import people, send
from server.telling.step import KIND_WORDS, NewsKind
from server.web.admin_desk import DONE_MOST, AdminDesk, back
from server.web.page import PageRenderer
from server.web.telling_form import PersonForm
from shared.errors import ConfigError, Refused

HERE = "/admin/telling"


def add_routes(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    """Looking, adding, testing, removing."""
    home, shown = desk.watched.store.home, partial(_list, pages, desk.watched.store.home)

    @routes.get("/telling")
    def listed(done: Annotated[str, Query(max_length=DONE_MOST)] = "") -> HTMLResponse:
        return shown(done=done)

    @routes.post("/telling")
    def put(form: Annotated[PersonForm, Form()]) -> Response:
        listed = tuple(line.strip() for line in form.urls.splitlines() if line.strip())
        name, whose = form.name.strip(), tuple(filter(None, map(str.strip, form.wearers.split(","))))
        try:
            send.check(listed)
            people.put(home, name, form.told(listed, whose))
        except ConfigError as error:
            return shown(error=str(error), status=422)
        return back(HERE, f"{name} is told from now on. Send a test.")

    @routes.post("/telling/{name}/test")
    def test(name: str) -> Response:
        try:
            desk.telling.test(name)
        except (Refused, ConfigError) as error:
            return shown(error=str(error), status=409)
        return back(HERE, f"A test is on its way to {name}.")

    @routes.post("/telling/{name}/remove")
    def remove(name: str) -> Response:
        try:
            people.remove(home, name)
        except (Refused, ConfigError) as error:
            return shown(error=str(error), status=404)
        return back(HERE, f"{name} is told nothing any more.")


def _list(pages: PageRenderer, home: Path, *, done: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    try:
        everybody, trouble = people.load(home), ""
    except ConfigError as wrong:
        everybody, trouble = {}, str(wrong)
    listed = {
        name: (
            person,
            list(map(send.service, person.urls)),
            [KIND_WORDS[NewsKind(kind)] for kind in person.kinds or KIND_WORDS],
        )
        for name, person in everybody.items()
    }
    return pages.render(
        "admin_telling.html",
        status=status,
        here="telling",
        people=listed,
        kinds=KIND_WORDS,
        done=done,
        error=error or trouble,
    )
