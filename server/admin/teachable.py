"""What a person is told of what could be taught: counted over the moments that they may see, and no others."""

from __future__ import annotations

import json
from collections.abc import Sequence

from server.access import visible
from server.access.person import Person
from server.admin.reckoned import Reckoned
from server.consent import register
from server.database.store import Store
from server.review.teaching import Teachable


def teachable_to(person: Person, store: Store, reckoned: Reckoned, *, least: int) -> Sequence[Teachable] | None:
    """Things with confirmed moments that are new; None while they are being counted. least: learn.teach_least"""
    argument = str(least)
    if visible.clause(person) is not None:
        seen = [wearer for wearer in register.wearers(store) if visible.may_see_wearer(person, wearer)]
        argument += f" {json.dumps(seen)}"
    found: Sequence[Teachable] | None = reckoned.get("teachable", argument).value
    return found
