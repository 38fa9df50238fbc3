"""Which moments a person may see by the consent of their wearers.

    clause(person, consents)            for every query over the table of samples: lists, searches, counts
    allows(person, row, consents)       for one moment, its pictures and its sounds

Both say the same. An admin sees all, a wearer their own, a caregiver those whose wearers agreed to it.
"""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import ColumnElement, and_, true

from server.consent.terms import EVERYBODY, Consent, Consents, OfWearer, SeenBy, wearer_of
from server.database import store as db

ADMIN = "admin"


class Viewer(Protocol):
    """Who asks (server.web.person.Person)."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def wearers(self) -> frozenset[str] | None: ...


def allows(person: Viewer, row: OfWearer, consents: Consents) -> bool:
    """Whether a person may see a moment."""
    return sees(person, wearer_of(row), consents)


def sees(person: Viewer, wearer: str, consents: Consents) -> bool:
    """Whether a person may see the moments of a wearer."""
    if person.role == ADMIN or _is_own(person, wearer):
        return True
    if person.wearers is not None and wearer not in person.wearers:
        return False
    return _is_shown(person, consents.of(wearer))


def clause(person: Viewer, consents: Consents, wearer: ColumnElement[str] = db.samples.c.wearer) -> ColumnElement[bool]:
    """The same as a condition over server.database.store.samples, or over another table's column of wearers."""
    if person.role == ADMIN:
        return true()
    if person.wearers is None:
        return _agreed(person, consents, wearer)
    own = wearer.in_(sorted(person.wearers))
    return own if _is_wearer(person) else and_(own, _agreed(person, consents, wearer))


def _agreed(person: Viewer, consents: Consents, wearer: ColumnElement[str]) -> ColumnElement[bool]:
    """Wearers who agreed that this person sees them. Of a deleted one, whose name is a hash, there is nothing."""
    shown = {name: _is_shown(person, consent) for name, consent in consents.known.items() if name != EVERYBODY}
    if _is_shown(person, consents.of(EVERYBODY)):
        hidden = [name for name, is_shown in shown.items() if not is_shown]
        return wearer.not_in(hidden) if hidden else true()
    return wearer.in_([name for name, is_shown in shown.items() if is_shown])


def _is_own(person: Viewer, wearer: str) -> bool:
    return _is_wearer(person) and person.wearers is not None and wearer in person.wearers


def _is_wearer(person: Viewer) -> bool:
    return person.role == "wearer"


def _is_shown(person: Viewer, consent: Consent) -> bool:
    if consent.seen is SeenBy.NAMED:
        return person.name in consent.named
    return consent.seen is SeenBy.CAREGIVERS and person.role != "wearer"
