"""Deleting and blurring a moment by ear: what would go is told, Enter carries it out once that was heard, and what
became of it is spoken.

GET  /api/ear/{sample_id}/delete    → {"parts", "may", "told"}: what would go; 403 where it is not theirs
POST /api/ear/{sample_id}/delete    {"told"} → {"parts", "go_on"}: the proof; 409 where something else would go by now
GET  /api/ear/{sample_id}/blur      → {"parts", "may"}: what would become of it
POST /api/ear/{sample_id}/blur      {"done"} → as /api/ear/next: what was hidden, and the moment again
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.access import visible
from server.privacy import plans
from server.privacy.desk import PrivacyDesk
from server.privacy.plans import DeletionKind
from server.web import ear_words, person
from server.web.by_ear import EarDesk, NextAsked
from server.web.ear_words import EarPart
from server.web.person import Person
from shared.errors import Refused


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    told: list[Annotated[str, Field(max_length=20_000)]] = Field(max_length=20)
    """What was told of what would go: nothing else does."""


def router(ear: EarDesk, privacy: PrivacyDesk) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/api/ear/{sample_id}/delete")
    def ask(request: Request, sample_id: str) -> JSONResponse:
        """What deleting this moment would take."""
        who = person.of(request)
        row = ear.row(sample_id, who)
        if not visible.may_delete(who, row):
            return _refused(ear, who)
        words = plans.in_words(_plan(privacy, sample_id))
        parts = ear.played(who, ear_words.deleting(words), sample_id)
        return JSONResponse({"parts": parts, "may": True, "told": words})

    @routes.post("/api/ear/{sample_id}/delete")
    def delete(request: Request, sample_id: str, asked: _Told) -> JSONResponse:
        """Delete it, and tell the proof."""
        who = person.of(request)
        if not visible.may_delete(who, ear.row(sample_id, who)):
            return _refused(ear, who)
        plan = _plan(privacy, sample_id)
        if plans.in_words(plan) != asked.told:
            more = ear.played(who, (EarPart(ear_words.MORE_WOULD_GO),))
            return JSONResponse({"parts": more, "go_on": False}, 409)
        proof = privacy.delete(plan, by=who.name)
        return JSONResponse({"parts": ear.played(who, ear_words.deleted(proof)), "go_on": True})

    @routes.get("/api/ear/{sample_id}/blur")
    def ask_to_blur(request: Request, sample_id: str) -> JSONResponse:
        """What blurring this moment would do."""
        who = person.of(request)
        ear.row(sample_id, who)
        return JSONResponse({"parts": ear.played(who, (ear_words.blurring(),)), "may": True})

    @routes.post("/api/ear/{sample_id}/blur")
    def blur(request: Request, sample_id: str, asked: NextAsked) -> JSONResponse:
        """Blur it, and tell what was hidden."""
        who = person.of(request)
        try:
            made = privacy.blur(ear.row(sample_id, who), by=who.name, whole=False)
        except Refused as refused:
            return JSONResponse({"parts": ear.played(who, (EarPart(str(refused)),)), "go_on": False}, 409)
        told = f"{made.hidden}." if made.hidden else f"Nothing was found to blur, with {made.found_with}."
        return JSONResponse(ear.moment(who, ear.row(sample_id, who), asked.done, (EarPart(told),)))

    return routes


def _refused(ear: EarDesk, who: Person) -> JSONResponse:
    return JSONResponse({"parts": ear.played(who, (EarPart(ear_words.NOT_YOURS),)), "may": False}, 403)


def _plan(privacy: PrivacyDesk, sample_id: str) -> plans.DeletionPlan:
    try:
        return privacy.plan(DeletionKind.MOMENT, sample_id)
    except Refused as gone:
        raise HTTPException(404, str(gone)) from None
