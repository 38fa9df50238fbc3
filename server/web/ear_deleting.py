"""Deleting a moment by ear: what would go is told, Enter carries it out once that was heard, and the proof is spoken.

GET  /api/ear/{sample_id}/delete    → {"parts", "may"}: what would go; 403 where it is not theirs
POST /api/ear/{sample_id}/delete    {} → {"parts", "go_on"}: the proof
"""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse

from server.access import visible
from server.privacy import plans
from server.privacy.desk import PrivacyDesk
from server.privacy.plans import DeletionKind
from server.web import ear_words, person
from server.web.by_ear import EarDesk
from server.web.ear_words import EarPart
from server.web.person import Person
from shared.errors import Refused


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
        return JSONResponse({"parts": ear.played(who, ear_words.deleting(words), sample_id), "may": True})

    @routes.post("/api/ear/{sample_id}/delete")
    def delete(request: Request, sample_id: str) -> JSONResponse:
        """Delete it, and tell the proof."""
        who = person.of(request)
        if not visible.may_delete(who, ear.row(sample_id, who)):
            return _refused(ear, who)
        proof = privacy.delete(_plan(privacy, sample_id), by=who.name)
        return JSONResponse({"parts": ear.played(who, ear_words.deleted(proof)), "go_on": True})

    return routes


def _refused(ear: EarDesk, who: Person) -> JSONResponse:
    return JSONResponse({"parts": ear.played(who, (EarPart(ear_words.NOT_YOURS),)), "may": False}, 403)


def _plan(privacy: PrivacyDesk, sample_id: str) -> plans.DeletionPlan:
    try:
        return privacy.plan(DeletionKind.MOMENT, sample_id)
    except Refused as gone:
        raise HTTPException(404, str(gone)) from None
