"""The pages of consent and deletion. Plain forms; everything works without JavaScript.

    GET  /wearers                         who agreed to what, and what is deleted soon for its age
    GET  /wearers/{name}                  one wearer: the questions, all that was written down, deleting
    POST /wearers/{name}                  write down an answer
    GET  /{moments|walks|wearers}/{name}/delete    what would go
    POST /{moments|walks|wearers}/{name}/delete    {"told"}: delete; 303 to the proof, 409 and what would go now where
                                                   that is something else than what was told
    POST /moments/{id}/blur               faces and plates, or all of it, become unrecognisable; 303 to the moment
    GET  /deletions, /deletions/{number}  the proofs: an admin's of all, others' of what they deleted

An admin may do all of it. A wearer may answer for themselves, and delete and blur what is theirs. A caregiver may blur
what they may see, because whoever reviews meets the faces first; and see what its wearers agreed to.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from server.access import visible
from server.consent import terms
from server.consent.register import WEARER_MOST
from server.consent.terms import DAYS_MOST, Consent, LeavesFor, SeenBy
from server.database.store import Store
from server.privacy import plans, retention
from server.privacy import proof as proofs
from server.privacy.desk import PrivacyDesk
from server.privacy.plans import DeletionKind
from server.privacy.proof import Proof
from server.web import person, review, view
from server.web.numbers import RowNumber
from server.web.page import PageRenderer
from server.web.person import Person, Role
from shared.errors import Refused

Deleted = Literal["moments", "walks", "wearers"]
Told = Annotated[str, Form(max_length=64)]
"""What the page told of what would go: nothing else does."""
_KINDS = {"moments": DeletionKind.MOMENT, "walks": DeletionKind.WALK, "wearers": DeletionKind.WEARER}
_NOT_YOURS = "Only an admin, or the wearer, may do this."
_ALL = "all"
"""What was told where it was still being counted: all that is kept."""
_NO_WEARER = "There is no such wearer, or you may not see them."


class ConsentForm(BaseModel):
    """The questions as a form sends them: a box that is not ticked is a no."""

    model_config = ConfigDict(extra="forbid")

    keep: bool = False
    seen: SeenBy = SeenBy.NOBODY
    named: str = Field("", max_length=2000)
    """Accounts, separated by commas."""
    teach: bool = False
    for_others: bool = False
    export: LeavesFor = LeavesFor.NOWHERE
    days: Annotated[int, Field(ge=0, le=DAYS_MOST)] = 0
    how: str = Field("", max_length=500)

    def consent(self) -> Consent:
        """The answers."""
        named = tuple(name.strip() for name in self.named.split(",") if name.strip())[: terms.NAMED_MOST]
        return Consent(
            keep=self.keep,
            seen=self.seen,
            named=named,
            teach=self.teach,
            for_others=self.for_others,
            export=self.export,
            days=self.days,
        )


class BlurForm(BaseModel):
    """How much is hidden."""

    model_config = ConfigDict(extra="forbid")

    whole: bool = False


def router(store: Store, pages: PageRenderer, desk: PrivacyDesk) -> APIRouter:
    """The routes of the pages."""
    routes = APIRouter(include_in_schema=False)
    routes.include_router(_proofs(store, pages, desk))
    routes.include_router(_deletions(store, pages, desk))  # before wearers: a name may have a slash in it
    routes.include_router(_wearers(pages, desk))
    return routes


def _wearers(pages: PageRenderer, desk: PrivacyDesk) -> APIRouter:
    routes = APIRouter()

    def shown(request: Request, name: str, *, error: str = "", done: bool = False) -> HTMLResponse:
        who = _asking(request, desk)
        known = {one.name: one for one in desk.wearers()}
        if name not in known or not _may_look(who, name):
            return pages.trouble(404, _NO_WEARER)
        return pages.render(
            "wearer.html",
            status=422 if error else 200,
            wearer=known[name],
            words=terms.in_words(known[name].consent),
            history=[(answer, terms.in_words(answer.consent)) for answer in desk.history(name)],
            may_change=visible.may_answer_for(who, name),
            error=error,
            done=done,
            link=quote(name, safe=""),
            days_most=DAYS_MOST,
        )

    @routes.get("/wearers")
    def everybody(request: Request) -> HTMLResponse:
        who = _asking(request, desk)
        listed = [one for one in desk.wearers() if _may_look(who, one.name)]
        names = {one.name for one in listed}
        found = desk.announced()
        soon = [expiry for expiry in (*found.announced, *found.due) if expiry.wearer in names]
        return pages.render(
            "wearers.html",
            wearers=[(one, terms.in_words(one.consent), quote(one.name, safe="")) for one in listed],
            soon=retention.in_words(retention.RetentionRound(announced=tuple(soon))) + desk.room(names),
        )

    @routes.get("/wearers/{name:path}")
    def one(request: Request, name: str, done: bool = False) -> HTMLResponse:
        return shown(request, name, done=done)

    @routes.post("/wearers/{name:path}")
    def say(request: Request, name: str, form: Annotated[ConsentForm, Form()]) -> Response:
        who = person.of(request)
        if not visible.may_answer_for(who, name):
            return pages.trouble(403, _NOT_YOURS)
        try:
            desk.say(name, form.consent(), said_by=who.name, how=form.how or "on the page")
        except Refused as refused:
            return shown(request, name, error=str(refused))
        return RedirectResponse(f"/wearers/{quote(name, safe='')}?done=1#status", status_code=303)

    return routes


def _asking(request: Request, desk: PrivacyDesk) -> Person:
    """Who asks, with what wearers agree to as it was written down last: also by the request before."""
    return replace(person.of(request), consents=desk.consents())


def _may_look(who: Person, name: str) -> bool:
    return len(name) <= WEARER_MOST and visible.may_see_wearer(who, name)


def _proofs(store: Store, pages: PageRenderer, desk: PrivacyDesk) -> APIRouter:
    """The proofs; and blurring, which ends in one, too."""
    routes = APIRouter()

    @routes.get("/deletions")
    def everything(request: Request) -> HTMLResponse:
        """An admin sees all of them, others those of what they deleted themselves."""
        found = [one for one in desk.proofs() if _may_read(person.of(request), one)]
        return pages.render("deletions.html", proofs=[(one, proofs.in_words(one)) for one in found], one=False)

    @routes.get("/deletions/{number}")
    def proof(request: Request, number: RowNumber) -> HTMLResponse:
        """A proof names no wearer, but says who deleted, and when: for them, and for admins."""
        found = desk.proof(number)
        if found is None or not _may_read(person.of(request), found):
            return pages.trouble(404, f"There is no proof of a deletion {number}.")
        return pages.render("deletions.html", proofs=[(found, proofs.in_words(found))], one=True)

    @routes.post("/moments/{sample_id}/blur")
    def blur(request: Request, sample_id: str, form: Annotated[BlurForm, Form()]) -> Response:
        who = _asking(request, desk)
        row = review.find(store, sample_id, who)
        if row is None:
            return pages.trouble(404, f"There is no moment {sample_id!r:.110}.")
        try:
            made = desk.blur(row, by=who.name, whole=form.whole)
        except Refused as refused:
            return pages.trouble(409, str(refused))
        if not made.hidden:
            return pages.render("blur.html", row=row, found_with=made.found_with)
        return RedirectResponse(f"/moments/{sample_id}", status_code=303)

    return routes


def _may_read(who: Person, proof: Proof) -> bool:
    return who.role is Role.ADMIN or proof.by == who.name


def _deletions(store: Store, pages: PageRenderer, desk: PrivacyDesk) -> APIRouter:
    routes = APIRouter()

    def ask(request: Request, what: Deleted, name: str) -> HTMLResponse:
        if not _may_delete(store, person.of(request), what, name):
            return pages.trouble(403, _NOT_YOURS)
        try:
            words = desk.preview(_KINDS[what], name)
        except Refused as refused:
            return pages.trouble(404, str(refused))
        return confirm(what, name, words)

    def confirm(what: Deleted, name: str, words: list[str] | None, *, changed: bool = False) -> HTMLResponse:
        row = review.find(store, name) if what == "moments" else None
        told = _told_of(what, name, words, card=view.card(row) if row else None)
        return pages.render("delete.html", status=409 if changed else 200, changed=changed, **told)

    def delete(request: Request, what: Deleted, name: str, told: str) -> Response:
        if not _may_delete(store, person.of(request), what, name):
            return pages.trouble(403, _NOT_YOURS)
        try:
            plan = desk.plan(_KINDS[what], name)
        except Refused as refused:
            return pages.trouble(404, str(refused))
        words = plans.in_words(plan)
        if told != _digest(words) and (told != _ALL or what == "moments"):
            return confirm(what, name, words, changed=True)
        done = desk.delete(plan, by=person.of(request).name)
        return RedirectResponse(f"/deletions/{done.id}", status_code=303)

    @routes.get("/moments/{sample_id}/delete")
    def ask_moment(request: Request, sample_id: str) -> HTMLResponse:
        return ask(request, "moments", sample_id)

    @routes.post("/moments/{sample_id}/delete")
    def delete_moment(request: Request, sample_id: str, told: Told = "") -> Response:
        return delete(request, "moments", sample_id, told)

    @routes.get("/walks/{walk_id:path}/delete")
    def ask_walk(request: Request, walk_id: str) -> HTMLResponse:
        return ask(request, "walks", walk_id)

    @routes.post("/walks/{walk_id:path}/delete")
    def delete_walk(request: Request, walk_id: str, told: Told = "") -> Response:
        return delete(request, "walks", walk_id, told)

    @routes.get("/wearers/{name:path}/delete")
    def ask_wearer(request: Request, name: str) -> HTMLResponse:
        return ask(request, "wearers", name)

    @routes.post("/wearers/{name:path}/delete")
    def delete_wearer(request: Request, name: str, told: Told = "") -> Response:
        return delete(request, "wearers", name, told)

    return routes


def _told_of(what: Deleted, name: str, words: list[str] | None, *, card: view.MomentCard | None) -> dict[str, Any]:
    return {
        "what": _KINDS[what].value,
        "name": name,
        "card": card,
        "words": words,
        "told": _digest(words),
        "link": f"/{what}/{quote(name, safe='')}",
    }


def _digest(words: list[str] | None) -> str:
    """Of what a person was told would go."""
    return _ALL if words is None else hashlib.sha256("\n".join(words).encode()).hexdigest()


def _may_delete(store: Store, who: Person, what: Deleted, name: str) -> bool:
    """A walk may hold moments of several wearers: only an admin deletes it."""
    if who.role is Role.ADMIN:
        return True
    if what == "wearers":
        return visible.may_answer_for(who, name)
    row = review.find(store, name) if what == "moments" else None
    return row is not None and visible.may_delete(who, row)
