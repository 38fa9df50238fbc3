"""What of an outbox travels as one, and that it is the same bytes again after whatever happened."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.outbox import containers
from device.outbox.outbox import Outbox, OutboxItem
from shared import container
from shared.errors import MediaError
from shared.messages import EraseRecord
from tests.device.outbox.records import DEVICE, chunk, correction, payloads, wav

KEY = X25519PrivateKey.generate().public_key()


@pytest.fixture
def folder(memory_path: Path) -> Path:
    return memory_path / "outbox"


def whole(item: OutboxItem) -> bytes:
    return containers.read(item, 0, item.size_bytes)


def names(items: list[OutboxItem]) -> list[str]:
    return [item.name.removeprefix(f"{DEVICE}-b0071-") for item in items]


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
def test_a_container_is_the_same_after_a_restart_and_is_asked_about(folder: Path, key: object) -> None:
    with closing(Outbox(folder, key=key)) as box:  # type: ignore[arg-type]
        box.seal_chunk(chunk(1), payloads(1, clip_bytes=9000))
        (first,) = box.claim_whole(9, clips=True)
        sent = whole(first)
    with closing(Outbox(folder)) as box:
        (again,) = box.claim_whole(9, clips=True)
        assert (whole(again), again.sha256, again.resumed) == (sent, first.sha256, True)
    head, found = container.contents(sent)
    assert [part.kind for part, _ in found] == ["frame", "audio", "clip"]
    assert container.digest(sent[: head.size_bytes]) == first.sha256


def test_any_piece_of_it_can_be_read(folder: Path) -> None:
    with closing(Outbox(folder)) as box:
        box.seal_chunk(chunk(1), payloads(1, clip_bytes=900))
        (item,) = box.claim_whole(1, clips=True)
        data = whole(item)
        assert len(data) == item.size_bytes
        for size in (1000, 777, 5000):
            pieces = [containers.read(item, at, min(at + size, len(data))) for at in range(0, len(data), size)]
            assert b"".join(pieces) == data
        (folder / item.record_id / "audio.wav").write_bytes(b"short")
        with pytest.raises(MediaError, match=r"audio\.wav ends"):
            whole(item)


def test_everything_is_claimed_once_in_its_order_and_merged_as_a_whole(folder: Path) -> None:
    with closing(Outbox(folder)) as box:
        for number in range(3):
            box.seal_chunk(chunk(number, flags=("audit",)), payloads(number, clip_bytes=9000))
        box.seal_correction(correction(7), wav(7))
        box.seal_erase(EraseRecord(f"{DEVICE}-e1", DEVICE, asked_at_utc=1.0, record_ids=(chunk(1).chunk_id,)))
        first = box.claim_whole(2, clips=True)
        rest = box.claim_whole(9, clips=True)
        assert names([*first, *rest]) == ["c00007.container", f"{DEVICE}-e1", "000000.container", "000002.container"]
        assert box.claim_whole(9, clips=True) == box.claim(9) == box.claim(9, bulk=True) == []
        assert box.counts().sending == 4
        box.merged([*first, *rest])
        assert (box.counts().queued, len(box.forget_merged())) == (0, 4)


def test_a_clip_that_does_not_fit_follows_by_itself(folder: Path) -> None:
    with closing(Outbox(folder)) as box:
        box.seal_chunk(chunk(1), payloads(1, clip_bytes=600_000))
        (item,) = box.claim_whole(9, clips=True)
        assert [part.kind for part, _ in container.contents(whole(item))[1]] == ["frame", "audio"]
        assert names(box.claim(9, bulk=True)) == ["000001.clip"]
        box.merged([item])
        assert box.counts().queued == 1


def test_where_clips_may_not_go_what_would_hold_one_travels_as_files(folder: Path) -> None:
    with closing(Outbox(folder)) as box:
        box.seal_chunk(chunk(1), payloads(1, clip_bytes=9000))
        box.seal_chunk(chunk(2), payloads(2))
        found = box.claim_whole(9, clips=False)
        assert names(found) == ["000001", "000001.frame", "000001.audio", "000002.container"]


def test_what_was_answered_in_part_or_refused_as_one_travels_as_files(folder: Path) -> None:
    with closing(Outbox(folder)) as box:
        for number in (1, 2):
            box.seal_chunk(chunk(number), payloads(number))
        box.merged(box.claim(1))
        one, two, other = box.claim_whole(9, clips=True)
        assert names([one, two, other]) == ["000001.frame", "000001.audio", "000002.container"]
        box.apart(other)
        assert names(box.claim_whole(9, clips=True)) == ["000002", "000002.frame", "000002.audio"]
    with closing(Outbox(folder)) as box:  # a newer server may take it
        assert "000002.container" in names(box.claim_whole(9, clips=True))


def test_a_correction_that_is_listened_to_is_held_and_its_words_are_in_its_container(folder: Path) -> None:
    with closing(Outbox(folder, key=None)) as box:
        box.hold(correction(1).correction_id)
        sealed = box.seal_correction(correction(1), wav(1))
        assert box.claim_whole(9, clips=True) == []
        box.let_go(sealed.correction_id, replace(sealed, heard="Stop, curb ahead.", heard_by="x"))
        (item,) = box.claim_whole(9, clips=True)
        assert container.contents(whole(item))[0].envelope.body["heard"] == "Stop, curb ahead."
        box.seal_erase(EraseRecord(f"{DEVICE}-e1", DEVICE, asked_at_utc=1.0, record_ids=(sealed.correction_id,)))
        with pytest.raises(FileNotFoundError):
            whole(item)
        box.release([item])
        assert names(box.claim_whole(9, clips=True)) == [f"{DEVICE}-e1"]
