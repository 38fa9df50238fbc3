"""The pages of one moment: / hands out the next of the queue, /moments/{id} shows one and takes decisions and
surroundings; /models what each model sees. Plain forms; JavaScript only makes them quicker.

A form that was taken answers 303 to the next moment, within the search that the person came from. One that was not
answers with that one moment, the reason beside the field, and the words that the person had typed; one about a moment
that has changed meanwhile with what was read and what stands now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ConfigDict, Field

from server.access import visible
from server.database.store import Store
from server.dataset import wording
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.releases.sheet import ModelSheet
from server.review import decisions, leases, searching, turns
from server.web import beside, drawn, filters, keys, person, review, view
from server.web.api import ReviewRequest
from server.web.filters import MAX_WITHIN, PageSearch
from server.web.person import ALONE, Person, Role
from server.web.review import ReviewOutcome, Reviews
from server.web.where import WhereForm
from shared.clock import Clock
from shared.errors import Refused

HERE = Path(__file__).parent
STATIC = HERE / "static"
TOLD = {
    "skipped": "Skipped. It comes back after the others.",
    "difficult": "Marked as difficult: somebody else will look.",
    "easy": "Not difficult any more.",
    "returned": "This moment is waiting for a review again.",
    "undone": "Taken back: the moment is as it was.",
    "commented": "Comment added.",
    "assigned": "Assigned.",
    "several": "Done for the ticked moments.",
}  # fmt: skip
"""What a page says about what was just done, by the word in its address."""
_DEEDS = {
    "accept": "Accepted", "edit": "Edited", "nothing": "Nothing should be said", "reject": "Rejected",
    "return": "Back to review", "undo": "Undone",
}  # fmt: skip


class DecisionForm(ReviewRequest):
    """A decision as a form sends it, and the search to go on with."""

    model_config = ConfigDict(strict=False)  # a form has only text

    within: str = Field("", max_length=MAX_WITHIN)
    heard: bool = False
    """The person says that they have listened; a browser without JavaScript asks it of what is unsure."""


class PageRenderer:
    """Renders the templates."""

    def __init__(
        self, model: Callable[[], str | None] | None, *, may_teach: bool = False, may_delete: bool = False
    ) -> None:
        """may_teach: there is a page /teach; may_delete: there are the pages of server.web.consent"""
        self._model, self._may_teach, self.may_delete = model, may_teach, may_delete
        self.may_admin = False
        """There are pages /admin."""
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["short"] = view.short
        # A new version of the software has other names for its files: no browser mixes old and new.
        self.marks = {path.name: _mark(path) for path in STATIC.iterdir()}

    def render(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """One page."""
        return HTMLResponse(self.text(template, **values), status)

    def text(self, template: str, **values: Any) -> str:
        """A template with its values."""
        who = person.shown_to.get()
        common = {
            "marks": self.marks,
            "model_version": (self._model() if self._model else None) or "",
            "may_teach": self._may_teach,
            "person": who,
            "logged_in": who is not None and who is not ALONE,
            "may_delete": self.may_delete,
            "may_admin": self.may_admin,
            "max_text": wording.MAX_TEXT,
            "sentences": wording.sentences(),
            "key_actions": keys.ACTIONS,
        }
        return self._templates.get_template(template).render({**common, **values})

    def trouble(self, status: int, reason: str) -> HTMLResponse:
        """A page that says why there is none."""
        return self.render("trouble.html", status=status, reason=reason, not_found=status == 404)


@dataclass(frozen=True, slots=True)
class PageDesk:
    """What the review's pages share."""

    store: Store
    dataset: Dataset
    reviews: Reviews
    pages: PageRenderer
    clock: Clock

    def find(self, sample_id: str, who: Person) -> SampleRow | None:
        """One moment that this person may see, else None."""
        return review.find(self.store, sample_id, who)

    def missing(self, sample_id: str) -> HTMLResponse:
        """There is no such moment, or not for this person: nobody learns which."""
        return self.pages.trouble(404, f"There is no moment {sample_id!r:.110}.")

    def next(self, request: Request, query: PageSearch, *, told: str = "", done: str = "") -> HTMLResponse:
        """The next moment of the queue for who asks, taken for them; or that there is none."""
        who = person.of(request)
        wanted = filters.wanted(query, who)
        turn = turns.next_for(self.store, who.name, wanted, now_s=self.clock.utc_s())
        decided = self.find(done, who) if done else None
        values: dict[str, Any] = {"told": TOLD.get(told, ""), "done": view.card(decided) if decided else None}
        if turn is not None:
            person.listed(request, [turn.row.sample_id])
            return self.moment(request, ReviewOutcome(200, row=turn.row), query=query, **values)
        return self.pages.render(
            "nothing.html",
            heading="Nothing to review" if not query.named else "No more of these",
            tabs=view.tabs(decisions.counts(self.store, seen_by=who), ""),
            here="review",
            within=query.within,
            within_told=filters.told(query),
            held=searching.count(self.store, wanted),
            **values,
        )

    def moment(
        self, request: Request, outcome: ReviewOutcome, *, query: PageSearch, typed: str | None = None, **values: Any
    ) -> HTMLResponse:
        """One moment, with what stands beside it and what became of a decision."""
        row, who = outcome.row, person.of(request)
        assert row is not None
        now_s, instead = self.clock.utc_s(), view.answer(outcome, typed=typed)
        shown = {
            "card": view.card(row, typed=typed, shape=drawn.aspect(self.dataset.blobs, row.frame_path)),
            "beside": beside.of(self.store, row, who, now_s=now_s, can_blur=self.pages.may_delete),
            "error": outcome.reason,
            "error_in_field": outcome.status == 422,
            "answer": instead,
            "conflict": outcome.conflict,
            "decisions": decisions.history(self.store, row.sample_id),
            "tabs": view.tabs(decisions.counts(self.store, seen_by=who), row.state),
            "within_told": filters.told(query),
            "deletable": visible.may_delete(who, row),
            "walk_deletable": who.role is Role.ADMIN,
            "told": "",
            "done": None,
        }
        here = "review" if row.state == "pending" else "moments"
        fixed = {"here": here, "within": query.within, "deeds": _DEEDS}
        return self.pages.render("moment.html", status=outcome.status, **{**shown, **fixed, **values})


def router(desk: PageDesk, models: Callable[[], Sequence[ModelSheet]]) -> APIRouter:
    """The routes of the pages."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def queue(
        request: Request, query: Annotated[PageSearch, Query()], state: str = "", told: str = "", done: str = ""
    ) -> Response:
        if state in ("reviewed", "rejected", "all"):  # as such lists were addressed before
            return RedirectResponse(f"/moments?{urlencode({'state': state})}", 303)
        return desk.next(request, query, told=told[:20], done=done[:128])

    @routes.get("/models")
    def seen_by_models() -> HTMLResponse:
        return desk.pages.render("models.html", sheets=models())

    @routes.get("/moments/{sample_id}")
    def moment(request: Request, sample_id: str, changed: bool = False, told: str = "", within: str = "") -> Response:
        who = person.of(request)
        row = desk.find(sample_id, who)
        if row is None:
            return desk.missing(sample_id)
        if row.state == "pending":
            leases.take(desk.store, sample_id, who.name, now_s=desk.clock.utc_s())
        outcome = ReviewOutcome(200, review.CHANGED if changed else "", row=row)
        return desk.moment(request, outcome, query=filters.read(within), told=TOLD.get(told, ""))

    @routes.post("/moments/{sample_id}/review")
    def decide(request: Request, sample_id: str, form: Annotated[DecisionForm, Form()]) -> Response:
        who = person.of(request)
        if desk.find(sample_id, who) is None:
            return desk.missing(sample_id)
        outcome = desk.reviews.decide(sample_id, form.action, row_id=form.row_id, by=who, text=form.text)
        if outcome.row is None:
            return desk.pages.trouble(outcome.status, outcome.reason)
        if outcome.status != 200:
            typed = form.text if form.action == "edit" else None
            return desk.moment(request, outcome, query=filters.read(form.within), typed=typed)
        return RedirectResponse(onward(form.within, done=sample_id), status_code=303)

    @routes.post("/moments/{sample_id}/where")
    def describe(request: Request, sample_id: str, form: Annotated[WhereForm, Form()]) -> Response:
        who = person.of(request)
        if desk.find(sample_id, who) is None:
            return desk.missing(sample_id)
        try:
            desk.reviews.describe(sample_id, form.values, by=who)
        except Refused as refused:
            return desk.pages.trouble(422, str(refused))
        return RedirectResponse(f"/moments/{sample_id}", 303)

    return routes


def onward(within: str, **said: str) -> str:
    """The address of the next moment, within a search. said: what is told there"""
    query = {**filters.read(within).named, **said}
    return f"/?{urlencode(query)}" if query else "/"


def _mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
