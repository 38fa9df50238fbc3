"""What a deletion removed, counted and named by hash, and what is left where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared import strict
from shared.plural import several


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Of one deletion. It names no moment, no word and no person whose moments went."""

    id: int
    what: str
    """moment, walk, wearer, age, space or blur."""
    by: str
    begun_at: float
    ended_at: float
    moments: int
    records: int
    """What devices had sent of them: moments and spoken corrections."""
    ids_sha256: str
    """Of the ids of the moments, sorted, each with a line feed: whoever knows the ids can check it."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Table of the database → rows that went, or whose words did."""
    files: Mapping[str, int] = field(default_factory=dict)
    """Kind → files that went: frame, audio, clip, correction_audio, quarantine, incoming, exports, nights."""
    models: tuple[str, ...] = ()
    """Versions that learnt from some of it."""
    retired: tuple[str, ...] = ()
    """Those of them that can never be promoted any more."""
    exports: tuple[str, ...] = ()
    """Exports that held some of it, and what became of each."""
    left: tuple[str, ...] = ()
    """Where some of it still is, one sentence for each place."""
    checked: bool = False
    """Afterwards nothing of it was found in the database, the logs and the files of the dataset."""


def ids_sha256(ids: Iterable[str]) -> str:
    """Hex SHA-256 over the sorted ids, each with a line feed."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(ids)).encode()).hexdigest()


def to_dict(proof: Proof) -> dict[str, Any]:
    """As plain JSON values."""
    return dict(strict.plain(proof))


def from_dict(value: Any) -> Proof:
    """Raises: MessageError."""
    return strict.read(Proof, value)


def in_words(proof: Proof) -> list[str]:
    """The proof, to be printed or read aloud, a sentence for each thing."""
    ended = f"{datetime.fromtimestamp(proof.ended_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    lines = [f"Deletion {proof.id}: {_done(proof)} by {ended}."]
    lines.append(f"SHA-256 of their ids: {proof.ids_sha256}.")
    lines += _counted("Rows of the database", proof.rows)
    lines += _counted("Files", proof.files)
    lines += [f"Export: {line}" for line in proof.exports]
    if proof.models:
        lines.append(f"Models that learnt from some of it: {', '.join(proof.models)}.")
    if proof.retired:
        lines.append(f"Retired: {', '.join(proof.retired)}.")
    found = "nothing of it is" if proof.checked else "SOMETHING OF IT IS STILL"
    lines.append(f"Looked through afterwards: {found} in the database, the logs and the files of the dataset.")
    return [*lines, *(f"Left: {line}" for line in proof.left)]


def _done(proof: Proof) -> str:
    moments = several(proof.moments, "moment")
    if proof.what == "blur":
        return f"Pictures and clips of {moments} were replaced by blurred ones, and those before them were removed"
    return f"{moments} and {several(proof.records, 'record')} were deleted"


def _counted(what: str, counts: Mapping[str, int]) -> Sequence[str]:
    said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
    return [f"{what}: {said}."] if said else []
