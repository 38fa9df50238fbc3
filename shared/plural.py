"""Numbers in English sentences for people: "1 moment", "2 moments"."""

from __future__ import annotations


def several(count: int, noun: str) -> str:
    """The number with its noun. noun: in the singular, with a regular plural. Pure."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
