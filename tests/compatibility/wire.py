"""Examples of every message, with few fields and with all, and damaged ones that a strict reader takes or refuses."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shared import bundle, enrolment, messages
from shared.errors import WaycueError
from tests.compatibility.site import without

SHA = "0123456789abcdef" * 4
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PART = {"kind": "frame", "name": "frame.jpg", "size_bytes": 4321, "sha256": SHA}
AUDIO, CLIP = PART | {"kind": "audio", "name": "audio.wav"}, PART | {"kind": "clip", "name": "clip.mp4"}
CHUNK = {
    "chunk_id": "anna-1a2b3c4d-000117", "device": "anna", "boot_id": "1a2b3c4d", "sequence": 117, "walk_id": "anna-w1",
    "started_at_s": 234.5, "duration_s": 2.0, "captured_at_utc": 1793500000.25, "clock_synced": True,
    "flags": ["wearer", "predecessor"], "raw_output": "Stop, curb ahead.", "spoken": "", "confidence": 0.875,
    "model_version": "tiny-1", "parts": [PART, AUDIO, CLIP],
}  # fmt: skip
CHUNK_IN_FULL = CHUNK | {
    "wearer": "Ännä 🚶", "consent": "own-device", "context": "to the shop", "width_px": 640, "height_px": 480,
    "lens": {"blurred": [0.1, None]}, "newer": "a field of a later version",
}  # fmt: skip
CORRECTION = {
    "correction_id": "anna-1a2b3c4d-c000003", "device": "anna", "chunk_id": "anna-1a2b3c4d-000117", "wearer": "Anna",
    "started_at_s": 235.0, "duration_s": 1.5, "captured_at_utc": 1793500001, "spoken": "Stop, curb ahead.",
    "model_version": "tiny-1", "parts": [PART | {"kind": "correction_audio", "name": "correction.wav"}],
}  # fmt: skip
OFFER = {"version": "tiny-1", "manifest_sha256": SHA, "manifest_size": 1234, "issued_at_utc": 1793500002.5}
METADATA = [
    {"name": "2.root.json", "size_bytes": 2400, "sha256": SHA},
    {"name": "timestamp.json", "size_bytes": 500, "sha256": SHA},
]
STATUS = {
    "online": True, "agent_version": "0.1.0", "model_version": "tiny-1", "model_state": "downloading tiny-2 43 %",
    "backlog": 3, "backlog_bytes": 123456, "failed": 1, "uptime_s": 12.5, "device_kind": "raspberry-pi-5",
    "look_p95_ms": 212.5, "waits": ["metered"], "not_kept": 0,
}  # fmt: skip
MANIFEST = {
    "format": 1, "version": "tiny-1", "created_at_utc": 1793500000.0, "base": "tiny", "parent": "",
    "intended_use": "demo", "files": [{"path": "golden/000.jpg", "size_bytes": 77, "sha256": SHA}],
    "thresholds": {"speak_above": 0.5}, "model": {"objects": ["curb"], "sides": ["ahead"]},
}  # fmt: skip
EXAMPLES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "Envelope": (
        {"kind": "chunk", "record_id": CHUNK["chunk_id"], "body": CHUNK},
        {"kind": "correction", "record_id": CORRECTION["correction_id"], "body": CORRECTION},
    ),
    "ChunkRecord": (CHUNK, CHUNK_IN_FULL),
    "CorrectionRecord": (CORRECTION, CORRECTION | {"newer": [1, 2]}),
    "Begin": ({"record_id": CHUNK["chunk_id"], "part": PART, "device": "anna"},),
    "Ack": (
        {"state": "merged"},
        {"state": "receiving", "ranges": [[0, 65536], [131072, 140000]], "answers": "ask"},
        {"state": "refused", "reason": "its bytes are not those that were announced"},
        {"state": "paused", "reason": "the disk is full"},
        {"state": "unknown"},
    ),
    "Want": ({"sha256": SHA, "ranges": [[0, 65536]]}, {"sha256": SHA, "ranges": [], "block_bytes": 4096}),
    "Offer": (OFFER, OFFER | {"revision": 7, "metadata": METADATA, "newer": {"a": 1}}),
    "Renew": ({"csr_pem": PEM}, {"csr_pem": PEM, "proof": "MEUCIQ=="}),
    "Certificate": ({"certificate_pem": PEM, "ca_pem": PEM},),
    "Status": ({"online": False}, STATUS),
    "EnrolRequest": ({"device": "anna", "csr_pem": PEM, "proof": SHA},),
    "EnrolAnswer": ({"certificate_pem": PEM, "ca_pem": PEM, "broker": "192.168.1.10:8883", "root_json": "{}"},),
    "Manifest": (MANIFEST, MANIFEST | {"evaluation": {"recall": 0.9}, "lineage": {"rows": 2}}),
}
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**53, 2**53 + 2, "", "x", "../x", "a/b", "ü", "x" * 97, "x" * 5000, SHA, [], [[0, 1]],
    [[1]], ["x"], [None], {}, {"x": 1}, "field", "frame", "merged", "Anna", 1e300, 1793500000.25, "\ud800",
)  # fmt: skip
RAW = (
    b"", b"[", b"null", b"[]", b"{}", b"1", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"online": NaN}', b"[" * 5000,
    b'{"online": true, "online": false}', b'{"online": true} x', b'{"x": ' + b"[" * 40 + b"]" * 40 + b"}",
)  # fmt: skip
NEVER_SET = {"Status": "boot_reason"}
"""A field that older code sent empty and nobody read: leaving it out is compatible."""
Codec = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]


def codec(kind: str) -> Codec:
    """How this checkout reads and writes a kind of message."""
    if kind == "Manifest":
        return bundle.parse_manifest, bundle.manifest_bytes
    if kind in ("EnrolRequest", "EnrolAnswer"):
        body = getattr(enrolment, kind)
        return lambda data: enrolment.decode(body, data), enrolment.encode
    message = getattr(messages, kind)
    return lambda data: messages.decode(message, data), messages.encode


def written(kind: str) -> Iterator[dict[str, Any]]:
    """The examples of a kind as this checkout writes them, and the values that it reads from them."""
    for value in EXAMPLES[kind]:
        yield rewritten(kind, json.dumps(value))


def rewritten(kind: str, payload: str) -> dict[str, Any]:
    """What this checkout reads from a payload, and how it writes it."""
    decode, encode = codec(kind)
    message = decode(payload.encode())
    return {"payload": _text(kind, encode(message)), "values": without(plain(message), NEVER_SET.get(kind, ""))}


def _text(kind: str, payload: bytes) -> str:
    """A payload, without the field that was never set."""
    text = payload.decode()
    return text.replace(f'"{NEVER_SET[kind]}":"",', "") if kind in NEVER_SET else text


def verdicts(kind: str) -> dict[str, str]:
    """Name of a damaged message → "refused", or the hash of what the reader's result is written as."""
    decode, encode = codec(kind)
    results = {}
    for name, payload in damaged(kind):
        try:
            text = _text(kind, encode(decode(payload)))
            results[name] = hashlib.sha256(text.encode()).hexdigest()[:12]
        except (WaycueError, UnicodeEncodeError):  # a manifest with a lone surrogate is read, but cannot be written
            results[name] = "refused"
    return results


def damaged(kind: str) -> Iterator[tuple[str, bytes]]:
    """Examples with one value changed or left out, and payloads that are no message. Gives name and payload."""
    for number, payload in enumerate(RAW):
        yield f"raw {number}", payload
    for number, value in enumerate(EXAMPLES[kind]):
        for path in _places(value):
            if kind == "Envelope" and len(path) > 1:
                continue  # any JSON object is a body; as a record it is read separately
            name = f"{number} {'.'.join(map(str, path))}"
            yield f"{name} left out", json.dumps(_changed(value, path)).encode()
            for at, odd in enumerate(ODD):
                yield f"{name} odd {at}", json.dumps(_changed(value, path, odd)).encode()


_GONE = object()


def _places(value: Any) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        yield from ((key, *path) for path in _places(inner))


def _changed(value: Any, path: tuple[str | int, ...], to: object = _GONE) -> Any:
    out = copy.deepcopy(value)
    holder = out
    for key in path[:-1]:
        holder = holder[key]
    if to is _GONE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = to
    return out


def plain(value: Any) -> Any:
    """A message's fields as JSON values, without those that came later and say nothing."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        later = {item.name: item.default for item in dataclasses.fields(value) if "later" in item.metadata}
        return {name: plain(inner) for name, inner in values.items() if name not in later or inner != later[name]}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple | list) else value
