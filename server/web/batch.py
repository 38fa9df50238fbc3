"""The page /batch: moments at which the device said the same, side by side; a decision is about those that are ticked.

    GET  /batch          the groups, the largest first
    POST /batch          {"chosen": row_id …, "action", "text"}: about all of them or none

Nothing is ticked beforehand: what nobody looked at is not confirmed. A moment that has changed meanwhile, or words that
may not be taught as they are, keep all of them out; the page comes again with what was ticked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ConfigDict, Field

from server.access import visible
from server.database.store import Store
from server.review import batches, decisions, searching
from server.review.batches import AlikeMoments
from server.review.moment_filter import MomentFilter
from server.web import person, review, view
from server.web.api import ReviewRequest
from server.web.page import PageRenderer
from server.web.person import Person
from server.web.review import MAX_ROW_ID, ReviewOutcome, Reviews
from server.web.view import MomentCard

LOOKED_THROUGH = 500
"""Moments of the queue's beginning that are put into groups."""
GROUPS_MOST, SHOWN_MOST = 5, 24
GONE = "One of these moments is not there any more."


class BatchForm(ReviewRequest):
    """One decision, and the rows that the person ticked."""

    model_config = ConfigDict(strict=False)  # a form has only text

    chosen: list[Annotated[str, Field(max_length=MAX_ROW_ID)]] = Field(default_factory=list, max_length=SHOWN_MOST)


@dataclass(frozen=True, slots=True)
class BatchGroup:
    """A group as the page shows it."""

    number: int
    group: AlikeMoments
    cards: tuple[MomentCard, ...]
    more: int
    """How many more there are: they come once these are decided."""


def groups(store: Store, who: Person) -> list[BatchGroup]:
    """What the page shows to a person."""
    found = batches.alike(searching.find(store, MomentFilter(seen_by=who), limit=LOOKED_THROUGH))[:GROUPS_MOST]
    return [
        BatchGroup(number, group, tuple(map(view.card, group.rows[:SHOWN_MOST])), len(group.rows[SHOWN_MOST:]))
        for number, group in enumerate(found, start=1)
    ]


def _may_decide(store: Store, who: Person, chosen: Collection[str]) -> bool:
    """Whether a person may see every moment of these rows."""
    rows = [review.find(store, row_id.rpartition("#")[0]) for row_id in chosen]
    return all(row is not None and visible.may_see(who, row) for row in rows)


def router(store: Store, reviews: Reviews, pages: PageRenderer) -> APIRouter:
    """The routes of the page."""
    routes = APIRouter(include_in_schema=False)

    def shown(
        request: Request,
        outcome: ReviewOutcome | None = None,
        *,
        typed: str = "",
        chosen: Collection[str] = (),
        done: int = 0,
    ) -> HTMLResponse:
        who = person.of(request)
        found = groups(store, who)
        person.listed(request, (card.row.sample_id for group in found for card in group.cards))
        return pages.render(
            "batch.html",
            status=outcome.status if outcome else 200,
            tabs=view.tabs(decisions.counts(store, seen_by=who), ""),
            here="batch",
            groups=found,
            error=outcome.reason if outcome else "",
            answer=view.answer(outcome, typed=typed or None) if outcome else None,
            typed=typed,
            chosen=frozenset(chosen),
            done=done,
        )

    @routes.get("/batch")
    def page(request: Request, done: Annotated[int, Query(ge=0, le=SHOWN_MOST)] = 0) -> HTMLResponse:
        return shown(request, done=done)

    @routes.post("/batch")
    def decide(request: Request, form: Annotated[BatchForm, Form()]) -> Response:
        if not form.chosen:
            return shown(request, ReviewOutcome(422, "Tick the moments that it is about first."), typed=form.text)
        if not _may_decide(store, person.of(request), form.chosen):
            return shown(request, ReviewOutcome(404, GONE), typed=form.text)
        outcome = reviews.decide_all(form.chosen, form.action, by=person.of(request), text=form.text)
        if outcome.status == 200:
            return RedirectResponse(f"/batch?done={len(set(form.chosen))}#status", status_code=303)
        return shown(request, outcome, typed=form.text if form.action == "edit" else "", chosen=form.chosen)

    return routes
