"""What one ingest worker holds back because another may know more: parts that overtook their file's beginning, and
questions about a file whose last bytes another worker is just writing.

Several workers on one shared subscription get the messages of one transfer in turns, so nothing is in order between
them. Waiting is short and bounded; whoever waited in vain answers as if alone, and the device sends what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from server.ingest.arrivals import Arrival
from shared.transfer import ReceiverEvent

STRAY_S = 1.0  # the worker that has the beginning may be merging a batch: tens of milliseconds, a second on a bad day
QUESTION_S = 0.5
MOVED_S = 1.0  # from a worker's first rename to its last deletion, of one batch
MAX_STRAY_BYTES = 8 * 1024 * 1024  # sixteen windows

Name = tuple[str, str]
"""(device, transfer)"""


@dataclass(slots=True)
class _Stray:
    since_s: float
    messages: list[tuple[ReceiverEvent, bytes]] = field(default_factory=list)


def still_merging(arrival: Arrival, now_s: float) -> bool:
    """Whether the worker that moved a file's bytes is likely at work on it; else it died there, and it is ours."""
    if arrival.moved_at_s is None:
        arrival.moved_at_s = now_s
    return now_s - arrival.moved_at_s < MOVED_S


class Strays:
    """Messages about files that are not known, yet."""

    def __init__(self) -> None:
        self._kept: dict[Name, _Stray] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def names(self) -> list[Name]:
        """The files that are waited for."""
        return list(self._kept)

    def keep(self, name: Name, event: ReceiverEvent, payload: bytes, now_s: float) -> bool:
        """Hold a message back. False where there is no room for it."""
        if self._bytes + len(payload) > MAX_STRAY_BYTES:
            return False
        self._kept.setdefault(name, _Stray(now_s)).messages.append((event, payload))
        self._bytes += len(payload)
        return True

    def take(self, name: Name) -> list[tuple[ReceiverEvent, bytes]]:
        """Give a file's messages back, in the order they came."""
        found = self._kept.pop(name).messages
        self._bytes -= sum(len(payload) for _, payload in found)
        return found

    def too_old(self, name: Name, now_s: float) -> bool:
        """Whether the beginning would have come by now."""
        return now_s - self._kept[name].since_s >= STRAY_S


class Questions:
    """Questions (`ask`, `end`, a repeated `begin`) whose answer must tell of all that was sent before them."""

    def __init__(self) -> None:
        self._since: dict[Name, tuple[Arrival, float]] = {}

    def __len__(self) -> int:
        return len(self._since)

    @property
    def arrivals(self) -> list[Arrival]:
        """The files that are asked about."""
        return [arrival for arrival, _ in self._since.values()]

    def held_back(self, arrival: Arrival, now_s: float) -> Sequence[str]:
        """Take the questions out of a file's state that are not to be answered yet."""
        name = (arrival.device, arrival.name)
        asked = tuple(question for question in arrival.state.owed if question in ("ask", "end"))
        if not asked or arrival.whole:
            self.drop(arrival)
            return ()
        _, since_s = self._since.setdefault(name, (arrival, now_s))
        if now_s - since_s >= QUESTION_S:
            self.drop(arrival)
            return ()
        arrival.state = replace(arrival.state, owed=tuple(q for q in arrival.state.owed if q not in asked))
        return asked

    def put_back(self, arrival: Arrival, asked: Sequence[str]) -> None:
        """Owe them again."""
        if asked:
            arrival.state = replace(arrival.state, owed=(*arrival.state.owed, *asked))

    def drop(self, arrival: Arrival) -> None:
        """Nobody waits for an answer about it any more."""
        self._since.pop((arrival.device, arrival.name), None)
