"""A collection of training samples into the server's dataset: `samples.jsonl` or a table, and their films.

A sample becomes a moment through the merge that chunks take: picture and sound of the middle of its film, the film as
its clip. What the file says was right is then a person's decision; a sample without that waits for review, with the
file's correction as its proposal. Its id stays with it: what was brought in before, or once left this server, is found
again, and a ground truth that changed is a new decision.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TextIO

from exporters.datasets import collection
from exporters.datasets.collection import CollectedSample, Collection
from server.commands.bringing import ImportCounts, Rewording, merged, wording_of
from server.commands.opening import drawn
from server.commands.reviewing import TerminalDesk
from server.dataset import wording as words
from server.dataset.merge import Merge
from server.dataset.wording import Reworded
from server.labelling import footage, reclip
from server.labelling.folder import plain_name
from server.review import collected, decisions, suggestions
from server.review.suggestions import Suggestion
from shared import messages, strict
from shared.errors import DatasetError, MediaError, MessageError, Refused
from shared.messages import ChunkRecord, Part

DEVICE = "collected"
MODEL = "collected"
"""What worded `raw_output`: some model that is not known here."""
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class CollectionImport:
    """A collection on its way into a server's dataset, in a person's name."""

    desk: TerminalDesk
    source: Collection

    def pending(self) -> Counter[Rewording]:
        """Ground truths that would be taught in other words."""
        pending: Counter[Rewording] = Counter()
        for _, sample in self.source.samples:
            try:
                _wording(sample)
            except Reworded as reworded:
                pending[_rewording(reworded)] += 1
            except Refused:
                continue  # said when it is left out
        return pending

    def bring_in(self, *, confirmed: bool, stream: TextIO) -> ImportCounts:
        """Merge every sample and confirm its ground truth in the person's name. Safe to repeat.

        stream: for progress; confirmed: a person has read the rewordings that `pending` lists, and takes them
        raises: OSError, DatasetError
        """
        counts = ImportCounts()
        merge = Merge(self.desk.store, self.desk.dataset, self.desk.clock, split_by=self.desk.split_by)
        known = {own.id: row.sample_id for row in self.desk.dataset.rows() if (own := collected.origin(row))}
        progress = drawn(len(self.source.samples), stream)
        for done, (where, sample) in enumerate(self.source.samples, start=1):
            progress(done)
            sample_id = known.get(sample.id) or _known(self.desk, sample)
            try:
                self._bring(sample, sample_id, merge, counts, confirmed=confirmed)
            except (Refused, MediaError, DatasetError) as reason:
                counts.refused.append(f"{where}: {reason}")
        return counts

    def _bring(
        self, sample: CollectedSample, sample_id: str, merge: Merge, counts: ImportCounts, *, confirmed: bool
    ) -> None:
        try:
            wording = _wording(sample)
        except Reworded as reworded:
            wording = reworded.wording
            if not confirmed and not (sample_id and self._was_said(sample_id, wording)):
                counts.unconfirmed[_rewording(reworded)] += 1
                return
        new = not sample_id
        if new:
            sample_id = self._merge(merge, _SamplePayload(sample, self.source.video(sample)))
        if wording is None or (not new and self._was_said(sample_id, wording)):
            counts.new += new
            counts.same += not new
            return
        self.desk.take(sample_id, "edit" if wording else "nothing", wording)
        counts.new += new
        counts.changed += not new

    def _merge(self, merge: Merge, payload: _SamplePayload) -> str:
        """Raises: Refused."""
        record = payload.record
        merged(self.desk.store, merge, record, payload.files)
        proposal = Suggestion(MODEL, record.raw_output, payload.sample.llm_correction)
        if proposal.answer.strip():
            store, dataset, now_s = self.desk.store, self.desk.dataset, self.desk.clock.utc_s()
            suggestions.keep(store, dataset, record.chunk_id, proposal, now_s=now_s)
        return record.chunk_id

    def _was_said(self, sample_id: str, wording: str | None) -> bool:
        """Whether this was brought in or decided before: what a caregiver decided since then stays."""
        history = decisions.history(self.desk.store, sample_id)
        return any(past.action != "reject" and past.after == wording for past in history)


def _known(desk: TerminalDesk, sample: CollectedSample) -> str:
    """The moment of this server that left it as this sample, "" = none."""
    row = decisions.get(desk.store, sample.id)
    return "" if row is None or row.timestamp != sample.timestamp else row.sample_id


def _wording(sample: CollectedSample) -> str | None:
    """What was right, canonical; "" = nothing should be said, None = nobody has decided. Raises: Refused."""
    return wording_of(sample.ground_truth.strip()) if sample.ground_truth and sample.ground_truth.strip() else None


def _rewording(reworded: Reworded) -> Rewording:
    return Rewording(reworded.text, reworded.wording, words.left_out(reworded.lost))


class _SamplePayload:
    """The files of a sample, and the record that a device would send with them. Raises: MediaError, Refused."""

    def __init__(self, sample: CollectedSample, video: Path) -> None:
        film = footage.find(video)
        if film.duration_s > LONGEST_S:
            raise Refused(f"its film is {film.duration_s:.0f} s long.", hint="Use `label` for a whole recording.")
        chunk = footage.read(film, film.chunks // 2 if film.chunks > 1 else 0)
        if chunk is None:
            raise MediaError("no picture of its film can be decoded.")
        self.sample, self._film = sample, film
        self.files = {"frame": chunk.jpeg, "audio": chunk.wav, "clip": reclip.mp4_of(film, most_s=LONGEST_S)}

    @cached_property
    def record(self) -> ChunkRecord:
        """Raises: Refused for words that no device could send."""
        sample = self.sample
        identity = hashlib.sha256(sample.id.encode()).hexdigest()[:16]
        day = datetime.fromtimestamp(sample.timestamp, UTC).date().isoformat()
        names = {"frame": "frame.jpg", "audio": "audio.wav", "clip": "clip.mp4"}
        record = ChunkRecord(
            chunk_id=f"{DEVICE}-{identity}-000000",
            device=DEVICE,
            boot_id=identity,
            sequence=0,
            walk_id=f"{plain_name(sample.speaker or DEVICE)[:60]}-{day}",
            started_at_s=0.0,
            duration_s=self._film.duration_s,
            captured_at_utc=sample.timestamp,
            clock_synced=True,
            flags=(),
            raw_output=sample.raw_output,
            spoken=sample.raw_output,
            confidence=0.0,
            model_version=MODEL if sample.raw_output else "",
            parts=tuple(
                Part(kind, names[kind], len(data), hashlib.sha256(data).hexdigest())
                for kind, data in self.files.items()
            ),
            wearer=sample.speaker,
            context=sample.context,
            extra={collected.FIELD: collection.to_dict(sample)},
        )
        try:
            return strict.read(ChunkRecord, messages.to_dict(record))
        except MessageError as error:
            raise Refused(f"it is no moment ({error}).") from None
