"""Which moments a page is about, as its address says it: the same fields in the search form, in the queue and in what a
decision goes back to ("within"). Dates are days in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.dataset.sample_row import State
from server.review.moment_filter import MomentFilter
from server.web.person import Person

MAX_FIELD, MAX_WEARER, MAX_NUMBER = 96, 256, 1_000_000
MAX_WITHIN = 8_000
"""A letter takes up to twelve bytes, and cut off it would be another search; in a form, of 16 KiB, each takes more."""
DAY_S = 86_400.0
ListState = State | Literal["all"]
_LABELS = {
    "words": "Words", "thing": "Thing", "wearer": "Wearer", "device": "Device", "walk": "Walk (id)", "model": "Model",
    "flag": "Why",
    "since": "From (day)", "until": "To (day)", "assigned": "For whom", "marked": "Marked", "like": "Looks like (id)",
}  # fmt: skip
_KINDS = {"words": "search", "since": "date", "until": "date"}
_MARKED = (("difficult", "difficult"), ("commented", "with comments"), ("skipped", "skipped by me"))
_FLAGS = {
    "correction": "corrected", "wearer": "pressed", "stopped": "words were stopped", "low_confidence": "unsure",
    "audit": "check", "predecessor": "just before another", "disagreement": "models disagree",
}  # fmt: skip


class PageSearch(BaseModel):
    """The fields of a search, "" = any."""

    model_config = ConfigDict(extra="ignore")  # a page has fields of its own beside these

    words: str = Field("", max_length=MAX_FIELD)
    thing: str = Field("", max_length=MAX_FIELD)
    wearer: str = Field("", max_length=MAX_WEARER)
    device: str = Field("", max_length=MAX_FIELD)
    walk: str = Field("", max_length=MAX_FIELD)
    model: str = Field("", max_length=MAX_FIELD)
    flag: str = Field("", max_length=MAX_FIELD)
    since: date | Literal[""] = ""
    until: date | Literal[""] = ""
    """The last day that is meant."""
    assigned: str = Field("", max_length=MAX_FIELD)
    marked: Literal["", "difficult", "commented", "skipped"] = ""
    like: str = Field("", max_length=MAX_FIELD)

    @property
    def named(self) -> dict[str, str]:
        """What is searched for, field → value."""
        return {name: str(value) for name, value in self.model_dump().items() if name in _LABELS and value != ""}

    @property
    def within(self) -> str:
        """The same as the query of an address, "" = all moments."""
        return urlencode(self.named)


@dataclass(frozen=True, slots=True)
class FilterField:
    """One field of the search form."""

    name: str
    label: str
    kind: str
    value: str
    options: tuple[tuple[str, str], ...]
    """(value, words) to choose from, () = it is typed."""


def wanted(query: PageSearch, who: Person, *, state: ListState = "pending") -> MomentFilter:
    """The filter that a search means, of the moments that this person may see. Pure."""
    plain = ("words", "thing", "wearer", "device", "walk", "model", "flag", "like")
    return MomentFilter(
        state=state,
        since=_at(query.since) if query.since else None,
        until=_at(query.until) + DAY_S if query.until else None,
        difficult=query.marked == "difficult",
        commented=query.marked == "commented",
        skipped_by=who.name if query.marked == "skipped" else "",
        assigned_to=query.assigned,
        seen_by=who,
        **{name: getattr(query, name) for name in plain},
    )


def read(within: str) -> PageSearch:
    """A filter from the query of an address; what is malformed searches for nothing. Pure."""
    try:
        return PageSearch.model_validate(dict(parse_qsl(within[:MAX_WITHIN])))
    except (ValidationError, ValueError):
        return PageSearch.model_validate({})


def told(query: PageSearch) -> str:
    """A search in words, "" = all moments. Pure."""
    said = [f"{_LABELS[name].lower()}: {_word(name, value)}" for name, value in query.named.items()]
    return ", ".join(said)


def fields(query: PageSearch, choices: Mapping[str, Sequence[str]]) -> list[FilterField]:
    """The search form. choices: as server.review.searching.choices gives them. Pure."""
    options: dict[str, tuple[tuple[str, str], ...]] = {
        name: tuple((value, _word(name, value)) for value in values) for name, values in choices.items()
    }
    options |= {"marked": _MARKED, "assigned": options.pop("assigned_to", ())}
    values: dict[str, Any] = query.named
    return [
        FilterField(name, label, _KINDS.get(name, "text"), values.get(name, ""), options.get(name, ()))
        for name, label in _LABELS.items()
    ]


def _word(name: str, value: str) -> str:
    return {"flag": _FLAGS, "marked": dict(_MARKED)}.get(name, {}).get(value, value)


def _at(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
