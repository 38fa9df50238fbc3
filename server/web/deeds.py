"""What a person does at a moment beside deciding, as forms: skip, difficult, comment, assign, back to review, undo, and
the same decision for those that look the same.

    POST /moments/{id}/mark       {"mark", "row_id", "within"}
    POST /moments/{id}/comment    {"comment"}
    POST /moments/{id}/assign     {"name"}, "" = to nobody
    GET  /moments/{id}/alike      those that look the same and wait
    POST /moments/{id}/alike      {"row_id", "chosen" …, "action"}: about all of them or none
    POST /undo                    {"within"}: the newest decision of who asks
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from server.access import visible
from server.dataset.sample_row import SampleRow
from server.review import decisions, marks, near
from server.web import filters, person, view
from server.web.filters import MAX_WITHIN
from server.web.page import PageDesk, onward
from server.web.person import Person
from server.web.review import MAX_ROW_ID, ReviewOutcome
from shared.errors import Refused

MAX_COMMENT, MAX_NAME = 1000, 96


class _MarkForm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mark: Literal["skip", "difficult", "easy", "return"]
    row_id: str = Field("", max_length=MAX_ROW_ID)
    within: str = Field("", max_length=MAX_WITHIN)


class _AlikeForm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["accept"]
    row_id: str = Field(max_length=MAX_ROW_ID)
    chosen: list[Annotated[str, Field(max_length=MAX_ROW_ID)]] = Field(
        default_factory=list, max_length=near.MOST_BESIDE
    )
    within: str = Field("", max_length=MAX_WITHIN)


@dataclass(frozen=True, slots=True)
class AlikeMoment:
    """A moment that looks the same, as the page shows it."""

    row_id: str
    frame_path: str
    told: str
    when: str
    at_iso: str


def router(desk: PageDesk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.post("/moments/{sample_id}/mark")
    def mark(request: Request, sample_id: str, form: Annotated[_MarkForm, Form()]) -> Response:
        row = desk.find(sample_id, person.of(request))
        return desk.missing(sample_id) if row is None else _mark(desk, request, row, form)

    @routes.post("/moments/{sample_id}/comment")
    def comment(
        request: Request, sample_id: str, comment: Annotated[str, Form(max_length=4 * MAX_COMMENT)] = ""
    ) -> Response:
        return _note(desk, request, sample_id, comment=comment)

    @routes.post("/moments/{sample_id}/assign")
    def assign(request: Request, sample_id: str, name: Annotated[str, Form(max_length=4 * MAX_NAME)] = "") -> Response:
        return _note(desk, request, sample_id, name=name)

    @routes.get("/moments/{sample_id}/alike")
    def alike(request: Request, sample_id: str) -> Response:
        row = desk.find(sample_id, person.of(request))
        if row is None:
            return desk.missing(sample_id)
        alike = _alike(desk, person.of(request), row)
        person.listed(request, (other.row_id.rpartition("#")[0] for other in alike))
        return desk.pages.render("alike.html", card=view.card(row), alike=alike)

    @routes.post("/moments/{sample_id}/alike")
    def decide(request: Request, sample_id: str, form: Annotated[_AlikeForm, Form()]) -> Response:
        who, read = person.of(request), [form.row_id, *form.chosen]
        if any(desk.find(row_id.rpartition("#")[0], who) is None for row_id in read):
            return desk.missing(sample_id)
        outcome = desk.reviews.decide_all(read, form.action, by=who)
        if outcome.status != 200:
            return desk.moment(request, outcome, query=filters.read(form.within))
        return RedirectResponse(onward(form.within, done=sample_id), 303)

    @routes.post("/undo")
    def undo(request: Request, within: Annotated[str, Form(max_length=MAX_WITHIN)] = "") -> Response:
        outcome = desk.reviews.undo(by=person.of(request))
        if outcome.row is None:
            return desk.pages.trouble(outcome.status, outcome.reason)
        query = urlencode({"told": "undone", "within": within})
        return RedirectResponse(f"/moments/{outcome.row.sample_id}?{query}", 303)

    return routes


def _mark(desk: PageDesk, request: Request, row: SampleRow, form: _MarkForm) -> Response:
    by, now_s, sample_id = person.of(request), desk.clock.utc_s(), row.sample_id
    who = by.name
    match form.mark:
        case "skip":
            marks.skip(desk.store, sample_id, who, now_s=now_s)
            return RedirectResponse(onward(form.within, told="skipped"), 303)
        case "difficult":
            marks.mark_difficult(desk.store, sample_id, who, difficult=True, now_s=now_s)
            marks.skip(desk.store, sample_id, who, now_s=now_s)
            return RedirectResponse(onward(form.within, told="difficult"), 303)
        case "easy":
            marks.mark_difficult(desk.store, sample_id, who, difficult=False, now_s=now_s)
            return RedirectResponse(f"/moments/{sample_id}?told=easy", 303)
        case "return":
            outcome = desk.reviews.decide(sample_id, "return", row_id=form.row_id, by=by)
            if outcome.status != 200:
                return desk.moment(request, outcome, query=filters.read(form.within))
            return RedirectResponse(f"/moments/{sample_id}?told=returned", 303)


def _note(
    desk: PageDesk, request: Request, sample_id: str, *, comment: str | None = None, name: str | None = None
) -> Response:
    """A comment, or a name to assign it to."""
    who = person.of(request)
    row = desk.find(sample_id, who)
    if row is None:
        return desk.missing(sample_id)
    try:
        if comment is not None:
            marks.comment(desk.store, sample_id, who.name, comment, now_s=desk.clock.utc_s())
        if name is not None:
            marks.assign(desk.store, sample_id, name, who.name)
    except Refused as refused:
        return desk.moment(request, ReviewOutcome(400, str(refused), row=row), query=filters.read(""))
    told = "commented" if comment is not None else "assigned"
    return RedirectResponse(f"/moments/{sample_id}?told={told}", 303)


def _alike(desk: PageDesk, who: Person, row: SampleRow) -> list[AlikeMoment]:
    if decisions.objection(row) is not None or row.state != "pending":
        return []
    found = near.beside(desk.store, desk.dataset, row)
    return [_shown(other) for other in found if visible.may_see(who, other)]


def _shown(row: SampleRow) -> AlikeMoment:
    at = datetime.fromtimestamp(row.timestamp, tz=UTC)
    iso = at.isoformat(timespec="seconds")
    return AlikeMoment(row.row_id, row.frame_path, "Looks the same", f"{at:%H:%M:%S} UTC", iso)
