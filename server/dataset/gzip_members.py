"""Lines of a log in a compressed file, of which each part is read and changed by itself.

The file is gzip (RFC 1952): `zcat` says all of it. It is made of members of whole lines. The extra field "WC" of a
member's header has the length of the member, that of its text, and the CRC-32 of each record or sample that its lines
are about, so that one line is read and one moment is erased without looking into the rest. None = nobody knows.
"""

from __future__ import annotations

import array
import io
import struct
import sys
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import msgspec

_HEAD = struct.Struct("<4sIBBH2sHII")
"""gzip's ten bytes, the extra field's length; "WC", the length of what follows, bytes of the member and of its text."""
_GZIP, _EXTRA = b"\x1f\x8b\x08\x04", b"WC"
_BEFORE_EXTRA = 12
_MOST_NAMED = 16_000  # an extra field has at most 64 KiB
_LEVEL = 9


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member stands. at, size: of its text, in the text of all; place, length: in the file."""

    at: int
    size: int
    place: int
    length: int

    def about(self, data: bytes) -> array.array[int]:
        """CRC-32 of what its lines are about; empty where nobody knows."""
        extra = int.from_bytes(data[self.place + 10 : self.place + _BEFORE_EXTRA], "little")
        numbers = array.array("I", data[self.place + _HEAD.size : self.place + _BEFORE_EXTRA + extra])
        return _little(numbers)

    def text(self, data: bytes) -> bytes:
        """Its lines. Raises: ValueError where it is damaged."""
        try:
            text = zlib.decompress(data[self.place : self.place + self.length], wbits=31)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(text) != self.size or not text.endswith(b"\n"):
            raise ValueError("it has another length")
        return text


class _LineNames(msgspec.Struct):
    sample_id: str = ""
    record_id: str = ""


_NAMED = msgspec.json.Decoder(_LineNames)


def members(data: bytes, *, start: int, end: int) -> Iterator[Member]:
    """Those of a file that has the text from start to end, as far as they can be told."""
    place, at = 0, start
    while place + _HEAD.size <= len(data) and at < end:
        magic, _, _, _, _, mark, _, length, size = _HEAD.unpack_from(data, place)
        if (magic, mark) != (_GZIP, _EXTRA) or length < _HEAD.size or not 0 < size <= end - at:
            return
        yield Member(at, size, place, length)
        place, at = place + length, at + size


def is_whole(data: bytes, *, start: int, end: int) -> bool:
    """Whether all of its members are found."""
    found = list(members(data, start=start, end=end))
    return bool(found) and (found[-1].at + found[-1].size, found[-1].place + found[-1].length) == (end, len(data))


def made(text: bytes) -> bytes:
    """A member of these lines."""
    about = _little(array.array("I", sorted(_about(text))))
    stream = zlib.compressobj(_LEVEL, wbits=-15)
    body = stream.compress(text) + stream.flush()
    named = 8 + 4 * len(about)
    length = _BEFORE_EXTRA + 4 + named + len(body) + 8
    head = _HEAD.pack(_GZIP, 0, 0, 255, 4 + named, _EXTRA, named, length, len(text))
    return head + about.tobytes() + body + struct.pack("<II", zlib.crc32(text), len(text))


def changed(
    data: bytes, about: Collection[str], change: Callable[[bytes], bytes], *, start: int, end: int
) -> bytes | None:
    """The file with lines about these written anew, each with as many bytes; others may be asked about, too. None where
    nothing changed. What is damaged stays."""
    numbers, out, done, differs = frozenset(map(_crc, about)), list[bytes](), 0, False
    for member in members(data, start=start, end=end):
        known, old = member.about(data), data[member.place : member.place + member.length]
        text = b"" if known and numbers.isdisjoint(known) else _readable(member, data)
        after = b"".join(map(change, io.BytesIO(text)))
        out.append(old if after == text else made(after))
        differs |= after != text
        done = member.place + member.length
    return b"".join([*out, data[done:]]) if differs else None


def _readable(member: Member, data: bytes) -> bytes:
    try:
        return member.text(data)
    except ValueError:
        return b""


def _about(text: bytes) -> set[int]:
    found = set()
    for line in io.BytesIO(text):
        try:
            named = _NAMED.decode(line)
        except msgspec.MsgspecError:
            return set()
        found |= {_crc(name) for name in (named.sample_id, named.record_id) if name}
    return found if len(found) < _MOST_NAMED else set()


def _crc(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def _little(numbers: array.array[int]) -> array.array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
