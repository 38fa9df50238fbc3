"""Every message and record of waycue, as frozen dataclasses, and the one strict reader for them.

Input from the network is hostile until read: `decode` bounds the size, the depth, every string and every list, and
answers anything else with MessageError, never with another exception.

Records (ChunkRecord, CorrectionRecord) are written to disk as sidecars and travel unchanged on `up/event`.
Unknown fields are kept in `extra` and written back: an old server must not lose what a newer device said.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from shared import topics
from shared.errors import MessageError

MAX_MESSAGE_BYTES = 64 * 1024  # a sidecar is about 1 KB; 64 KiB leaves room for hazard scores and unknown fields
MAX_TEXT = 4096
MAX_ITEMS = 4096
MAX_DEPTH = 32
MAX_UTC_S = 253_402_300_800  # the year 10000: a page that shows a record must be able to write its date
MAX_INT = 2**53  # JSON numbers above this are not exact everywhere

_SURROGATE = re.compile("[\ud800-\udfff]")

FLAGS = ("wearer", "correction", "stopped", "low_confidence", "disagreement", "audit", "predecessor")
PART_KINDS = ("frame", "audio", "clip", "correction_audio")


@dataclass(frozen=True, slots=True)
class Part:
    """One payload file of a record."""

    kind: str
    """One of PART_KINDS."""
    name: str
    """File name beside the sidecar, e.g. frame.jpg."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """The sidecar of 2 s of walk."""

    chunk_id: str
    """{device}-{boot id}-{sequence}: never wall time, a Pi has no clock battery."""
    device: str
    boot_id: str
    sequence: int
    walk_id: str
    started_at_s: float
    """Seconds since boot of the chunk's first frame."""
    duration_s: float
    captured_at_utc: float
    """Wall time of the start as the device believed it, seconds since 1970."""
    clock_synced: bool
    flags: tuple[str, ...]
    raw_output: str
    """What the model worded for this chunk ("" = it kept silent)."""
    spoken: str
    """What the wearer actually heard ("" = nothing)."""
    confidence: float
    model_version: str
    parts: tuple[Part, ...]
    wearer: str = ""
    consent: str = "own-device"
    context: str = ""
    width_px: int = 0
    height_px: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """The wearer held the button and said what should have been said. Append-only; may arrive before its chunk."""

    correction_id: str
    device: str
    chunk_id: str
    """The chunk it is about: the one that was being recorded when the button went down."""
    wearer: str
    started_at_s: float
    duration_s: float
    captured_at_utc: float
    spoken: str
    """What the device had last said, which the wearer corrects."""
    model_version: str
    parts: tuple[Part, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What travels on `up/event`: a record with its kind and its own id."""

    kind: str
    """chunk | correction | telemetry"""
    record_id: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Begin:
    """First message of a transfer."""

    record_id: str
    part: Part
    device: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The server's own answer. A device deletes only on `merged`."""

    state: str
    """receiving | merged | refused | paused (too much for now: ask again later; `reason` says why) | unknown (the
    server has no such transfer: begin again)"""
    ranges: tuple[tuple[int, int], ...] = ()
    """Byte ranges received so far, half open, sorted, disjoint."""
    reason: str = ""
    answers: str = ""
    """begin | end | ask where it answers one (everything sent before that question is accounted for), else ""."""


@dataclass(frozen=True, slots=True)
class Want:
    """A device pulls byte ranges of a file known by its hash; the server answers a few block messages at a time."""

    sha256: str
    ranges: tuple[tuple[int, int], ...]
    block_bytes: int = 65536


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """One file of signed release metadata (TUF), fetched as blocks by its hash. What it says is believed for its
    signatures only: this entry just tells where to find it."""

    name: str
    """Its TUF name, e.g. 2.root.json, timestamp.json, 7.snapshot.json, 5.targets.json."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Retained pointer at the model that this device should run."""

    version: str
    manifest_sha256: str
    manifest_size: int
    issued_at_utc: float
    revision: int = 0
    """Rises with every offer to this device; a device ignores a lower one."""
    metadata: tuple[MetadataFile, ...] = ()
    """The signed metadata that proves it; an enrolled device refuses an offer without."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renew:
    """A device asks for a new certificate for its key, over a connection that the old one opened."""

    csr_pem: str
    proof: str = ""
    """With a new key: the old key's signature (ECDSA, SHA-256, DER, base64) over csr_pem. The broker carries this
    message, and must not be able to ask in a device's name."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The answer to Renew."""

    certificate_pem: str
    ca_pem: str


@dataclass(frozen=True, slots=True)
class Status:
    """Retained; also the last will, with online=false."""

    online: bool
    agent_version: str = ""
    model_version: str = ""
    model_state: str = ""
    """idle | downloading | verifying | probation | refused: ... | withdrawn: ..."""
    backlog: int = 0
    backlog_bytes: int = 0
    failed: int = 0
    boot_reason: str = ""
    uptime_s: float = 0.0
    device_kind: str = ""
    """Such as raspberry-pi-5, jetson-orin-nano, x86-64 (device.health.machine_kind); "" = not told."""
    look_p95_ms: float = 0.0
    """95th percentile of how long the last few hundred looks of the model in use took; 0 = none yet."""
    extra: Mapping[str, Any] = field(default_factory=dict)


Message = TypeVar("Message")


def to_dict(message: Any) -> dict[str, Any]:
    """A message as plain JSON values; `extra` is spread out again."""
    out: dict[str, Any] = {}
    for item in fields(message):
        value = getattr(message, item.name)
        if item.name == "extra":
            continue
        out[item.name] = _plain(value)
    out.update(getattr(message, "extra", {}))
    return out


def encode(message: Any) -> bytes:
    """A message as compact UTF-8 JSON."""
    return json.dumps(to_dict(message), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode(kind: type[Message], payload: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> Message:
    """Read one message strictly. Raises: MessageError for anything that is not exactly such a message."""
    if len(payload) > limit:
        raise MessageError(f"{kind.__name__}: {len(payload)} bytes, at most {limit} are read.")
    try:
        value = json.loads(payload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{kind.__name__}: not JSON ({error}).") from None
    _check_tree(kind.__name__, value)
    return from_dict(kind, value)


def _check_tree(name: str, value: Any) -> None:
    """What JSON allows and nobody could write down again: half a surrogate pair (one such text, merged, would keep
    every later row from the dataset's log), or nesting that only some stacks can follow. Raises: MessageError."""
    level = [value]
    for _ in range(MAX_DEPTH):
        nested = [item for item in level if isinstance(item, dict | list)]
        texts = [item for item in level if isinstance(item, str)]
        texts += [key for item in nested if isinstance(item, dict) for key in item]
        if any(not text.isascii() and _SURROGATE.search(text) for text in texts):
            raise MessageError(f"{name}: a text holds half a character.")
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise MessageError(f"{name}: nested deeper than {MAX_DEPTH} levels.")


def from_dict(kind: type[Message], value: Any) -> Message:
    """Build a message from plain JSON values, strictly. Raises: MessageError."""
    if not isinstance(value, dict):
        raise MessageError(f"{kind.__name__}: an object was expected, got {type(value).__name__}.")
    plan = _plan(kind)  # type: ignore[arg-type]  # mypy does not take a type variable's class as hashable
    known: dict[str, Any] = {}
    for name, where, read, required in plan.fields:
        if name in value:
            known[name] = read(value[name], where)
        elif required:
            raise MessageError(f"{kind.__name__}: the field {name!r} is missing.")
    if plan.extra:
        known["extra"] = {key: value[key] for key in value if key not in plan.names}
    message = kind(**known)
    for name, where, check, problem in plan.checks:
        found = getattr(message, name)
        if found is not None and not check(found):
            raise MessageError(f"{where}: {_short(found)} {problem}.")
    return message


_Read = Callable[[Any, str], Any]
"""(value, what it is called) -> value. Raises: MessageError."""


class _Plan(NamedTuple):
    """How a kind of message is read, worked out once: `get_type_hints` costs more than all the rest of it."""

    fields: tuple[tuple[str, str, _Read, bool], ...]
    """Name, what it is called in a complaint, how it is read, whether it must be there."""
    checks: tuple[tuple[str, str, Callable[[Any], object], str], ...]
    """Of names and times, which become file names, topic levels and dates on the other side."""
    names: frozenset[str]
    extra: bool


@cache
def _plan(kind: type[Any]) -> _Plan:
    hints = get_type_hints(kind)
    known = [item for item in fields(kind) if item.name != "extra"]
    names = [item.name for item in known]
    readers = [
        (name, f"{kind.__name__}.{name}", _reader(hints[name]), item.default is item.default_factory is MISSING)
        for name, item in zip(names, known, strict=True)
    ]
    checks = [(name, f"{kind.__name__}.{name}", *_CHECKS[name]) for name in names if name in _CHECKS]
    if kind is Part:
        checks.append(("kind", "Part.kind", PART_KINDS.__contains__, f"is not one of {', '.join(PART_KINDS)}"))
    return _Plan(tuple(readers), tuple(checks), frozenset({*names, "extra"}), "extra" in hints)


_PLAIN = topics.NAME.match, "is not a plain name"
_KIND = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,47})?\Z")
MAX_LOOK_MS = 600_000.0  # ten minutes: longer than any watchdog lets a look last
_HASH = topics.SHA256.match, "is not a SHA-256"
_CHECKS: dict[str, tuple[Callable[[Any], object], str]] = {
    "chunk_id": _PLAIN, "correction_id": _PLAIN, "record_id": _PLAIN, "version": _PLAIN, "walk_id": _PLAIN,
    "name": _PLAIN, "device": (topics.DEVICE_NAME.match, "is not a device name"), "sha256": _HASH,
    "manifest_sha256": _HASH, **dict.fromkeys(
        ("captured_at_utc", "issued_at_utc"), (lambda utc_s: 0 <= utc_s < MAX_UTC_S, "is no time that a calendar has")
    ),
    "device_kind": (_KIND.match, "is no kind of device"),
    "look_p95_ms": (lambda ms: 0 <= ms <= MAX_LOOK_MS, "is not the time of a look"),
}  # fmt: skip


def _reader(hint: Any) -> _Read:
    """The reader of values of a type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        if type(None) not in args:
            return inner
        return lambda value, where: None if value is None else inner(value, where)
    if origin is tuple:
        return _tuple_reader(args)
    if origin is not None:
        return _checked(hint, lambda value: isinstance(value, dict) and len(value) <= MAX_ITEMS)
    if hasattr(hint, "__dataclass_fields__"):
        return lambda value, _where: from_dict(hint, value)
    if hint is float:
        right = _checked(hint, lambda value: type(value) in (int, float) and abs(value) <= MAX_INT)  # no NaN either
        return lambda value, where: float(right(value, where))
    return _checked(hint, _SIMPLE[hint])


_SIMPLE: dict[Any, Callable[[Any], bool]] = {
    str: lambda value: type(value) is str and len(value) <= MAX_TEXT,
    bool: lambda value: type(value) is bool,
    int: lambda value: type(value) is int and 0 <= value <= MAX_INT,
}


def _checked(hint: Any, right: Callable[[Any], bool]) -> _Read:
    def read(value: Any, where: str) -> Any:
        if not right(value):
            raise MessageError(f"{where}: {_short(value)} is not a valid {getattr(hint, '__name__', hint)}.")
        return value

    return read


def _tuple_reader(args: tuple[Any, ...]) -> _Read:
    endless = len(args) == 2 and args[1] is Ellipsis
    readers = [_reader(arg) for arg in args[:1]] if endless else [_reader(arg) for arg in args]

    def read(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise MessageError(f"{where}: a list of at most {MAX_ITEMS} was expected.")
        if endless:
            return tuple([readers[0](item, where) for item in value])
        if len(value) != len(args):
            raise MessageError(f"{where}: {len(args)} values were expected, got {len(value)}.")
        return tuple([one(item, where) for one, item in zip(readers, value, strict=True)])

    return read


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return to_dict(value)
    return dict(value) if isinstance(value, Mapping) else value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
