"""The page /moments: all moments by decision, with a search, and what is done with several that are ticked.

GET  /moments           ?state=&page= and the fields of a search (server.web.filters)
POST /moments/several   {"chosen": row_id …, "action", "name"}: about all of them or none
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from server.consent.terms import Consents
from server.review import decisions, leases, marks, near, searching
from server.review.searching import Search
from server.web import beside, filters, person, view
from server.web.filters import MAX_WITHIN, ListState, PageSearch
from server.web.page import TOLD, PageDesk
from server.web.person import Person
from server.web.review import MAX_ROW_ID
from shared.errors import Refused

PAGE_SIZE = 20
MOST_PAGES = 1_000_000
CHOICES_S = 60.0
"""How old the search form's choices may be: to list the wearers reads all moments."""


class MomentsPageQuery(PageSearch):
    """A search, and where in its list one is."""

    state: ListState = "pending"
    page: int = Field(1, ge=1, le=MOST_PAGES)
    told: str = Field("", max_length=20)


class _SeveralForm(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: Literal["nothing", "reject", "return", "difficult", "assign"]
    name: str = Field("", max_length=400)
    chosen: list[Annotated[str, Field(max_length=MAX_ROW_ID)]] = Field(default_factory=list, max_length=PAGE_SIZE)
    within: str = Field("", max_length=MAX_WITHIN)
    state: ListState = "pending"


class SearchChoices:
    """What can be chosen in the search form, read at most once in CHOICES_S for the same person."""

    def __init__(self, desk: PageDesk) -> None:
        self._desk = desk
        self._kept: dict[Person, tuple[float, Consents | None, Mapping[str, Sequence[str]]]] = {}

    def of(self, who: Person) -> Mapping[str, Sequence[str]]:
        """Field → values, for this person, by what wearers agree to at this request."""
        now_s = self._desk.clock.monotonic_s()
        at_s, consents, found = self._kept.get(who, (0.0, None, {}))
        if not found or consents is not who.consents or now_s - at_s > CHOICES_S:
            found = searching.choices(self._desk.store, who)
            self._kept = {one: value for one, value in self._kept.items() if now_s - value[0] <= CHOICES_S}
            self._kept[who] = (now_s, who.consents, found)
        return found


def router(desk: PageDesk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    choices = SearchChoices(desk)

    @routes.get("/moments")
    def listed(request: Request, query: Annotated[MomentsPageQuery, Query()]) -> HTMLResponse:
        return _list(desk, choices, request, query)

    @routes.post("/moments/several")
    def several(request: Request, form: Annotated[_SeveralForm, Form()]) -> Response:
        who = person.of(request)
        ids = [row_id.rpartition("#")[0] for row_id in form.chosen]
        searched = MomentsPageQuery(**{**filters.read(form.within).model_dump(), "state": form.state})
        if not ids:
            return _list(desk, choices, request, searched, trouble=(422, "Tick the moments that it is about first."))
        if any(desk.find(sample_id, who) is None for sample_id in ids):
            return desk.pages.trouble(404, "One of these moments is not there any more.")
        trouble = _do(desk, who, form, ids)
        if trouble is not None:
            return _list(desk, choices, request, searched, trouble=trouble)
        address = urlencode({"state": form.state, **searched.named, "told": "several"})
        return RedirectResponse(f"/moments?{address}", 303)

    return routes


def _do(desk: PageDesk, who: Person, form: _SeveralForm, ids: Sequence[str]) -> tuple[int, str] | None:
    """Do it to all of them; (status, reason) where it could not be done."""
    match form.action:
        case "difficult":
            for sample_id in ids:
                marks.mark_difficult(desk.store, sample_id, who.name, difficult=True, now_s=desk.clock.utc_s())
        case "assign":
            try:
                for sample_id in ids:
                    marks.assign(desk.store, sample_id, form.name, who.name)
            except Refused as refused:
                return 422, str(refused)
        case _:
            outcome = desk.reviews.decide_all(form.chosen, form.action, by=who)
            return None if outcome.status == 200 else (outcome.status, outcome.reason)
    return None


def _list(
    desk: PageDesk,
    choices: SearchChoices,
    request: Request,
    query: MomentsPageQuery,
    *,
    trouble: tuple[int, str] | None = None,
) -> HTMLResponse:
    who = person.of(request)
    now_s, wanted = desk.clock.utc_s(), filters.wanted(query, who, state=query.state)
    if query.like and desk.find(query.like, who):
        near.hashed(desk.store, desk.dataset, query.like)
    whole = decisions.counts(desk.store, seen_by=who)
    with desk.store.reading() as connection:
        search = Search(connection, wanted)
        counts, most = _counts(query, whole, search)
        paging = view.paging(counts[query.state], page=query.page, size=PAGE_SIZE, most=most)
        offset = (paging.page - 1) * PAGE_SIZE
        rows = search.find(person=who.name, now_s=now_s, limit=PAGE_SIZE, offset=offset)
    ids = [row.sample_id for row in rows]
    person.listed(request, ids)
    left, held = marks.of(desk.store, ids), leases.standing(desk.store, ids, now_s=now_s)
    return desk.pages.render(
        "moments.html",
        status=trouble[0] if trouble else 200,
        trouble=trouble[1] if trouble else "",
        told=TOLD.get(query.told, ""),
        state=query.state,
        states=view.tabs(counts, query.state, searched=query.named, most=most),
        tabs=view.tabs(whole, query.state),
        here="moments",
        pages=paging,
        cards=[view.card(row) for row in rows],
        marked={
            one: told
            for one in ids
            if (told := beside.sentences(left.get(one, marks.NO_MARKS), beside.held(held.get(one), who)))
        },
        fields=filters.fields(query, choices.of(who)),
        people=choices.of(who).get("assigned_to", ()),
        filtered=filters.told(query),
        within=query.within,
        query=urlencode({"state": query.state, **query.named}),
    )


def _counts(query: MomentsPageQuery, whole: Mapping[str, int], search: Search) -> tuple[Mapping[str, int], int | None]:
    """State → how many moments of the list or the search stand there, and "all"; and to how many was counted."""
    if query.named:
        most = searching.COUNTED
        found = search.counts(most)
        return {**found, "all": min(sum(found.values()), most + 1)}, most
    return {**whole, "all": sum(whole.values())}, None
