"""Review by ear alone: everything is spoken by this server and done with keys. The page /ear plays what these give it.

    POST /api/ear/next               {"done"}                     → the next moment: id, row_id, parts, choices
    POST /api/ear/{sample_id}/do     {"act", "text", "row_id", "done"} → {"parts", "go_on", "offers"}
    POST /api/ear/undo               {"done"}                     → as next, with what was taken back before it, and
                                                                   "count": of how many moments that was
    GET  /api/ear/{sample_id}/say    ?what=moment|wearer|1…9      → {"parts"}
    GET  /api/ear/phrase             ?name=                       → {"parts"}: one of the fixed sentences
    GET  /ear/sound/{token}          WAV

Deleting and blurring are in server.web.ear_deleting; the walk and moments that look the same in server.web.ear_near.

A part is {"text", "kind", "sound"}: `sound` is the address of what is played, a WAV of the server's voice or a file of
the dataset. Only the person who was given a token hears it (`server.voice.speech`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from server.dataset.sample_row import SampleRow
from server.review import decisions, leases, marks, turns
from server.voice.speech import SpokenTexts
from server.web import beside, ear_words, filters, person, view
from server.web.api import MAX_TYPED
from server.web.ear_words import EarPart
from server.web.filters import PageSearch
from server.web.page import PageDesk
from server.web.person import Person
from server.web.review import MAX_ROW_ID, ReviewOutcome
from shared.errors import MediaError, Refused, Transient

MOST_DONE = 100_000
_PHRASES = {
    "help": ear_words.HELP,
    "unheard": (ear_words.UNHEARD,),
    "paused": ("Paused. Space goes on.",),
    "typing": ("Type what should be said, then Enter. Escape leaves it.",),
    "nothing_here": ("There is nothing to accept. E: type what should be said. N: nothing should be said.",),
    "no_server": ("The server does not answer. Nothing was saved. Try again.",),
    "left": ("Left as it was.",),
    "gone": ("This moment is not there for you any more.",),
    "key": ("This key does nothing here. H tells the keys.",),
}  # fmt: skip
Phrase = Literal["help", "unheard", "paused", "typing", "nothing_here", "no_server", "left", "gone", "key"]
Deed = Literal["accept", "edit", "nothing", "reject", "skip", "difficult"]


class NextAsked(BaseModel):
    """What the page sends with what asks for a moment."""

    model_config = ConfigDict(strict=True, extra="forbid")

    done: int = Field(0, ge=0, le=MOST_DONE)
    """How many moments the person has dealt with in this sitting."""


class _EarDecision(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    act: Deed
    row_id: str = Field(max_length=MAX_ROW_ID)
    text: str = Field("", max_length=MAX_TYPED)
    done: int = Field(0, ge=0, le=MOST_DONE)


@dataclass(frozen=True, slots=True)
class EarDesk:
    """The desk of the pages, with a voice."""

    desk: PageDesk
    voice: SpokenTexts

    def played(self, who: Person, parts: Iterable[EarPart], about: str = "") -> list[dict[str, str]]:
        """Parts as the page plays them. about: the moment of which they tell"""
        return [{"text": part.text, "kind": part.kind, "sound": self._address(who, part, about)} for part in parts]

    def _address(self, who: Person, part: EarPart, about: str) -> str:
        if part.media:
            return f"/media/{part.media}"
        return f"/ear/sound/{self.voice.offer(who.name, part.text, about)}"

    def next(self, who: Person, done: int, before: tuple[EarPart, ...] = ()) -> dict[str, Any]:
        """The next moment of the queue, taken for this person; id "" where there is none. before: what is said first"""
        store, now_s = self.desk.store, self.desk.clock.utc_s()
        wanted = filters.wanted(PageSearch.model_validate({}), who)
        turn = turns.next_for(store, who.name, wanted, now_s=now_s)
        if turn is None:
            return {"id": "", "row_id": "", "parts": self.played(who, (*before, EarPart(ear_words.DONE)))}
        return self.moment(who, turn.row, done, before)

    def moment(self, who: Person, row: SampleRow, done: int, before: tuple[EarPart, ...] = ()) -> dict[str, Any]:
        """One moment as the page plays it."""
        card, now_s = view.card(row), self.desk.clock.utc_s()
        lease = leases.standing(self.desk.store, [row.sample_id], now_s=now_s).get(row.sample_id)
        spoken = ear_words.moment(card, number=done + 1, of=done + self.left(who), held_by=beside.held(lease, who))
        return {
            "id": row.sample_id,
            "row_id": row.row_id,
            "parts": self.played(who, (*before, *spoken), row.sample_id),
            "first": len(before),
            "acceptable": card.acceptable,
            "to_confirm": card.proposal if card.to_confirm else "",
            "must_hear": bool(card.unsure),
            "choices": [item.wording for item in card.choices],
        }

    def row(self, sample_id: str, who: Person) -> SampleRow:
        """One moment that this person may see. Raises: HTTPException 404."""
        row = self.desk.find(sample_id, who)
        if row is None:
            raise HTTPException(404, f"There is no moment {sample_id!r:.110}.")
        return row

    def left(self, who: Person) -> int:
        """How many moments wait for this person."""
        return decisions.counts(self.desk.store, seen_by=who)["pending"]

    def do(self, who: Person, row: SampleRow, asked: _EarDecision) -> tuple[int, dict[str, Any]]:
        """Carry out a key; (HTTP status, what is said and whether to go on)."""
        store, now_s = self.desk.store, self.desk.clock.utc_s()
        if asked.act == "difficult":
            marks.mark_difficult(store, row.sample_id, who.name, difficult=True, now_s=now_s)
        if asked.act in ("skip", "difficult"):
            marks.skip(store, row.sample_id, who.name, now_s=now_s)
            told = "Skipped." if asked.act == "skip" else "Marked as difficult, for somebody else."
            return 200, {"parts": self.played(who, (EarPart(told),)), "go_on": True, "offers": []}
        outcome = self.desk.reviews.decide(row.sample_id, asked.act, row_id=asked.row_id, by=who, text=asked.text)
        return outcome.status, self._answer(who, outcome, asked)

    def _answer(self, who: Person, outcome: ReviewOutcome, asked: _EarDecision) -> dict[str, Any]:
        offers: list[str] = []
        if outcome.row is None:
            parts: tuple[EarPart, ...] = (EarPart(outcome.reason),)
        elif outcome.status == 200:
            parts = (ear_words.decided(view.card(outcome.row), left=self.left(who)),)
        elif outcome.conflict is not None:
            told = outcome.conflict
            parts = ear_words.changed(view.card(outcome.row), read=told.read, who=told.decided_by)
        else:
            offer = view.answer(outcome, typed=asked.text if asked.act == "edit" else None)
            parts = ear_words.offered(offer, outcome.reason)
            offers = [offer.wording] if offer and offer.wording else list(offer.suggestions if offer else ())
        wait = outcome.status == 422
        about = outcome.row.sample_id if outcome.row else ""
        return {"parts": self.played(who, parts, about), "go_on": not wait, "offers": offers}


def router(ear: EarDesk) -> APIRouter:
    """The routes."""
    routes, desk = APIRouter(), ear.desk

    @routes.get("/ear", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        return desk.pages.render(
            "ear.html",
            tabs=view.tabs(decisions.counts(desk.store, seen_by=person.of(request)), ""),
            here="ear",
            no_voice=ear.voice.trouble(),
        )

    @routes.post("/api/ear/next")
    def following(request: Request, asked: NextAsked) -> dict[str, Any]:
        """The next moment, taken for who asks."""
        return _noted(request, ear.next(person.of(request), asked.done))

    @routes.post("/api/ear/undo")
    def undo(request: Request, asked: NextAsked) -> dict[str, Any]:
        """Take back the newest decision of who asks."""
        who = person.of(request)
        outcome = desk.reviews.undo(by=who)
        if outcome.row is None or outcome.status != 200:
            return {"id": "", "refused": True, "parts": ear.played(who, (EarPart(outcome.reason),))}
        leases.take(desk.store, outcome.row.sample_id, who.name, now_s=desk.clock.utc_s())
        found = ear.moment(who, outcome.row, max(0, asked.done - outcome.count), (ear_words.taken_back(outcome.count),))
        return {**_noted(request, found), "count": outcome.count}

    @routes.post("/api/ear/{sample_id}/do")
    def do(request: Request, sample_id: str, asked: _EarDecision) -> JSONResponse:
        """Carry out a key about a moment that was heard."""
        who = person.of(request)
        status, body = ear.do(who, ear.row(sample_id, who), asked)
        return JSONResponse(body, status)

    @routes.get("/api/ear/{sample_id}/say")
    def say(
        request: Request, sample_id: str, what: Annotated[str, Query(pattern="^(wearer|[1-9])$")]
    ) -> dict[str, Any]:
        """What the wearer said, or what a number would teach."""
        who = person.of(request)
        card = view.card(ear.row(sample_id, who))
        parts = ear_words.wearer_only(card) if what == "wearer" else (ear_words.choice(card, int(what)),)
        return {"parts": ear.played(who, parts, sample_id)}

    @routes.get("/api/ear/phrase")
    def phrase(request: Request, name: Phrase) -> dict[str, Any]:
        """A fixed sentence."""
        return {"parts": ear.played(person.of(request), map(EarPart, _PHRASES[name]))}

    @routes.get("/ear/sound/{token}", include_in_schema=False)
    def sound(request: Request, token: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]) -> Response:
        return Response(_sound(ear, person.of(request), token), media_type="audio/wav")

    return routes


def _noted(request: Request, moment: dict[str, Any]) -> dict[str, Any]:
    """What is played was heard, and is written down as that."""
    person.listed(request, [moment["id"]] if moment["id"] else [])
    return moment


def _sound(ear: EarDesk, who: Person, token: str) -> bytes:
    try:
        about = ear.voice.about(token)
        is_seen = not about or ear.desk.find(about, who) is not None
        found = ear.voice.sound(who.name, token) if is_seen else None
    except Refused as much:
        raise HTTPException(429, str(much)) from None
    except Transient as busy:
        raise HTTPException(503, str(busy)) from None
    except MediaError as error:
        raise HTTPException(503, str(error)) from None
    if found is None:
        raise HTTPException(404, "There is no such sound for you.")
    return found
