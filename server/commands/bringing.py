"""A labelled folder into the server's dataset: through the merge that chunks take, then as a person's decision.

A moment's id is made from the bytes of its picture and sound. So the same folder may be brought in again, also after it
was copied or labelled further: what is there is not merged twice, a label that changed is a new decision, and a label
that was brought in before does not undo what a person decided since.

A label whose words would be taught as others waits until a person has read and confirmed those: `pending` lists them.
What is wrong with the folder is found before anything of it is taken in, and named by file and line.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TextIO

from server.commands.opening import drawn
from server.commands.reviewing import TerminalDesk
from server.database.store import Store
from server.dataset import row_log, surroundings
from server.dataset import wording as words
from server.dataset.groups import group_of
from server.dataset.incoming import Duplicates, Incoming
from server.dataset.layouts import FolderLayout
from server.dataset.merge import Merge
from server.dataset.sample_row import Split
from server.dataset.wording import Reworded
from server.review import decisions
from shared import atomic, messages, strict, vocabulary
from shared.chunk_format import CHUNK_S
from shared.errors import MessageError, Refused
from shared.messages import ChunkRecord, Part

DEVICE = "label"


@dataclass(slots=True)
class ImportCounts:
    """What became of the lines."""

    new: int = 0
    changed: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a person should know of what was taken."""
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
    yield from counts.notes
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
class FolderLook:
    """What a folder holds, before anything of it is taken in."""

    moments: int
    faults: tuple[str, ...]
    """Each with file and line."""
    notes: tuple[str, ...]
    chosen: frozenset[str]
    """Where the moments stand that are taken: one for each key."""


def look(layout: FolderLayout, *, duplicates: Duplicates) -> FolderLook:
    """Read all of it. Raises: DatasetError where the folder is none of the layouts; OSError."""
    faults, places = list[str](), defaultdict[str, list[Incoming]](list)
    not_taken: Counter[str] = Counter()
    for moment in layout.moments():
        if fault := _fault_of(moment):
            faults.append(f"{moment.where}: {fault}")
        else:
            places[moment.key].append(replace(moment, frame=b"", audio=b""))
            not_taken.update(moment.not_taken)
    notes = [f"Not taken, only the server says it: {name} ({count} lines)" for name, count in sorted(not_taken.items())]
    said, place = (faults if duplicates == "refuse" else notes), (0 if duplicates == "first" else -1)
    said += [_stands_twice(found, duplicates) for found in places.values() if len(found) > 1]
    chosen = frozenset(found[place].where for found in places.values())
    return FolderLook(len(places), tuple(faults), tuple(notes), chosen)


def _fault_of(moment: Incoming) -> str:
    return moment.fault or _unsayable(moment.instruction) or _unfit(moment)


def _unfit(moment: Incoming) -> str:
    """Why no record can be made of it, "" = one can: what is merged must be readable ever after."""
    try:
        strict.read(ChunkRecord, messages.to_dict(_Payload(moment).record))
    except MessageError as error:
        return str(error)
    return ""


def _unsayable(instruction: str) -> str:
    """Why a label can not be taught, "" = it can, or would be in other words."""
    try:
        wording_of(instruction)
    except Reworded:
        return ""
    except Refused as refused:
        return str(refused)
    return ""


def _stands_twice(several: Sequence[Incoming], duplicates: Duplicates) -> str:
    lines = " and ".join(f"{moment.where} (“{moment.instruction}”)" for moment in several)
    text = f"One moment stands there {len(several)} times: {lines}."
    if duplicates == "refuse":
        return f"{text} --duplicates last or first decides."
    return f"{text} The {duplicates} one was taken (--duplicates)."


@dataclass(frozen=True, slots=True)
class LabelImport:
    """A labelled folder on its way into a server's dataset, in a person's name."""

    desk: TerminalDesk
    layout: FolderLayout
    looked: FolderLook

    def pending(self) -> Counter[Rewording]:
        """Labels that would be taught in other words and were not confirmed before. Raises: OSError."""
        pending: Counter[Rewording] = Counter()
        for moment in self._chosen():
            try:
                wording_of(moment.instruction)
            except Reworded as reworded:
                if not self._was_said(_Payload(moment).record.chunk_id, reworded.wording):
                    pending[_rewording(reworded)] += 1
        return pending

    def bring_in(self, *, confirmed: bool, stream: TextIO) -> ImportCounts:
        """Merge every labelled moment and confirm its label in the person's name. Safe to repeat.

        stream: for progress; confirmed: a person has read the rewordings that `pending` lists, and takes them
        raises: OSError
        """
        counts = ImportCounts(notes=list(self.looked.notes))
        merge = Merge(self.desk.store, self.desk.dataset, self.desk.clock, split_by=self.desk.split_by)
        progress = drawn(self.looked.moments, stream)
        for done, moment in enumerate(self._chosen(), start=1):
            progress(done)
            try:
                self._bring(moment, merge, counts, confirmed=confirmed)
            except Refused as refused:  # merged all the same, it would wait for review as if silence had been proposed
                counts.refused.append(f"{moment.where}: {refused}")
        return counts

    def _chosen(self) -> Iterator[Incoming]:
        return (moment for moment in self.layout.moments() if moment.where in self.looked.chosen and not moment.fault)

    def _bring(self, moment: Incoming, merge: Merge, counts: ImportCounts, *, confirmed: bool) -> None:
        payload = _Payload(moment)
        sample_id = payload.record.chunk_id
        try:
            wording = wording_of(moment.instruction)
        except Reworded as reworded:
            wording = reworded.wording
            if not confirmed and not self._was_said(sample_id, wording):
                counts.unconfirmed[_rewording(reworded)] += 1
                return
        known = decisions.get(self.desk.store, sample_id) is not None
        if not known:
            self._merge(merge, payload, moment.split)
        store, dataset, now_s = self.desk.store, self.desk.dataset, self.desk.clock.utc_s()
        surroundings.take_over(store, dataset, sample_id, moment.surroundings, now_s=now_s)
        if known and self._was_said(sample_id, wording):
            counts.same += 1
            return
        self.desk.take(sample_id, "edit" if wording else "nothing", wording)
        counts.changed += known
        counts.new += not known

    def _merge(self, merge: Merge, payload: _Payload, split: Split | None) -> None:
        """Raises: Refused."""
        record = payload.record
        if split is not None:
            with self.desk.store.writing() as connection:
                group = group_of(self.desk.split_by, place=record.context, wearer=record.wearer)
                row_log.propose_split(connection, record.walk_id, split, now_s=self.desk.clock.utc_s(), group=group)
        merged(self.desk.store, merge, record, payload.files)

    def _was_said(self, sample_id: str, wording: str) -> bool:
        """Whether this label was brought in before: what a caregiver decided since then stays."""
        history = decisions.history(self.desk.store, sample_id)
        return any(past.action != "reject" and past.after == wording for past in history)


def merged(store: Store, merge: Merge, record: ChunkRecord, files: Mapping[str, bytes]) -> None:
    """Merge a moment and its files, by kind, as one that a device sent. Raises: Refused, OSError."""
    outcomes = [merge.put_record(record.device, "chunk", record)]
    if outcomes[0].declined:
        wearer = record.wearer or record.device
        raise Refused(
            f"{wearer} has not agreed that moments are stored.", hint=f'waycue-server consent set "{wearer}" --keep yes'
        )
    for part in record.parts:
        path = store.home / "importing" / part.sha256  # beside the dataset: merging renames it
        if outcomes[-1].state != "refused":
            atomic.write_bytes(path, files[part.kind])
            outcomes.append(merge.put_part(record.device, record.chunk_id, part, path))
    if outcomes[-1].state == "refused":
        raise Refused(f"{outcomes[-1].reason}.")
    if decisions.get(store, record.chunk_id) is None:
        raise Refused("it did not become a moment.")


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
    """The files of a labelled moment, and the record that a device would send with them."""

    def __init__(self, moment: Incoming) -> None:
        self.files = {"frame": moment.frame, "audio": moment.audio}
        names = {"frame": "frame.jpg", "audio": "audio.wav"}
        parts = tuple(
            Part(kind, names[kind], len(data), hashlib.sha256(data).hexdigest()) for kind, data in self.files.items()
        )
        identity = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()[:12]
        record = ChunkRecord(
            chunk_id=f"{DEVICE}-{identity}-{moment.number:06d}",
            device=DEVICE,
            boot_id=identity,
            sequence=moment.number,
            walk_id=moment.video,
            started_at_s=moment.number * CHUNK_S,
            duration_s=CHUNK_S,
            captured_at_utc=moment.captured_at_utc,
            clock_synced=True,
            flags=(),
            raw_output="",
            spoken="",
            confidence=0.0,
            model_version="",
            parts=parts,
            context=moment.context,
            extra=moment.extra,
        )
        self.record = record if moment.consent is None else replace(record, consent=moment.consent)
