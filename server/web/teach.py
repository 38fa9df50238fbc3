"""The page /teach: what may be taught at once, how far that is, what came of it. Works without JavaScript: while a
lesson is taught the page asks for itself again every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from server.review.teaching import ENDED, FAILED, INTERRUPTED, RUNNING, Teachable, TeachState
from server.web import person
from server.web.page import PageRenderer
from server.web.person import Person
from shared.errors import ConfigError, Refused, Transient

AGAIN_S = 3
OUTCOMES = {
    "promoted": "It passed every rule, and is in use now: devices get it with their next update.",
    "trial": "It may be tried by wearers with a sighted companion, but guides nobody else yet.",
    "refused": "It was not good enough, and is not used. The model in use stays as it is.",
    "overtaken": "It passed, but somebody chose another model meanwhile. That one stays in use.",
    "skipped": "There was nothing new to teach.",
}
STAGES = {
    "starting": "starting", "base": "loading the model to start from", "rows": "reading the confirmed moments",
    "views": "making variations of them", "replay": "drawing what must not be forgotten",
    "towers": "looking at all pictures", "train": "learning", "export": "packing the model",
    "quantise": "making it small and fast", "parity": "checking the packed model",
}  # fmt: skip
JUDGING = "judging it against the model in use"


class LessonsPort(Protocol):
    """What the page needs (server.review.teaching.Lessons)."""

    @property
    def least(self) -> int: ...
    def things(self, person: Person) -> Sequence[Teachable] | None: ...
    def state(self) -> TeachState: ...
    def start(self, thing: str, person: Person) -> None: ...


def router(pages: PageRenderer, lessons: LessonsPort) -> APIRouter:
    """The routes of the page."""
    routes = APIRouter(include_in_schema=False)

    def shown(who: Person, *, status: int = 200, error: str = "") -> HTMLResponse:
        state, things = lessons.state(), lessons.things(who)
        return pages.render(
            "teach.html",
            status=status,
            lesson=state,
            things=things,
            least=lessons.least,
            error=error,
            told=told(state),
            left=left(state),
            again_s=AGAIN_S if state.phase == RUNNING or things is None else 0,
        )

    @routes.get("/teach")
    def page(request: Request) -> HTMLResponse:
        return shown(person.of(request))

    @routes.post("/teach")
    def start(request: Request, thing: Annotated[str, Form(max_length=60)]) -> Response:
        who = person.of(request)
        try:
            lessons.start(thing, who)
        except (ConfigError, Refused) as error:
            return shown(who, status=422, error=str(error))
        except Transient as error:
            return shown(who, status=409, error=str(error))
        return RedirectResponse("/teach#lesson", status_code=303)

    return routes


def told(state: TeachState) -> str:
    """How the newest lesson stands, for a person; "" where there was none."""
    if state.phase == RUNNING:
        return f"Teaching {state.thing}: {STAGES.get(state.stage, JUDGING)}."
    if state.phase == ENDED:
        return f"Taught {state.thing} in {round(state.seconds)} seconds. {OUTCOMES.get(state.outcome, '')}".strip()
    if state.phase == FAILED:
        return f"Teaching {state.thing} failed. Nothing is lost, and the model in use stays as it is."
    if state.phase == INTERRUPTED:
        return f"Teaching {state.thing} was interrupted. It can go on where it stopped."
    return ""


def left(state: TeachState) -> str:
    """How long it takes yet, in words."""
    if state.phase != RUNNING or state.eta_s is None:
        return ""
    if state.eta_s < 100:
        return f"about {max(5, round(state.eta_s / 5) * 5)} seconds"
    return f"about {round(state.eta_s / 60)} minutes"
