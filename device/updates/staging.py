"""The staging folder, `<state>/models/incoming`: the files of a model that are still arriving.

Files are written in blocks to NAME.part, synced, hashed block by block and then whole; or copied from the models that
this device has, or made from their base's files and a night.delta. Promises: a block that is reported as right was
read back from its file and had the hash that the bundle's own list names; a file gets its final name only after the
hash of all its bytes was right. Nothing here decides: `device.updates.machine` does. One thread. Every method raises
OSError as the disk does.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from device.updates.base_files import BaseFiles, has_hash
from device.updates.state import FileProgress
from shared import assembly, atomic, blocks, bundle
from shared.assembly import Delta
from shared.blocks import BlockList
from shared.bundle import FileEntry
from shared.errors import BundleError
from shared.transfer import Ranges, Span

COPY_BYTES = 1024 * 1024
logger = logging.getLogger(__name__)


class Staging:
    """The half-written and the whole files of the bundle that is being fetched."""

    def __init__(self, folder: Path, bases: BaseFiles, crash_point: atomic.Step) -> None:
        self.folder, self._bases, self._crash_point = folder, bases, crash_point
        self._files: dict[str, BinaryIO] = {}
        self._blocks: BlockList | None = None

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def clear(self) -> None:
        """Remove all of it."""
        self.close()
        atomic.remove_tree(self.folder)
        self._crash_point("incoming cleared")

    def _part(self, path: str) -> Path:
        """The half-written file of a path."""
        final = self.folder / path
        return final.with_name(final.name + atomic.TEMP_SUFFIX)

    # --- what is here ---

    def survey(
        self, entries: Iterable[FileEntry], resumable: frozenset[str], *, prune: bool
    ) -> tuple[frozenset[str], dict[str, int]]:
        """The paths that are whole, and the sizes in bytes of the half-written ones. A wrong file is removed; with
        `prune`, so is every file that is not in `entries`."""
        self.close()
        entries = list(entries)
        if prune:
            self._blocks = None  # of the bundle before: what arrives before the new list is no block of that one
            if self.folder.exists():
                self._prune(entry.path for entry in entries)
        whole, partial = set(), {}
        for entry in entries:
            final, part = self.folder / entry.path, self._part(entry.path)
            if final.is_file() and atomic.sha256_file(final) == entry.sha256:
                whole.add(entry.path)
            else:
                final.unlink(missing_ok=True)
            if entry.path in resumable and entry.path not in whole and part.is_file():
                partial[entry.path] = part.stat().st_size
            else:
                part.unlink(missing_ok=True)
        self._crash_point("surveyed")
        return frozenset(whole), partial

    def _prune(self, paths: Iterable[str]) -> None:
        keep = {self.folder / bundle.MANIFEST_NAME}
        for path in paths:
            keep |= {self.folder / path, self._part(path)}
        folders = {file.parent for file in keep}
        for file in sorted(self.folder.rglob("*"), reverse=True):
            if file.is_dir():
                if file not in folders:
                    file.rmdir()
            elif file not in keep:
                file.unlink()

    # --- over the link ---

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write bytes at their place; they are not synced."""
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
            atomic.fsync_dir(self._part(path).parent)

    def _open(self, path: str) -> BinaryIO:
        file = self._files.get(path)
        if file is None:
            part = self._part(path)
            atomic.make_dirs(part.parent)
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            file = self._files[path] = os.fdopen(fd, "r+b", buffering=0)
        return file

    def wrong_blocks(self, entry: FileEntry, progress: FileProgress) -> Ranges:
        """Of the blocks that unsynced bytes have made whole: those with another hash than listed."""
        listed, file = self._blocks, self._files.get(entry.path)
        if listed is None or file is None:
            return Ranges()
        wrong = []
        for index in listed.touching(entry, progress.unsynced.spans):
            start, stop = listed.span(entry, index)
            if progress.here.covers(start, stop):
                digest = hashlib.sha256(os.pread(file.fileno(), stop - start, start)).digest()
                if digest != listed.digest(entry.path, index):
                    wrong.append((start, stop))
        return Ranges.of(wrong)

    def accept(self, entry: FileEntry) -> bool:
        """Hash a fetched or assembled file and give it its final name, or throw it away."""
        file = self._files.pop(entry.path, None)
        if file is not None:
            file.close()
        part = self._part(entry.path)
        if entry.size_bytes == 0:
            atomic.write_bytes(part, b"")
        if not part.is_file() or atomic.sha256_file(part) != entry.sha256:
            logger.warning("%s of the new model has not the bytes that its manifest says; it is fetched.", entry.path)
            part.unlink(missing_ok=True)
            return False
        atomic.move(part, self.folder / entry.path)
        self._crash_point("file complete")
        return True

    # --- from the models on this device ---

    def copy(self, entries: Iterable[FileEntry], sources: Iterable[Path]) -> list[FileEntry]:
        """Copy the files that a bundle in `sources` holds whole and right; which ones."""
        held = holders(sources)
        copied = []
        for entry in entries:
            source = next((path for path in held.get(entry.sha256, ()) if has_hash(path, entry.sha256)), None)
            if source is not None:
                with open(source, "rb") as file, atomic.writing(self.folder / entry.path) as copy:
                    shutil.copyfileobj(file, copy, COPY_BYTES)
                self._crash_point("file copied")
                copied.append(entry)
        return copied

    def assemble(self, entries: Iterable[FileEntry], sources: Iterable[Path]) -> list[FileEntry]:
        """Make the files that night.delta is about from the base's, where these are on this device; which ones."""
        try:
            delta = assembly.read(self.folder / bundle.DELTA_NAME)
        except BundleError as error:
            logger.warning("%s The files are fetched.", error)
            return []
        wanted = {entry.path: entry for entry in entries}
        bases = self._bases.find([file.base_sha256 for file in delta.files], holders(sources))
        made = []
        for file in delta.files:
            entry, base = wanted.get(file.path), bases.get(file.base_sha256)
            if entry is not None and base is not None and self._assembled(delta, entry, base):
                made.append(entry)
        return made

    def _assembled(self, delta: Delta, entry: FileEntry, base: Path) -> bool:
        stale = self._files.pop(entry.path, None)
        if stale is not None:
            stale.close()
        self._part(entry.path).unlink(missing_ok=True)
        try:
            assembly.assemble(delta, entry.path, base, self._open(entry.path))
        except BundleError as error:
            logger.warning("%s is fetched: %s", entry.path, error)
            self._drop(entry.path)
            return False
        self.sync(entry.path)
        self._crash_point("file assembled")
        return self.accept(entry)

    def _drop(self, path: str) -> None:
        self._files.pop(path).close()
        self._part(path).unlink()

    def copy_blocks(
        self, entries: Iterable[FileEntry], progress: Mapping[str, FileProgress], sources: Iterable[Path]
    ) -> dict[str, Ranges]:
        """Write the blocks that are not here yet and that a bundle in `sources` holds; synced when it returns."""
        listed = self._blocks = self._read_blocks()
        places = blocks.known(sources) if listed is not None else {}
        if listed is None or not places:
            return {}
        copied = {}
        for entry in entries:
            file = progress.get(entry.path)
            synced = file.synced if file is not None and file.sha256 == entry.sha256 else Ranges()
            spans = list(self._copy_blocks_of(entry, synced, listed, places))
            if spans:
                self.sync(entry.path)
                self._crash_point("blocks reused")
                copied[entry.path] = Ranges.of(spans)
        return copied

    def _copy_blocks_of(
        self, entry: FileEntry, synced: Ranges, listed: BlockList, places: Mapping[bytes, blocks.BlockPlace]
    ) -> Iterable[Span]:
        for index in listed.touching(entry, synced.missing(entry.size_bytes).spans):
            start, stop = listed.span(entry, index)
            digest = listed.digest(entry.path, index)
            place = places.get(digest)
            data = None if place is None else blocks.read_place(place, digest)
            if data is not None and len(data) == stop - start:
                self.write(entry.path, start, data)
                yield start, stop

    def _read_blocks(self) -> BlockList | None:
        """The list of blocks of the bundle that is arriving; without one, only whole files are checked."""
        try:
            return blocks.read(self.folder, bundle.read_manifest(self.folder))
        except BundleError as error:
            # The signed manifest lists a list that does not fit it: every byte is fetched, and checked file by file.
            logger.warning("Blocks are not used: %s", error)
            return None


def holders(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """SHA-256 → files that claim that content, in whole bundles."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        try:
            data = bundle.read_manifest_bytes(folder)
            entries = bundle.parse_manifest(data).files
        except BundleError:
            continue
        found.setdefault(hashlib.sha256(data).hexdigest(), []).append(folder / bundle.MANIFEST_NAME)
        for entry in entries:
            found.setdefault(entry.sha256, []).append(folder / entry.path)
    return found
