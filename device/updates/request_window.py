"""Which bytes of an update to ask for next, and which of those that came are worth keeping. Pure.

One window over all files: what is asked for and not yet synced never exceeds `Settings.window_bytes`, and no byte is
asked for twice while its first request may still be answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from device.updates.events import Action, Ask, Step
from device.updates.state import Asked, Progress, Settings, State, progress_of
from shared.bundle import BLOCKS_NAME, FileEntry
from shared.messages import Want
from shared.transfer import MAX_PART_BYTES, Ranges, Span


def ask(state: State, now_s: float, settings: Settings) -> Step:
    """Fill the window with requests, in the order of the files."""
    actions: list[Action] = []
    if not state.online:
        return state, []
    room = settings.window_bytes - sum(asked.size_bytes for asked in state.asked)
    # The list of blocks first, alone: what it names may be on this device already.
    for entry in [entry for entry in state.files if entry.path == BLOCKS_NAME] or state.files:
        while len(state.asked) < settings.wants_in_flight and (ranges := _next_ranges(state, entry, room, settings)):
            asked = Asked(entry.path, ranges, now_s)
            state = replace(state, asked=(*state.asked, asked))
            actions.append(Ask(Want(entry.sha256, ranges, settings.block_bytes)))
            room -= asked.size_bytes
    return state, actions


def _next_ranges(state: State, entry: FileEntry, room: int, settings: Settings) -> tuple[Span, ...]:
    """The next pieces of one file that are neither here nor asked for, within one request and `room` bytes."""
    progress = progress_of(state, entry)
    open_ = progress.have.union(progress.fresh).missing(entry.size_bytes)
    for asked in state.asked:
        if asked.path == entry.path:
            open_ = open_.minus(Ranges.of(asked.ranges))
    pieces = islice(open_.parts(settings.block_bytes), settings.blocks_per_want)
    taken = Ranges()
    for start, stop in pieces:
        if taken.total + stop - start > room:
            break
        taken = taken.add(start, stop)
    return taken.spans


def awaiting(state: State, sha256: str, start: int, stop: int) -> FileEntry | None:
    """The file that these bytes belong to and are new for. Late answers are as good as asked ones: the hash decides."""
    if not 0 < stop - start <= MAX_PART_BYTES:
        return None
    for entry in state.files:
        progress = progress_of(state, entry)
        here = progress.have.union(progress.fresh)
        if entry.sha256 == sha256 and stop <= entry.size_bytes and not here.covers(start, stop):
            return entry
    return None


def synced_only(progress: Mapping[str, Progress]) -> dict[str, Progress]:
    """What a restart would find."""
    return {path: replace(one, fresh=Ranges()) for path, one in progress.items()}


def clipped(state: State, sizes: Mapping[str, int]) -> dict[str, Progress]:
    """Believe no range beyond the end of the half-written file that should hold it; other files are as before.

    sizes: path → bytes on disk, of the files in `state.files`
    """
    kept = dict(synced_only(state.progress))
    for entry in state.files:
        one, size = kept.pop(entry.path, None), sizes.get(entry.path)
        if one is not None and size is not None and one.sha256 == entry.sha256:
            kept[entry.path] = Progress(one.sha256, one.have.minus(Ranges.of([(size, max(size, entry.size_bytes))])))
    return kept


def resumable(state: State, entries: tuple[FileEntry, ...]) -> frozenset[str]:
    """Paths whose half-written file holds bytes that count."""
    return frozenset(entry.path for entry in entries if progress_of(state, entry).have.spans)


def answered(state: State, asked: Asked) -> bool:
    """Whether all that was asked for is here, synced or not."""
    progress = state.progress.get(asked.path)
    if progress is None:
        return False
    here = progress.have.union(progress.fresh)
    return all(here.covers(start, stop) for start, stop in asked.ranges)


def touches(asked: Asked, path: str, bytes_: Ranges) -> bool:
    """Whether a request was for any of these bytes of a file."""
    return asked.path == path and any(a < stop and start < b for a, b in asked.ranges for start, stop in bytes_.spans)


def all_here(state: State, entry: FileEntry) -> bool:
    """Whether the whole file is here, synced or not."""
    progress = progress_of(state, entry)
    return progress.have.union(progress.fresh).covers(0, entry.size_bytes)
