"""The files of a model that are still arriving: written in blocks, synced, hashed block by block and then whole.

Promises: a block that is reported as right was read back from its file and had the hash that the bundle's own list
names; a file gets its final name only after the hash of all its bytes was right. Nothing here decides:
`device.updates.machine` does. One thread.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from device.updates.slots import Checkpoint, Slots
from device.updates.state import Progress
from shared import atomic, blocks, bundle
from shared.blocks import BlockList
from shared.bundle import FileEntry
from shared.errors import BundleError
from shared.transfer import Ranges, Span

_log = logging.getLogger(__name__)


class Incoming:
    """Half-written files of the bundle that is being fetched. Every method raises OSError as the disk does."""

    def __init__(self, slots: Slots, at: Checkpoint) -> None:
        self._slots, self._at = slots, at
        self._files: dict[str, BinaryIO] = {}
        self._blocks: BlockList | None = None

    def close(self) -> None:
        """Let go of every file."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def write(self, path: str, offset: int, data: bytes) -> None:
        """At its place, not synced."""
        fd = self._open(path).fileno()
        os.lseek(fd, offset, os.SEEK_SET)
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]

    def sync(self, path: str) -> None:
        """Make what was written durable, the file's name included."""
        file = self._files.get(path)
        if file is not None:
            os.fsync(file.fileno())
            atomic.fsync_dir(self._slots.part(path).parent)

    def _open(self, path: str) -> BinaryIO:
        file = self._files.get(path)
        if file is None:
            part = self._slots.part(path)
            atomic.make_dirs(part.parent)
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            file = self._files[path] = os.fdopen(fd, "r+b", buffering=0)
        return file

    def accept(self, entry: FileEntry) -> bool:
        """Hash a fetched file and give it its final name, or throw it away."""
        file = self._files.pop(entry.path, None)
        if file is not None:
            file.close()
        part = self._slots.part(entry.path)
        if entry.size_bytes == 0:
            atomic.write_bytes(part, b"")
        if not part.is_file() or atomic.sha256_file(part) != entry.sha256:
            _log.warning("%s of the new model arrived damaged; it is fetched again.", entry.path)
            part.unlink(missing_ok=True)
            return False
        atomic.move(part, self._slots.incoming / entry.path)
        self._at("file complete")
        return True

    # --- blocks ---

    def read_blocks(self) -> None:
        """Load the list of blocks of the bundle that is arriving; without one, only whole files are checked."""
        self._blocks = None
        try:
            self._blocks = blocks.read(self._slots.incoming, bundle.read_manifest(self._slots.incoming))
        except BundleError as error:
            # The signed manifest lists a list that does not fit it: every byte is fetched, and checked file by file.
            _log.warning("Blocks are not used: %s", error)

    def reuse(
        self, entries: Iterable[FileEntry], progress: Mapping[str, Progress], sources: Iterable[Path]
    ) -> dict[str, Ranges]:
        """Write the blocks that are not here yet and that a bundle in `sources` holds; synced when it returns."""
        self.read_blocks()
        listed = self._blocks
        if listed is None:
            return {}
        places = blocks.known(sources)
        found = {}
        for entry in entries if places else ():
            one = progress.get(entry.path)
            have = one.have if one is not None and one.sha256 == entry.sha256 else Ranges()
            spans = list(self._copy_blocks(listed, entry, have, places))
            if spans:
                self.sync(entry.path)
                self._at("blocks reused")
                found[entry.path] = Ranges.of(spans)
        return found

    def _copy_blocks(
        self, listed: BlockList, entry: FileEntry, have: Ranges, places: Mapping[bytes, blocks.Place]
    ) -> Iterable[Span]:
        for index in listed.touching(entry, have.missing(entry.size_bytes).spans):
            start, stop = listed.span(entry, index)
            digest = listed.digest(entry.path, index)
            place = places.get(digest)
            data = None if place is None else blocks.read_place(place, digest)
            if data is not None and len(data) == stop - start:
                self.write(entry.path, start, data)
                yield start, stop

    def wrong_blocks(self, entry: FileEntry, progress: Progress) -> Ranges:
        """Of the blocks that fresh bytes have made whole: those with another hash than listed."""
        listed = self._blocks
        file = self._files.get(entry.path)
        if listed is None or file is None:
            return Ranges()
        here = progress.have.union(progress.fresh)
        wrong = []
        for index in listed.touching(entry, progress.fresh.spans):
            start, stop = listed.span(entry, index)
            if here.covers(start, stop) and not _is(file, start, stop, listed.digest(entry.path, index)):
                wrong.append((start, stop))
        return Ranges.of(wrong)


def _is(file: BinaryIO, start: int, stop: int, digest: bytes) -> bool:
    return hashlib.sha256(os.pread(file.fileno(), stop - start, start)).digest() == digest
