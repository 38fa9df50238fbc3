"""How bodies lie in the database: a row of the dataset or a device's record as JSON, compressed with what all share.

Bodies are very alike: 1,090 bytes of JSON become about 260 with a preset dictionary (540 with zlib alone), in 15 us,
and are read in 4 us. SQL sees a blob: what it selects by has a column of its own.

    blob    a zlib stream (RFC 1950) of JSON in UTF-8; its header names the dictionary, at its end stands a checksum
    text    plain JSON: of an older database, to which `server.database.packing` has not come yet

A dictionary never changes, or what was written with it could not be read any more. A better one is a new file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, NoReturn

from sqlalchemy import JSON, Dialect, LargeBinary
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.types import TypeDecorator, TypeEngine

from shared.errors import DatasetError

_NAMES = ("dictionary-1.txt",)
_LOOK = "Look with: waycue-server check"
_HALVES = "surrogatepass"  # JSON may hold half a character: no reason to refuse a row

_TEXTS = [files("server.database").joinpath(name).read_bytes() for name in _NAMES]
DICTIONARY = _TEXTS[-1]
"""What is written with."""
_DICTIONARIES: Mapping[bytes, bytes] = {zlib.adler32(text).to_bytes(4, "big"): text for text in _TEXTS}
"""By what the header of a stream says of them."""
_EMPTY = zlib.compressobj(level=9, wbits=13, zdict=DICTIONARY)
"""Copied for each body: to read the dictionary again takes half as long once more."""


def to_text(value: Any) -> str:
    """A body as JSON, without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def pack(text: str) -> bytes:
    """JSON as it lies in the database."""
    stream = _EMPTY.copy()
    return stream.compress(text.encode("utf-8", _HALVES)) + stream.flush()


def unpack(stored: bytes | str) -> str:
    """The JSON of a body. Raises: DatasetError where it is damaged."""
    if isinstance(stored, str):
        return stored
    dictionary = _DICTIONARIES.get(stored[2:6])
    if dictionary is None:
        raise DatasetError("A body in the database is damaged, or of a newer waycue.", hint=_LOOK)
    stream = zlib.decompressobj(zdict=dictionary)
    try:
        text = stream.decompress(stored).decode("utf-8", _HALVES)
    except (zlib.error, UnicodeDecodeError) as error:
        raise DatasetError(f"A body in the database is damaged ({error}).", hint=_LOOK) from None
    if not stream.eof:
        raise DatasetError("A body in the database is cut short.", hint=_LOOK)
    return text


class _Closed(TypeEngine.Comparator[Any]):
    """Of a column that SQL cannot look into."""

    def __getitem__(self, index: Any) -> NoReturn:
        raise NotImplementedError(f"A body is compressed: give {index!r} a column of its own.")


class BodyText(TypeDecorator[str]):
    """A column of bodies, read and written as the JSON that they are."""

    impl = JSON  # as the tables were made; SQLite keeps a blob in a column of any type, PostgreSQL has BYTEA
    cache_ok = True
    comparator_factory = _Closed

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(LargeBinary() if dialect.name == "postgresql" else JSON())

    def bind_processor(self, _dialect: Dialect) -> Callable[[Any], bytes]:
        return pack

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], Any]:
        return unpack


class Body(BodyText):
    """The same, read and written as JSON values."""

    cache_ok = True

    def bind_processor(self, _dialect: Dialect) -> Callable[[Any], bytes]:
        return lambda value: pack(to_text(value))

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], Any]:
        return lambda stored: None if stored is None else json.loads(unpack(stored))


def said_by(body: Mapping[str, Any], name: str) -> str:
    """A text of a record or a row, "" where it says none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def wearer_of(body: Mapping[str, Any], device: str) -> str:
    """Whose a moment is, of its row; as server.consent.terms has it."""
    return said_by(body, "speaker_id") or device


def said(name: str) -> Callable[[DefaultExecutionContext], str]:
    """The default of a column that has what the body of the row says."""
    return lambda context: said_by(_inserted(context)["body"], name)


def whose(context: DefaultExecutionContext) -> str:
    """The default of the column that says whose a moment is."""
    values = _inserted(context)
    return wearer_of(values["body"], values["device"])


def _inserted(context: DefaultExecutionContext) -> Mapping[str, Any]:
    values: Mapping[str, Any] = context.get_current_parameters()  # type: ignore[no-untyped-call]
    return values
