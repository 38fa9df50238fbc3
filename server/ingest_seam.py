"""What the intake needs of the place where whole records and files go. server.merge.Merge is it in a running server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from server.merge import Came, Merged
from shared.messages import Part


class Merge(Protocol):
    """Where whole records and files go: server.merge.Merge."""

    def put(self, entries: Sequence[Came]) -> list[Merged]:
        """Take these in, in order; files are moved. Durable when it returns."""
        ...

    def find_parts(self, parts: Sequence[tuple[str, str, Part]]) -> list[bool]:
        """Which of (device, record id, part) were merged before with these very bytes."""
        ...
