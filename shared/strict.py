"""The one strict reader: plain values from outside → frozen dataclasses, checked against their annotations by msgspec.

Nothing is converted but an integer where a number is wanted and a list where a tuple is. Bounds stand beside the field:
`size_bytes: Count`, `name: PlainName`. Fields that a class does not know are kept in its `extra`, where it has one, and
are left out where it has none.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from shared import topics
from shared.errors import MessageError

MAX_TEXT = 4096
MAX_ITEMS = 4096
MAX_DEPTH = 32
MAX_UTC_S = 253_402_300_800  # the year 10000: a page that shows a record must be able to write its date
MAX_INT = 2**53  # JSON numbers above this are not exact everywhere

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
Number = Annotated[float, Meta(ge=-MAX_INT, le=MAX_INT)]
UtcSeconds = Annotated[float, Meta(ge=0, lt=MAX_UTC_S)]
_NAME, _DEVICE, _SHA256 = (f"^{pattern.pattern}" for pattern in (topics.NAME, topics.DEVICE_NAME, topics.SHA256))
PlainName = Annotated[str, Meta(pattern=_NAME)]
DeviceName = Annotated[str, Meta(pattern=_DEVICE)]
Sha256 = Annotated[str, Meta(pattern=_SHA256)]
_IN_WORDS = {_NAME: "a plain name", _DEVICE: "a device name", _SHA256: "a SHA-256"}
Items = Meta(max_length=MAX_ITEMS)
"""`Annotated[tuple[Part, ...], Items]`"""
Table = Annotated[Mapping[str, Any], Items]

LATER = {"later": True}
"""Metadata of a field that came after version 0.1.0: it is written only where it differs from its default, so that what
older code wrote is written back to the same bytes."""

_looking = threading.Lock()
_ready: set[type[Any]] = set()
_SCALARS = frozenset({str, int, float, bool, type(None)})

T = TypeVar("T")


def decode(kind: type[T], data: bytes, *, limit: int) -> T:
    """Read JSON strictly: its size, its depth, its types and bounds. Raises: MessageError and nothing else."""
    name = kind.__name__
    if len(data) > limit:
        raise MessageError(f"{name}: {len(data)} bytes, at most {limit} are read.")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Half a surrogate pair is refused here too: such a text could never be written again.
        raise MessageError(f"{name}: not JSON ({error}).") from None
    check_depth(value, name)
    return read(kind, value)


def read(kind: type[T], value: Any) -> T:
    """Build a dataclass from plain JSON values. Raises: MessageError naming the field and what was expected."""
    try:
        return msgspec.convert(_gather(kind, value), ready(kind))
    except (
        msgspec.ValidationError,
        UnicodeEncodeError,
        RecursionError,
    ) as error:  # json.loads lets half a pair through
        text = str(error)
        for pattern, words in _IN_WORDS.items():
            text = text.replace(f"`str` matching regex {pattern!r}", words)
        raise MessageError(f"{kind.__name__}: {text}.") from None


def ready(kind: type[T]) -> type[T]:
    """A class that msgspec has looked at as a whole, so that any thread may read it.

    msgspec 0.22 keeps what it learns of a dataclass in the class before it has learnt all of it: two threads that read
    one for the first time at once ended the process with SIGSEGV (DataclassInfo with fields still NULL).
    """
    if kind not in _ready:
        with _looking:
            msgspec.json.Decoder(kind)
            _ready.add(kind)
    return kind


def plain(value: Any) -> Any:
    """A dataclass, or anything in one, as plain JSON values; `extra` is spread out again."""
    kind = type(value)
    if kind in _SCALARS:  # most of what there is, and the questions below are slow
        return value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        own = {name: plain(getattr(value, name)) for name in _written(kind)}  # type: ignore[arg-type]  # as below
        for item in _later(kind):  # type: ignore[arg-type]
            if getattr(value, item.name) == item.default:
                del own[item.name]
        return own | dict(getattr(value, "extra", {}))
    return dict(value) if isinstance(value, Mapping) else value


@cache
def _written(kind: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind) if item.name != "extra")


@cache
def _later(kind: type[Any]) -> tuple[Field[Any], ...]:
    return tuple(item for item in fields(kind) if "later" in item.metadata and item.name != "extra")


def check_depth(value: Any, name: str, *, most: int = MAX_DEPTH) -> None:
    """Raises: MessageError for nesting that only some stacks can follow."""
    level = [value]
    for _ in range(most):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise MessageError(f"{name}: nested deeper than {most} levels.")


def _gather(kind: type[Any], value: Any) -> Any:
    """The fields that a class and the classes inside it do not know, put into their `extra`."""
    if not isinstance(value, dict):
        return value
    names, nested = _shape(kind)  # type: ignore[arg-type]  # mypy does not take a class as hashable
    out = {name: item for name, item in value.items() if name in names}
    for name, inner in nested:
        item = out.get(name)
        if item is not None:
            out[name] = [_gather(inner, each) for each in item] if isinstance(item, list) else _gather(inner, item)
    if "extra" in names:
        out["extra"] = {name: item for name, item in value.items() if name not in names}
    return out


@cache
def _shape(kind: type[Any]) -> tuple[frozenset[str], tuple[tuple[str, type[Any]], ...]]:
    """(names of the fields, those that hold dataclasses or tuples of them, with that class)"""
    hints = get_type_hints(kind)
    inner = {
        name: next(iter(get_args(hint)), None) if get_origin(hint) is tuple else hint for name, hint in hints.items()
    }
    nested = tuple((name, item) for name, item in inner.items() if isinstance(item, type) and is_dataclass(item))
    return frozenset(hints), nested
