"""A whole life of an outbox, killed at one named step: python -m tests.device.outbox.crash_child FOLDER STEP NTH

What this process was promised, and what the server then had, is appended durably to FOLDER/world.jsonl: the parent
compares it with what lies in FOLDER/outbox after the kill. Run again with STEP "none" it goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

from device.outbox.outbox import Outbox
from shared import atomic
from shared.errors import MessageError
from tests.crash import Killer
from tests.device.outbox.records import chunk, correction, payloads, wav

REFUSED = {"pi-1-b0071-000002"}
"""The server of this story refuses the clip of this record."""


class World:
    """What everybody outside the outbox knows, on disk."""

    def __init__(self, path: Path) -> None:
        atomic.drop_torn_tail(path)
        self._path = path

    def say(self, what: str, name: str) -> None:
        with open(self._path, "ab") as log:
            atomic.append_line(log, {"what": what, "name": name})


def live(folder: Path, killer: Killer) -> None:
    world = World(folder / "world.jsonl")
    box = Outbox(folder / "outbox", crash_point=killer)
    for number in range(4):
        try:
            box.seal_chunk(chunk(number), payloads(number, clip_bytes=400))
        except MessageError as error:
            if "was refused" not in str(error):  # in its second life: it lies in failed/
                raise
        world.say("sealed", chunk(number).chunk_id)
    box.seal_correction(correction(1), wav(1))
    world.say("sealed", correction(1).correction_id)
    deliver(box, world, skip={chunk(3).chunk_id})
    box.forget_merged()
    send_refused_again(box)
    deliver_one(box, world, 100)
    pruned = box.prune(0)
    for record_id in pruned.lost:
        world.say("lost", record_id)
    box.close()


def deliver(box: Outbox, world: World, *, skip: set[str]) -> None:
    items = box.claim(100) + box.claim(100, bulk=True)
    for item in items:
        if item.record_id in skip:
            box.release([item])
        elif item.record_id in REFUSED and item.kind == "clip":
            world.say("refused", item.record_id)
            box.refused(item, "too large")
        else:
            world.say("merged", item.name)
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


def deliver_one(box: Outbox, world: World, number: int) -> None:
    """Merge a record that is not deleted yet, so that prune finds one."""
    again = box.seal_chunk(chunk(number), payloads(number))
    world.say("sealed", again.chunk_id)
    items = box.claim(100)
    own = [item for item in items if item.record_id == again.chunk_id]
    for item in own:
        world.say("merged", item.name)
    box.merged(own)
    box.release(items)


if __name__ == "__main__":
    live(Path(sys.argv[1]), Killer(name=sys.argv[2], nth=int(sys.argv[3])))
