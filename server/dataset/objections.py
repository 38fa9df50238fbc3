"""Why what a device sent may not be merged, by itself or beside what was merged before; None where it may."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.dataset.came import RecordCame
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord, HelpRecord

_KINDS: Mapping[type, str] = {
    ChunkRecord: "chunk",
    CorrectionRecord: "correction",
    EraseRecord: "erase",
    HelpRecord: "help",
}
CONTENT = {
    "frame": "a JPEG picture", "audio": "a WAV sound", "correction_audio": "a WAV sound", "clip": "an MP4 video",
}  # fmt: skip
"""Part kind → what its file is."""


def misaddressed(came: RecordCame) -> str | None:
    """Why a record does not belong to the topic that it came by; None where it does. Pure."""
    record = came.record
    expected = _KINDS[type(record)]
    if came.kind != expected:
        return f"a {expected} record was sent as {came.kind!r:.30}"
    if record.device != came.device:
        return f"the record names the device {record.device}, the topic {came.device}"
    if isinstance(record, ChunkRecord) and not _own_name(record):
        return "its id does not begin with its device and boot"  # it may be another device's
    return None


LONGEST_NAME = 256
"""Letters of what the database has an index of; PostgreSQL takes no longer keys."""


def too_long(record: ChunkRecord | CorrectionRecord) -> str | None:
    """Why a name in a record cannot be kept; None where all can. Pure."""
    for what, name in (("wearer", record.wearer), ("model version", record.model_version)):
        if len(name) > LONGEST_NAME:
            return f"its {what} has {len(name)} letters, at most {LONGEST_NAME} are taken"
    return None


def _own_name(record: ChunkRecord) -> bool:
    # No hyphen in the boot: "anna" with the boot "b-1" would make ids of the device "anna-b".
    return "-" not in record.boot_id and record.chunk_id.startswith(f"{record.device}-{record.boot_id}-")


def contradicting_part(merged: Mapping[str, Mapping[str, Any]], named: list[dict[str, Any]]) -> str | None:
    """Why a record's parts do not fit those that came before it; None where they do."""
    hashes = {entry["kind"]: entry["sha256"] for entry in named}
    for kind, row in merged.items():
        if hashes.get(kind) != row["sha256"]:
            return f"a {kind} with other bytes than it names was merged before it"
    return None


HEAD_BYTES = 12


def wrong_content(kind: str, path: Path) -> str | None:
    """Why a file is not what its kind says; None where it is, or is not there any more."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        return None
    return wrong_head(kind, head)


def wrong_head(kind: str, head: bytes) -> str | None:
    """The same of its first bytes. Pure."""
    looks_right = {
        "frame": head[:3] == b"\xff\xd8\xff",
        "audio": head[:4] == b"RIFF" and head[8:] == b"WAVE",
        "correction_audio": head[:4] == b"RIFF" and head[8:] == b"WAVE",
        "clip": head[4:8] == b"ftyp",
    }[kind]
    return None if looks_right else f"the {kind} is not {CONTENT[kind]}"
