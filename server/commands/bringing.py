"""A labelled folder into the server's dataset: through the merge that chunks take, then as a person's decision.

A moment's id is made from the bytes of its picture and sound. So the same folder may be brought in again, also after it
was copied or labelled further: what is there is not merged twice, a label that changed is a new decision, and a label
that was brought in before does not undo what a person decided since.

A label whose words would be taught as others waits until a person has read and confirmed those: `pending` lists them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from server.commands.opening import drawn
from server.database.store import Store
from server.dataset import wording as words
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.dataset.wording import Reworded
from server.labelling.folder import Labelled, labelled
from server.review import decisions
from shared import atomic, vocabulary
from shared.clock import Clock
from shared.errors import Refused
from shared.media import CHUNK_S
from shared.messages import ChunkRecord, Part

DEVICE = "label"


@dataclass(slots=True)
class Counts:
    """What became of the lines."""

    new: int = 0
    changed: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)
    unconfirmed: Counter[Reword] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Reword:
    """A label that would be taught in other words."""

    text: str
    wording: str
    left_out: str

    def __str__(self) -> str:
        return " ".join(filter(None, (f"“{self.text}” → “{self.wording}”", self.left_out)))


def told(counts: Counts) -> Iterator[str]:
    """The outcome in words."""
    yield f"{counts.new} moments brought in, {counts.changed} labels changed, {counts.same} were there already."
    for reason in counts.refused:
        yield f"Left out: {reason}"
    if counts.unconfirmed:
        yield "Left out, they would be taught in other words (--accept-rewordings takes them):"
        yield from listed(counts.unconfirmed)


def listed(rewordings: Mapping[Reword, int]) -> Iterator[str]:
    """Each rewording with how often it stands there, the most frequent first."""
    for found, count in sorted(rewordings.items(), key=lambda item: (-item[1], item[0].text)):
        yield f"  {count} × {found}"


def pending(store: Store, folder: Path) -> Counter[Reword]:
    """Labels that would be taught in other words and were not confirmed before. Raises: DatasetError; OSError."""
    found: Counter[Reword] = Counter()
    for item in labelled(folder):
        try:
            wording_of(item.instruction)
        except Reworded as changed:
            if not _was_said(store, _record_of(item).chunk_id, changed.wording):
                found[_reword(changed)] += 1
        except Refused:
            continue  # said when it is left out
    return found


def bring_in(
    store: Store,
    dataset: Dataset,
    folder: Path,
    *,
    home: Path,
    clock: Clock,
    reviewer: str,
    stream: TextIO,
    confirmed: bool = False,
) -> Counts:
    """Merge every labelled chunk of `folder` and confirm its label in the person's name. Safe to repeat.

    stream: for progress; confirmed: a person has read the rewordings that `pending` lists, and takes them
    raises: DatasetError where the folder is not such a one; OSError
    """
    counts, merge = Counts(), Merge(store, dataset, clock)
    items = labelled(folder)
    progress = drawn(len(items), stream)
    for done, item in enumerate(items, start=1):
        progress(done)
        try:
            wording = wording_of(item.instruction)
        except Reworded as changed:
            wording = changed.wording
            if not confirmed and not _was_said(store, _record_of(item).chunk_id, wording):
                counts.unconfirmed[_reword(changed)] += 1
                continue
        except Refused as refused:  # merged all the same, it would wait for review as if silence had been proposed
            counts.refused.append(f"{item.frame.name}: {refused}")
            continue
        frame, audio = item.frame.read_bytes(), item.audio.read_bytes()
        record = _record(item, frame, audio)
        known = decisions.get(store, record.chunk_id)
        problem = "" if known else _merge(merge, record, {"frame": frame, "audio": audio}, home=home)
        row = known or decisions.get(store, record.chunk_id)
        if problem or row is None:
            counts.refused.append(f"{item.frame.name}: {problem or 'it did not become a moment'}.")
            continue
        if known and _was_said(store, row.sample_id, wording):
            counts.same += 1
            continue
        decisions.review(
            store,
            dataset,
            row.sample_id,
            action="edit" if wording else "nothing",
            text=wording,
            reviewer=reviewer,
            now_s=clock.utc_s(),
        )
        if known:
            counts.changed += 1
        else:
            counts.new += 1
    return counts


def _was_said(store: Store, sample_id: str, wording: str) -> bool:
    """Whether this label was brought in before: what a caregiver decided since then stays."""
    past = decisions.decisions(store, sample_id)
    return any(item.action != "reject" and item.after == wording for item in past)


def wording_of(label: str) -> str:
    """A label's canonical sentence, "" = nothing should be said. Pure. Raises: Refused, as `server.dataset.wording`
    says."""
    if not label:  # not labelled is not the same as silence, which teaches that nothing is there
        raise Refused("It has no words.", hint=f"Where nothing should be said, write: {vocabulary.CLEAR}")
    wording = words.teachable(label)
    return "" if wording == vocabulary.CLEAR else wording


def _reword(found: Reworded) -> Reword:
    return Reword(found.text, found.wording, words.left_out(found.lost))


def _record_of(item: Labelled) -> ChunkRecord:
    return _record(item, item.frame.read_bytes(), item.audio.read_bytes())


def _record(item: Labelled, frame: bytes, audio: bytes) -> ChunkRecord:
    parts = tuple(
        Part(kind, name, len(data), hashlib.sha256(data).hexdigest())
        for kind, name, data in (("frame", "frame.jpg", frame), ("audio", "audio.wav", audio))
    )
    identity = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()[:12]
    return ChunkRecord(
        chunk_id=f"{DEVICE}-{identity}-{item.number:06d}",
        device=DEVICE,
        boot_id=identity,
        sequence=item.number,
        walk_id=item.video,
        started_at_s=item.number * CHUNK_S,
        duration_s=CHUNK_S,
        captured_at_utc=item.frame.stat().st_mtime,
        clock_synced=True,
        flags=(),
        raw_output="",
        spoken="",
        confidence=0.0,
        model_version="",
        parts=parts,
    )


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
