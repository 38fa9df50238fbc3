"""Every message and record of waycue, as frozen dataclasses.

Input from the network is hostile until read: `decode` (shared.strict) bounds the size, the depth, every string and
every list, and answers anything else with MessageError, never with another exception.

Records (ChunkRecord, CorrectionRecord) are written to disk as sidecars and travel unchanged on `up/event`.
Unknown fields are kept in `extra` and written back: an old server must not lose what a newer device said.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from shared import strict
from shared.strict import Count, DeviceName, Items, Number, PlainName, Sha256, Table, Text, UtcSeconds

MAX_MESSAGE_BYTES = 64 * 1024  # a sidecar is about 1 KB; 64 KiB leaves room for hazard scores and unknown fields

FLAGS = ("wearer", "correction", "stopped", "low_confidence", "disagreement", "audit", "predecessor")
SEALED = "sealed"
"""Kind of an envelope that only the server can open: its body is a SealedRecord."""
ERASE = "erase"
"""Kind of an envelope with an EraseRecord."""
HELP = "help"
"""Kind of an envelope with a HelpRecord."""
PART_KINDS = ("frame", "audio", "clip", "correction_audio")
CONTAINER = "container"
"""In the place of a part kind: a record and its files as one transfer (shared.container)."""
PartKind = Annotated[str, Meta(pattern=rf"^(?:{'|'.join((*PART_KINDS, CONTAINER))})\Z")]
KindOfDevice = Annotated[str, Meta(pattern=r"^(?:[a-z0-9][a-z0-9-]{0,47})?\Z")]
LookMs = Annotated[float, Meta(ge=0, le=600_000)]  # ten minutes: longer than any watchdog lets a look last
HelpName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,91}-h[0-9]{3}\Z")]
_HELP_ID = re.compile(r"-h[0-9]{3}\Z")
RecordKind = Annotated[str, Meta(pattern=r"^(?:chunk|correction)\Z")]
Importance = Annotated[int, Meta(ge=0, le=2)]
Sealed = Annotated[str, Meta(max_length=60_000, pattern=r"^[A-Za-z0-9+/]+={0,2}\Z")]
Angle = Annotated[float, Meta(ge=0, le=180)]
Share = Annotated[float, Meta(ge=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Celsius = Annotated[float, Meta(ge=-273.15, le=1000)]
Spans = Annotated[tuple[tuple[Count, Count], ...], Items]


@dataclass(frozen=True, slots=True)
class Part:
    """One payload file of a record."""

    kind: PartKind
    """`container` only in a Begin."""
    name: PlainName
    """File name beside the sidecar, e.g. frame.jpg."""
    size_bytes: Count
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """The sidecar of 2 s of walk."""

    chunk_id: PlainName
    """{device}-{boot id}-{sequence}: never wall time, a Pi has no clock battery."""
    device: DeviceName
    boot_id: Text
    sequence: Count
    walk_id: PlainName
    started_at_s: Number
    """Seconds since boot of the chunk's first frame."""
    duration_s: Number
    captured_at_utc: UtcSeconds
    """Wall time of the start as the device believed it, seconds since 1970."""
    clock_synced: bool
    flags: Annotated[tuple[Text, ...], Items]
    raw_output: Text
    """What the model worded for this chunk ("" = it kept silent)."""
    spoken: Text
    """What the wearer actually heard ("" = nothing)."""
    confidence: Number
    model_version: Text
    parts: Annotated[tuple[Part, ...], Items]
    wearer: Text = ""
    consent: Text = "own-device"
    context: Text = ""
    width_px: Count = 0
    height_px: Count = 0
    fov_deg: Angle = field(default=0.0, metadata=strict.LATER)
    """What the picture shows from its left to its right edge; 0 = not known."""
    extra: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """The wearer held the button and said what should have been said. Append-only; may arrive before its chunk."""

    correction_id: PlainName
    device: DeviceName
    chunk_id: PlainName
    """The chunk it is about: the one that was being recorded when the button went down."""
    wearer: Text
    started_at_s: Number
    duration_s: Number
    captured_at_utc: UtcSeconds
    spoken: Text
    """What the device had last said, which the wearer corrects."""
    model_version: Text
    parts: Annotated[tuple[Part, ...], Items]
    heard: Text = field(default="", metadata=strict.LATER)
    """What the device heard in it, word for word, in the language that was spoken. A proposal, like the next."""
    heard_meaning: Text = field(default="", metadata=strict.LATER)
    """The vocabulary's sentence; "" = not understood."""
    heard_confidence: Share = field(default=0.0, metadata=strict.LATER)
    heard_by: Text = field(default="", metadata=strict.LATER)
    """The recogniser; "" = nobody listened on the device."""
    extra: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that only the server can read (shared.sealing); its payload files are sealed, too."""

    device: DeviceName
    of: RecordKind
    """What is inside."""
    importance: Importance
    """0 a correction, 1 flagged by the wearer, 2 the rest."""
    parts: Annotated[tuple[Part, ...], Items]
    """The sealed files, as they lie on the disk and travel."""
    digest: Sha256
    """SHA-256 of the envelope inside."""
    sealed: Sealed
    """Base64 of a sealed file: the envelope that would have travelled instead."""
    started_at_s: Number = 0.0
    """As in the record inside, like the next: what is to be forgotten is found by its time."""
    duration_s: Number = 0.0
    extra: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EraseRecord:
    """The wearer wants something erased that the server may have: shared.erasure says what it covers. May arrive
    before what it is about, and any number of times."""

    erase_id: PlainName
    device: DeviceName
    asked_at_utc: UtcSeconds
    record_ids: Annotated[tuple[PlainName, ...], Items] = ()
    """Chunks and corrections by their ids."""
    boot_id: Text = ""
    """With the two below: what was recorded in a stretch of time. "" = nothing by time; else what the boot ids of the
    records begin with."""
    from_s: Number = 0.0
    """Seconds since boot, as in the records."""
    to_s: Number = 0.0
    extra: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HelpRecord:
    """The wearer asked for help: those who care for them are told. May arrive any number of times. It says neither who
    wears the device nor where, and is not sealed."""

    help_id: HelpName
    device: DeviceName
    asked_at_utc: UtcSeconds
    clock_synced: bool
    extra: Table = field(default_factory=dict)


Record = ChunkRecord | CorrectionRecord | EraseRecord | HelpRecord
"""What travels on `up/event`, as it is or sealed."""


@dataclass(frozen=True, slots=True)
class CorrectionHeard:
    """What the server understood of a spoken correction, for the wearer to hear. Sent once; nothing hangs on it."""

    correction_id: PlainName
    text: Text = ""
    """The vocabulary's sentence; "" = not understood."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What travels on `up/event`: a record with its kind and its own id."""

    kind: Text
    """chunk | correction | erase | help | sealed"""
    record_id: PlainName
    body: Table


@dataclass(frozen=True, slots=True)
class Begin:
    """First message of a transfer."""

    record_id: PlainName
    part: Part
    device: DeviceName


@dataclass(frozen=True, slots=True)
class Ack:
    """The server's own answer. A device deletes only on `merged`."""

    state: Text
    """receiving | merged | refused | paused (too much for now: ask again later; `reason` says why) | unknown (the
    server has no such transfer: begin again)"""
    ranges: Spans = ()
    """Byte ranges received so far, half open, sorted, disjoint."""
    reason: Text = ""
    answers: Text = ""
    """begin | end | ask where it answers one (everything sent before that question is accounted for), gap where a part
    came and one that was sent before it did not, else ""."""
    grants: bool = field(default=False, metadata=strict.LATER)
    """The server grants credit: nothing more is sent without, and `up/credit` asks for it."""
    containers: bool = field(default=False, metadata=strict.LATER)
    """The server takes a record and its files as one transfer (shared.container)."""


@dataclass(frozen=True, slots=True)
class CreditWish:
    """A device asks for credit (shared.credit)."""

    units: Count
    """It has so much to send, beyond what it holds."""
    held: Count = 0
    """It may still spend so much of what was granted before."""
    number: Count = 0
    """Of the grant that it heard last on this connection; 0 = of none."""


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """The server's answer, at once or when it is the device's turn."""

    units: Count
    """The device may send so much more: 1 for a message, and 1 for each further 64 KiB in it."""
    number: Count
    """Counts the grants to this device."""
    standing: Count = field(default=0, metadata=strict.LATER)
    """From now on the device may send so much without asking, whenever all that it sent was answered."""
    anew: bool = field(default=False, metadata=strict.LATER)
    """Another process takes in what the device sends: nothing counts any more that was granted or asked for, and what
    is on its way may be lost, as at a cut."""


@dataclass(frozen=True, slots=True)
class Want:
    """A device pulls byte ranges of a file known by its hash; the server answers a few block messages at a time."""

    sha256: Sha256
    ranges: Spans
    block_bytes: Count = 65536


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """One file of signed release metadata (TUF), fetched as blocks by its hash. What it says is believed for its
    signatures only: this entry just tells where to find it."""

    name: PlainName
    """Its TUF name, e.g. 2.root.json, timestamp.json, 7.snapshot.json, 5.targets.json."""
    size_bytes: Count
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Offer:
    """Retained pointer at the model that this device should run."""

    version: PlainName
    manifest_sha256: Sha256
    manifest_size: Count
    issued_at_utc: UtcSeconds
    revision: Count = 0
    """Rises with every offer to this device; a device ignores a lower one."""
    metadata: Annotated[tuple[MetadataFile, ...], Items] = ()
    """The signed metadata that proves it; an enrolled device refuses an offer without."""
    extra: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renew:
    """A device asks for a new certificate for its key, over a connection that the old one opened."""

    csr_pem: Text
    proof: Text = ""
    """With a new key: the old key's signature (ECDSA, SHA-256, DER, base64) over csr_pem. The broker carries this
    message, and must not be able to ask in a device's name."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The answer to Renew; or, without a certificate, news of the key that moments are sealed to."""

    certificate_pem: Text
    """"" = the device keeps the one that it has."""
    ca_pem: Text
    sealing_pem: Text = field(default="", metadata=strict.LATER)
    """The authority's certificate for the key that moments are sealed to; "" = this server has none."""


@dataclass(frozen=True, slots=True)
class Status:
    """Retained; also the last will, with online=false."""

    online: bool
    agent_version: Text = ""
    model_version: Text = ""
    model_state: Text = ""
    """idle | downloading | verifying | probation | refused: ... | withdrawn: ..."""
    backlog: Count = 0
    backlog_bytes: Count = 0
    failed: Count = 0
    boot_reason: Text = ""
    uptime_s: Number = 0.0
    device_kind: KindOfDevice = ""
    """Such as raspberry-pi-5, jetson-orin-nano, x86-64 (device.health.machine_kind); "" = not told."""
    look_p95_ms: LookMs = 0.0
    """95th percentile of how long the last few hundred looks of the model in use took; 0 = none yet."""
    battery_percent: Percent | None = field(default=None, metadata=strict.LATER)
    """Charge of the battery; None = none tells, like the next two."""
    heat_c: Celsius | None = field(default=None, metadata=strict.LATER)
    """Of the board's hottest zone."""
    disk_free_bytes: Count | None = field(default=None, metadata=strict.LATER)
    """Where moments wait."""
    extra: Table = field(default_factory=dict)


Message = TypeVar("Message")


def id_of(record: Record) -> str:
    """The id under which a record travels."""
    match record:
        case ChunkRecord():
            return record.chunk_id
        case CorrectionRecord():
            return record.correction_id
        case EraseRecord():
            return record.erase_id
        case HelpRecord():
            return record.help_id


def is_help(record_id: str) -> bool:
    """Whether an id is that of a call for help: no other record's ends so."""
    return _HELP_ID.search(record_id) is not None


def to_dict(message: Any) -> dict[str, Any]:
    """A message as plain JSON values; `extra` is spread out again."""
    value: dict[str, Any] = strict.plain(message)
    return value


def encode(message: Any) -> bytes:
    """A message as compact UTF-8 JSON."""
    return json.dumps(to_dict(message), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode(kind: type[Message], payload: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> Message:
    """Read one message strictly. Raises: MessageError for anything that is not exactly such a message."""
    return strict.decode(kind, payload, limit=limit)
