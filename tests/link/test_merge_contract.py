"""The tests' small Merge and the server's real one keep the same promises to the intake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from server.database.store import open_store
from server.dataset.came import FileCame, RecordCame
from server.dataset.folder import Dataset
from server.dataset.merge import Merge as RealMerge
from shared.clock import ManualClock
from shared.messages import ChunkRecord, Part
from tests.device.outbox.records import DEVICE, chunk, correction, jpeg, payloads, wav
from tests.link.depot import Depot

pytestmark = pytest.mark.both_databases

Merge = Depot | RealMerge
KINDS = {"frame": "frame.jpg", "audio": "audio.wav"}


@pytest.fixture(params=["depot", "server.dataset.merge"])
def merge(request: pytest.FixtureRequest, memory_path: Path) -> Iterator[Merge]:
    if request.param == "depot":
        yield Depot(memory_path / "depot")
        return
    store = open_store(memory_path / "home")
    yield RealMerge(store, Dataset(memory_path / "home" / "dataset"), ManualClock())
    store.close()


def _record(number: int) -> ChunkRecord:
    found = payloads(number)
    parts = tuple(Part(k, n, len(found[k]), sha256(found[k]).hexdigest()) for k, n in KINDS.items())
    return replace(chunk(number), parts=parts)


def _file(folder: Path, data: bytes) -> tuple[Part, Path]:
    path = folder / "arrived.data"
    path.write_bytes(data)
    return Part("frame", "frame.jpg", len(data), sha256(data).hexdigest()), path


def test_a_record_may_come_any_number_of_times_and_counts_once(merge: Merge) -> None:
    outcomes = [merge.put_record(DEVICE, "chunk", _record(1)) for _ in range(3)]
    assert [(o.state, o.new) for o in outcomes] == [("merged", True), ("merged", False), ("merged", False)]


def test_another_record_of_the_same_id_is_refused(merge: Merge) -> None:
    merge.put_record(DEVICE, "chunk", _record(1))
    outcome = merge.put_record(DEVICE, "chunk", replace(_record(1), spoken="Caution, pole ahead."))
    assert outcome.state == "refused"
    assert outcome.reason


def test_a_record_that_names_another_device_is_refused(merge: Merge) -> None:
    assert merge.put_record("pi-2", "chunk", _record(1)).state == "refused"


def test_a_file_is_moved_in_and_comes_again_without_harm(merge: Merge, memory_path: Path) -> None:
    merge.put_record(DEVICE, "chunk", _record(1))
    part, path = _file(memory_path, jpeg(1))
    assert merge.find_parts([(DEVICE, chunk(1).chunk_id, part)]) == [False]
    assert merge.put_part(DEVICE, chunk(1).chunk_id, part, path).new
    assert not path.exists()
    assert merge.find_parts([("pi-2", chunk(1).chunk_id, part), (DEVICE, chunk(1).chunk_id, part)]) == [False, True]
    _file(memory_path, jpeg(1))
    again = merge.put_part(DEVICE, chunk(1).chunk_id, part, path)
    assert (again.state, again.new) == ("merged", False)


def test_a_file_that_an_earlier_try_moved_is_found(merge: Merge, memory_path: Path) -> None:
    part, path = _file(memory_path, jpeg(1))
    merge.put_part(DEVICE, chunk(1).chunk_id, part, path)
    assert merge.put_part(DEVICE, chunk(1).chunk_id, part, path).state == "merged"


def test_a_file_that_is_nowhere_is_said_to_be_missing(merge: Merge, memory_path: Path) -> None:
    part, path = _file(memory_path, jpeg(1))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        merge.put_part(DEVICE, chunk(1).chunk_id, part, path)


def test_the_same_key_with_other_bytes_is_refused_also_when_it_comes_again(merge: Merge, memory_path: Path) -> None:
    part, path = _file(memory_path, jpeg(1))
    merge.put_part(DEVICE, chunk(1).chunk_id, part, path)
    for _ in range(2):
        other, path = _file(memory_path, jpeg(2))
        assert merge.find_parts([(DEVICE, chunk(1).chunk_id, other)]) == [False]
        assert merge.put_part(DEVICE, chunk(1).chunk_id, other, path).state == "refused"


def test_parts_may_come_before_their_record_and_corrections_before_their_chunk(merge: Merge, memory_path: Path) -> None:
    data = wav(1)
    part = Part("correction_audio", "correction.wav", len(data), sha256(data).hexdigest())
    (memory_path / "arrived.data").write_bytes(data)
    spoken = replace(correction(1), parts=(part,))
    assert merge.put_part(DEVICE, spoken.correction_id, part, memory_path / "arrived.data").state == "merged"
    assert merge.put_record(DEVICE, "correction", spoken).state == "merged"
    assert merge.put_record(DEVICE, "chunk", _record(1)).state == "merged"


def test_a_batch_is_merged_in_order_and_one_that_is_refused_or_missing_takes_no_other_with_it(
    merge: Merge, memory_path: Path
) -> None:
    data = jpeg(1)
    part = Part("frame", "frame.jpg", len(data), sha256(data).hexdigest())
    (memory_path / "arrived.data").write_bytes(data)
    own = chunk(1).chunk_id
    outcomes = merge.put(
        [
            FileCame(DEVICE, own, part, memory_path / "arrived.data"),
            RecordCame("pi-2", "chunk", _record(1)),
            FileCame(DEVICE, chunk(2).chunk_id, replace(part, sha256="0" * 64), memory_path / "nowhere.data"),
            RecordCame(DEVICE, "chunk", _record(1)),
            RecordCame(DEVICE, "chunk", _record(1)),
            RecordCame(DEVICE, "chunk", replace(_record(1), spoken="Caution, pole ahead.")),
        ]
    )
    assert [(one.state, one.new) for one in outcomes] == [
        ("merged", True),
        ("refused", True),
        ("gone", True),
        ("merged", True),
        ("merged", False),
        ("refused", True),
    ]
