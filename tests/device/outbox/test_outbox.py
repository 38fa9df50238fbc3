"""The outbox keeps its five promises, on a real disk and a real SQLite file."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.outbox.outbox import Counts, Outbox, OutboxItem, Recovery, peek
from shared import atomic
from shared.errors import ConfigError, MessageError
from tests.device.outbox.records import chunk, clip, correction, jpeg, payloads, wav


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox")
    yield box
    box.close()


def _drain(box: Outbox, *, bulk: bool = True) -> list[OutboxItem]:
    items = box.claim(1000) + (box.claim(1000, bulk=True) if bulk else [])
    return items


def _names(items: list[OutboxItem]) -> list[str]:
    return [item.name for item in items]


# sealing


def test_a_sealed_chunk_lies_in_its_folder_with_sizes_and_hashes(outbox: Outbox) -> None:
    sealed = outbox.seal_chunk(chunk(1), payloads(1, clip_bytes=9000))
    folder = outbox.folder / sealed.chunk_id
    assert sorted(p.name for p in folder.iterdir()) == ["audio.wav", "clip.mp4", "frame.jpg", "record.json"]
    for part in sealed.parts:
        data = (folder / part.name).read_bytes()
        assert (part.size_bytes, part.sha256) == (len(data), sha256(data).hexdigest())
    assert json.loads((folder / "record.json").read_bytes())["body"]["chunk_id"] == sealed.chunk_id
    assert outbox.counts().queued == 1
    assert outbox.counts().queued_bytes == sum(p.stat().st_size for p in folder.iterdir())


def test_sealing_the_same_twice_keeps_one_and_other_content_is_refused(outbox: Outbox) -> None:
    first = outbox.seal_chunk(chunk(1), payloads(1))
    assert outbox.seal_chunk(chunk(1), payloads(1)) == first
    assert outbox.counts().queued == 1
    with pytest.raises(MessageError, match="other content"):
        outbox.seal_chunk(chunk(1), payloads(2))


@pytest.mark.parametrize("name", ["", "../escape", "a/b", "a.b", ".hidden", "failed", "x" * 97, "naïve", "a+b"])
def test_names_that_are_no_folder_or_topic_are_refused_and_leave_nothing(outbox: Outbox, name: str) -> None:
    before = sorted(outbox.folder.rglob("*"))
    with pytest.raises(MessageError):
        outbox.seal_chunk(replace(chunk(1), chunk_id=name), payloads(1))
    assert sorted(outbox.folder.rglob("*")) == before


def test_a_record_too_large_for_a_message_is_refused_at_the_seal(outbox: Outbox) -> None:
    with pytest.raises(MessageError, match="at most"):
        outbox.seal_chunk(replace(chunk(1), extra={"hazards": ["x" * 1000] * 80}), payloads(1))
    with pytest.raises(MessageError, match="not a part kind"):
        outbox.seal_chunk(chunk(1), {"picture": b"x"})


def test_listeners_hear_of_every_seal(outbox: Outbox) -> None:
    heard: list[int] = []
    outbox.on_change(lambda: heard.append(outbox.counts().queued))
    outbox.seal_chunk(chunk(1), payloads(1))
    outbox.seal_correction(correction(1), wav(1))
    assert heard == [1, 2]


def test_a_second_agent_on_the_same_outbox_is_told_so_and_peek_still_counts(outbox: Outbox) -> None:
    outbox.seal_chunk(chunk(1), payloads(1))
    with pytest.raises(ConfigError, match="in use"):
        Outbox(outbox.folder)
    assert peek(outbox.folder) == outbox.counts()
    assert peek(outbox.folder / "nothing-here") == Counts()


# full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB."""
    where = tmp_path / "small"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small filesystem needs root")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_a_full_disk_is_reported_and_leaves_nothing_behind(small_disk: Path) -> None:
    box = Outbox(small_disk / "outbox")
    box.seal_chunk(chunk(1), payloads(1))
    before = sorted(box.folder.iterdir())
    with pytest.raises(OSError, match="No space left") as caught:
        box.seal_chunk(chunk(2), {"frame": jpeg(2, 900_000), "audio": wav(2, 200_000)})
    assert caught.value.errno == errno.ENOSPC
    assert sorted(box.folder.iterdir()) == before
    box.seal_chunk(chunk(3), payloads(3))
    assert box.counts().queued == 2
    box.close()


def test_a_disk_that_fills_up_bit_by_bit_keeps_what_was_promised(small_disk: Path) -> None:
    box = Outbox(small_disk / "outbox")
    kept, refused = [], set()
    for number in range(120):
        try:
            kept.append(box.seal_chunk(chunk(number), payloads(number)).chunk_id)
        except OSError as error:
            refused.add(error.errno)
    assert 20 < len(kept) < 120
    assert refused == {errno.ENOSPC}  # from a payload or from the index: the same to the agent
    box.close()
    again = Outbox(box.folder)
    assert sorted({item.record_id for item in again.claim(1000)}) == kept
    again.close()


def test_an_error_while_syncing_is_raised_and_leaves_nothing(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)  # the edge of the operating system
        with pytest.raises(OSError, match="Input/output"):
            outbox.seal_chunk(chunk(1), payloads(1))
    assert not (outbox.folder / chunk(1).chunk_id).exists()
    outbox.seal_chunk(chunk(1), payloads(1))
    assert outbox.counts().queued == 1


# order and claims


def test_corrections_go_first_then_the_wearers_flags_then_the_rest_and_clips_last(outbox: Outbox) -> None:
    rest = outbox.seal_chunk(chunk(1, flags=("audit",)), payloads(1, clip_bytes=500)).chunk_id
    wearer = outbox.seal_chunk(chunk(2, flags=("wearer",)), payloads(2, clip_bytes=500)).chunk_id
    spoken = outbox.seal_correction(correction(2), wav(2)).correction_id
    assert _names(outbox.claim(100)) == [
        spoken,
        f"{spoken}.correction_audio",
        wearer,
        f"{wearer}.frame",
        f"{wearer}.audio",
        rest,
        f"{rest}.frame",
        f"{rest}.audio",
    ]
    assert _names(outbox.claim(100, bulk=True)) == [f"{wearer}.clip", f"{rest}.clip"]


flag_sets = st.sampled_from([("wearer",), ("audit",), ("predecessor",), ("low_confidence", "correction")])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(flag_sets, st.none()), max_size=5))
def test_the_order_of_sending_never_lets_less_important_things_first(
    memory_path: Path, kinds: list[tuple[str, ...] | None]
) -> None:
    box = Outbox(Path(mkdtemp(dir=memory_path)))
    for number, flags in enumerate(kinds):
        if flags is None:
            box.seal_correction(correction(number), wav(number))
        else:
            box.seal_chunk(chunk(number, flags=flags), payloads(number, clip_bytes=100))
    items = _drain(box)
    assert [item.order for item in items] == sorted(item.order for item in items)
    sent = {name for item in items for name in [item.name]}
    assert len(sent) == len(items) == sum(2 if flags is None else 4 for flags in kinds)
    box.close()


def test_what_is_claimed_is_not_claimed_again_until_released(outbox: Outbox) -> None:
    outbox.seal_chunk(chunk(1), payloads(1))
    first = outbox.claim(2)
    assert [item.kind for item in first] == ["record", "frame"]
    assert [item.kind for item in outbox.claim(5)] == ["audio"]
    assert outbox.claim(5) == []
    outbox.release(first)
    again = outbox.claim(5)
    assert _names(again) == _names(first)
    assert all(item.resumed for item in again)  # the server may have some of it: ask first
    assert outbox.counts().sending == 1


# merged


def test_a_record_is_deleted_only_once_all_of_it_is_merged(outbox: Outbox) -> None:
    sealed = outbox.seal_chunk(chunk(1), payloads(1))
    folder = outbox.folder / sealed.chunk_id
    items = outbox.claim(10)
    for item in items[:-1]:
        outbox.merged([item])
        assert outbox.forget_merged() == ()
        assert folder.exists()
        assert outbox.counts().queued == 1
    outbox.merged(items[-1:])
    assert outbox.forget_merged() == (sealed.chunk_id,)
    assert not folder.exists()
    assert outbox.counts() == Counts(merged=1)


def test_what_was_merged_is_still_known_after_reopening(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.seal_chunk(chunk(1), payloads(1))
    first, *_ = box.claim(1)
    box.merged([first])
    box.close()
    again = Outbox(tmp_path)
    assert [item.kind for item in again.claim(10)] == ["frame", "audio"]
    assert again.recovered == Recovery()
    again.close()


# refused


def test_a_refused_record_goes_to_failed_with_its_reason_and_is_not_sent_again(outbox: Outbox) -> None:
    sealed = outbox.seal_chunk(chunk(1), payloads(1))
    outbox.refused(outbox.claim(1)[0], "this id was already used")
    folder = outbox.folder / "failed" / sealed.chunk_id
    assert (folder / "frame.jpg").read_bytes() == jpeg(1)
    assert json.loads((folder / "reason.json").read_bytes())["reasons"]["record"] == "this id was already used"
    assert outbox.claim(10) == []
    assert (outbox.counts().queued, outbox.counts().failed, outbox.counts().merged) == (0, 1, 0)
    assert [(f.record_id, "already used" in f.reason) for f in outbox.failures()] == [(sealed.chunk_id, True)]


def test_a_refused_clip_does_not_keep_the_rest_from_being_sent(outbox: Outbox) -> None:
    sealed = outbox.seal_chunk(chunk(1), payloads(1, clip_bytes=100))
    small, (big,) = outbox.claim(10), outbox.claim(10, bulk=True)
    outbox.refused(big, "too large")
    assert (outbox.folder / sealed.chunk_id).exists()
    outbox.merged(small)
    assert (outbox.folder / "failed" / sealed.chunk_id / "clip.mp4").exists()
    assert outbox.failures()[0].reason == "clip: too large"
    assert outbox.forget_merged() == ()


def test_what_was_refused_cannot_be_sealed_again(outbox: Outbox) -> None:
    outbox.seal_chunk(chunk(1), payloads(1))
    outbox.refused(outbox.claim(1)[0], "not ours")
    with pytest.raises(MessageError, match="refused"):
        outbox.seal_chunk(chunk(1), payloads(1))


def test_a_closed_outbox_says_so_and_keeps_its_index(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.seal_chunk(chunk(1), payloads(1))
    box.close()
    box.close()
    with pytest.raises(OSError, match="closed"):
        box.counts()
    assert not (tmp_path / "index.sqlite.broken").exists()
    again = Outbox(tmp_path)
    assert (again.counts().queued, again.recovered) == (1, Recovery())
    again.close()


# the index is only an index


def _contents(box: Outbox) -> tuple[list[str], int, int]:
    counts = box.counts()
    items = _drain(box)
    box.release(items)
    return sorted(_names(items)), counts.queued, counts.failed


@pytest.mark.parametrize("damage", ["missing", "garbage", "truncated", "empty"])
def test_the_index_is_built_again_from_the_folders(tmp_path: Path, damage: str) -> None:
    box = Outbox(tmp_path)
    for number in range(30):
        box.seal_chunk(chunk(number), payloads(number, clip_bytes=100))
    box.seal_correction(correction(3), wav(3))
    for item in box.claim(1):
        box.refused(item, "not ours")
    expected = _contents(box)
    box.close()
    index = tmp_path / "index.sqlite"
    if damage == "missing":
        index.unlink()
    elif damage == "garbage":
        index.write_bytes(b"no database at all" * 100)
    elif damage == "truncated":
        os.truncate(index, index.stat().st_size // 2)
    else:
        index.write_bytes(b"")
    again = Outbox(tmp_path)
    assert _contents(again) == expected
    assert again.failures()[0].reason == "correction_audio: not ours; record: not ours"
    again.close()


def test_an_index_that_breaks_while_in_use_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Outbox(tmp_path)
    for number in range(20):
        box.seal_chunk(chunk(number), payloads(number))
    expected = _contents(box)
    box.close()
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr("device.outbox.index.sqlite3.connect", remembered)
    box = Outbox(tmp_path)
    index = tmp_path / "index.sqlite"
    connections[-1].execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged = index.read_bytes()[:4096] + b"\xa5" * (index.stat().st_size - 4096)
    index.write_bytes(damaged)  # as a worn SD card does it
    connections[-1].execute("PRAGMA shrink_memory")  # the good pages in memory; a longer queue would read the bad ones
    assert _contents(box) == expected
    assert (tmp_path / "index.sqlite.broken").exists()
    box.close()


def test_an_index_whose_own_description_is_no_text_is_built_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.seal_chunk(chunk(1), payloads(1))
    expected = _contents(box)
    box.close()
    index = tmp_path / "index.sqlite"
    data = index.read_bytes()
    assert data.count(b"CREATE TRIGGER") >= 1
    index.write_bytes(data.replace(b"CREATE TRIGGER ", b"CREATE TRI\xa8\xff\xa8R "))
    again = Outbox(tmp_path)
    assert _contents(again) == expected
    again.close()


def test_an_index_with_a_value_that_is_no_text_is_built_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    digest = box.seal_chunk(chunk(1), payloads(1)).parts[0].sha256.encode()
    expected = _contents(box)
    box.close()
    index = tmp_path / "index.sqlite"
    index.write_bytes(index.read_bytes().replace(digest, digest[:-8] + b"\xa8" * 8))
    again = Outbox(tmp_path)
    assert _contents(again) == expected
    again.close()


def test_a_sealed_folder_with_a_missing_payload_goes_to_failed_when_it_is_added(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    sealed = box.seal_chunk(chunk(1), payloads(1))
    box.close()
    (tmp_path / sealed.chunk_id / "audio.wav").unlink()
    (tmp_path / "index.sqlite").unlink()
    again = Outbox(tmp_path)
    assert again.recovered.damaged == (sealed.chunk_id,)
    assert again.counts().failed == 1
    assert "damaged" in again.failures()[0].reason
    again.close()


def test_a_folder_that_vanished_is_reported_lost_by_name(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    sealed = box.seal_chunk(chunk(1), payloads(1))
    box.close()
    atomic.remove_tree(tmp_path / sealed.chunk_id)
    again = Outbox(tmp_path)
    assert again.recovered.lost == (sealed.chunk_id,)
    assert sealed.chunk_id in (tmp_path / "lost.jsonl").read_text()
    assert (again.counts().queued, again.counts().lost) == (0, 1)
    again.close()


def test_leftovers_of_interrupted_work_are_removed_on_open(tmp_path: Path) -> None:
    (tmp_path / ".half-1.sealing").mkdir()
    (tmp_path / ".half-1.sealing" / "frame.jpg").write_bytes(b"half")
    (tmp_path / "old-1.gone").mkdir()
    (tmp_path / "lost+found").mkdir()  # the outbox may be a disk of its own
    box = Outbox(tmp_path)
    assert box.recovered.leftovers == (".half-1.sealing", "old-1.gone")
    assert (tmp_path / "lost+found").exists()
    assert box.counts() == Counts()
    box.close()


# making room


def test_pruning_takes_merged_records_first_and_names_unsent_ones_least_important_first(outbox: Outbox) -> None:
    audit = outbox.seal_chunk(chunk(1, flags=("audit",)), payloads(1)).chunk_id
    wearer = outbox.seal_chunk(chunk(2), payloads(2)).chunk_id
    spoken = outbox.seal_correction(correction(2), wav(2)).correction_id
    later = outbox.seal_chunk(chunk(3, flags=("audit",)), payloads(3)).chunk_id
    outbox.merged([item for item in _claim_all(outbox) if item.record_id == wearer])
    size = outbox.counts().disk_bytes
    assert outbox.prune(size) == outbox.prune(10**9)
    assert outbox.prune(size - 1).merged == (wearer,)
    assert outbox.counts().merged == 1
    size = outbox.counts().disk_bytes
    pruned = outbox.prune(size - 1)
    assert (pruned.merged, pruned.lost) == ((), (audit,))
    assert outbox.prune(0).lost == (later, spoken)
    assert outbox.counts() == Counts(merged=1, lost=3)
    reported = [json.loads(line)["record_id"] for line in (outbox.folder / "lost.jsonl").read_text().splitlines()]
    assert reported == [audit, later, spoken]


def _claim_all(box: Outbox) -> list[OutboxItem]:
    items = _drain(box)
    box.release(items)
    return items


def test_refused_records_make_room_before_unsent_ones(outbox: Outbox) -> None:
    bad = outbox.seal_correction(correction(1), wav(1)).correction_id
    outbox.seal_chunk(chunk(2), payloads(2))
    outbox.refused(outbox.claim(1)[0], "not ours")
    assert outbox.prune(outbox.counts().disk_bytes - 1).lost == (bad,)
    assert list((outbox.folder / "failed").iterdir()) == []


def test_what_is_being_sent_is_not_pruned(outbox: Outbox) -> None:
    outbox.seal_chunk(chunk(1, flags=("audit",)), payloads(1, clip_bytes=100))
    (big,) = outbox.claim(1, bulk=True)
    other = outbox.seal_chunk(chunk(2), payloads(2)).chunk_id
    assert outbox.prune(0).lost == (other,)
    assert big.path.read_bytes() == clip(1, 100)
    outbox.release([big])
    assert len(outbox.prune(0).lost) == 1


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(flag_sets, st.sampled_from(["nothing", "merge", "part", "refuse"])), max_size=5),
    st.integers(0, 60_000),
)
def test_pruning_never_takes_unsent_work_while_merged_work_lies_there(
    memory_path: Path, story: list[tuple[tuple[str, ...], str]], limit: int
) -> None:
    box = Outbox(Path(mkdtemp(dir=memory_path)))
    for number, (flags, what) in enumerate(story):
        own = box.seal_chunk(chunk(number, flags=flags), payloads(number)).chunk_id
        items = [item for item in _claim_all(box) if item.record_id == own]
        if what == "refuse":
            box.refused(items[0], "no")
        else:
            box.merged(items[: {"nothing": 0, "part": 1, "merge": 3}[what]])
    deletable = sum(what == "merge" for _, what in story)
    before = box.counts()
    pruned = box.prune(limit)
    after = box.counts()
    assert after.disk_bytes <= max(limit, 0)
    assert not pruned.lost or len(pruned.merged) == deletable
    assert before.queued + before.failed == after.queued + after.failed + len(pruned.lost)
    assert after.merged == before.merged
    box.close()
