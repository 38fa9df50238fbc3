"""Which moments are meant: one filter for the page, the API and the terminal.

Everything that is named must hold. `words` are looked for in all that was said, heard, proposed and confirmed: every
word, in any place (`server.review.by_words`). `like` are the moments that look like one (`server.review.near`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from server.access.person import Person
from server.dataset.sample_row import State


@dataclass(frozen=True, slots=True)
class MomentFilter:
    """Which moments are meant. What is empty restricts nothing."""

    state: State | Literal["all"] = "pending"
    wearer: str = ""
    device: str = ""
    walk: str = ""
    model: str = ""
    """A version."""
    thing: str = ""
    """An object of the vocabulary that any of its wordings names."""
    flag: str = ""
    words: str = ""
    like: str = ""
    """The id of a moment."""
    since: float | None = None
    """Wall time of the moment, seconds since 1970 in UTC, like the next."""
    until: float | None = None
    """The moment lies before it."""
    difficult: bool = False
    commented: bool = False
    assigned_to: str = ""
    skipped_by: str = ""
    seen_by: Person | None = None
    """Only what this person may see; None = all moments. It is who asks, and never the request, that sets it."""


ALL_PENDING = MomentFilter()
