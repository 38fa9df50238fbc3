"""The pages: / lists moments, /moments/{id} shows one and takes decisions and surroundings, /models what each model
sees. Plain forms; JavaScript only makes them quicker.

A form that was taken answers 303 to the list that the person came from. One that was not answers with that one moment,
the reason beside the field, and the words that the person had typed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ConfigDict, Field

from server.database.store import Store
from server.dataset import wording
from server.dataset.sample_row import State
from server.releases.sheet import ModelSheet
from server.review import decisions
from server.web import review, view
from server.web.api import ReviewRequest
from server.web.review import ReviewOutcome, Reviews
from server.web.where import WhereForm
from shared.errors import Refused

HERE = Path(__file__).parent
STATIC = HERE / "static"
PAGE_SIZE = 10
_MAX_PAGE = 1_000_000


class DecisionForm(ReviewRequest):
    """A decision as a form sends it, and where to go afterwards."""

    model_config = ConfigDict(strict=False)  # a form has only text

    state: State = "pending"
    page: int = Field(1, ge=1, le=_MAX_PAGE)


class PageRenderer:
    """Renders the templates."""

    def __init__(self, model: Callable[[], str | None] | None, *, may_teach: bool = False) -> None:
        """may_teach: there is a page /teach"""
        self._model, self._may_teach = model, may_teach
        self.may_admin = False
        """There are pages /admin."""
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        # A new version of the software has other names for its files: no browser mixes old and new.
        self._marks = {path.name: _mark(path) for path in STATIC.iterdir()}

    def render(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """One page."""
        common = {
            "marks": self._marks,
            "model_version": (self._model() if self._model else None) or "",
            "may_teach": self._may_teach,
            "may_admin": self.may_admin,
            "max_text": wording.MAX_TEXT,
            "sentences": wording.sentences(),
        }
        return HTMLResponse(self._templates.get_template(template).render({**common, **values}), status)

    def trouble(self, status: int, reason: str) -> HTMLResponse:
        """A page that says why there is none."""
        return self.render("trouble.html", status=status, reason=reason, not_found=status == 404)


def router(
    store: Store, reviews: Reviews, pages: PageRenderer, models: Callable[[], Sequence[ModelSheet]]
) -> APIRouter:
    """The routes of the pages."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def moments(
        state: State = "pending",
        page: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 1,
        done: Annotated[str, Query(max_length=128)] = "",
    ) -> HTMLResponse:
        counts = decisions.counts(store)
        paging = view.paging(counts[state], page=page, size=PAGE_SIZE)
        rows = decisions.listing(store, state=state, limit=PAGE_SIZE, offset=(paging.page - 1) * PAGE_SIZE)
        decided = review.find(store, done) if done else None
        return pages.render(
            "moments.html",
            state=state,
            tabs=view.tabs(counts, state),
            pages=paging,
            cards=[view.card(row) for row in rows],
            done=view.card(decided) if decided else None,
        )

    @routes.get("/models")
    def seen_by_models() -> HTMLResponse:
        return pages.render("models.html", sheets=models())

    @routes.get("/moments/{sample_id}")
    def moment(sample_id: str, changed: bool = False) -> HTMLResponse:
        row = review.find(store, sample_id)
        if row is None:
            return pages.trouble(404, f"There is no moment {sample_id!r:.110}.")
        return _moment(store, pages, ReviewOutcome(200, review.CHANGED if changed else "", row=row))

    @routes.post("/moments/{sample_id}/review")
    def decide(sample_id: str, form: Annotated[DecisionForm, Form()]) -> Response:
        outcome = reviews.decide(sample_id, form.action, text=form.text, seen=form.row_id)
        if outcome.row is None:
            return pages.trouble(outcome.status, outcome.reason)
        if outcome.status != 200:
            return _moment(store, pages, outcome, typed=form.text if form.action == "edit" else None)
        query = urlencode({"state": form.state, "page": form.page, "done": sample_id})
        return RedirectResponse(f"/?{query}#status", status_code=303)

    @routes.post("/moments/{sample_id}/where")
    def describe(sample_id: str, form: Annotated[WhereForm, Form()]) -> Response:
        try:
            row = reviews.describe(sample_id, form.values)
        except Refused as refused:
            return pages.trouble(422, str(refused))
        if row is None:
            return pages.trouble(404, f"There is no moment {sample_id!r:.110}.")
        listed = f"/?{urlencode({'state': form.state, 'page': form.page})}"
        return RedirectResponse(f"{listed if form.page else f'/moments/{sample_id}'}#moment-{sample_id}", 303)

    return routes


def _moment(store: Store, pages: PageRenderer, outcome: ReviewOutcome, *, typed: str | None = None) -> HTMLResponse:
    assert outcome.row is not None
    return pages.render(
        "moment.html",
        status=outcome.status,
        card=view.card(outcome.row, typed=typed),
        error=outcome.reason,
        error_in_field=outcome.status == 422,
        answer=view.answer(outcome, typed=typed),
        tabs=view.tabs(decisions.counts(store), outcome.row.state),
        decisions=decisions.history(store, outcome.row.sample_id),
    )


def _mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
