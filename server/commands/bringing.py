"""A labelled folder into the server's dataset: through the merge that chunks take, then as a person's decision.

A moment's id is made from the bytes of its picture and sound. So the same folder may be brought in again, also after it
was copied or labelled further: what is there is not merged twice, a label that changed is a new decision, and a label
that was brought in before does not undo what a person decided since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from server import samples
from server.commands.opening import drawn
from server.dataset import Dataset
from server.footage import CHUNK_S
from server.label import Labelled, labelled
from server.merge import Merge
from server.store import Store
from shared import atomic, vocabulary
from shared.clock import Clock
from shared.errors import Refused
from shared.messages import ChunkRecord, Part

DEVICE = "label"


@dataclass(slots=True)
class Counts:
    """What became of the lines."""

    new: int = 0
    changed: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)


def told(counts: Counts) -> Iterator[str]:
    """The outcome in words."""
    yield f"{counts.new} moments brought in, {counts.changed} labels changed, {counts.same} were there already."
    for reason in counts.refused:
        yield f"Left out: {reason}"


def bring_in(
    store: Store, dataset: Dataset, folder: Path, *, home: Path, clock: Clock, reviewer: str, stream: TextIO
) -> Counts:
    """Merge every labelled chunk of `folder` and confirm its label in the person's name. Safe to repeat.

    stream: for progress
    raises: DatasetError where the folder is not such a one; OSError
    """
    counts, merge = Counts(), Merge(store, dataset, clock)
    items = labelled(folder)
    progress = drawn(len(items), stream)
    for done, item in enumerate(items, start=1):
        progress(done)
        try:
            wording = wording_of(item.instruction)
        except Refused as refused:  # merged all the same, it would wait for review as if silence had been proposed
            counts.refused.append(f"{item.frame.name}: {refused}")
            continue
        frame, audio = item.frame.read_bytes(), item.audio.read_bytes()
        record = _record(item, frame, audio)
        known = samples.get(store, record.chunk_id)
        problem = "" if known else _merge(merge, record, {"frame": frame, "audio": audio}, home=home)
        row = known or samples.get(store, record.chunk_id)
        if problem or row is None:
            counts.refused.append(f"{item.frame.name}: {problem or 'it did not become a moment'}.")
            continue
        if known and _was_said(store, row.sample_id, wording):
            counts.same += 1
            continue
        samples.review(
            store, dataset, row.sample_id, action="edit" if wording else "nothing", text=wording,
            reviewer=reviewer, now_s=clock.utc_s(),
        )  # fmt: skip
        if known:
            counts.changed += 1
        else:
            counts.new += 1
    return counts


def _was_said(store: Store, sample_id: str, wording: str) -> bool:
    """Whether this label was brought in before: what a caregiver decided since then stays."""
    past = samples.decisions(store, sample_id)
    return any(item.action != "reject" and item.after == wording for item in past)


def wording_of(label: str) -> str:
    """A label in the vocabulary's words, "" = nothing should be said. Pure. Raises: Refused saying what is wrong."""
    wording = samples.canonical_wording(label) if label else ""
    return "" if wording == vocabulary.CLEAR else wording


def _record(item: Labelled, frame: bytes, audio: bytes) -> ChunkRecord:
    parts = tuple(
        Part(kind, name, len(data), hashlib.sha256(data).hexdigest())
        for kind, name, data in (("frame", "frame.jpg", frame), ("audio", "audio.wav", audio))
    )
    identity = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()[:12]
    return ChunkRecord(
        chunk_id=f"{DEVICE}-{identity}-{item.number:06d}", device=DEVICE, boot_id=identity, sequence=item.number,
        walk_id=item.video, started_at_s=item.number * CHUNK_S, duration_s=CHUNK_S,
        captured_at_utc=item.frame.stat().st_mtime, clock_synced=True, flags=(), raw_output="", spoken="",
        confidence=0.0, model_version="", parts=parts,
    )  # fmt: skip


def _merge(merge: Merge, record: ChunkRecord, payloads: dict[str, bytes], *, home: Path) -> str:
    """Why it was refused, "" = merged."""
    outcome = merge.put_record(DEVICE, "chunk", record)
    if outcome.state == "refused":
        return outcome.reason
    for part in record.parts:
        path = home / "importing" / part.sha256  # beside the dataset: merging renames it
        atomic.write_bytes(path, payloads[part.kind])
        outcome = merge.put_part(DEVICE, record.chunk_id, part, path)
        if outcome.state == "refused":
            return outcome.reason
    return ""
