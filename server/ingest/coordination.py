"""What one ingest worker defers because another may know more: parts that overtook their file's announcement, and
questions about a file whose last bytes another worker is just writing.

Several workers on one shared subscription get the messages of one transfer in turns, so nothing is in order between
them. Waiting is short and bounded; after it a worker answers as if alone, and the device sends what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from server.ingest.arrivals import Arrival, TransferId
from shared.transfer import ReceiverEvent

EARLY_S = 1.0  # the worker that has the announcement may be merging a batch: tens of milliseconds, a second at worst
QUESTION_S = 0.5
MOVED_S = 1.0  # from a worker's first rename to its last deletion, of one batch
MAX_EARLY_BYTES = 8 * 1024 * 1024  # sixteen windows


def still_merging(arrival: Arrival, now_s: float) -> bool:
    """Whether the worker that moved a file's bytes is likely still merging it. If not, it died, and we merge it."""
    if arrival.moved_at_s is None:
        arrival.moved_at_s = now_s
    return now_s - arrival.moved_at_s < MOVED_S


@dataclass(slots=True)
class _Waiting:
    since_s: float
    messages: list[tuple[ReceiverEvent, bytes]] = field(default_factory=list)


class EarlyMessages:
    """Messages of transfers that were not announced here yet."""

    def __init__(self) -> None:
        self._waiting: dict[TransferId, _Waiting] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def transfers(self) -> list[TransferId]:
        """The transfers whose announcement is missing."""
        return list(self._waiting)

    def add(self, transfer: TransferId, event: ReceiverEvent, payload: bytes, now_s: float) -> bool:
        """Store a message. False where the buffer is full."""
        if self._bytes + len(payload) > MAX_EARLY_BYTES:
            return False
        self._waiting.setdefault(transfer, _Waiting(now_s)).messages.append((event, payload))
        self._bytes += len(payload)
        return True

    def pop(self, transfer: TransferId) -> list[tuple[ReceiverEvent, bytes]]:
        """Remove and return a transfer's messages, in the order they came."""
        messages = self._waiting.pop(transfer).messages
        self._bytes -= sum(len(payload) for _, payload in messages)
        return messages

    def is_overdue(self, transfer: TransferId, now_s: float) -> bool:
        """Whether the announcement would have come by now."""
        return now_s - self._waiting[transfer].since_s >= EARLY_S


class DeferredQuestions:
    """Questions (`ask`, `end`) whose answer must cover all that was sent before them, in whatever worker it is."""

    def __init__(self) -> None:
        self._since: dict[TransferId, tuple[Arrival, float]] = {}

    def __len__(self) -> int:
        return len(self._since)

    @property
    def arrivals(self) -> list[Arrival]:
        """The files that are asked about."""
        return [arrival for arrival, _ in self._since.values()]

    def defer(self, arrival: Arrival, now_s: float) -> tuple[str, ...]:
        """Remove the questions from a file's state that are not to be answered yet. Returns them, for `restore`."""
        questions = tuple(question for question in arrival.state.owed if question in ("ask", "end"))
        if not questions or arrival.whole:
            self.forget(arrival)
            return ()
        _, since_s = self._since.setdefault(arrival.id, (arrival, now_s))
        if now_s - since_s >= QUESTION_S:
            self.forget(arrival)
            return ()
        arrival.state = replace(arrival.state, owed=tuple(q for q in arrival.state.owed if q not in questions))
        return questions

    @staticmethod
    def restore(arrival: Arrival, questions: tuple[str, ...]) -> None:
        """Have the file's state owe them again."""
        arrival.state = replace(arrival.state, owed=(*arrival.state.owed, *questions))

    def forget(self, arrival: Arrival) -> None:
        """No answer about it is owed any more."""
        self._since.pop(arrival.id, None)
