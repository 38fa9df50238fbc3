"""A set of byte positions: which bytes of a file are there. The one such set on both sides and in both directions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.errors import MessageError

Span = tuple[int, int]
MANY = 16  # spans: to join so many one by one would copy all others as often


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of byte positions, as half-open intervals that are sorted and do not touch."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Ranges:
        """From intervals in any order, overlapping or not. Raises: MessageError unless 0 <= start <= end."""
        whole = cls()
        for start, end in spans:
            whole = whole.add(start, end)
        return whole

    def add(self, start: int, end: int) -> Ranges:
        """With [start, end) too. Raises: MessageError unless 0 <= start <= end."""
        if not 0 <= start <= end:
            raise MessageError(f"[{start}, {end}) is not a byte range.")
        if start == end:
            return self
        first = bisect_left(self.spans, start, key=lambda span: span[1])  # the first that may touch
        last = first
        while last < len(self.spans) and self.spans[last][0] <= end:
            start, end = min(start, self.spans[last][0]), max(end, self.spans[last][1])
            last += 1
        return Ranges((*self.spans[:first], (start, end), *self.spans[last:]))

    def union(self, other: Ranges) -> Ranges:
        """Bytes that are in either."""
        if not other.spans or other.spans == self.spans:
            return self
        # The shorter into the longer: a half-reused model file has thousands of spans, and a window a few.
        few, many = (self, other) if len(self.spans) < len(other.spans) else (other, self)
        if len(few.spans) > MANY:
            return Ranges(tuple(_joined(sorted((*few.spans, *many.spans)))))
        for start, end in few.spans:
            many = many.add(start, end)
        return many

    def minus(self, other: Ranges) -> Ranges:
        """Bytes that are here and not there. In one pass over both: who sends every second byte must cost little."""
        left, gone, place = list[Span](), other.spans, 0
        for start, end in self.spans:
            at, place = start, bisect_right(gone, start, place, key=lambda span: span[1])
            while place < len(gone) and gone[place][0] < end:
                if gone[place][0] > at:
                    left.append((at, gone[place][0]))
                at = gone[place][1]
                if at > end:
                    break
                place += 1
            if at < end:
                left.append((at, end))
        return Ranges(tuple(left))

    def missing(self, size: int) -> Ranges:
        """The bytes of a file of `size` that are not here."""
        return Ranges.of([(0, size)]).minus(self)

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is here; nothing is always here."""
        if start >= end:
            return True
        place = bisect_right(self.spans, start, key=lambda span: span[1])  # the first that ends behind it
        return place < len(self.spans) and self.spans[place][0] <= start and end <= self.spans[place][1]

    def within(self, size: int) -> bool:
        """Whether no byte lies at or past `size`."""
        return not self.spans or self.spans[-1][1] <= size

    @property
    def total(self) -> int:
        """How many bytes are here."""
        return sum(end - start for start, end in self.spans)

    def parts(self, part_bytes: int) -> Iterator[Span]:
        """The same bytes cut into pieces of at most `part_bytes`, in order."""
        for start, end in self.spans:
            for at in range(start, end, part_bytes):
                yield at, min(at + part_bytes, end)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Sorted intervals, those joined that touch."""
    start, end = -1, -1
    for a, b in spans:
        if a > end:
            if end >= 0:
                yield start, end
            start, end = a, b
        else:
            end = max(end, b)
    if end >= 0:
        yield start, end
