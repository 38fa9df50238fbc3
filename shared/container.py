"""A record and its files as one transfer: what a device sends in the place of a message and several files.

    container    "WCBOX1\n\0"   8 bytes: the file's kind and version
                 files          1 byte: how many files follow, 1 to 4
                 length         3 bytes, big-endian: of the envelope
                 envelope       the record as it travels on `up/event` (shared.messages.Envelope, JSON)
                 contents       the first so many files that the record names, in its order, one right after the other

The record is the table of contents: it says of each file what it is, how large, and its SHA-256. There are no names to
trick with, no offsets to overlap, nothing is compressed, and a byte too many or too few is an error. A container is
announced by the SHA-256 of its head, which is everything before the contents: that fixes the hash of each file, so that
nobody has to read a file in order to announce it. The same sealed record always gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared import messages, strict
from shared.errors import MessageError
from shared.messages import PART_KINDS, Envelope, Part

MAGIC = b"WCBOX1\n\0"
FIXED_BYTES = len(MAGIC) + 4
MAX_BYTES = 512 * 1024
"""One window (shared.transfer), so that it is sent whole again rather than written down in ranges."""
MAX_ENVELOPE_BYTES = 16 * 1024
MAX_HEAD_BYTES = FIXED_BYTES + MAX_ENVELOPE_BYTES
OF_KINDS = ("chunk", "correction", messages.SEALED)
"""Kinds of envelopes that name files."""


@dataclass(frozen=True, slots=True)
class ContainerHead:
    """What a container says of itself."""

    envelope: Envelope
    parts: tuple[Part, ...]
    """Of the files that follow, in their order."""
    size_bytes: int
    """Of the head."""

    @property
    def whole_bytes(self) -> int:
        return self.size_bytes + sum(part.size_bytes for part in self.parts)

    def places(self) -> Iterator[tuple[Part, int, int]]:
        """Each file, and from where to where it stands."""
        at = self.size_bytes
        for part in self.parts:
            yield part, at, at + part.size_bytes
            at += part.size_bytes


def is_name(name: str) -> bool:
    """Whether a transfer of that name is a container."""
    return name.endswith(f".{messages.CONTAINER}")


def make_head(envelope: bytes, files: int) -> bytes:
    """Everything before the contents. envelope: as it travels by itself; files: how many that it names follow"""
    return MAGIC + bytes([files]) + len(envelope).to_bytes(3, "big") + envelope


def digest(head: bytes) -> str:
    """What a container with this head is announced by."""
    return hashlib.sha256(head).hexdigest()


def head_bytes(data: bytes) -> int:
    """How long the head is, by its first bytes. Raises: MessageError where these begin no container."""
    if not data.startswith(MAGIC) or len(data) < FIXED_BYTES:
        raise MessageError("It does not begin as a container does.")
    length = int.from_bytes(data[FIXED_BYTES - 3 : FIXED_BYTES], "big")
    if length > MAX_ENVELOPE_BYTES:
        raise MessageError(f"The container's record has {length} bytes, at most {MAX_ENVELOPE_BYTES} are taken.")
    return FIXED_BYTES + length


def begins_with(data: bytes, announced: str) -> bool:
    """Whether these first bytes hold the head that was announced, which has the hashes of all that follows."""
    try:
        return digest(data[: head_bytes(data)]) == announced
    except MessageError:
        return False


def read_head(data: bytes) -> ContainerHead:
    """What the first bytes of a container say. Raises: MessageError naming what is wrong with it."""
    size, files = head_bytes(data), data[len(MAGIC)]
    if len(data) < size:
        raise MessageError(f"The container ends after {len(data)} bytes, within its record.")
    envelope = messages.decode(Envelope, data[FIXED_BYTES:size])
    if envelope.kind not in OF_KINDS:
        raise MessageError(f"A container holds no {envelope.kind[:40]!r}.")
    parts = named_parts(envelope.body)
    if not 1 <= files <= len(parts):
        raise MessageError(f"The container says that it holds {files} files, its record names {len(parts)}.")
    head = ContainerHead(envelope, parts[:files], size)
    if head.whole_bytes > MAX_BYTES:
        raise MessageError(f"The container has {head.whole_bytes} bytes, at most {MAX_BYTES} are taken.")
    return head


def named_parts(body: Any) -> tuple[Part, ...]:
    """The files that a record names, plain or sealed. Raises: MessageError."""
    named = body.get("parts")
    if not isinstance(named, list) or len(named) > len(PART_KINDS):
        raise MessageError("The container's record names no files, or too many.")
    parts = tuple(strict.read(Part, entry) for entry in named)
    kinds = [part.kind for part in parts]
    if len(set(kinds)) != len(kinds) or not set(kinds) <= set(PART_KINDS):
        raise MessageError(f"The container's record names {', '.join(kinds)}: each kind once, and only known ones.")
    return parts


def is_complete(data: bytes) -> bool:
    """Whether a message holds all of a container. Never raises."""
    try:
        return read_head(data).whole_bytes == len(data)
    except MessageError:
        return False


def contents(data: bytes) -> tuple[ContainerHead, list[tuple[Part, bytes]]]:
    """What a whole container holds, each file checked. Raises: MessageError, and then nothing of it is to be used."""
    head = read_head(data)
    if head.whole_bytes != len(data):
        raise MessageError(f"The container has {len(data)} bytes, its record says {head.whole_bytes}.")
    found = [(part, data[start:end]) for part, start, end in head.places()]
    for part, content in found:
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise MessageError(f"The {part.kind} in the container is not the one that its record names.")
    return head, found
