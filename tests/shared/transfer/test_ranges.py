"""Ranges against the plainest model there is: a Python set of byte positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MessageError
from shared.transfer import Ranges

SIZE = 40
spans = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))
many = st.lists(spans, max_size=12)


def _bytes(ranges: Ranges) -> set[int]:
    return {at for start, end in ranges.spans for at in range(start, end)}


def _model(items: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in items for at in range(start, end)}


@given(many)
def test_adding_spans_in_any_order_keeps_them_sorted_disjoint_and_apart(items: list[tuple[int, int]]) -> None:
    ranges = Ranges.of(items)
    assert _bytes(ranges) == _model(items)
    assert ranges.total == len(_model(items))
    flat = [edge for span in ranges.spans for edge in span]
    assert flat == sorted(set(flat))  # strictly rising: no empty span, and none touches its neighbour
    assert Ranges.of(reversed(items)) == ranges


@given(many, many)
def test_union_minus_and_missing_agree_with_sets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = Ranges.of(left), Ranges.of(right)
    assert _bytes(a.union(b)) == _model(left) | _model(right)
    assert _bytes(a.minus(b)) == _model(left) - _model(right)
    assert _bytes(a.missing(SIZE)) == set(range(SIZE)) - _model(left)
    assert a.union(b) == b.union(a)


scattered = st.sets(st.integers(0, 99), min_size=30).map(lambda bytes_: [(at, at + 1) for at in sorted(bytes_)])


@given(scattered, scattered)
def test_the_same_of_so_many_spans_that_they_are_taken_in_one_pass(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    a, b = Ranges.of(left), Ranges.of(right)
    union = a.union(b)
    assert (union, union) == (b.union(a), Ranges.of([*left, *right]))
    assert a.minus(b) == Ranges.of((at, at + 1) for at in _model(left) - _model(right))


@given(many, spans)
def test_covers_means_that_no_byte_is_missing(items: list[tuple[int, int]], span: tuple[int, int]) -> None:
    assert Ranges.of(items).covers(*span) == (set(range(*span)) <= _model(items))


@given(many, st.integers(1, 9))
def test_parts_are_the_same_bytes_in_small_pieces(items: list[tuple[int, int]], size: int) -> None:
    ranges = Ranges.of(items)
    pieces = list(ranges.parts(size))
    assert [at for start, end in pieces for at in range(start, end)] == sorted(_bytes(ranges))
    assert all(0 < end - start <= size for start, end in pieces)


@pytest.mark.parametrize("span", [(-1, 3), (5, 4)])
def test_what_is_not_a_range_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(MessageError):
        Ranges().add(*span)
