"""Who may see all moments is restricted by nothing: lists and statistics then come from indexes and kept sums."""

from __future__ import annotations

from server.access import visible
from server.access.person import Person, Role
from server.consent.terms import GRANTED, NOTHING, Consents


def test_a_caregiver_of_wearers_who_all_agree_is_restricted_by_nothing() -> None:
    assert visible.conditions(Person("Ana", Role.CAREGIVER, consents=Consents({"Ada": GRANTED}))) == []
    assert len(visible.conditions(Person("Ana", Role.CAREGIVER, consents=Consents({"Ada": NOTHING})))) == 1
    assert len(visible.conditions(Person("Ana", Role.CAREGIVER, frozenset({"Ada"}), Consents()))) == 1
    assert visible.conditions(Person("Eve", Role.ADMIN, consents=Consents({"Ada": NOTHING}))) == []
