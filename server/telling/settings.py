"""The section `[telling]` of the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TellingSection:
    """Who is told in time is in `telling.toml`; this is what is the same for all."""

    link: str = ""
    """Address of the review page as people reach it, put under each message. Empty = none."""
