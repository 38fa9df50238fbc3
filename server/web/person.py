"""Who asks: the person behind a request, as every route reads it."""

from __future__ import annotations

from contextvars import ContextVar

from starlette.requests import HTTPConnection

from server.access.person import ALONE, Person, Role

__all__ = ["ALONE", "Person", "Role", "of", "shown_to"]

shown_to: ContextVar[Person | None] = ContextVar("shown_to", default=None)
"""For the frame around every page, which says who is logged in: routes ask `of`."""


def of(connection: HTTPConnection) -> Person:
    """The person behind a request: middleware puts them into its state. Pure."""
    return getattr(connection.state, "person", ALONE)
