"""Which record and files of the outbox travel as one container (shared.container), and its bytes.

A container is made while it is sent: on disk there are the record and its files, as they were sealed. They do not
change once any of it was sent, so that the same container comes of them after a crash, and is resumed. What makes none
travels as a record and files: an older server, a record that is answered in part, and one whose container was refused.

What does not fit into it (a clip of a megabyte) follows by itself, after everything small.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from device.outbox.types import OutboxItem
from shared import container
from shared.errors import MediaError
from shared.messages import CONTAINER


def contained(items: Sequence[OutboxItem], *, clips: bool) -> OutboxItem | None:
    """The container of these: a record that nothing is answered of yet, and all its files in their order. clips:
    whether it may hold one. None = they go one by one. Raises: OSError."""
    record, *files = items
    data = record.path.read_bytes()
    if files and files[-1].bulk and not _fits(data, files):
        files = files[:-1]
    if not files or (files[-1].bulk and not clips) or not _fits(data, files):
        return None
    head, members = container.make_head(data, len(files)), (record, *files)
    return OutboxItem(
        record_id=record.record_id,
        kind=CONTAINER,
        path=record.path,
        size_bytes=len(head) + _size(files),
        sha256=container.digest(head),
        bulk=False,
        resumed=any(item.resumed for item in members),
        order=record.order,
        head=head,
        members=members,
    )


def _size(files: Sequence[OutboxItem]) -> int:
    return sum(file.size_bytes for file in files)


def _fits(record: bytes, files: Sequence[OutboxItem]) -> bool:
    small = len(record) <= container.MAX_ENVELOPE_BYTES
    return small and container.FIXED_BYTES + len(record) + _size(files) <= container.MAX_BYTES


def read(item: OutboxItem, start: int, end: int) -> bytes:
    """Bytes of a payload file or a container. Raises: OSError, MediaError where a file is shorter than sealed."""
    if not item.is_container:
        return _read(item, start, end)
    pieces, at = [item.head[start:end]], len(item.head)
    for file in item.members[1:]:
        first, last = max(start - at, 0), min(end - at, file.size_bytes)
        if first < last:
            pieces.append(_read(file, first, last))
        at += file.size_bytes
    return b"".join(pieces)


def _read(item: OutboxItem, start: int, end: int) -> bytes:
    with open(item.path, "rb", buffering=0) as file:
        data = os.pread(file.fileno(), end - start, start)
    if len(data) != end - start:
        raise MediaError(f"{item.path.name} ends before byte {end}")
    return data
