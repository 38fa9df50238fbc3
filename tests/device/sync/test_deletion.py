"""What the server has is deleted beside everything else, and nothing waits for it but another deletion."""

from __future__ import annotations

import threading
from pathlib import Path

from device.outbox.outbox import Outbox
from device.sync.deletion import BATCH, Deletion
from tests.device.outbox.records import chunk, payloads

DEADLINE_S = 20.0


def merged(box: Outbox, count: int) -> list[str]:
    """Chunks that the server has; their ids."""
    ids = [box.seal_chunk(chunk(number), payloads(number)).chunk_id for number in range(count)]
    box.merged(box.claim(1000) + box.claim(1000, bulk=True))
    return ids


def test_while_files_are_unlinked_others_seal_and_claim_and_a_second_deletion_waits(memory_path: Path) -> None:
    at_it, go_on = threading.Event(), threading.Event()

    def step(name: str) -> None:
        if name == "forget:deleted" and not at_it.is_set():
            at_it.set()
            assert go_on.wait(DEADLINE_S)

    box = Outbox(memory_path / "outbox", crash_point=step)
    ids = merged(box, 3)
    found: list[tuple[str, ...]] = []
    deleting = [threading.Thread(target=lambda: found.append(box.forget_merged())) for _ in range(2)]
    deleting[0].start()
    assert at_it.wait(DEADLINE_S)
    deleting[1].start()
    fresh = box.seal_chunk(chunk(10), payloads(10)).chunk_id
    assert {item.record_id for item in box.claim(10)} == {fresh}
    assert found == []
    go_on.set()
    for thread in deleting:
        thread.join(DEADLINE_S)
    assert found == [tuple(ids), tuple(ids)]  # the second has made room too: what it waited for
    assert sorted(path.name for path in box.folder.iterdir() if path.is_dir()) == ["failed", fresh]
    assert box.counts().merged == 3
    assert box.forget_merged() == ()
    box.close()


def test_batches_are_deleted_when_full_and_the_rest_at_the_end() -> None:
    called = threading.Semaphore(0)
    deletion = Deletion(called.release)
    deletion.start()
    assert called.acquire(timeout=DEADLINE_S)  # what an earlier process left
    deletion.add(BATCH - 1, last=False)
    assert not called.acquire(timeout=0.05)
    deletion.add(1, last=False)
    assert called.acquire(timeout=DEADLINE_S)
    deletion.add(1, last=True)
    assert called.acquire(timeout=DEADLINE_S)
    deletion.add(1, last=False)
    deletion.close(DEADLINE_S)
    assert called.acquire(timeout=0.0)


def test_a_disk_that_fails_is_tried_again_with_the_next_batch(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    ids = merged(box, 2)
    tried, works = threading.Semaphore(0), threading.Event()

    def forget() -> None:
        try:
            if not works.is_set():
                raise OSError(5, "the disk fails")
            box.forget_merged()
        finally:
            tried.release()

    deletion = Deletion(forget)
    deletion.start()
    assert tried.acquire(timeout=DEADLINE_S)
    assert all((box.folder / name).exists() for name in ids)
    works.set()
    deletion.ask()
    assert tried.acquire(timeout=DEADLINE_S)
    assert not any((box.folder / name).exists() for name in ids)
    deletion.close(DEADLINE_S)
    box.close()
