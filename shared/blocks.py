"""The blocks of a model bundle, each known by its hash: what did not change since the last model is not sent again.

    <bundle>/blocks.bin     32 bytes of SHA-256 for every block of every other file (shared.bundle writes it)

A block is 64 KiB of a file, counted from its start; the last one of a file may be shorter. The digests stand in the
order of the manifest's files, blocks.bin itself left out. The manifest says `block_bytes` and lists blocks.bin with its
own hash, so that every block is as well proven as the files are.

Promise: a list that does not fit its manifest to the byte is refused. An agent that knows nothing of blocks fetches
blocks.bin like any other file and the others whole; a bundle without one is fetched whole.

64 KiB: as large as a message of the link carries well, and 0.05 % of the model in digests. Smaller blocks were measured
(docs/adr/0020-blocks-on-a-grid.md): a few percent less on a very small model, nothing on a real one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.bundle import BLOCKS_FIELD, BLOCKS_NAME, DIGEST_BYTES, FileEntry, Manifest, read_manifest
from shared.errors import BundleError

MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block lies, by the claim of a bundle's own list. To be hashed again before it is used."""

    path: Path
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BlockList:
    """The digests of one bundle's blocks."""

    block_bytes: int
    digests: dict[str, bytes]  # path → the digests of its blocks, one after the other

    def count(self, path: str) -> int:
        """How many blocks a file has; 0 for one that the list does not know."""
        return len(self.digests.get(path, b"")) // DIGEST_BYTES

    def digest(self, path: str, index: int) -> bytes:
        """Of one block."""
        return self.digests[path][index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def span(self, entry: FileEntry, index: int) -> tuple[int, int]:
        """First byte of a block, and the one after its last."""
        start = index * self.block_bytes
        return start, min(start + self.block_bytes, entry.size_bytes)

    def touching(self, entry: FileEntry, spans: Iterable[tuple[int, int]]) -> list[int]:
        """The blocks in which any of these bytes lie."""
        touched: set[int] = set()
        for start, stop in spans:
            touched.update(range(start // self.block_bytes, -(-stop // self.block_bytes)))
        return sorted(index for index in touched if index < self.count(entry.path))


def parse(manifest: Manifest, data: bytes) -> BlockList:
    """Read the bytes of blocks.bin against its manifest, strictly. Raises: BundleError."""
    where = f"Model bundle {manifest.version}: {BLOCKS_NAME}"
    size = block_bytes(manifest)
    if size == 0:
        raise BundleError(f"{where} is not announced by the manifest.", hint="Export the model again.")
    digests, at = {}, 0
    for entry in manifest.files:
        if entry.path == BLOCKS_NAME:
            continue
        end = at + DIGEST_BYTES * -(-entry.size_bytes // size)
        digests[entry.path] = data[at:end]
        at = end
    if at != len(data):
        raise BundleError(f"{where} has {len(data)} bytes; its files have blocks for {at}.", hint="Export it again.")
    return BlockList(size, digests)


def block_bytes(manifest: Manifest) -> int:
    """The size of a bundle's blocks, 0 where it lists none. Raises: BundleError for a size that is none."""
    size = manifest.extra.get(BLOCKS_FIELD)
    if size is None or manifest.entry(BLOCKS_NAME) is None:
        return 0
    if type(size) is not int or not MIN_BLOCK_BYTES <= size <= MAX_BLOCK_BYTES:
        raise BundleError(
            f"Model bundle {manifest.version}: {BLOCKS_FIELD} is {size!r}, not {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES}."
        )
    return size


def read(folder: Path, manifest: Manifest) -> BlockList | None:
    """The list of a bundle folder; None for a bundle without one. Raises: BundleError."""
    entry = manifest.entry(BLOCKS_NAME)
    if entry is None or block_bytes(manifest) == 0:
        return None
    try:
        data = (folder / BLOCKS_NAME).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder / BLOCKS_NAME} cannot be read ({error.strerror}).") from None
    if len(data) != entry.size_bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"{folder / BLOCKS_NAME} is damaged.", hint="Fetch the bundle again.")
    return parse(manifest, data)


def known(folders: Iterable[Path]) -> dict[bytes, BlockPlace]:
    """Digest → where such a block lies in one of these bundles. A bundle that cannot be read adds nothing."""
    places: dict[bytes, BlockPlace] = {}
    for folder in folders:
        try:
            manifest = read_manifest(folder)
            listed = read(folder, manifest)
        except BundleError:
            continue
        if listed is None:
            continue
        for entry in manifest.files:
            for index in range(listed.count(entry.path)):
                start, stop = listed.span(entry, index)
                places.setdefault(
                    listed.digest(entry.path, index), BlockPlace(folder / entry.path, start, stop - start)
                )
    return places


def read_place(place: BlockPlace, digest: bytes) -> bytes | None:
    """The block, or None where other bytes lie there by now."""
    try:
        with open(place.path, "rb") as file:
            file.seek(place.offset)
            data = file.read(place.size_bytes)
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None
