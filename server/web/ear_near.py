"""By ear: the moments before and after one on its walk, and one decision for those that look the same.

GET  /api/ear/{sample_id}/walk?way=next|previous&done=  → as /api/ear/next, or {"id": "", "parts"} at an end of the walk
GET  /api/ear/{sample_id}/alike     → {"parts", "may", "chosen"}: what one decision would be about
POST /api/ear/{sample_id}/alike     {"row_id", "chosen"} → {"parts", "go_on", "count"}: about all of them or none
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.access import visible
from server.dataset.sample_row import SampleRow
from server.review import decisions, leases, near
from server.web import ear_words, person
from server.web.by_ear import MOST_DONE, EarDesk
from server.web.ear_words import EarPart
from server.web.person import Person
from server.web.review import MAX_ROW_ID

Way = Literal["next", "previous"]


class _AlikeDecision(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    row_id: str = Field(max_length=MAX_ROW_ID)
    chosen: list[Annotated[str, Field(max_length=MAX_ROW_ID)]] = Field(min_length=1, max_length=near.MOST_BESIDE)


def router(ear: EarDesk) -> APIRouter:
    """The routes."""
    routes, desk = APIRouter(), ear.desk

    @routes.get("/api/ear/{sample_id}/walk")
    def along(
        request: Request, sample_id: str, way: Way, done: Annotated[int, Query(ge=0, le=MOST_DONE)] = 0
    ) -> dict[str, Any]:
        """The moment after or before one on its walk."""
        who = person.of(request)
        found = _along(ear, who, ear.row(sample_id, who), way)
        if found is None:
            return {"id": "", "parts": ear.played(who, (EarPart(ear_words.END_OF_WALK[way]),))}
        if found.state == "pending":
            leases.take(desk.store, found.sample_id, who.name, now_s=desk.clock.utc_s())
        person.listed(request, [found.sample_id])
        return ear.moment(who, found, done, (EarPart(ear_words.ON_WALK[way]),))

    @routes.get("/api/ear/{sample_id}/alike")
    def ask(request: Request, sample_id: str) -> dict[str, Any]:
        """What a decision about this moment and those that look the same would be about."""
        who = person.of(request)
        row = ear.row(sample_id, who)
        found = _alike(ear, who, row)
        person.listed(request, (other.sample_id for other in found))
        times = [datetime.fromtimestamp(other.timestamp, tz=UTC) for other in found]
        spoken = ear_words.alike(decisions.proposal(row), times)
        chosen = [other.row_id for other in found]
        return {"parts": ear.played(who, spoken, sample_id), "may": bool(found), "chosen": chosen}

    @routes.post("/api/ear/{sample_id}/alike")
    def decide(request: Request, sample_id: str, asked: _AlikeDecision) -> JSONResponse:
        """Accept for all of them or none."""
        who = person.of(request)
        read = list(dict.fromkeys((asked.row_id, *asked.chosen)))
        ear.row(_sample(asked.row_id), who)
        if any(desk.find(_sample(row_id), who) is None for row_id in asked.chosen):
            told = EarPart(ear_words.ONE_WENT)
            return JSONResponse({"parts": ear.played(who, (told,)), "go_on": False, "count": 0}, 409)
        outcome = desk.reviews.decide_all(read, "accept", by=who)
        done = outcome.status == 200
        told = ear_words.decided_all(len(read), left=ear.left(who)) if done else EarPart(outcome.reason)
        body = {"parts": ear.played(who, (told,)), "go_on": done, "count": len(read) if done else 0}
        return JSONResponse(body, outcome.status)

    return routes


def _sample(row_id: str) -> str:
    return row_id.rpartition("#")[0]


def _along(ear: EarDesk, who: Person, row: SampleRow, way: Way) -> SampleRow | None:
    around = near.on_walk(ear.desk.store, row)
    ordered = around.after if way == "next" else tuple(reversed(around.before))
    return next((other for other in ordered if visible.may_see(who, other)), None)


def _alike(ear: EarDesk, who: Person, row: SampleRow) -> list[SampleRow]:
    """Those that wait, look the same and would be taught the same: only that wording is heard before Enter."""
    if decisions.objection(row) is not None or row.state != "pending":
        return []
    found = near.beside(ear.desk.store, ear.desk.dataset, row)
    same = [other for other in found if decisions.proposal(other) == decisions.proposal(row)]
    return [other for other in same if decisions.objection(other) is None and visible.may_see(who, other)]
