"""Which chunks are kept, and why. Pure: marks and closed chunks in, chunks to keep out.

    wearer          the button was pressed while it was recorded
    correction      the wearer spoke a correction about it
    stopped         words were stopped on their way to the voice (shared.monitor)
    low_confidence  the model was unsure; at most one chunk in five
    audit           a 5 % uniform sample by the hash of its id: the only unbiased view of accuracy
    predecessor     the N before a flagged one: a hazard begins before it is noticed

A chunk is decided when the next one closes (or the walk ends): words about its last picture may come after its end.
A mark that comes later still keeps the chunk if the recorder still has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from shared.messages import FLAGS

PREDECESSOR = "predecessor"


@dataclass(frozen=True, slots=True)
class FlagSettings:
    """How much is kept."""

    predecessors: int = 1
    """Chunks before a flagged one that are kept with it."""
    audit_share: float = 0.05
    """Share of all chunks kept at random, for an unbiased view of accuracy. 0 = none."""
    low_confidence_share: float = 0.2
    """At most this share of chunks is kept because the model was unsure. 0 = none."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A chunk to keep, and its flags in the order of messages.FLAGS."""

    sequence: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlagState:
    """Start with FlagState()."""

    marks: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Flags of chunks that are not decided yet."""
    closed: int | None = None
    """The closed chunk that waits for its decision."""
    decided: int = -1
    """The highest chunk that was decided."""
    kept: tuple[int, ...] = ()
    """The latest kept chunks: none is kept twice."""
    last_unsure: int | None = None


Decision = tuple[FlagState, tuple[Keep, ...]]
NameOf = Callable[[int], str]
REMEMBERED = 256


def mark(state: FlagState, sequence: int, flag: str, settings: FlagSettings) -> Decision:
    """A reason to keep this chunk came up."""
    if sequence <= state.decided:
        return _keep(state, sequence, frozenset((flag,)), settings)
    marks = {**state.marks, sequence: state.marks.get(sequence, frozenset()) | {flag}}
    return replace(state, marks=marks), ()


def close(state: FlagState, sequence: int, name_of: NameOf, settings: FlagSettings) -> Decision:
    """A chunk was closed: decide the one before it. name_of: the chunk id of a sequence number."""
    state, kept = finish(state, name_of, settings)
    return replace(state, closed=sequence), kept


def finish(state: FlagState, name_of: NameOf, settings: FlagSettings) -> Decision:
    """Decide what was closed so far: the walk has ended."""
    if state.closed is None:
        return state, ()
    sequence = state.closed
    flags = state.marks.get(sequence, frozenset())
    if is_audited(name_of(sequence), settings.audit_share):
        flags |= {"audit"}
    marks = {number: found for number, found in state.marks.items() if number > sequence}
    state = replace(state, marks=marks, closed=None, decided=sequence)
    return _keep(state, sequence, flags, settings)


def is_audited(chunk_id: str, share: float) -> bool:
    """Whether the chunk is in the uniform sample; the same for the same id, everywhere."""
    return int(hashlib.sha256(chunk_id.encode()).hexdigest()[:8], 16) < share * 2**32


def _keep(state: FlagState, sequence: int, flags: frozenset[str], settings: FlagSettings) -> Decision:
    state, flags = _limit_unsure(state, sequence, flags, settings)
    if not flags or sequence in state.kept:
        return state, ()
    before = [n for n in range(sequence - settings.predecessors, sequence) if n >= 0 and n not in state.kept]
    keeps = [Keep(number, (PREDECESSOR,)) for number in before]
    keeps.append(Keep(sequence, tuple(flag for flag in FLAGS if flag in flags)))
    return replace(state, kept=(*state.kept, *before, sequence)[-REMEMBERED:]), tuple(keeps)


def _limit_unsure(
    state: FlagState, sequence: int, flags: frozenset[str], settings: FlagSettings
) -> tuple[FlagState, frozenset[str]]:
    if "low_confidence" not in flags:
        return state, flags
    gap = round(1 / settings.low_confidence_share) if settings.low_confidence_share > 0 else None
    if gap is None or (state.last_unsure is not None and abs(sequence - state.last_unsure) < gap):
        return state, flags - {"low_confidence"}
    return replace(state, last_unsure=sequence), flags
