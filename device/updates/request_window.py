"""Which bytes of an update to request next, and which received ones are worth keeping. Pure.

One window over all files: what is requested and not yet synced never exceeds `Settings.window_bytes`, and no byte is
requested twice while its first request may still be answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from device.updates.events import Ask, Step, UpdateAction
from device.updates.state import FileProgress, Request, Settings, State
from shared.bundle import BLOCKS_NAME, DELTA_NAME, FileEntry
from shared.messages import Want
from shared.transfer import MAX_PART_BYTES, Ranges, Span


def fill_window(state: State, now_s: float, settings: Settings) -> Step:
    """Request what is missing, in the order of the files, until the window is full."""
    actions: list[UpdateAction] = []
    if not state.online:
        return state, []
    room = settings.window_bytes - sum(request.size_bytes for request in state.requests)
    for entry in [entry for entry in state.files if entry.path in lone(state)] or state.files:
        while len(state.requests) < settings.wants_in_flight and (ranges := _next_ranges(state, entry, room, settings)):
            request = Request(entry.path, ranges, now_s)
            state = replace(state, requests=(*state.requests, request))
            actions.append(Ask(Want(entry.sha256, ranges, settings.block_bytes)))
            room -= request.size_bytes
    return state, actions


def lone(state: State) -> frozenset[str]:
    """Files that are fetched before all others: what they name or make may not have to be fetched."""
    return frozenset({BLOCKS_NAME, DELTA_NAME} if state.delta else {BLOCKS_NAME})


def _next_ranges(state: State, entry: FileEntry, room: int, settings: Settings) -> tuple[Span, ...]:
    """The next pieces of a file that are neither here nor requested, within one request and `room` bytes."""
    missing = state.progress_of(entry).here.missing(entry.size_bytes)
    for request in state.requests:
        if request.path == entry.path:
            missing = missing.minus(Ranges.of(request.ranges))
    chosen = Ranges()
    for start, stop in islice(missing.parts(settings.block_bytes), settings.blocks_per_want):
        if chosen.total + stop - start > room:
            break
        chosen = chosen.add(start, stop)
    return chosen.spans


def awaiting(state: State, sha256: str, start: int, stop: int) -> FileEntry | None:
    """The file that these bytes belong to and are new for. Late answers count like timely ones: the hash decides."""
    if not 0 < stop - start <= MAX_PART_BYTES:
        return None
    for entry in state.files:
        here = state.progress_of(entry).here
        if entry.sha256 == sha256 and stop <= entry.size_bytes and not here.covers(start, stop):
            return entry
    return None


def synced_only(progress: Mapping[str, FileProgress]) -> dict[str, FileProgress]:
    """What a restart would find."""
    return {path: replace(file, unsynced=Ranges()) for path, file in progress.items()}


def clipped(state: State, sizes: Mapping[str, int]) -> dict[str, FileProgress]:
    """Drop ranges beyond the end of the half-written file that should hold them; other files are as before.

    sizes: path → bytes on disk, of the files in `state.files`
    """
    kept = synced_only(state.progress)
    for entry in state.files:
        file, size = kept.pop(entry.path, None), sizes.get(entry.path)
        if file is not None and size is not None and file.sha256 == entry.sha256:
            lost = Ranges.of([(size, max(size, entry.size_bytes))])
            kept[entry.path] = FileProgress(file.sha256, file.synced.minus(lost))
    return kept


def resumable(state: State, entries: tuple[FileEntry, ...]) -> frozenset[str]:
    """Paths whose half-written file holds bytes that count."""
    return frozenset(entry.path for entry in entries if state.progress_of(entry).synced.spans)


def is_answered(state: State, request: Request) -> bool:
    """Whether all that was requested is here, synced or not."""
    progress = state.progress.get(request.path)
    return progress is not None and all(progress.here.covers(start, stop) for start, stop in request.ranges)


def touches(request: Request, path: str, lost: Ranges) -> bool:
    """Whether a request was for any of these bytes of a file."""
    return request.path == path and Ranges.of(request.ranges).minus(lost).total < request.size_bytes
