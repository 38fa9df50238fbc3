"""The rest of the JSON API of a review: whose turn it is, who has what, undo, skips, marks, comments, what is near.

    POST   /api/next?<filter>                     {"sample": row | null, "lease"}: the next one that nobody has, leased
    POST   /api/samples/{id}/lease                the lease, taken or renewed; 409 with it where another person has it
    DELETE /api/samples/{id}/lease                given back
    POST   /api/batch                             {"row_ids", "action", "text"?}: one decision about several
    GET    /api/undo                              {"acts"}: the last 20 of the person who asks
    POST   /api/undo                              {"act"?} -> row: the newest that stands, or that one
    POST   /api/samples/{id}/skip   DELETE        behind the others for this person; back again
    POST   /api/samples/{id}/difficult            {"difficult"}
    POST   /api/samples/{id}/assign               {"to"}
    GET    /api/samples/{id}/marks                {"difficult_by", …, "comments", "lease"}
    POST   /api/samples/{id}/comments             {"text"}
    DELETE /api/samples/{id}/comments/{comment}   one's own
    GET    /api/samples/{id}/near                 {"before", "after", "beside"}: rows
    GET    /api/choices                           what the filters can be
    GET    /api/wording?text=                     how words are read, and what they would be taught as
    GET    /api/words   POST   DELETE ?words=     proposed words, for admins: list, {"words", "thing"}, drop

A moment that a person may not see is answered as one that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.access import visible
from server.database.store import Store
from server.dataset import own_words, wording
from server.dataset.folder import Dataset
from server.review import decisions, leases, marks, near, proposed, searching, turns, undoing
from server.web import person
from server.web.api import MAX_TYPED, FilterQuery, answer, found, to_json
from server.web.numbers import RowNumber
from server.web.person import Person, Role
from server.web.review import MAX_ROW_ID, Reviews
from shared import vocabulary
from shared.clock import Clock
from shared.errors import ConfigError, Refused

MOST_TOGETHER = 24
_STRICT = ConfigDict(strict=True, extra="forbid")


class BatchRequest(BaseModel):
    """One decision about several moments."""

    model_config = _STRICT

    row_ids: list[Annotated[str, Field(max_length=MAX_ROW_ID)]] = Field(min_length=1, max_length=MOST_TOGETHER)
    action: Literal["accept", "edit", "reject", "nothing", "return"]
    text: str = Field("", max_length=MAX_TYPED)


class UndoRequest(BaseModel):
    """Which decision; null = the newest that stands."""

    model_config = _STRICT

    act: int | None = Field(None, ge=1)


class DifficultRequest(BaseModel):
    """Whether a moment is difficult."""

    model_config = _STRICT

    difficult: bool = True


class AssignRequest(BaseModel):
    """To whom, "" = to nobody."""

    model_config = _STRICT

    to: str = Field("", max_length=marks.MAX_PERSON)


class CommentRequest(BaseModel):
    """A comment."""

    model_config = _STRICT

    text: str = Field(max_length=MAX_TYPED)


class WordRequest(BaseModel):
    """Other words for a thing."""

    model_config = _STRICT

    words: str = Field(max_length=proposed.MAX_WORDS)
    thing: str = Field(max_length=proposed.MAX_WORDS)


def router(store: Store, dataset: Dataset, reviews: Reviews, clock: Clock) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    for add in (_turns, _leases, _deciding, _marks, _comments, _near, _words):
        add(routes, _Desk(store, dataset, reviews, clock))
    return routes


class _Desk:
    """What the routes work on."""

    def __init__(self, store: Store, dataset: Dataset, reviews: Reviews, clock: Clock) -> None:
        self.store, self.dataset, self.reviews, self.clock = store, dataset, reviews, clock

    def who(self, request: Request, sample_id: str) -> Person:
        """Who asks about a moment that they may see. Raises: HTTPException."""
        by = person.of(request)
        found(self.store, sample_id, by)
        return by


def _or_422(do: Callable[[], Any]) -> Any:
    """What it returns. Raises: HTTPException where it is refused."""
    try:
        return do()
    except (Refused, ConfigError) as refused:
        raise HTTPException(422, str(refused)) from None


def _turns(routes: APIRouter, desk: _Desk) -> None:
    @routes.post("/api/next")
    def next_one(request: Request, query: Annotated[FilterQuery, Query()]) -> dict[str, Any]:
        """The next moment of a filter that nobody else has before them, leased to the person who asks."""
        who = person.of(request)
        turn = turns.next_for(desk.store, who.name, query.wanted(who), now_s=desk.clock.utc_s())
        if turn is None:
            return {"sample": None, "lease": None}
        person.listed(request, [turn.row.sample_id])
        return {"sample": to_json(turn.row), "lease": asdict(turn.lease)}

    @routes.get("/api/choices")
    def choices(request: Request) -> dict[str, list[str]]:
        """What the filters can be."""
        return searching.choices(desk.store, person.of(request))


def _leases(routes: APIRouter, desk: _Desk) -> None:
    @routes.post("/api/samples/{sample_id}/lease")
    def take(sample_id: str, request: Request) -> JSONResponse:
        """Take a moment, or renew one's own lease."""
        who = desk.who(request, sample_id)
        lease = leases.take(desk.store, sample_id, who.name, now_s=desk.clock.utc_s())
        if lease.person == who.name:
            return JSONResponse(asdict(lease))
        return JSONResponse({"detail": f"{lease.person} has this one.", **asdict(lease)}, 409)

    @routes.delete("/api/samples/{sample_id}/lease")
    def release(sample_id: str, request: Request) -> dict[str, str]:
        """Give it back."""
        leases.release(desk.store, desk.who(request, sample_id).name, sample_id)
        return {"status": "ok"}


def _deciding(routes: APIRouter, desk: _Desk) -> None:
    @routes.post("/api/batch")
    def decide_all(body: BatchRequest, request: Request) -> JSONResponse:
        """One decision about several moments, about all of them or none."""
        by = person.of(request)
        return answer(desk.reviews.decide_all(body.row_ids, body.action, by=by, text=body.text))

    @routes.get("/api/undo")
    def acts(request: Request) -> dict[str, Any]:
        """What the person who asks decided last, the newest first; not about moments that they may not see any more."""
        who = person.of(request)
        return {"acts": [asdict(act) for act in undoing.newest(desk.store, who.name, seen_by=who)]}

    @routes.post("/api/undo")
    def undo(body: UndoRequest, request: Request) -> JSONResponse:
        """Take one of them back."""
        outcome = desk.reviews.undo(by=person.of(request), act=body.act)
        person.listed(request, [outcome.row.sample_id] if outcome.row else [])
        return answer(outcome)


def _marks(routes: APIRouter, desk: _Desk) -> None:
    @routes.post("/api/samples/{sample_id}/skip")
    def skip(sample_id: str, request: Request) -> dict[str, str]:
        """Behind the others, for the person who asks."""
        who = desk.who(request, sample_id)
        marks.skip(desk.store, sample_id, who.name, now_s=desk.clock.utc_s())
        return {"status": "ok"}

    @routes.delete("/api/samples/{sample_id}/skip")
    def unskip(sample_id: str, request: Request) -> dict[str, str]:
        """Back to its place."""
        marks.unskip(desk.store, sample_id, desk.who(request, sample_id).name)
        return {"status": "ok"}

    @routes.post("/api/samples/{sample_id}/difficult")
    def difficult(sample_id: str, body: DifficultRequest, request: Request) -> dict[str, Any]:
        """Somebody who knows more should look."""
        who, now_s = desk.who(request, sample_id), desk.clock.utc_s()
        marks.mark_difficult(desk.store, sample_id, who.name, difficult=body.difficult, now_s=now_s)
        return _marks_of(desk, sample_id)

    @routes.post("/api/samples/{sample_id}/assign")
    def assign(sample_id: str, body: AssignRequest, request: Request) -> dict[str, Any]:
        """Whose it is."""
        who = desk.who(request, sample_id)
        _or_422(lambda: marks.assign(desk.store, sample_id, body.to, who.name))
        return _marks_of(desk, sample_id)

    @routes.get("/api/samples/{sample_id}/marks")
    def marked(sample_id: str, request: Request) -> dict[str, Any]:
        """What people left at a moment, and who has it."""
        desk.who(request, sample_id)
        return _marks_of(desk, sample_id)


def _marks_of(desk: _Desk, sample_id: str) -> dict[str, Any]:
    own = marks.of(desk.store, [sample_id]).get(sample_id, marks.NO_MARKS)
    lease = leases.standing(desk.store, [sample_id], now_s=desk.clock.utc_s()).get(sample_id)
    comments = [asdict(one) for one in marks.comments(desk.store, sample_id)]
    return {**asdict(own), "comments": comments, "lease": None if lease is None else asdict(lease)}


def _comments(routes: APIRouter, desk: _Desk) -> None:
    @routes.post("/api/samples/{sample_id}/comments")
    def comment(sample_id: str, body: CommentRequest, request: Request) -> dict[str, Any]:
        """Write one."""
        who, now_s = desk.who(request, sample_id), desk.clock.utc_s()
        written = _or_422(lambda: marks.comment(desk.store, sample_id, who.name, body.text, now_s=now_s))
        return asdict(written)

    @routes.delete("/api/samples/{sample_id}/comments/{comment_id}")
    def uncomment(sample_id: str, comment_id: RowNumber, request: Request) -> dict[str, str]:
        """Delete one's own."""
        who = desk.who(request, sample_id)
        if not marks.uncomment(desk.store, sample_id, comment_id, who.name):
            raise HTTPException(404, "There is no such comment of yours.")
        return {"status": "ok"}


def _near(routes: APIRouter, desk: _Desk) -> None:
    @routes.get("/api/samples/{sample_id}/near")
    def around(sample_id: str, request: Request) -> dict[str, Any]:
        """The moments before and after on the walk, and those that one decision may be about."""
        who = person.of(request)
        row = found(desk.store, sample_id, who)
        walk, beside = near.on_walk(desk.store, row), near.beside(desk.store, desk.dataset, row)
        around = {"before": walk.before, "after": walk.after, "beside": beside}
        shown = {name: [other for other in rows if visible.may_see(who, other)] for name, rows in around.items()}
        person.listed(request, (other.sample_id for rows in shown.values() for other in rows))
        return {name: [to_json(other) for other in rows] for name, rows in shown.items()}


def _words(routes: APIRouter, desk: _Desk) -> None:
    @routes.get("/api/wording")
    def read(text: Annotated[str, Query(max_length=MAX_TYPED)]) -> dict[str, Any]:
        """How words are read, as they are typed."""
        reading = vocabulary.read(" ".join(text.split()))
        told = {"wording": reading.taught_as or "", "as_written": reading.as_written, "lost": reading.lost}
        suggestions = () if reading.sayable else wording.suggestions(reading.text)
        return {**told, "problems": reading.problems, "suggestions": suggestions}

    @routes.get("/api/words")
    def words(request: Request) -> dict[str, Any]:
        """What people call things that the vocabulary does not know."""
        _admin(request)
        waiting = decisions.listing(desk.store, limit=proposed.LOOKED_THROUGH)
        return {"words": [asdict(word) for word in proposed.listed(desk.store, waiting)]}

    @routes.post("/api/words")
    def add(body: WordRequest, request: Request) -> dict[str, Any]:
        """Make such words another name of a thing, from now on."""
        _admin(request)
        version = _or_422(lambda: own_words.add(desk.store.home, body.words, body.thing))
        return {"version": version}

    @routes.delete("/api/words")
    def drop(words: Annotated[str, Query(max_length=proposed.MAX_WORDS)], request: Request) -> dict[str, Any]:
        """Forget them."""
        _admin(request)
        return {"dropped": proposed.drop(desk.store, words)}


def _admin(request: Request) -> None:
    if person.of(request).role is not Role.ADMIN:
        raise HTTPException(403, "Only who runs this server may change its words.")
