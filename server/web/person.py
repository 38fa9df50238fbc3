"""Who asks: the person behind a request, as every route reads it."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from starlette.requests import HTTPConnection

from server.access.person import ALONE, Person, Role
from server.dataset.sample_row import SampleRow

__all__ = ["ALONE", "Person", "Role", "listed", "of", "shown_to"]

shown_to: ContextVar[Person | None] = ContextVar("shown_to", default=None)
"""For the frame around every page, which says who is logged in: routes ask `of`."""


def of(connection: HTTPConnection) -> Person:
    """The person behind a request: middleware puts them into its state. Pure."""
    return getattr(connection.state, "person", ALONE)


def listed(connection: HTTPConnection, rows: Iterable[SampleRow]) -> None:
    """Moments that an answer shows beside others: they are written down as seen (server.access.audit)."""
    getattr(connection.state, "listed", []).extend(row.sample_id for row in rows)
