"""What a wearer has had erased is gone from logs, database, files and review, in whatever order things came."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from server import speech
from server.database import review_tables
from server.database import store as db
from server.dataset import derived, feature_cache, part_paths, wishes
from server.dataset.came import Came, Merged, RecordCame
from server.dataset.feature_cache import FeatureCache, Piece
from server.dataset.merge import Merge
from server.dataset.recover import recover
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from server.maintenance.check import check
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import atomic, messages
from shared.clock import ManualClock
from shared.messages import Ack, Begin, CorrectionHeard, Envelope, EraseRecord, Part, id_of
from shared.speech import Transcript
from tests.server.database.stored import readable
from tests.server.dataset.moments import House, Moment, Spoken, moment, sound, spoken

pytestmark = pytest.mark.both_databases

ONE, TWO, THREE = (moment(n, seed=n, raw_output="Stop, curb ahead.") for n in range(3))
"""0 to 2 s, 2 to 4 s, 4 to 6 s."""
SAID = spoken(TWO.record.chunk_id, sound(7), n=3)


def wish(*ids: str, number: int = 1, device: str = "pi-1", **more: Any) -> EraseRecord:
    return EraseRecord(f"{device}-b00t-e{number:03d}", device, 1_700_000_200.0, tuple(ids), **more)


BY_TIME = wish(boot_id="b00t", from_s=2.5, to_s=4.0)


def erase(house: House, record: EraseRecord) -> Merged:
    return house.merge.put_record(record.device, "erase", record)


def left_of(house: House) -> dict[str, Any]:
    """Everything that a server says of moments, without times and without what only counts."""
    logs = b"".join(log.read_bytes() for log in (house.dataset.log, house.dataset.records) if log.exists())
    files = sorted(str(path.relative_to(house.dataset.folder)) for path in house.dataset.folder.glob("*/*"))
    with house.store.reading() as connection:
        tables = {
            table.name: sorted(json.dumps([*map(str, row)]) for row in connection.execute(select(*columns)))
            for table, columns in (
                (db.records, (db.records.c.record_id, db.records.c.body, db.records.c.transcript)),
                (db.parts, (db.parts.c.record_id, part_paths.PATH)),
                (db.samples, (db.samples.c.sample_id, db.samples.c.body)),
                (review_tables.reviews, (review_tables.reviews.c.before, review_tables.reviews.c.after)),
            )
        }
    return {"logs": logs, "files": files, **tables}


def everything(house: House) -> bytes:
    """All bytes of the home but those of the lists of wishes."""
    return b"".join(readable(path) for path in sorted(house.home.rglob("*")) if path.is_file())


def test_moments_of_a_time_are_gone_from_logs_database_files_and_review_and_others_are_not(house: House) -> None:
    house.send_all([ONE, TWO, THREE, SAID])
    house.merge.put_transcript("pi-1", SAID.record.correction_id, transcript="bin", confidence=0.9, proposal="")
    edit = ReviewDecision("edit", "Ben", "Caution, bin on the left.")
    decisions.review(house.store, house.dataset, TWO.record.chunk_id, edit, now_s=5.0)
    untouched = house.dataset.log.read_bytes().splitlines()
    size = house.dataset.log.stat().st_size
    outcome = erase(house, BY_TIME)
    assert outcome.state == "merged"
    assert outcome.erased == {TWO.record.chunk_id, SAID.record.correction_id}
    after = left_of(house)
    for data in (*TWO.payloads.values(), *SAID.payloads.values()):
        assert data not in everything(house)
    for word in (b"bin", b"Caution"):
        assert word not in after["logs"]
    for path in house.home.glob("waycue.sqlite*"):
        assert b"bin on the left" not in readable(path), f"in a free page of {path.name}"
        assert word.decode() not in json.dumps(after["reviews"] + after["samples"] + after["records"])
    assert decisions.get(house.store, TWO.record.chunk_id) is None
    assert {row.sample_id for row in house.dataset.rows()} == {ONE.record.chunk_id, THREE.record.chunk_id}
    assert house.dataset.log.stat().st_size == size
    kept = [line for line in untouched if TWO.record.chunk_id.encode() not in line]
    assert [line for line in house.dataset.log.read_bytes().splitlines() if b'"erased"' not in line] == kept
    assert check(house.home, ManualClock()).findings == ()


def test_what_networks_made_of_an_erased_picture_is_gone_from_the_feature_cache(house: House) -> None:
    house.send_all([ONE, TWO])
    folder = house.home / feature_cache.FOLDER
    pictures = {row.sample_id: Path(row.frame_path).stem for row in house.dataset.rows()}
    for sample_id, picture in pictures.items():
        cache = FeatureCache(folder, "abc", shape=(8,))
        cache.add([Piece(f"{sample_id}:{n}", picture) for n in range(3)], np.ones((3, 8), np.float16))
    erase(house, wish(TWO.record.chunk_id))
    left = FeatureCache(folder, "abc", shape=(8,))
    assert left.has(f"{ONE.record.chunk_id}:2")
    assert not left.has(f"{TWO.record.chunk_id}:0")
    assert pictures[TWO.record.chunk_id].encode() not in everything(house)


def test_a_wish_twice_is_one_and_its_id_for_another_is_refused(house: House) -> None:
    house.send_all([ONE, TWO])
    first = erase(house, wish(TWO.record.chunk_id))
    before = left_of(house)
    again = erase(house, wish(TWO.record.chunk_id))
    assert (first.new, again.new, again.state) == (True, False, "merged")
    assert left_of(house) == before
    assert erase(house, wish(ONE.record.chunk_id)).state == "refused"
    assert left_of(house) == before


def test_a_wish_about_another_devices_record_is_refused_as_a_whole(house: House) -> None:
    theirs = moment(9, device="pi-2")
    house.send_all([ONE, theirs])
    before = left_of(house)
    outcome = erase(house, wish(ONE.record.chunk_id, theirs.record.chunk_id))
    assert outcome == Merged("refused", f"{theirs.record.chunk_id} is a record of another device")
    assert house.merge.put_record("pi-1", "erase", wish(ONE.record.chunk_id, device="pi-2")).state == "refused"
    assert erase(house, wish(boot_id="", from_s=0.0, to_s=1e6)).erased == frozenset()
    assert left_of(house)["files"] == before["files"]
    erase(house, wish(boot_id="b00t", from_s=0.0, to_s=1e6, number=2))
    assert [row.sample_id for row in house.dataset.rows()] == [theirs.record.chunk_id]


def test_a_discarded_correction_leaves_its_moment_which_is_to_be_reviewed_again(house: House) -> None:
    house.send_all([TWO, SAID])
    house.merge.put_transcript(
        "pi-1",
        SAID.record.correction_id,
        transcript="caution bin ahead",
        confidence=0.9,
        proposal="Caution, bin ahead.",
    )
    decisions.review(house.store, house.dataset, TWO.record.chunk_id, ReviewDecision("accept", "Ben"), now_s=5.0)
    row = decisions.get(house.store, TWO.record.chunk_id)
    assert row is not None
    assert row.ground_truth == "Caution, bin ahead."
    erase(house, wish(SAID.record.correction_id))
    (row,) = house.dataset.rows()
    assert decisions.get(house.store, TWO.record.chunk_id) == row
    assert (row.state, row.correction_id, row.transcript, row.ground_truth) == ("pending", "", "", "")
    assert row.instruction == "Stop, curb ahead."
    assert "bin" not in json.dumps(left_of(house)["reviews"])
    assert b"bin" not in left_of(house)["logs"]
    assert SAID.payloads["correction_audio"] not in everything(house)
    assert TWO.payloads["frame"] in everything(house)
    assert check(house.home, ManualClock()).findings == ()


def test_a_discarded_correction_leaves_an_earlier_one_and_a_decision_that_had_nothing_to_do_with_it(
    house: House,
) -> None:
    earlier = spoken(TWO.record.chunk_id, sound(8), n=2)
    house.send_all([TWO, earlier])
    edit = ReviewDecision("edit", "Ben", "Caution, pole ahead.")
    decisions.review(house.store, house.dataset, TWO.record.chunk_id, edit, now_s=5.0)
    late = spoken(ONE.record.chunk_id, sound(9), n=1)
    house.send_all([ONE, late, SAID])
    erase(house, wish(late.record.correction_id))
    erase(house, wish(SAID.record.correction_id, number=2))
    row = decisions.get(house.store, TWO.record.chunk_id)
    assert row is not None
    assert row.correction_id == earlier.record.correction_id
    one = decisions.get(house.store, ONE.record.chunk_id)
    assert one is not None
    assert one.correction_id == ""


def test_a_correction_that_is_listened_to_while_it_is_erased_leaves_no_words(house: House) -> None:
    house.send_all([TWO, SAID])
    erase(house, wish(SAID.record.correction_id))
    house.merge.put_transcript("pi-1", SAID.record.correction_id, transcript="my secret", confidence=1.0, proposal="")
    assert b"secret" not in everything(house)


def test_bytes_that_another_moment_has_too_stay(house: House) -> None:
    twin = moment(5, seed=1)
    house.send_all([TWO, twin])
    erase(house, wish(TWO.record.chunk_id))
    (row,) = house.dataset.rows()
    assert (house.dataset.folder / row.frame_path).read_bytes() == twin.payloads["frame"]
    assert check(house.home, ManualClock()).findings == ()


Act = Callable[[House], object]


def acts() -> list[Act]:
    """Everything that a device sends about two moments and a correction, each by itself, and a wish."""
    found: list[Act] = [lambda house: erase(house, BY_TIME)]
    for sent in (ONE, TWO, SAID):
        found.append(partial(put_record, sent=sent))
        found += [partial(put_part, sent=sent, part=part) for part in sent.record.parts]
    return found


def put_record(house: House, *, sent: Moment | Spoken) -> object:
    kind = "chunk" if isinstance(sent, Moment) else "correction"
    return house.merge.put_record("pi-1", kind, sent.record)


def put_part(house: House, *, sent: Moment | Spoken, part: Part) -> object:
    return house.put_part("pi-1", id_of(sent.record), part, sent.payloads[part.kind])


COUNT = len(acts())


@given(order=st.lists(st.integers(0, COUNT - 1), max_size=6), last=st.permutations(range(COUNT)))
@settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_order_and_however_often_the_same_is_left(
    order: list[int], last: list[int], memory_path: Path
) -> None:
    numbers = itertools.count()
    while (memory_path / str(number := next(numbers))).exists():
        pass
    with closing(House(memory_path / str(number))) as house:
        for act in (*order, *last):
            acts()[act](house)
        after = left_of(house)
        assert [json.loads(row)[0] for row in after["samples"]] == [ONE.record.chunk_id]
        assert [json.loads(row)[0] for row in after["records"]] == [ONE.record.chunk_id]
        assert len(after["files"]) == 2
        for data in (*TWO.payloads.values(), *SAID.payloads.values()):
            assert data not in everything(house)
        assert check(house.home, ManualClock()).findings == ()


def test_wish_and_records_in_one_batch_are_taken_in_their_order(house: House) -> None:
    batch: list[Came] = [
        RecordCame("pi-1", "chunk", ONE.record),
        RecordCame("pi-1", "chunk", TWO.record),
        RecordCame("pi-1", "erase", BY_TIME),
        RecordCame("pi-1", "chunk", TWO.record),
        RecordCame("pi-1", "chunk", THREE.record),
    ]
    outcomes = house.merge.put(batch)
    assert [one.state for one in outcomes] == ["merged", "merged", "merged", "refused", "merged"]
    assert outcomes[3].reason == wishes.REFUSED
    assert [json.loads(row)[0] for row in left_of(house)["records"]] == [ONE.record.chunk_id, THREE.record.chunk_id]


def test_a_lost_database_is_built_again_without_what_was_erased_and_still_refuses_it(house: House) -> None:
    house.send_all([ONE, TWO, SAID])
    erase(house, BY_TIME)
    house.close()
    for path in house.home.glob("waycue.sqlite*"):
        path.unlink()
    again = House(house.home)
    with closing(again):
        recover(again.store, again.dataset, again.merge, ManualClock())
        assert [row.sample_id for row in again.dataset.rows()] == [ONE.record.chunk_id]
        assert [json.loads(row)[0] for row in left_of(again)["samples"]] == [ONE.record.chunk_id]
        assert again.send(TWO)[0].reason == wishes.REFUSED
        assert erase(again, BY_TIME) == Merged("merged", new=False)
        assert check(again.home, ManualClock()).findings == ()


def test_a_database_from_a_backup_learns_of_the_wish_and_does_it(house: House) -> None:
    house.send_all([ONE, TWO, SAID])
    house.close()
    backup = {path: path.read_bytes() for path in house.home.glob("waycue.sqlite*")}
    with closing(House(house.home)) as again:
        erase(again, BY_TIME)
    for path in house.home.glob("waycue.sqlite*"):
        path.unlink()
    for path, data in backup.items():
        path.write_bytes(data)
    with closing(House(house.home)) as restored:
        recover(restored.store, restored.dataset, restored.merge, ManualClock())
        assert [json.loads(row)[0] for row in left_of(restored)["samples"]] == [ONE.record.chunk_id]
        assert [json.loads(row)[0] for row in left_of(restored)["records"]] == [ONE.record.chunk_id]
        assert check(restored.home, ManualClock()).findings == ()


@pytest.mark.parametrize("step", ["merge:journal_written", "merge:synced"])
def test_a_wish_that_was_cut_short_is_done_by_the_next_writer(house: House, step: str) -> None:
    house.send_all([ONE, TWO, SAID])

    class Cut(BaseException):
        pass

    def cut(name: str) -> None:
        if name == step:
            raise Cut

    broken = Merge(house.store, house.dataset, house.clock, step=cut)
    with pytest.raises(Cut):
        broken.put_record("pi-1", "erase", BY_TIME)
    house.send(THREE)
    assert [json.loads(row)[0] for row in left_of(house)["records"]] == [ONE.record.chunk_id, THREE.record.chunk_id]
    assert {row.sample_id for row in house.dataset.rows()} == {ONE.record.chunk_id, THREE.record.chunk_id}
    assert erase(house, BY_TIME).state == "merged"
    assert check(house.home, ManualClock()).findings == ()


def test_what_is_understood_of_a_correction_is_told_to_its_device(house: House) -> None:
    class Ears:
        def transcribe(self, wav: bytes) -> Transcript:
            return Transcript("stop curb ahead", 0.9)

    told: list[tuple[str, CorrectionHeard]] = []
    house.send_all([TWO, SAID])
    count = speech.transcribe_waiting(
        house.merge, Ears(), stop=lambda: False, tell=lambda device, words: told.append((device, words))
    )
    assert count == 1
    assert told == [("pi-1", CorrectionHeard(SAID.record.correction_id, "Stop, curb ahead."))]


def test_what_was_put_aside_of_an_erased_moment_is_erased_too(house: House) -> None:
    part = next(part for part in ONE.record.parts if part.kind == "frame")
    answer = house.put_part("pi-1", ONE.record.chunk_id, part, b"no picture, but a secret")
    assert answer.state == "refused"
    assert b"secret" in everything(house)
    erase(house, wish(ONE.record.chunk_id))
    assert b"secret" not in everything(house)


def test_the_folders_of_deleted_files_are_synced_before_the_wish_is_acknowledged(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.send_all([ONE, TWO])
    synced: list[Path] = []
    sync = atomic.fsync_dir

    def noted(folder: Path) -> None:
        synced.append(folder)
        sync(folder)

    monkeypatch.setattr(atomic, "fsync_dir", noted)
    erase(house, wish(TWO.record.chunk_id))
    assert {house.dataset.folder / "frames", house.dataset.folder / "audio"} <= set(synced)


def test_a_wish_about_more_records_than_a_message_names_is_done_and_the_next_one_is_read(house: House) -> None:
    many = 4100
    body = messages.to_dict(ONE.record)
    with house.store.writing() as connection:
        connection.execute(
            insert(db.records),
            [
                {
                    "device": "pi-1",
                    "record_id": f"pi-1-b00t-{number:05d}",
                    "kind": "chunk",
                    "chunk_id": f"pi-1-b00t-{number:05d}",
                    "body": {**body, "chunk_id": f"pi-1-b00t-{number:05d}"},
                    "received_at": 1.0,
                }
                for number in range(100, 100 + many)
            ],
        )
    assert len(erase(house, wish(boot_id="b00t", from_s=0.0, to_s=1e6)).erased) == many
    assert house.send(moment(7, device="pi-1", seed=3))[0].reason == wishes.REFUSED
    with house.store.reading() as connection:
        assert wishes.unapplied(connection) == []


def test_what_another_process_had_taken_in_of_an_erased_moment_is_deleted_too(house: House) -> None:
    limits = LimitsSettings(free_mb=0)
    part = next(part for part in TWO.record.parts if part.kind == "frame")
    name, data = f"{TWO.record.chunk_id}.frame", TWO.payloads["frame"]
    begin = messages.encode(Begin(TWO.record.chunk_id, part, "pi-1"))
    with (
        closing(Ingest(house.home / "incoming", house.merge, settings=limits)) as one,
        closing(Ingest(house.home / "incoming", house.merge, settings=limits, restores=False)) as other,
    ):
        one.handle("pi-1", ["up", name, "begin"], begin)
        one.handle("pi-1", ["up", name, "0"], data[:-1])
        one.settle()
        assert data[:-1] in everything(house)
        other.adopt("pi-1".__eq__)
        record = wish(TWO.record.chunk_id)
        event = messages.encode(Envelope("erase", record.erase_id, messages.to_dict(record)))
        other.handle("pi-1", ["up", "event"], event)
        other.settle()
        assert data[:-1] not in everything(house)
        one.handle("pi-1", ["up", name, str(len(data) - 1)], data[-1:])
        one.settle()
        assert data[:-1] not in everything(house)


def test_a_correction_that_is_erased_just_before_it_is_listened_to_holds_up_no_other(house: House) -> None:
    other = spoken(ONE.record.chunk_id, sound(8), n=4)
    house.send_all([ONE, TWO, SAID, other])

    class Ears:
        """Somebody who erases while the first one is listened to."""

        def transcribe(self, wav: bytes) -> Transcript:
            for one in house.dataset.folder.glob("audio/*"):
                if one.read_bytes() in (SAID.payloads["correction_audio"], other.payloads["correction_audio"]):
                    one.unlink()
            return Transcript("stop curb ahead", 0.9)

    assert speech.transcribe_waiting(house.merge, Ears(), stop=lambda: False) == 1
    assert speech.transcribe_waiting(house.merge, Ears(), stop=lambda: False) == 0


def test_a_server_whose_disk_is_full_erases_though_it_takes_nothing_else(house: House) -> None:
    house.send_all([ONE])
    full = LimitsSettings(free_mb=1_000_000_000)
    record = wish(ONE.record.chunk_id)
    answers = {}
    with closing(Ingest(house.home / "incoming", house.merge, settings=full)) as ingest:
        for kind, name, body in (("chunk", TWO.record.chunk_id, TWO.record), ("erase", record.erase_id, record)):
            event = messages.encode(Envelope(kind, name, messages.to_dict(body)))
            replies = [*ingest.handle("pi-1", ["up", "event"], event), *ingest.settle()]
            answers[kind] = messages.decode(Ack, replies[-1][1]).state
    assert answers == {"chunk": "paused", "erase": "merged"}
    assert house.dataset.rows() == []


def test_what_was_computed_from_moments_goes_with_the_first_that_is_erased(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.send(ONE)
    answers, drawn = derived.folder(house.home) / "answers" / "a.json", house.home / "cache" / "replay" / "0000-125.npz"
    for file in (answers, drawn):
        atomic.write_bytes(file, b"kept")
    assert erase(house, wish("pi-1-b00t-999999", number=7)).state == "merged"
    assert answers.exists(), "nothing of it was here"
    erase(house, wish(ONE.record.chunk_id))
    assert not derived.folder(house.home).exists()
    assert drawn.exists(), "a drawn frame shows nobody"
    house.close()
