"""A whole life of an outbox, to be killed at one of its named steps. Lived again it goes on where it was.

What this process was promised, and what the server then had, is appended durably to FOLDER/promises.jsonl: a test
compares it with what lies in FOLDER/outbox after the kill.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.outbox.outbox import Outbox, OutboxItem
from shared import atomic
from shared.atomic import Step
from shared.errors import MessageError
from shared.messages import EraseRecord
from tests.device.outbox.records import chunk, correction, payloads, wav

KEY = X25519PrivateKey.generate()
REFUSED = {"pi-1-b0071-000002"}
"""The server of this story refuses the clip of this record."""


class Promises:
    """What everybody outside the outbox knows, on disk."""

    def __init__(self, path: Path) -> None:
        atomic.drop_torn_tail(path)
        self._path = path

    def note(self, what: str, name: str) -> None:
        with open(self._path, "ab") as log:
            atomic.append_line(log, {"what": what, "name": name})


def live(folder: Path, crash_point: Step, *, sealed: bool = False) -> None:
    """sealed: encrypted for a server."""
    promises = Promises(folder / "promises.jsonl")
    box = Outbox(folder / "outbox", crash_point=crash_point, key=KEY.public_key() if sealed else None)
    for number in range(4):
        try:
            box.seal_chunk(chunk(number), payloads(number, clip_bytes=400))
        except MessageError as error:
            if "was refused" not in str(error):  # in its second life: it lies in failed/
                raise
        promises.note("sealed", chunk(number).chunk_id)
    box.seal_correction(correction(1), wav(1))
    promises.note("sealed", correction(1).correction_id)
    hear_one(box, promises)
    erase_one(box, promises)
    deliver(box, promises, skip={chunk(3).chunk_id})
    box.forget_merged()
    send_refused_again(box)
    deliver_one(box, promises, 100)
    pruned = box.prune(0)
    for record_id in pruned.lost:
        promises.note("lost", record_id)
    box.close()


def hear_one(box: Outbox, promises: Promises) -> None:
    """A correction is held until it is known what was heard in it. After a crash it is sent as it lies there."""
    record = correction(5)
    if record.correction_id in {path.name for path in box.folder.iterdir()}:
        return
    box.hold(record.correction_id)
    sealed = box.seal_correction(record, wav(5))
    promises.note("sealed", record.correction_id)
    assert record.correction_id not in {item.record_id for item in held(box)}
    box.let_go(record.correction_id, replace(sealed, heard="cone left", heard_confidence=1.0, heard_by="pocketsphinx"))


def held(box: Outbox) -> list[OutboxItem]:
    """What would be sent now."""
    items = box.claim(100)
    box.release(items)
    return items


ERASED = chunk(7).chunk_id, correction(7).correction_id
WISH = EraseRecord(
    "pi-1-b0071-e001", "pi-1", 1_700_000_000.0, (correction(7).correction_id,), "b0071", from_s=14.0, to_s=15.0
)


def erase_one(box: Outbox, promises: Promises) -> None:
    """A moment and its correction are sealed, being sent, and erased by the wearer."""
    if WISH.erase_id not in {path.name for path in box.folder.iterdir()}:  # in its first life
        box.seal_chunk(chunk(7), payloads(7))
        box.seal_correction(correction(7), wav(7))
        items = box.claim(100)
        box.seal_erase(WISH)
        box.release(items)
    promises.note("erased", WISH.erase_id)
    promises.note("sealed", WISH.erase_id)


def deliver(box: Outbox, promises: Promises, *, skip: set[str]) -> None:
    items = box.claim(100) + box.claim(100, bulk=True)
    for item in items:
        if item.record_id in skip:
            box.release([item])
        elif item.record_id in REFUSED and item.kind == "clip":
            promises.note("refused", item.record_id)
            box.refused(item, "too large")
        else:
            promises.note("merged", item.name)
            box.merged([item])


def send_refused_again(box: Outbox) -> None:
    """A person insists, and the server refuses once more."""
    for failure in box.failures():
        box.retry(failure.record_id)
    for item in box.claim(100) + box.claim(100, bulk=True):
        if item.record_id in REFUSED:
            box.refused(item, "still too large")
        else:
            box.release([item])


def deliver_one(box: Outbox, promises: Promises, number: int) -> None:
    """Merge a record that is not deleted yet, so that prune finds one."""
    again = box.seal_chunk(chunk(number), payloads(number))
    promises.note("sealed", again.chunk_id)
    items = box.claim(100)
    own = [item for item in items if item.record_id == again.chunk_id]
    for item in own:
        promises.note("merged", item.name)
    box.merged(own)
    box.release(items)
