"""A log of lines that only grows: its newest lines are plain text, what came before them is compressed.

    metadata.jsonl                                               the newest lines: what is appended to, and recovered
    closed/metadata-00000000000000-00000012582912.jsonl.gz       lines before them: from which byte to which of the text
    closed/metadata-00000012582912-00000016777216.jsonl          the same, not compressed yet

The text of a log is all of it in order, and a place in it is a byte of that text: lengths that are remembered, hashes
and places stay as they are, whatever of it is compressed. `zcat closed/metadata-*.gz | cat - metadata.jsonl` says the
same without this module (see server.dataset.gzip_members).

    cut     a long end is renamed into closed/, and a new one begins         one rename: it is in one place or the other
    pack    the next lines of it are written compressed, then it is deleted  both say the same until then

Who appends, cuts, packs or rewrites holds the dataset's lock. Who reads needs none: what is compressed, joined to other
files or cut meanwhile is found again by its place.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from server.dataset import gzip_members
from server.dataset.gzip_members import Member
from shared import atomic
from shared.atomic import Step, no_step
from shared.errors import DatasetError

FOLDER = "closed"
CUT_BYTES = 2 * 1024 * 1024
"""An end of that length is cut, and that much is compressed at once: 50 ms."""
PIECE_BYTES = 32 * 1024 * 1024
"""Of text in one file: a million moments are some hundred files, and a moment is erased by writing 4 MB."""
BLOCK_BYTES = 128 * 1024
"""Of text in one member: a line is read in 0.5 ms."""
STEPS = ("log:cut", "log:begun", "log:packed", "log:joined", "log:tidied")
_REWRITTEN = ".rewritten"
_MEND = "Mend it: waycue-server check --repair"
_MISSING = "these closed lines are missing"
_NAME = re.compile(r"(?P<log>.+)-(?P<start>\d{14})-(?P<end>\d{14})\.jsonl(?P<packed>\.gz)?")
_NOWHERE = Path()


@dataclass(frozen=True, slots=True, order=True)
class ClosedFile:
    """A file of closed lines; of missing ones, nowhere."""

    start: int
    end: int
    packed: bool
    path: Path

    def members(self, data: bytes) -> Iterator[Member]:
        """Of its bytes."""
        return gzip_members.members(data, start=self.start, end=self.end)


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines of a log, or why they cannot be read."""

    at: int
    size: int
    text: bytes = b""
    damage: str = ""


# --- reading ---


def exists(log: Path) -> bool:
    """Whether anything was ever written into it."""
    return log.exists() or bool(_files(log))


def size(log: Path) -> int:
    """Bytes of its text."""
    try:
        return begins_at(log) + log.stat().st_size
    except FileNotFoundError:  # or it is cut at this moment
        return begins_at(log)


def rewritten(log: Path) -> int:
    """How often lines of its folder's logs were written anew."""
    try:
        return int((log.parent / _REWRITTEN).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def lines(log: Path, *, from_byte: int = 0) -> Iterator[tuple[int, bytes]]:
    """(place, line) from the line that begins there. A last line without its end is left out: it is torn, or being
    written right now. Raises: DatasetError where closed lines cannot be read."""
    for block in blocks(log, from_byte=from_byte):
        if block.damage:
            raise unreadable(log, block)
        at = block.at
        for line in io.BytesIO(block.text):  # not splitlines: it takes other characters for ends, too
            yield at, line
            at += len(line)


def closed_lines(log: Path) -> Iterator[bytes]:
    """Those before the plain end. Raises: DatasetError where they cannot be read."""
    end = begins_at(log)
    for at, line in lines(log) if end else ():
        if at >= end:
            return
        yield line


def blocks(log: Path, *, from_byte: int = 0) -> Iterator[Block]:
    """The same in blocks, those that cannot be read among them."""
    at = from_byte
    while True:
        with suppress(FileNotFoundError):  # compressed or joined meanwhile
            for block in _closed(log, at):
                yield block
                at = block.at + block.size
        end, base = _end_of(log)
        with end:
            if at >= base:  # else it was cut meanwhile
                yield from _plain(end, at - base, shift=base)
                return


def unreadable(log: Path, block: Block) -> DatasetError:
    """What is wrong with it."""
    return DatasetError(f"{log}, {place_of(block)}: {block.damage}.", hint=_MEND)


def place_of(block: Block) -> str:
    """For people."""
    return f"bytes {block.at} to {block.at + block.size}"


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return io.BytesIO()


def _closed(log: Path, at: int) -> Iterator[Block]:
    for piece in _covering(_files(log), at):
        for block in _of_piece(piece, at):
            yield block
            at = block.at + block.size
        if at < piece.end:
            yield Block(at, piece.end - at, damage=_damage_of(piece))
            at = piece.end


def _damage_of(piece: ClosedFile) -> str:
    return _MISSING if piece.path == _NOWHERE else f"{piece.path.name} is damaged"


def _of_piece(piece: ClosedFile, at: int) -> Iterator[Block]:
    """Its lines from there on, as far as they can be told."""
    if piece.path == _NOWHERE:
        return
    if not piece.packed:
        with open(piece.path, "rb") as file:
            yield from _plain(file, at - piece.start, shift=piece.start)
        return
    data = piece.path.read_bytes()
    for member in piece.members(data):
        if member.at + member.size > at:
            block = _inflated(member, data)
            yield Block(at, member.at + member.size - at, block.text[at - member.at :], block.damage)
            at = member.at + member.size


def _plain(file: BinaryIO, place: int, *, shift: int) -> Iterator[Block]:
    """Whole lines from there on. shift: where the file begins in the text."""
    file.seek(place)
    while some := file.readlines(BLOCK_BYTES):
        torn = not some[-1].endswith(b"\n")
        text = b"".join(some[:-1] if torn else some)
        if text:
            yield Block(shift + place, len(text), text)
        if torn:  # what follows may be its end, written meanwhile
            return
        place += len(text)


def _inflated(member: Member, data: bytes) -> Block:
    try:
        return Block(member.at, member.size, member.text(data))
    except ValueError as error:
        return Block(member.at, member.size, damage=f"damaged ({error})")


class LineReader:
    """Reads lines of a log by their places, as it is when this is made; lines that are blanked meanwhile are blank. A
    context manager. One thread."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._end, self._base = _end_of(log)
        self._piece: tuple[ClosedFile, bytes, list[Member]] | None = None
        self._block = Block(0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.close()

    @property
    def size(self) -> int:
        """Where the last of the lines ends that can be read: later ones may be in an end that was begun since."""
        return self._base + self._end.seek(0, io.SEEK_END)

    def read(self, at: int, size: int) -> bytes:
        """The line there. Raises: DatasetError where it cannot be read."""
        if at >= self._base:
            self._end.seek(at - self._base)
            return self._end.read(size)
        while not self._block.at <= at < at + size <= self._block.at + len(self._block.text):
            with suppress(FileNotFoundError):  # compressed or joined meanwhile
                self._block = self._load(at, size)
        return self._block.text[at - self._block.at :][:size]

    def _load(self, at: int, size: int) -> Block:
        """Some text around it."""
        piece, data, members = self._holding(at)
        if piece.packed:
            holding = (_inflated(one, data) for one in members if one.at <= at < one.at + one.size)
            block = next(holding, Block(at, size, damage=_damage_of(piece)))
        else:
            block = self._plainly(piece, at, size)
        if not block.damage and at + size > block.at + len(block.text):
            block = Block(at, size, damage=_damage_of(piece))
        if block.damage:
            raise unreadable(self._log, block)
        return block

    def _holding(self, at: int) -> tuple[ClosedFile, bytes, list[Member]]:
        """The file that has it, with what was read of that."""
        if self._piece is None or not self._piece[0].start <= at < self._piece[0].end:
            piece = next(_covering(_files(self._log), at))
            data = piece.path.read_bytes() if piece.packed else b""
            self._piece = piece, data, list(piece.members(data))
        return self._piece

    def _plainly(self, piece: ClosedFile, at: int, size: int) -> Block:
        if piece.path == _NOWHERE:
            return Block(at, size, damage=_MISSING)
        try:
            with open(piece.path, "rb") as file:
                file.seek(at - piece.start)
                return Block(at, size, file.read(max(size, BLOCK_BYTES)))
        except FileNotFoundError:
            self._piece = None
            raise


def _end_of(log: Path) -> tuple[BinaryIO, int]:
    """The plain end, opened, and where it begins."""
    while True:
        end, base = _opened(log), begins_at(log)
        if isinstance(end, io.BytesIO):
            return end, base
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(end.fileno()), log.stat()):
                return end, base
        end.close()  # cut meanwhile


# --- files ---


def begins_at(log: Path) -> int:
    """Where its plain end begins. Asked with each transaction: a hundred names take 30 us."""
    own = f"{log.stem}-"
    start, end = len(own) + 15, len(own) + 29
    ends = [name[start:end] for name in _names(log) if name.startswith(own) and name.endswith((".jsonl", ".gz"))]
    return max((int(number) for number in ends if number.isdecimal()), default=0)


def files_of(log: Path) -> list[Path]:
    """All files that have lines of it, closed ones first."""
    return [*(piece.path for piece in _files(log)), *([log] if log.exists() else [])]


def stored_bytes(log: Path) -> int:
    """Bytes that it takes on the disk."""
    total = 0
    for path in files_of(log):
        with suppress(FileNotFoundError):  # compressed or joined meanwhile
            total += path.stat().st_size
    return total


def _files(log: Path) -> list[ClosedFile]:
    """Files of closed lines, also such as others hold already."""
    found = [match for name in _names(log) if (match := _NAME.fullmatch(name)) and match["log"] == log.stem]
    folder = log.parent / FOLDER
    return sorted(ClosedFile(int(m["start"]), int(m["end"]), bool(m["packed"]), folder / m[0]) for m in found)


def _names(log: Path) -> list[str]:
    try:
        return os.listdir(log.parent / FOLDER)  # noqa: PTH208  half the time: it is asked with each transaction
    except FileNotFoundError:
        return []


def _covering(files: Collection[ClosedFile], at: int) -> Iterator[ClosedFile]:
    """Files that hold the text from there on, one after the other, compressed ones first; and what is missing."""
    while behind := [piece for piece in files if piece.end > at]:
        having = [piece for piece in behind if piece.start <= at]
        missing = ClosedFile(at, min(piece.start for piece in behind), packed=False, path=_NOWHERE)
        piece = max(having, key=lambda one: (one.packed, one.end)) if having else missing
        yield piece
        at = piece.end


# --- writing, under the dataset's lock ---


def tidy(log: Path, *, step: Step = no_step) -> bool:
    """Cut a long end, and compress the next lines of what is closed; whether there are more. Raises: OSError."""
    if log.exists() and log.stat().st_size >= CUT_BYTES:
        _cut(log, step)
    if not log.exists() and begins_at(log):
        atomic.write_bytes(log, b"")
        step("log:begun")
    return _pack(log, step)


def _cut(log: Path, step: Step) -> None:
    start, end = begins_at(log), size(log)
    atomic.move(log, log.parent / FOLDER / f"{log.stem}-{start:014}-{end:014}.jsonl")
    step("log:cut")


def _pack(log: Path, step: Step) -> bool:
    if not any(name.endswith(".jsonl") for name in _names(log)):  # asked with each transaction
        return False
    files = _files(log)
    waiting = next((file for file in files if not file.packed), None)
    return waiting is not None and _pack_some(log, waiting, [file for file in files if file.packed], step)


def _pack_some(log: Path, waiting: ClosedFile, packed: Collection[ClosedFile], step: Step) -> bool:
    last = max(packed, key=lambda one: (one.end, -one.start), default=None)
    at = waiting.start if last is None else max(waiting.start, last.end)
    if at < waiting.end:
        last = _packed(log, waiting, at, last)
        step("log:packed")
    if last is None:
        return False
    _forget(packed, last, step, "log:joined")
    _forget([waiting], last, step, "log:tidied")
    atomic.fsync_dir(waiting.path.parent)
    return any(not file.packed for file in _files(log))


def _forget(files: Collection[ClosedFile], last: ClosedFile, step: Step, name: str) -> None:
    """Delete those of which the last one, with the ones before it, says all."""
    for old in files:
        if old != last and old.end <= last.end and (old.start >= last.start or not old.packed):
            old.path.unlink()
            step(name)


def _packed(log: Path, waiting: ClosedFile, at: int, last: ClosedFile | None) -> ClosedFile | None:
    """Write its next lines compressed, behind those of the last file where that is not full. None: they are damaged."""
    most = waiting.end if waiting.end - at < 2 * CUT_BYTES else at + CUT_BYTES
    members, start, end = [_to_go_on(last, at)], at, at
    if last is not None and members[0]:
        start = last.start
    with open(waiting.path, "rb") as file:
        for block in _plain(file, at - waiting.start, shift=waiting.start):
            members.append(gzip_members.made(block.text))
            end = block.at + block.size
            if end >= most:
                break
    if end == at:
        return None
    path = log.parent / FOLDER / f"{log.stem}-{start:014}-{end:014}.jsonl.gz"
    atomic.write_bytes(path, b"".join(members))
    return ClosedFile(start, end, packed=True, path=path)


def _to_go_on(last: ClosedFile | None, at: int) -> bytes:
    """The bytes of a file that ends there and takes more; none where it does not."""
    if last is None or last.end != at or last.end - last.start >= PIECE_BYTES:
        return b""
    data = last.path.read_bytes()
    return data if gzip_members.is_whole(data, start=last.start, end=last.end) else b""


def rewrite(log: Path, about: Collection[str], change: Callable[[bytes], bytes]) -> None:
    """Write lines about these records or samples anew, each with as many bytes; about others `change` may be asked,
    too. Raises: OSError, and what `change` does."""
    for piece in _files(log):
        if piece.packed:
            data = piece.path.read_bytes()
            after = gzip_members.changed(data, about, change, start=piece.start, end=piece.end)
            if after is not None:
                tell_of_it(log)
                atomic.write_bytes(piece.path, after)
        else:
            _rewrite_plain(log, piece.path, change)
    _rewrite_plain(log, log, change)
    if (log.parent / FOLDER).is_dir():
        atomic.remove_leftovers(log.parent / FOLDER)  # of a crash: they have the lines as they were


def tell_of_it(log: Path) -> None:
    """Count, before lines are written anew: who finds the number under the lock that he found before knows that
    nothing he read was changed since."""
    atomic.write_bytes(log.parent / _REWRITTEN, f"{rewritten(log) + 1}\n".encode())


def _rewrite_plain(log: Path, path: Path, change: Callable[[bytes], bytes]) -> None:
    if not any(change(line) != line for _, line in atomic.whole_lines(path)):
        return
    tell_of_it(log)
    with atomic.writing(path) as out:
        for _, line in atomic.whole_lines(path):
            out.write(change(line))
