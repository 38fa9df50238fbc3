"""Which chunks are kept: on any order of marks and closings."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from device.config import FlagsSection
from device.moments import flags
from device.moments.flags import FlagState, SelectedChunk
from shared.messages import FLAGS

MARKS = ("wearer", "correction", "low_confidence")


def name(sequence: int) -> str:
    return f"dev-1-boot-{sequence}"


def walk(chunks: int, marks: list[tuple[int, int, str]], settings: FlagsSection) -> list[SelectedChunk]:
    """marks: (closed chunks at which it is made, chunk, flag), as they come during a walk."""
    state, kept = FlagState(), list[SelectedChunk]()
    for closed in range(chunks + 1):
        for at, sequence, flag in marks:
            if at == closed:
                state, keeps = flags.mark(state, sequence, flag, settings)
                kept += keeps
        if closed < chunks:
            state, keeps = flags.close(state, closed, name, settings)
            kept += keeps
    state, keeps = flags.finish(state, name, settings)
    return kept + list(keeps)


marks = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 29), st.sampled_from(MARKS)), max_size=12)
choices = st.builds(
    FlagsSection,
    predecessors=st.integers(0, 3),
    audit_share=st.sampled_from([0.0, 0.05, 0.5]),
    low_confidence_share=st.sampled_from([0.0, 0.2, 1.0]),
)


@given(st.integers(1, 30), marks, choices)
def test_no_chunk_is_kept_twice_and_every_flagged_one_is_kept(
    chunks: int, made: list[tuple[int, int, str]], settings: FlagsSection
) -> None:
    made = [(at, sequence, flag) for at, sequence, flag in made if sequence < chunks and at <= chunks]
    kept = walk(chunks, made, settings)
    assert all(count == 1 for count in Counter(keep.sequence for keep in kept).values())
    by_sequence = {keep.sequence: keep.flags for keep in kept}
    for at, sequence, flag in made:
        if flag != "low_confidence":
            assert sequence in by_sequence
            if at <= sequence + 1:  # not later than the decision, which is when the next chunk closes
                assert flag in by_sequence[sequence] or by_sequence[sequence] == ("predecessor",)
    for keep in kept:
        assert keep.flags
        assert list(keep.flags) == [flag for flag in FLAGS if flag in keep.flags]


@given(st.integers(1, 30), marks, st.integers(0, 3))
def test_the_n_chunks_before_a_flagged_one_are_kept_with_it(
    chunks: int, made: list[tuple[int, int, str]], predecessors: int
) -> None:
    kept = walk(chunks, [m for m in made if m[1] < chunks], FlagsSection(predecessors, 0.0))
    sequences = {keep.sequence for keep in kept}
    for keep in kept:
        if keep.flags != ("predecessor",):
            assert sequences >= set(range(max(0, keep.sequence - predecessors), keep.sequence))


@given(st.integers(1, 60))
def test_at_most_one_chunk_in_five_is_kept_for_doubt(chunks: int) -> None:
    kept = walk(chunks, [(n, n, "low_confidence") for n in range(chunks)], FlagsSection(0, 0.0, 0.2))
    doubted = [keep.sequence for keep in kept]
    assert len(doubted) == (chunks + 4) // 5
    assert all(b - a >= 5 for a, b in pairwise(doubted))


def test_the_audit_sample_is_near_its_share_and_always_the_same() -> None:
    sample = [n for n in range(20_000) if flags.is_audited(name(n), 0.05)]
    assert 850 <= len(sample) <= 1150
    assert sample == [n for n in range(20_000) if flags.is_audited(name(n), 0.05)]
    assert not any(flags.is_audited(name(n), 0.0) for n in range(1000))
    assert all(flags.is_audited(name(n), 1.0) for n in range(1000))


def test_the_audit_sample_is_kept_and_says_so() -> None:
    kept = walk(20, [], FlagsSection(0, audit_share=1.0))
    assert [(keep.sequence, keep.flags) for keep in kept] == [(number, ("audit",)) for number in range(20)]
    assert walk(20, [], FlagsSection(0, audit_share=0.0)) == []


def test_only_doubt_uses_up_the_share_of_doubt() -> None:
    marks_ = [(n, n, "wearer") for n in range(4)] + [(4, 4, "low_confidence")]
    assert [keep.flags[0] for keep in walk(6, marks_, FlagsSection(0, 0.0, 0.2))] == [*["wearer"] * 4, "low_confidence"]


def test_a_mark_on_the_first_chunk_waits_until_it_is_decided() -> None:
    state, kept = flags.mark(FlagState(), 0, "wearer", FlagsSection(0, 0.0))
    assert kept == ()
    state, kept = flags.close(state, 0, name, FlagsSection(0, 0.0))
    assert kept == ()
    assert flags.close(state, 1, name, FlagsSection(0, 0.0))[1] == (SelectedChunk(0, ("wearer",)),)


def test_a_chunk_is_audited_below_its_share_and_not_at_it() -> None:
    exactly = int(hashlib.sha256(name(3).encode()).hexdigest()[:8], 16) / 2**32
    assert not flags.is_audited(name(3), exactly)
    assert flags.is_audited(name(3), exactly + 2**-32)


def test_what_was_selected_long_ago_is_forgotten() -> None:
    state = FlagState()
    for sequence in range(flags.REMEMBERED + 5):
        state, _ = flags.mark(state, sequence, "wearer", FlagsSection(0, 0.0))
        state, _ = flags.close(state, sequence, name, FlagsSection(0, 0.0))
    assert len(state.selected) == flags.REMEMBERED
