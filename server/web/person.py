"""Who asks: the person behind a request, as every route reads it."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from starlette.requests import HTTPConnection

from server.access.person import ALONE, Person, Role

__all__ = ["ALONE", "Person", "Role", "listed", "of", "shown_to"]

shown_to: ContextVar[Person | None] = ContextVar("shown_to", default=None)
"""For the frame around every page, which says who is logged in and where they may go; None = nobody is known. Routes
ask `of`."""


def of(connection: HTTPConnection) -> Person:
    """The person behind a request: middleware puts them into its state. Pure."""
    return getattr(connection.state, "person", ALONE)


def listed(connection: HTTPConnection, sample_ids: Iterable[str]) -> None:
    """Moments that an answer shows though its address names none of them: they are written down as seen
    (server.access.audit)."""
    getattr(connection.state, "listed", []).extend(sample_ids)
