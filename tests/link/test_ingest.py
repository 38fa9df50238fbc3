"""What the intake promises about files, records, bad messages, full disks and restarts."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.limits import MB, LimitsSettings
from server.ingest.transfers import MAX_HASH_TRIES
from shared import messages, topics
from shared.clock import ManualClock
from shared.messages import PART_KINDS, Ack, Begin, Envelope, Part
from shared.topics import Reply
from shared.transfer import WINDOW_BYTES
from tests.device.outbox.records import DEVICE, chunk, correction
from tests.link.depot import Depot

RECORD = chunk(1).chunk_id
NAME = f"{RECORD}.clip"
LIMITS = LimitsSettings()


@pytest.fixture
def depot(memory_path: Path) -> Depot:
    return Depot(memory_path / "depot")


@pytest.fixture
def ingest(memory_path: Path, depot: Depot) -> Ingest:
    return Ingest(memory_path / "incoming", depot)


def _part(data: bytes, kind: str = "clip") -> Part:
    return Part(kind, {"clip": "clip.mp4", "frame": "frame.jpg"}[kind], len(data), sha256(data).hexdigest())


def _begin(data: bytes, **changes: object) -> bytes:
    return messages.encode(replace(Begin(RECORD, _part(data), DEVICE), **changes))  # type: ignore[arg-type]


def _acks(replies: list[Reply]) -> list[Ack]:
    return [messages.decode(Ack, payload) for _, payload in replies]


def _send(ingest: Ingest, verb: str, payload: bytes = b"", *, name: str = NAME) -> list[Ack]:
    return _acks(ingest.handle(DEVICE, ["up", name, verb], payload))


def _end(ingest: Ingest) -> list[Ack]:
    return _send(ingest, "end") + _acks(ingest.settle())


def _whole(ingest: Ingest, data: bytes, *, size: int = 1000) -> list[Ack]:
    acks = _send(ingest, "begin", _begin(data))
    for at in range(0, len(data), size):
        acks += _send(ingest, str(at), data[at : at + size])
    return acks + _end(ingest)


# files


def test_a_small_file_is_merged_with_one_answer_and_leaves_nothing_behind(ingest: Ingest, depot: Depot) -> None:
    data = random.Random(1).randbytes(2500)
    assert [ack.state for ack in _whole(ingest, data)] == ["merged"]
    assert (depot.folder / f"{DEVICE}.{RECORD}.clip.mp4").read_bytes() == data
    assert [p for p in (depot.folder.parent / "incoming").rglob("*") if p.is_file()] == []
    assert (ingest.counters["parts"], ingest.counters["bytes"], ingest.open_transfers) == (1, 2500, 0)


def test_nothing_is_acknowledged_before_it_is_settled(ingest: Ingest) -> None:
    assert _send(ingest, "begin", _begin(bytes(3000))) == []
    assert _send(ingest, "1000", bytes(1000)) == []
    there = ((1000, 2000),)
    assert _acks(ingest.settle()) == [Ack("receiving", ranges=there, answers=why) for why in ("begin", "gap")]
    assert ingest.settle() == []
    assert _send(ingest, "ask") == []
    assert _acks(ingest.settle()) == [Ack("receiving", ranges=((1000, 2000),), answers="ask")]
    assert _send(ingest, "0", bytes(500)) == []
    assert _acks(ingest.settle()) == [Ack("receiving", ranges=((0, 500), (1000, 2000)))]
    assert _send(ingest, "end") == []
    assert _acks(ingest.settle())[0].answers == "end"


def test_a_repeated_end_and_a_repeated_file_are_answered_with_merged(ingest: Ingest, depot: Depot) -> None:
    data = random.Random(2).randbytes(WINDOW_BYTES + 1)
    _whole(ingest, data, size=65536)
    for verb in ("end", "ask", "65536"):
        assert [ack.state for ack in _send(ingest, verb)] == ["merged"]
        assert _send(ingest, verb) == []  # once in a batch
        ingest.settle()
    assert [ack.state for ack in _send(ingest, "begin", _begin(data))] == ["merged"]  # without its bytes
    assert (ingest.counters["parts"], ingest.counters["unknown"]) == (1, 0)
    assert len(depot.entries) == 1


def test_a_restarted_server_answers_merged_once_the_file_is_announced(memory_path: Path, depot: Depot) -> None:
    data = random.Random(2).randbytes(WINDOW_BYTES + 1)
    first = Ingest(memory_path / "incoming", depot)
    _whole(first, data, size=65536)
    first.close()
    again = Ingest(memory_path / "incoming", depot)
    assert [ack.state for ack in _send(again, "end")] == ["unknown"]
    again.settle()
    _send(again, "begin", _begin(data))
    assert [ack.state for ack in _acks(again.settle())] == ["merged"]
    assert len(depot.entries) == 1


def test_other_bytes_under_the_name_of_a_merged_file_are_not_called_merged(ingest: Ingest, depot: Depot) -> None:
    _whole(ingest, b"first")
    assert [ack.state for ack in _whole(ingest, b"other")] == ["refused"]
    assert depot.quarantined


def test_a_dropped_part_is_asked_for_when_the_next_one_comes(ingest: Ingest) -> None:
    _send(ingest, "begin", _begin(bytes(4000)))
    _send(ingest, "0", bytes(1000))
    ingest.settle()
    _send(ingest, "2000", bytes(1000))
    told = Ack("receiving", ranges=((0, 1000), (2000, 3000)), answers="gap")
    assert _acks(ingest.settle()) == [told]
    _send(ingest, "3000", bytes(1000))  # was on its way: the hole is known
    assert [ack.answers for ack in _acks(ingest.settle())] == [""]


def test_what_was_acknowledged_survives_a_restart_and_the_rest_is_asked_for(memory_path: Path, depot: Depot) -> None:
    data = random.Random(3).randbytes(6000)
    first = Ingest(memory_path / "incoming", depot)
    _send(first, "begin", _begin(data))
    _send(first, "1000", data[1000:3000])
    first.settle()
    _send(first, "3000", data[3000:4000])  # never settled: power goes here
    first.close()  # as the kernel does for a dead process
    again = Ingest(memory_path / "incoming", depot)
    _send(again, "ask")
    assert _acks(again.settle()) == [Ack("receiving", ranges=((1000, 3000),), answers="ask")]
    _send(again, "0", data[:1000])
    _send(again, "3000", data[3000:])
    assert _end(again)[-1].state == "merged"
    assert (depot.folder / f"{DEVICE}.{RECORD}.clip.mp4").read_bytes() == data


def test_a_file_moved_by_merge_before_a_crash_is_not_asked_for_again(memory_path: Path, depot: Depot) -> None:
    data = random.Random(4).randbytes(600_000)  # more than a window: not to be sent twice

    class PowerCut(BaseException):
        pass

    def power_goes(_key: str) -> None:
        os.rename(memory_path / "incoming" / DEVICE / f"{NAME}.data", depot.folder / f"{DEVICE}.{RECORD}.clip.mp4")
        raise PowerCut

    depot.on_part = power_goes
    first = Ingest(memory_path / "incoming", depot)
    with pytest.raises(PowerCut):
        _whole(first, data, size=65536)
    depot.on_part = None
    first.close()
    again = Ingest(memory_path / "incoming", depot)
    _send(again, "ask")
    assert _acks(again.settle())[0].ranges == ((0, 600_000),)
    assert _end(again)[-1].state == "merged"


def test_damaged_leftovers_on_disk_are_forgotten_and_the_file_is_sent_again(memory_path: Path, depot: Depot) -> None:
    data = random.Random(5).randbytes(4000)
    folder = memory_path / "incoming" / DEVICE
    for damage in ("begin", "cut", "gone", "alone"):
        first = Ingest(memory_path / "incoming", depot)
        _send(first, "begin", _begin(data))
        _send(first, "0", data[:2000])
        first.settle()
        sidecar, stored = folder / f"{NAME}.ranges", folder / f"{NAME}.data"
        if damage == "begin":
            sidecar.write_bytes(b'{"begin": 7')
        elif damage == "cut":
            os.truncate(stored, 100)
        elif damage == "gone":
            stored.unlink()
        else:
            sidecar.unlink()
        again = Ingest(memory_path / "incoming", depot)
        assert again.open_transfers == 0
        assert list(folder.iterdir()) == []
        assert _send(again, "ask")[0].state == "unknown"


def test_bytes_that_do_not_match_the_announced_hash_are_asked_for_again_and_then_refused(ingest: Ingest) -> None:
    good, bad = bytes(3000), b"\x01" + bytes(2999)
    for tries in range(MAX_HASH_TRIES):
        _send(ingest, "begin", _begin(good))
        _send(ingest, "0", bad)
        ack = _end(ingest)[-1]
        assert ack.state == ("refused" if tries == MAX_HASH_TRIES - 1 else "unknown")
    assert "damaged" in ack.reason
    assert _whole(ingest, good)[-1].state == "merged"


def test_the_same_name_with_another_hash_is_refused_and_quarantined(ingest: Ingest, depot: Depot) -> None:
    assert _whole(ingest, b"first" * 100)[-1].state == "merged"
    ack = _whole(ingest, b"other" * 100)[-1]
    assert ack.state == "refused"
    assert "already used" in ack.reason
    assert depot.quarantined == [f"{DEVICE}/{NAME}"]


def test_a_second_file_of_a_name_that_is_arriving_is_refused(ingest: Ingest) -> None:
    _send(ingest, "begin", _begin(b"a" * 100))
    assert _send(ingest, "begin", _begin(b"b" * 100))[0].state == "refused"
    _send(ingest, "0", b"a" * 100)
    assert _end(ingest)[-1].state == "merged"


@pytest.mark.parametrize(
    "change",
    [
        {"device": "pi-2"},
        {"record_id": "another"},
        {"part": Part("clip", "clip.mp4", LIMITS.file_mb * MB + 1, "0" * 64)},
        {"part": Part("frame", "frame.jpg", 10, "0" * 64)},
    ],
)
def test_announcements_that_contradict_themselves_are_refused(ingest: Ingest, change: dict[str, object]) -> None:
    (ack,) = _send(ingest, "begin", _begin(b"x", **change))
    assert ack.state == "refused"
    assert ingest.open_transfers == 0


@pytest.mark.parametrize(("verb", "size"), [("2900", 101), ("3000", 1), ("0", 0), ("999999999999", 1)])
def test_parts_outside_the_declared_size_end_the_transfer(ingest: Ingest, verb: str, size: int) -> None:
    _send(ingest, "begin", _begin(bytes(3000)))
    (ack,) = _send(ingest, verb, bytes(size))
    assert (ack.state, ingest.open_transfers) == ("refused", 0)


def test_parts_nobody_announced_are_unknown_once_per_batch(ingest: Ingest) -> None:
    states = [ack.state for at in range(8) for ack in _send(ingest, str(at * 10), bytes(10))]
    assert states == ["unknown"]
    ingest.settle()
    assert [ack.state for ack in _send(ingest, "ask")] == ["unknown"]


def test_unfinished_files_of_one_device_are_bounded_and_the_longest_silent_goes(ingest: Ingest) -> None:
    names = [f"{DEVICE}-x-{number}" for number in range(LIMITS.open_files + 3)]
    for name in names:
        _send(ingest, "begin", _begin(bytes(10), record_id=name), name=f"{name}.clip")
        _send(ingest, "0", bytes(5), name=f"{name}.clip")
        ingest.settle()
    assert ingest.open_transfers == LIMITS.open_files
    assert _send(ingest, "ask", name=f"{names[0]}.clip")[0].state == "unknown"
    ingest.settle()
    assert _send(ingest, "ask", name=f"{names[-1]}.clip") == []


def test_a_file_of_which_nothing_came_for_a_week_is_given_up(memory_path: Path, depot: Depot) -> None:
    clock = ManualClock()
    ingest = Ingest(memory_path / "incoming", depot, counts=DailyCounts(clock))
    _send(ingest, "begin", _begin(bytes(10)))
    _send(ingest, "0", bytes(5))
    ingest.settle()
    clock.sleep(LIMITS.abandoned_hours * 3600.0)
    _send(ingest, "ask")  # still wanted
    assert _acks(ingest.settle())[0].state == "receiving"
    clock.sleep(LIMITS.abandoned_hours * 3600.0 + 1)
    ingest.settle()
    assert ingest.open_transfers == 0
    assert list((memory_path / "incoming" / DEVICE).iterdir()) == []


def test_a_file_with_a_thousand_holes_is_refused(ingest: Ingest) -> None:
    _send(ingest, "begin", _begin(bytes(10_000)))
    acks = [ack for at in range(0, 4000, 2) for ack in _send(ingest, str(at), b"x")]
    assert acks[0].state == "refused"
    assert "holes" in acks[0].reason


# records


def _event(ingest: Ingest, kind: str, record: object, *, record_id: str | None = None) -> list[Ack]:
    own = getattr(record, "chunk_id", "") if kind == "chunk" else getattr(record, "correction_id", "")
    body = messages.to_dict(record) if not isinstance(record, dict) else record
    payload = messages.encode(Envelope(kind, record_id or own, body))
    return _acks(ingest.handle(DEVICE, ["up", "event"], payload) + ingest.settle())


def test_records_are_merged_once_and_answered_every_time(ingest: Ingest, depot: Depot) -> None:
    for _ in range(3):
        assert _event(ingest, "correction", correction(1))[0].state == "merged"
        assert _event(ingest, "chunk", chunk(1))[0].state == "merged"
    assert (ingest.counters["records"], ingest.counters["repeated"]) == (2, 4)
    assert len(depot.entries) == 2


def test_a_record_of_another_device_or_with_another_id_is_refused(ingest: Ingest) -> None:
    assert _event(ingest, "chunk", chunk(1, device="pi-2"))[0].state == "refused"
    assert "the record" in _event(ingest, "chunk", chunk(1), record_id="other")[0].reason
    assert _event(ingest, "correction", messages.to_dict(chunk(1)), record_id="x")[0].state == "refused"
    assert _event(ingest, "gossip", {}, record_id="x")[0].state == "refused"
    assert _event(ingest, "telemetry", {"heat_c": 61}, record_id="t1")[0].state == "refused"  # no device sends any
    assert ingest.counters["refused"] == 5


# messages that are not ours

kinds = st.sampled_from(PART_KINDS)
names = st.one_of(st.just(NAME), st.just(RECORD), st.text(max_size=20), kinds.map(lambda kind: f"x.{kind}"))
verbs = st.one_of(
    st.sampled_from(["begin", "end", "ask", "ack", "0", "-1", "1e3", "٣", "99999999999999999999", ""]),
    st.text(max_size=8),
)
levels = st.one_of(
    st.tuples(st.just("up"), names, verbs).map(list),
    st.just(["up", "event"]),
    st.lists(st.text(max_size=6), max_size=5),
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([
        _begin(b"x" * 20), messages.encode(Envelope("chunk", RECORD, messages.to_dict(chunk(1)))),
        messages.encode(Envelope("chunk", RECORD, {})), b"{}", b"[]", b"null", b"1e999", b'{"kind": {}}', b"[" * 9000,
        b'{"record_id": "\\ud800", "kind": "chunk", "body": {}}', messages.encode(Begin(RECORD, _part(b""), DEVICE)),
    ]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.one_of(st.just(DEVICE), st.text(max_size=8)), levels, bodies), max_size=8))
@example([("../../etc", ["up", NAME, "begin"], _begin(b"x"))])
@example([(DEVICE, ["up", "../../../x.clip", "begin"], _begin(b"x"))])
def test_whatever_comes_is_answered_on_a_valid_topic_and_raises_nothing(
    memory_path: Path, story: list[tuple[str, list[str], bytes]]
) -> None:
    top = Path(mkdtemp(dir=memory_path))
    folder = top / "1" / "2" / "3" / "home"
    ingest = Ingest(folder / "incoming", Depot(folder / "depot"))
    for device, where, payload in story:
        replies = ingest.handle(device, where, payload) + ingest.settle()
        for topic, answer in replies:
            place = topics.levels(topic)
            assert place is not None
            assert (place[0], place[1][0], place[1][2]) == (device, "down", "ack")
            assert not {"+", "#"} & set(topic)
            messages.decode(Ack, answer)
    outside = {path.relative_to(top).as_posix() for path in top.rglob("*") if folder not in path.parents}
    assert outside == {"1", "1/2", "1/2/3", "1/2/3/home"}
    assert {path.name for path in folder.iterdir()} == {"incoming", "depot"}


def test_foreign_messages_are_counted_and_refused_where_they_name_something(ingest: Ingest) -> None:
    assert _acks(ingest.handle(DEVICE, ["up", "gossip", "shout"], b""))[0].state == "refused"
    assert ingest.handle(DEVICE, ["up", "event"], b"no json") == []
    assert ingest.handle(DEVICE, ["sideways"], b"") == []
    assert ingest.handle("Not A Device", ["up", NAME, "begin"], _begin(b"x")) == []
    assert ingest.counters["foreign"] == 4
    _send(ingest, "begin", _begin(bytes(10)))
    assert _send(ingest, "later-word") == []  # a newer device's word must not end a sound transfer
    assert ingest.open_transfers == 1


# this machine's own trouble


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)  # the edge of the operating system
        yield patch


def test_a_part_that_a_full_disk_does_not_take_is_asked_for_later_and_costs_the_device_nothing(
    ingest: Ingest, full_disk: pytest.MonkeyPatch
) -> None:
    data = random.Random(6).randbytes(3000)
    _send(ingest, "begin", _begin(data))
    assert _send(ingest, "0", data[:1000]) == [Ack("paused", reason="the server could not write it")]
    assert _acks(ingest.settle()) == [Ack("receiving", answers="begin")]
    full_disk.undo()
    assert ingest.counters["errors"] == 1
    _send(ingest, "0", data)
    assert _end(ingest)[-1].state == "merged"


def test_of_a_full_disk_one_part_a_settlement_is_told(ingest: Ingest, full_disk: pytest.MonkeyPatch) -> None:
    data = random.Random(6).randbytes(3000)
    _send(ingest, "begin", _begin(data))
    told = [ack.state for at in range(0, 3000, 1000) for ack in _send(ingest, str(at), data[at : at + 1000])]
    assert told == ["paused"]
    _send(ingest, "end")
    assert [ack.answers for ack in _acks(ingest.settle())] == ["begin"], (
        "an answer to `end` would end the pause of old ones"
    )
    assert [ack.state for ack in _send(ingest, "0", data[:1000])] == ["paused"]
    assert ingest.counters["errors"] == ingest.counters["paused"] == 2


def test_where_nobody_knows_what_was_merged_before_a_file_comes_once_more(
    ingest: Ingest, depot: Depot, memory_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = random.Random(7).randbytes(WINDOW_BYTES + 1)
    assert _whole(ingest, data, size=100_000)[-1].state == "merged"
    ingest.close()

    def away(_self: Depot, _parts: object) -> list[bool]:
        raise OperationalError("SELECT", {}, Exception("the database is away"))

    with monkeypatch.context() as patch:
        patch.setattr(Depot, "find_parts", away)
        again = Ingest(memory_path / "incoming", depot)
        _send(again, "begin", _begin(data))
        assert _acks(again.settle()) == [Ack("receiving", answers="begin")]
    assert "the database is away" in caplog.text
    assert _whole(again, data, size=100_000)[-1].state == "merged"
    again.close()


def test_a_failing_sync_is_not_acknowledged_and_is_tried_again(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(7).randbytes(3000)
    _send(ingest, "begin", _begin(data))
    _send(ingest, "0", data[:1000])

    def failing(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        assert ingest.settle() == []
    _send(ingest, "ask")
    assert {ack.ranges for ack in _acks(ingest.settle())} == {((0, 1000),)}


def test_a_merge_that_fails_keeps_the_file_and_is_tried_again(ingest: Ingest, depot: Depot) -> None:
    def fails(_key: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    depot.on_part = fails
    assert [ack.state for ack in _whole(ingest, b"x" * 500)] == ["receiving"]
    depot.on_part = None
    assert _end(ingest)[-1].state == "merged"
