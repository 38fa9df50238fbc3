"""Brings what an outbox holds to a server without a network in between, each thing to a server of its own life."""

from __future__ import annotations

from pathlib import Path

from device.outbox.outbox import Outbox, OutboxItem
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from shared import messages, strict, topics
from shared.clock import SystemClock
from shared.messages import Ack, Begin, Envelope, Part

PART_BYTES = 65536


def bring_all(home: Path, box: Outbox, device: str) -> None:
    """What the server said that it has, the outbox forgets."""
    items = box.claim(1000) + box.claim(1000, bulk=True)
    box.merged([item for item in items if brought(home, box, item, device)])
    box.forget_merged()


def brought(home: Path, box: Outbox, item: OutboxItem, device: str) -> bool:
    """Whether the server said that it has it."""
    store = open_store(home)
    merge = Merge(store, Dataset(home / "dataset"), SystemClock())
    ingest = Ingest(home / "incoming", merge, settings=LimitsSettings(free_mb=0))
    try:
        replies = [
            reply for levels, payload in said(box, item, device) for reply in ingest.handle(device, levels, payload)
        ]
        replies += ingest.settle()
    finally:
        ingest.close()
        store.close()
    own = topics.ack(device, item.name)
    return "merged" in {messages.decode(Ack, payload).state for topic, payload in replies if topic == own}


def said(box: Outbox, item: OutboxItem, device: str) -> list[tuple[list[str], bytes]]:
    """(levels, payload) of every message about it."""
    folder = box.folder / item.record_id
    sidecar = (folder / "record.json").read_bytes()
    if item.kind == "record":
        return [(["up", "event"], sidecar)]
    parts = messages.decode(Envelope, sidecar).body["parts"]
    part = strict.read(Part, next(one for one in parts if one["kind"] == item.kind))
    data = (folder / part.name).read_bytes()
    return [
        (["up", item.name, "begin"], messages.encode(Begin(item.record_id, part, device))),
        *((["up", item.name, str(at)], data[at : at + PART_BYTES]) for at in range(0, len(data), PART_BYTES)),
        (["up", item.name, "end"], b""),
    ]
