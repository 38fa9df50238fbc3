"""Takes containers (shared.container) apart, once they are whole: checked as a whole before anything of it is used.

What is merged of one is its record and, as files beside those that arrive, its contents, opened where they are sealed.
A container is refused as a whole or merged as a whole; its device then sends one that was refused file by file, so that
what is sound of it is not lost for what is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from server.dataset import objections
from server.dataset.came import Came, FileCame, RecordCame
from server.ingest import decode
from shared import atomic, container, messages
from shared.errors import MessageError
from shared.messages import ChunkRecord, CorrectionRecord, Envelope, Part

Opened = tuple[Came, ...] | Exception
"""What is to be merged of something that came, or why it cannot be opened: whatever went wrong, also what nobody
foresaw."""


@dataclass(frozen=True, slots=True)
class WholeContainer:
    """A container that is whole. stem: begins the paths of the files that are made of its contents"""

    device: str
    name: str
    """Of its transfer."""
    data: bytes
    stem: Path

    @property
    def id(self) -> tuple[str, str]:
        return self.device, self.name

    @property
    def digest(self) -> str:
        """What it would have been announced by."""
        return container.digest(self.data[: container.head_bytes(self.data)])

    @property
    def record_id(self) -> str:
        return self.name.removesuffix(f".{messages.CONTAINER}")


OpenEnvelope = Callable[[str, Envelope], Envelope]
"""(device, envelope) → the envelope inside. Raises: MessageError, OSError."""
OpenFile = Callable[[str, str, Part, bytes], bytes]
"""(device, record id, part, bytes) → the bytes inside, or these where they are not sealed. Raises: as the former."""


def unpack(whole: WholeContainer, envelope_in: OpenEnvelope, bytes_in: OpenFile) -> tuple[Came, ...]:
    """What to merge of a container: its record first. Its files are written, not yet synced; where it raises, none is
    left. Raises: MessageError, OSError, and whatever nobody foresaw."""
    written: list[Path] = []
    try:
        head, found = container.contents(whole.data)
        if head.envelope.record_id != whole.record_id:
            raise MessageError(f"The container of {whole.record_id} holds {head.envelope.record_id}.")
        inside = envelope_in(whole.device, head.envelope)
        record = decode.record_in(inside)
        if not isinstance(record, ChunkRecord | CorrectionRecord):
            raise MessageError(f"A container holds no {inside.kind!r}.")
        contents = [_opened(part, bytes_in(whole.device, whole.record_id, part, content)) for part, content in found]
        for part, content in contents:
            _check(part, content, record)
        came: list[Came] = [RecordCame(whole.device, inside.kind, record)]
        for part, content in contents:
            written.append(whole.stem.with_name(f"{whole.stem.name}.{part.kind}.opened"))
            _write(written[-1], content)
            came.append(FileCame(whole.device, whole.record_id, part, written[-1], looks_right=True))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return tuple(came)


def _opened(part: Part, content: bytes) -> tuple[Part, bytes]:
    if len(content) == part.size_bytes:  # what is sealed is always longer than what is in it
        return part, content
    return replace(part, size_bytes=len(content), sha256=sha256(content).hexdigest()), content


def _check(part: Part, content: bytes, record: ChunkRecord | CorrectionRecord) -> None:
    """Raises: MessageError where the record, which may have been sealed, does not name this very file."""
    named = {one.kind: one.sha256 for one in record.parts}
    if named.get(part.kind) != part.sha256:
        raise MessageError(f"The record inside names no {part.kind}, or another one.")
    if wrong := objections.wrong_head(part.kind, content[: objections.HEAD_BYTES]):
        raise MessageError(wrong)


def _write(path: Path, content: bytes) -> None:
    with open(_created(path), "wb", buffering=0) as file:
        if file.write(content) != len(content):
            raise OSError(f"{path} was not written as a whole. Free some disk space.")


def _created(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # nothing of this device came before
        atomic.make_dirs(path.parent)
        return os.open(path, flags, 0o600)


def sync(path: Path) -> None:
    """Make a file durable that `unpack` wrote. Any thread. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def files_of(opened: Iterable[Opened]) -> list[Path]:
    """Files that `unpack` wrote."""
    return [one.path for came in opened if isinstance(came, tuple) for one in came if isinstance(one, FileCame)]


def clear(opened: Sequence[Came]) -> None:
    """Delete what is left of the files, of which nothing more is to become. Raises: OSError."""
    for path in files_of([tuple(opened)]):
        path.unlink(missing_ok=True)
