"""Which chunks are stored, and why. Pure: marks and closed chunks in, selected chunks out.

    wearer          the button was pressed while it was recorded
    correction      the wearer spoke a correction about it
    stopped         words were stopped on their way to the voice (shared.monitor)
    low_confidence  the model was unsure; at most one chunk in five
    audit           a 5 % uniform sample by the hash of its id: the only unbiased view of accuracy
    predecessor     the N before a flagged one: a hazard begins before it is noticed

A chunk is decided when the next one closes (or the walk ends): words about its last picture may come after its end.
A mark that comes later still selects the chunk if the recorder still has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from device.config import FlagsSection
from shared.messages import FLAGS

PREDECESSOR = "predecessor"


@dataclass(frozen=True, slots=True)
class SelectedChunk:
    """A chunk to store, and its flags in the order of messages.FLAGS."""

    sequence: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlagState:
    marks: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Flags of chunks that are not decided yet."""
    closed: int | None = None
    """The closed chunk that waits for its decision."""
    decided: int = -1
    """The highest chunk that was decided."""
    selected: tuple[int, ...] = ()
    """The latest selected chunks: none is selected twice."""
    last_unsure: int | None = None


FlagStep = tuple[FlagState, tuple[SelectedChunk, ...]]
NameOf = Callable[[int], str]
REMEMBERED = 256


def mark(state: FlagState, sequence: int, flag: str, settings: FlagsSection) -> FlagStep:
    """A reason to keep this chunk came up."""
    if sequence <= state.decided:
        return _select(state, sequence, frozenset((flag,)), settings)
    marks = {**state.marks, sequence: state.marks.get(sequence, frozenset()) | {flag}}
    return replace(state, marks=marks), ()


def close(state: FlagState, sequence: int, name_of: NameOf, settings: FlagsSection) -> FlagStep:
    """A chunk was closed: decide the one before it. name_of: the chunk id of a sequence number."""
    state, chunks = finish(state, name_of, settings)
    return replace(state, closed=sequence), chunks


def finish(state: FlagState, name_of: NameOf, settings: FlagsSection) -> FlagStep:
    """Decide what was closed so far: the walk has ended."""
    if state.closed is None:
        return state, ()
    sequence = state.closed
    flags = state.marks.get(sequence, frozenset())
    if is_audited(name_of(sequence), settings.audit_share):
        flags |= {"audit"}
    marks = {number: marked for number, marked in state.marks.items() if number > sequence}
    state = replace(state, marks=marks, closed=None, decided=sequence)
    return _select(state, sequence, flags, settings)


def forget(state: FlagState) -> FlagState:
    """Everything that is not decided yet is never selected: its chunks are gone."""
    return replace(state, marks={}, closed=None)


def is_audited(chunk_id: str, share: float) -> bool:
    """Whether the chunk is in the uniform sample; the same for the same id, everywhere."""
    return int(hashlib.sha256(chunk_id.encode()).hexdigest()[:8], 16) < share * 2**32


def _select(state: FlagState, sequence: int, flags: frozenset[str], settings: FlagsSection) -> FlagStep:
    state, flags = _limit_unsure(state, sequence, flags, settings)
    if not flags or sequence in state.selected:
        return state, ()
    before = [n for n in range(sequence - settings.predecessors, sequence) if n >= 0 and n not in state.selected]
    chunks = [SelectedChunk(number, (PREDECESSOR,)) for number in before]
    chunks.append(SelectedChunk(sequence, tuple(flag for flag in FLAGS if flag in flags)))
    return replace(state, selected=(*state.selected, *before, sequence)[-REMEMBERED:]), tuple(chunks)


def _limit_unsure(
    state: FlagState, sequence: int, flags: frozenset[str], settings: FlagsSection
) -> tuple[FlagState, frozenset[str]]:
    if "low_confidence" not in flags:
        return state, flags
    gap = round(1 / settings.low_confidence_share) if settings.low_confidence_share > 0 else None
    if gap is None or (state.last_unsure is not None and abs(sequence - state.last_unsure) < gap):
        return state, flags - {"low_confidence"}
    return replace(state, last_unsure=sequence), flags
