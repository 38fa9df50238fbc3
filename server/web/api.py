"""The JSON API. Its shapes are documented in docs/formats.md and do not depend on the page.

    GET  /api/samples?state=&limit=&offset=   {"samples": [row + "state"], "counts": {...}}
    GET  /api/samples/{id}                    row + "state" + "decisions"
    POST /api/samples/{id}/review             {"action", "text"?, "row_id"?} -> row + "state"
    GET  /api/stats                           {"counts", "model": {"version"}, "accuracy", "intake"}
    GET  /healthz                             {"status": "ok"}

Every refusal is {"detail": a sentence for people}; 422 of a wording also has "proposal", "wording", "lost" and
"suggestions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.database.store import Store
from server.dataset import sample_row
from server.dataset.sample_row import SampleRow
from server.dataset.wording import NotTeachable
from server.ingest import counters
from server.review import decisions, figures
from server.web import review
from server.web.review import MAX_ROW_ID, Reviews
from shared.clock import Clock

MAX_LIMIT = 500
MAX_OFFSET = 1_000_000_000
MAX_TYPED = 4000  # wording.MAX_TEXT is what may be said; this only bounds what is read


class ReviewRequest(BaseModel):
    """The body of a review."""

    model_config = ConfigDict(strict=True, extra="forbid")

    action: Literal["accept", "edit", "reject", "nothing"]
    text: str = Field("", max_length=MAX_TYPED)
    """With "edit": what should have been said. Words that would be taught otherwise are answered with 422 and that
    wording; to send this one is to confirm it."""
    row_id: str = Field("", max_length=MAX_ROW_ID)
    """The row that the person looked at: refused with 409 where the moment has changed since."""


def to_json(row: SampleRow) -> dict[str, Any]:
    """A row as the API gives it."""
    return {**sample_row.to_dict(row), "state": row.state}


def router(store: Store, reviews: Reviews, *, clock: Clock, model: Callable[[], str | None] | None) -> APIRouter:
    """The routes of the API."""
    routes = APIRouter()

    @routes.get("/api/samples")
    def listing(
        state: Literal["pending", "reviewed", "rejected", "all"] = "pending",
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> dict[str, Any]:
        """Moments, corrections first."""
        rows = decisions.listing(store, state=state, limit=limit, offset=offset)
        return {"samples": [to_json(row) for row in rows], "counts": decisions.counts(store)}

    @routes.get("/api/samples/{sample_id}")
    def moment(sample_id: str) -> dict[str, Any]:
        """One moment and what people decided about it."""
        row = review.find(store, sample_id)
        if row is None:
            raise HTTPException(404, f"There is no moment {sample_id!r:.110}.")
        return {**to_json(row), "decisions": [asdict(past) for past in decisions.history(store, sample_id)]}

    @routes.post("/api/samples/{sample_id}/review")
    def decide(sample_id: str, request: ReviewRequest) -> JSONResponse:
        """Take a decision; the same one twice changes nothing."""
        outcome = reviews.decide(sample_id, request.action, text=request.text, seen=request.row_id)
        if outcome.status == 200 and outcome.row is not None:
            return JSONResponse(to_json(outcome.row))
        body: dict[str, Any] = {"detail": outcome.reason}
        if outcome.status == 422:
            instead = outcome.instead or NotTeachable("")
            only = instead.suggestions[0] if len(instead.suggestions) == 1 else ""
            body |= {"proposal": instead.wording or only, "wording": instead.wording, "lost": instead.lost}
            body["suggestions"] = instead.suggestions
        return JSONResponse(body, outcome.status)

    @routes.get("/api/stats")
    def statistics() -> dict[str, Any]:
        """How many moments stand where, the model that devices are offered ("" = none yet), how often it is right, and
        what came in."""
        counts = decisions.counts(store)
        return {
            "counts": counts,
            "model": {"version": (model() if model else None) or ""},
            "accuracy": figures.accuracy(store),
            "intake": asdict(counters.figures(store, now_s=clock.utc_s())),
        }

    @routes.get("/healthz")
    def health() -> dict[str, str]:
        """The page is up and the database answers."""
        decisions.counts(store)
        return {"status": "ok"}

    return routes
