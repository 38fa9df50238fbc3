"""The JSON API. Its shapes are documented in docs/formats.md and do not depend on the page.

    GET  /api/samples?state=&limit=&offset=   {"samples": [row + "state"], "counts": {...}, "total"}; and every filter
    GET  /api/samples/{id}                    row + "state" + "decisions"
    POST /api/samples/{id}/review             {"action", "row_id", "text"?} -> row + "state"
    GET  /api/stats                           {"counts", "model": {"version"}, "accuracy", "intake"}
    GET  /healthz                             {"status": "ok"}

What else a reviewer does (whose turn, leases, undo, skips, comments) is in `server.web.review_api`.
Every refusal is {"detail": a sentence for people}; 422 of a wording also has "proposal", "wording", "lost",
"suggestions" and "unknown", 409 what was "read" and what "stands".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.access import visible
from server.database.store import Store
from server.dataset import sample_row
from server.dataset.sample_row import SampleRow, State
from server.dataset.wording import NotTeachable
from server.ingest import counters
from server.review import decisions, figures, searching, stats
from server.review.moment_filter import MomentFilter
from server.web import person, review
from server.web.person import Person
from server.web.review import MAX_ROW_ID, ReviewOutcome, Reviews
from shared.clock import Clock

MAX_LIMIT = 500
MOST_JUDGED = 20_000
"""Moments that statistics of some wearers only are made from, the newest."""
MAX_OFFSET = 1_000_000_000
MAX_CHOSEN = 256
DAY_S = 86_400.0
MAX_TYPED = 4000  # wording.MAX_TEXT is what may be said; this only bounds what is read


class ReviewRequest(BaseModel):
    """The body of a review."""

    model_config = ConfigDict(strict=True, extra="forbid")

    action: Literal["accept", "edit", "reject", "nothing", "return"]
    text: str = Field("", max_length=MAX_TYPED)
    """With "edit": what should have been said. Words that would be taught otherwise are answered with 422 and that
    wording; to send this one is to confirm it."""
    row_id: str = Field("", max_length=MAX_ROW_ID)
    """The row that the person looked at, which has to be said: refused with 409 where the moment has changed since."""


class FilterQuery(BaseModel):
    """Which moments are meant, as a query says it; what is not given restricts nothing. A page may use it as well."""

    state: State | Literal["all"] = "pending"
    wearer: str = Field("", max_length=MAX_CHOSEN)
    device: str = Field("", max_length=MAX_CHOSEN)
    walk: str = Field("", max_length=MAX_CHOSEN)
    model: str = Field("", max_length=MAX_CHOSEN)
    thing: str = Field("", max_length=MAX_CHOSEN)
    flag: str = Field("", max_length=MAX_CHOSEN)
    words: str = Field("", max_length=MAX_CHOSEN)
    like: str = Field("", max_length=MAX_ROW_ID)
    since: date | None = None
    """A day, in UTC, like the next, which is meant as a whole."""
    until: date | None = None
    difficult: bool = False
    commented: bool = False
    skipped: bool = False
    """By oneself."""
    assigned: str = Field("", max_length=MAX_CHOSEN)
    """To whom; "me" = to oneself."""

    def wanted(self, who: Person) -> MomentFilter:
        """The filter, for a person: of the moments that they may see."""
        plain = (
            "state",
            "wearer",
            "device",
            "walk",
            "model",
            "thing",
            "flag",
            "words",
            "like",
            "difficult",
            "commented",
        )
        return MomentFilter(
            **{name: getattr(self, name) for name in plain},
            since=None if self.since is None else _begins(self.since),
            until=None if self.until is None else _begins(self.until) + DAY_S,
            assigned_to=who.name if self.assigned == "me" else self.assigned,
            skipped_by=who.name if self.skipped else "",
            seen_by=who,
        )


class ListQuery(FilterQuery):
    """A part of a list."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    offset: int = Field(0, ge=0, le=MAX_OFFSET)


_AS_GIVEN = (
    "state", "wearer", "device", "walk", "model", "thing", "flag", "words", "like", "difficult", "commented",
)  # fmt: skip


def _begins(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


def found(store: Store, sample_id: str, by: Person) -> SampleRow:
    """A moment that the person may see. Raises: HTTPException, as for one that is not there."""
    row = review.find(store, sample_id, by)
    if row is None:
        raise HTTPException(404, f"There is no moment {sample_id!r:.110}.")
    return row


def answer(outcome: ReviewOutcome) -> JSONResponse:
    """What became of a decision: the row as it stands, or why it was not taken. Pure."""
    if outcome.status == 200 and outcome.row is not None:
        return JSONResponse(to_json(outcome.row))
    body: dict[str, Any] = {"detail": outcome.reason}
    if outcome.status == 422:
        instead = outcome.instead or NotTeachable("")
        only = instead.suggestions[0] if len(instead.suggestions) == 1 else ""
        body |= {"proposal": instead.wording or only, "wording": instead.wording, "lost": instead.lost}
        body |= {"suggestions": instead.suggestions, "unknown": outcome.unknown}
    if (stale := outcome.conflict) is not None:
        body |= {"read": stale.read, "stands": stale.stands, "row_id": stale.row.row_id, "state": stale.row.state}
        body |= {"decided_by": stale.decided_by, "decided_at": stale.decided_at}
    return JSONResponse(body, outcome.status)


def to_json(row: SampleRow) -> dict[str, Any]:
    """A row as the API gives it."""
    return {**sample_row.to_dict(row), "state": row.state}


def _accuracy(store: Store, who: Person) -> dict[str, Any]:
    """How often guidance was right by what people confirmed; "audit" is the only unbiased share
    (server.review.stats). From the sums that the database keeps, where all moments may be seen."""
    if not visible.conditions(who):
        return figures.accuracy(store)
    judged = searching.find(store, MomentFilter(state="reviewed", seen_by=who), limit=MOST_JUDGED)
    own = stats.to_dict(stats.summary(judged))
    return {"all": own["accuracy"], **{name: own[name] for name in ("audit", "by_object", "by_model")}}


def router(store: Store, reviews: Reviews, *, clock: Clock, model: Callable[[], str | None] | None) -> APIRouter:
    """The routes of the API."""
    routes = APIRouter()

    @routes.get("/api/samples")
    def listing(request: Request, query: Annotated[ListQuery, Query()]) -> dict[str, Any]:
        """Moments, corrections first."""
        who = person.of(request)
        wanted, now_s = query.wanted(who), clock.utc_s()
        rows = searching.find(store, wanted, person=who.name, now_s=now_s, limit=query.limit, offset=query.offset)
        person.listed(request, (row.sample_id for row in rows))
        counts, total = decisions.counts(store, seen_by=who), searching.count(store, wanted)
        return {"samples": [to_json(row) for row in rows], "counts": counts, "total": total}

    @routes.get("/api/samples/{sample_id}")
    def moment(sample_id: str, request: Request) -> dict[str, Any]:
        """One moment and what people decided about it."""
        row = found(store, sample_id, person.of(request))
        return {**to_json(row), "decisions": [asdict(past) for past in decisions.history(store, sample_id)]}

    @routes.post("/api/samples/{sample_id}/review")
    def decide(sample_id: str, body: ReviewRequest, request: Request) -> JSONResponse:
        """Take a decision about the row that was read; the same one twice changes nothing."""
        by = person.of(request)
        return answer(reviews.decide(sample_id, body.action, row_id=body.row_id, by=by, text=body.text))

    @routes.get("/api/stats")
    def statistics(request: Request) -> dict[str, Any]:
        """How many moments stand where, the model that devices are offered ("" = none yet), how often it is right, and
        what came in; of what this person may see."""
        who = person.of(request)
        counts = decisions.counts(store, seen_by=who)
        return {
            "counts": counts,
            "model": {"version": (model() if model else None) or ""},
            "accuracy": _accuracy(store, who),
            "intake": asdict(counters.figures(store, now_s=clock.utc_s(), devices=visible.devices(store, who))),
        }

    @routes.get("/healthz")
    def health() -> dict[str, str]:
        """The page is up and the database answers."""
        decisions.counts(store)
        return {"status": "ok"}

    return routes
