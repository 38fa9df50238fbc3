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
from server.commands.reviewing import ReviewDesk
from server.dataset import surroundings
from server.dataset import wording as words
from server.dataset.merge import Merge
from server.dataset.wording import Reworded
from server.labelling.folder import LabelledChunk, labelled
from server.review import decisions
from shared import atomic, vocabulary
from shared.chunk_format import CHUNK_S
from shared.errors import Refused
from shared.messages import ChunkRecord, Part

DEVICE = "label"


@dataclass(slots=True)
class ImportCounts:
    """What became of the lines."""

    new: int = 0
    changed: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)
    unconfirmed: Counter[Rewording] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Rewording:
    """A label that would be taught in other words."""

    text: str
    wording: str
    left_out: str

    def __str__(self) -> str:
        return " ".join(filter(None, (f"“{self.text}” → “{self.wording}”", self.left_out)))


def report_lines(counts: ImportCounts) -> Iterator[str]:
    """The outcome in words."""
    yield f"{counts.new} moments brought in, {counts.changed} labels changed, {counts.same} were there already."
    for reason in counts.refused:
        yield f"Left out: {reason}"
    if counts.unconfirmed:
        yield "Left out, they would be taught in other words (--accept-rewordings takes them):"
        yield from listed(counts.unconfirmed)


def listed(rewordings: Mapping[Rewording, int]) -> Iterator[str]:
    """Each rewording with how often it stands there, the most frequent first."""
    for rewording, count in sorted(rewordings.items(), key=lambda item: (-item[1], item[0].text)):
        yield f"  {count} × {rewording}"


@dataclass(frozen=True, slots=True)
class LabelImport:
    """A labelled folder on its way into a server's dataset, in a person's name."""

    desk: ReviewDesk
    folder: Path

    def pending(self) -> Counter[Rewording]:
        """Labels that would be taught in other words and were not confirmed before. Raises: DatasetError; OSError."""
        pending: Counter[Rewording] = Counter()
        for chunk in labelled(self.folder):
            try:
                wording_of(chunk.instruction)
            except Reworded as reworded:
                if not self._was_said(_Payload(chunk).record.chunk_id, reworded.wording):
                    pending[_rewording(reworded)] += 1
            except Refused:
                continue  # said when it is left out
        return pending

    def bring_in(self, *, confirmed: bool, stream: TextIO) -> ImportCounts:
        """Merge every labelled chunk and confirm its label in the person's name. Safe to repeat.

        stream: for progress; confirmed: a person has read the rewordings that `pending` lists, and takes them
        raises: DatasetError where the folder is not such a one; OSError
        """
        counts = ImportCounts()
        merge = Merge(self.desk.store, self.desk.dataset, self.desk.clock)
        chunks = labelled(self.folder)
        progress = drawn(len(chunks), stream)
        for done, chunk in enumerate(chunks, start=1):
            progress(done)
            try:
                self._bring(chunk, merge, counts, confirmed=confirmed)
            except Refused as refused:  # merged all the same, it would wait for review as if silence had been proposed
                counts.refused.append(f"{chunk.frame.name}: {refused}")
        return counts

    def _bring(self, chunk: LabelledChunk, merge: Merge, counts: ImportCounts, *, confirmed: bool) -> None:
        payload = _Payload(chunk)
        sample_id = payload.record.chunk_id
        try:
            wording = wording_of(chunk.instruction)
        except Reworded as reworded:
            wording = reworded.wording
            if not confirmed and not self._was_said(sample_id, wording):
                counts.unconfirmed[_rewording(reworded)] += 1
                return
        known = decisions.get(self.desk.store, sample_id) is not None
        if not known:
            self._merge(merge, payload)
        surroundings.take_over(
            self.desk.store, self.desk.dataset, sample_id, chunk.fields, now_s=self.desk.clock.utc_s()
        )
        if known and self._was_said(sample_id, wording):
            counts.same += 1
            return
        self.desk.take(sample_id, "edit" if wording else "nothing", wording)
        counts.changed += known
        counts.new += not known

    def _merge(self, merge: Merge, payload: _Payload) -> None:
        """Raises: Refused."""
        record = payload.record
        outcomes = [merge.put_record(DEVICE, "chunk", record)]
        for part in record.parts:
            path = self.desk.store.home / "importing" / part.sha256  # beside the dataset: merging renames it
            if outcomes[-1].state != "refused":
                atomic.write_bytes(path, payload.files[part.kind])
                outcomes.append(merge.put_part(DEVICE, record.chunk_id, part, path))
        if outcomes[-1].state == "refused":
            raise Refused(f"{outcomes[-1].reason}.")
        if decisions.get(self.desk.store, record.chunk_id) is None:
            raise Refused("it did not become a moment.")

    def _was_said(self, sample_id: str, wording: str) -> bool:
        """Whether this label was brought in before: what a caregiver decided since then stays."""
        history = decisions.history(self.desk.store, sample_id)
        return any(past.action != "reject" and past.after == wording for past in history)


def wording_of(label: str) -> str:
    """A label's canonical sentence, "" = nothing should be said. Pure. Raises: Refused, as `server.dataset.wording`
    says."""
    if not label:  # not labelled is not the same as silence, which teaches that nothing is there
        raise Refused("It has no words.", hint=f"Where nothing should be said, write: {vocabulary.CLEAR}")
    wording = words.teachable(label)
    return "" if wording == vocabulary.CLEAR else wording


def _rewording(reworded: Reworded) -> Rewording:
    return Rewording(reworded.text, reworded.wording, words.left_out(reworded.lost))


class _Payload:
    """The files of a labelled chunk, and the record that a device would send with them."""

    def __init__(self, chunk: LabelledChunk) -> None:
        self.files = {"frame": chunk.frame.read_bytes(), "audio": chunk.audio.read_bytes()}
        names = {"frame": "frame.jpg", "audio": "audio.wav"}
        parts = tuple(
            Part(kind, names[kind], len(data), hashlib.sha256(data).hexdigest()) for kind, data in self.files.items()
        )
        identity = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()[:12]
        self.record = ChunkRecord(
            chunk_id=f"{DEVICE}-{identity}-{chunk.number:06d}",
            device=DEVICE,
            boot_id=identity,
            sequence=chunk.number,
            walk_id=chunk.video,
            started_at_s=chunk.number * CHUNK_S,
            duration_s=CHUNK_S,
            captured_at_utc=chunk.frame.stat().st_mtime,
            clock_synced=True,
            flags=(),
            raw_output="",
            spoken="",
            confidence=0.0,
            model_version="",
            parts=parts,
        )
