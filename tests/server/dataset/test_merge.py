"""What devices send becomes the dataset once, in whatever order it comes."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from server.database import store as db
from server.dataset import sample_row, wording
from server.dataset.came import Merged
from server.dataset.sample_row import SampleRow
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import vocabulary
from shared.messages import Status
from tests.server.dataset.moments import House, moment, part, picture, sound, spoken


def lines(house: House) -> list[SampleRow]:
    return list(house.dataset.history())


def test_a_chunk_becomes_one_line_of_metadata_jsonl_with_the_fields_of_both_seeds(house: House) -> None:
    sent = moment(with_clip=True)
    assert all(result == Merged("merged") for result in house.send(sent))
    last = json.loads(house.dataset.log.read_text().splitlines()[-1])
    assert list(last)[:3] == ["frame_path", "audio_path", "instruction"]
    for name in ("raw_output", "llm_correction", "ground_truth", "timestamp", "speaker_id", "context", "was_correct"):
        assert name in last
    assert (house.dataset.folder / last["frame_path"]).read_bytes() == sent.payloads["frame"]
    assert (house.dataset.folder / last["audio_path"]).read_bytes() == sent.payloads["audio"]
    assert (house.dataset.folder / last["clip_path"]).read_bytes() == sent.payloads["clip"]
    assert last["speaker_id"] == "Ada"
    assert last["walk_id"] == "walk-1"
    assert last["was_correct"] is None


def test_a_sample_appears_only_when_record_frame_and_audio_are_there(house: House) -> None:
    sent = moment()
    house.put_part("pi-1", sent.record.chunk_id, sent.record.parts[0], sent.payloads["frame"])
    house.merge.put_record("pi-1", "chunk", sent.record)
    assert lines(house) == []
    house.put_part("pi-1", sent.record.chunk_id, sent.record.parts[1], sent.payloads["audio"])
    assert [row.row_id for row in lines(house)] == [f"{sent.record.chunk_id}#1"]


def test_the_same_message_again_is_merged_again_and_changes_nothing(house: House) -> None:
    sent = moment(with_clip=True)
    house.send(sent)
    before = house.dataset.log.read_bytes()
    assert house.send(sent) == [Merged("merged", new=False)] * 4
    assert house.dataset.log.read_bytes() == before


def test_another_picture_under_the_same_key_is_quarantined_and_refused(house: House) -> None:
    sent = moment()
    house.send(sent)
    other = picture(2)
    result = house.put_part("pi-1", sent.record.chunk_id, part("frame", other), other)
    assert result.state == "refused"
    assert "other bytes" in result.reason
    with house.store.reading() as connection:
        found = connection.execute(select(db.quarantine)).one()
    assert (house.home / "quarantine" / found.path).read_bytes() == other
    assert house.dataset.rows()[0].frame_path.endswith(f"{sent.record.parts[0].sha256}.jpg")


def test_another_record_under_the_same_id_is_quarantined_and_refused(house: House) -> None:
    house.send(moment())
    result = house.merge.put_record("pi-1", "chunk", moment(raw_output="Stop, curb ahead.").record)
    assert result.state == "refused"
    assert house.dataset.rows()[0].raw_output == "Continue straight, path is clear."


def test_a_device_can_not_speak_for_another(house: House) -> None:
    sent = moment()
    assert house.merge.put_record("pi-2", "chunk", sent.record).state == "refused"
    house.send(sent)
    stolen = moment(device="pi-2", chunk_id=sent.record.chunk_id)
    assert house.merge.put_record("pi-2", "chunk", stolen.record).state == "refused"
    foreign = spoken(sent.record.chunk_id, sound(5), device="pi-2")
    house.send(foreign)
    assert house.dataset.rows()[0].flags == ("wearer",)


@pytest.mark.parametrize(("device", "boot"), [("pi-2", "boot"), ("pi", "1-abcdef")])
def test_an_id_that_is_another_devices_to_give_is_refused(house: House, device: str, boot: str) -> None:
    taken = moment(device=device, boot_id=boot, chunk_id="pi-1-abcdef-000007").record
    result = house.merge.put_record(device, "chunk", taken)
    assert result.state == "refused"
    assert "does not begin with its device" in result.reason


@pytest.mark.both_databases
def test_a_name_that_no_index_takes_is_refused_rather_than_asked_for_again_for_ever(house: House) -> None:
    drawn = random.Random(1)
    letters = "".join(chr(drawn.randrange(0x20000, 0x2A000)) for _ in range(257))
    for named in (moment(0, wearer=letters), moment(1, model_version=letters)):
        said = house.merge.put_record("pi-1", "chunk", named.record)
        assert said.state == "refused"
        assert "257 letters" in said.reason
    longest = moment(3, wearer=letters[:256], model_version=letters[1:], context=letters * 15)
    assert [one.state for one in house.send(longest)] == ["merged"] * 3


def test_a_part_that_its_record_does_not_name_is_refused(house: House) -> None:
    sent = moment()
    house.merge.put_record("pi-1", "chunk", sent.record)
    other = sound(9)
    assert house.put_part("pi-1", sent.record.chunk_id, part("audio", other), other).state == "refused"
    assert house.put_part("pi-1", sent.record.chunk_id, part("clip", b"x"), b"x").state == "refused"


def test_a_file_that_is_not_what_it_is_called_is_refused(house: House) -> None:
    for kind in ("frame", "audio", "clip", "correction_audio"):
        result = house.put_part("pi-1", f"chunk-{kind}", part(kind, b"<html>hello"), b"<html>hello")
        assert result.state == "refused"
        assert f"the {kind} is not" in result.reason


def test_a_record_that_contradicts_a_part_sent_before_it_is_refused(house: House) -> None:
    sent = moment()
    house.put_part("pi-1", sent.record.chunk_id, part("frame", picture(2)), picture(2))
    assert house.merge.put_record("pi-1", "chunk", sent.record).state == "refused"


def test_quarantine_keeps_to_its_budget(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.dataset.merge.QUARANTINE_MAX_BYTES", 5)
    result = house.put_part("pi-1", "chunk-1", part("frame", b"not a picture"), b"not a picture")
    assert result.state == "refused"
    assert list((house.home / "quarantine").iterdir()) == []
    assert list((house.home / "incoming").iterdir()) == []


def test_a_correction_that_is_heard_becomes_the_proposed_wording(house: House) -> None:
    sent = moment()
    said = spoken(sent.record.chunk_id, sound(5))
    house.send_all([sent, said])
    assert house.dataset.rows()[0].flags == ("wearer", "correction")
    assert house.dataset.rows()[0].llm_correction == ""  # the wearer objected; nobody has listened yet
    [waiting] = house.merge.unheard()
    assert waiting.sound() == sound(5)
    assert waiting.record == said.record
    house.merge.put_transcript(
        waiting.device,
        said.record.correction_id,
        transcript="cone on the left",
        confidence=0.9,
        proposal="Caution, cone on the left.",
    )
    row = house.dataset.rows()[0]
    assert (row.instruction, row.source, row.author) == ("Caution, cone on the left.", "wearer_voice", "Ada")
    assert row.transcript == "cone on the left"
    assert row.correction_audio_path.startswith("audio/")
    assert house.merge.unheard() == []


def test_the_newest_of_two_corrections_counts_whichever_arrives_first(house: House) -> None:
    sent = moment()
    late, early = spoken(sent.record.chunk_id, sound(6), n=9), spoken(sent.record.chunk_id, sound(5), n=4)
    house.send_all([late, sent, early])
    for record, words in ((late, "Caution, bin ahead."), (early, "Caution, pole ahead.")):
        house.merge.put_transcript("pi-1", record.record.correction_id, transcript="w", confidence=1.0, proposal=words)
    assert house.dataset.rows()[0].instruction == "Caution, bin ahead."


def test_a_decision_stays_when_the_clip_comes_later(house: House) -> None:
    sent = moment(with_clip=True)
    house.merge.put_record("pi-1", "chunk", sent.record)
    for described in sent.record.parts[:2]:
        house.put_part("pi-1", sent.record.chunk_id, described, sent.payloads[described.kind])
    decisions.review(
        house.store,
        house.dataset,
        sent.record.chunk_id,
        ReviewDecision("edit", "Eve", "Caution, bin ahead."),
        now_s=1.0,
    )
    house.put_part("pi-1", sent.record.chunk_id, sent.record.parts[2], sent.payloads["clip"])
    row = house.dataset.rows()[0]
    assert row.reviewed
    assert row.ground_truth == "Caution, bin ahead."
    assert row.clip_path
    assert [r.row_id for r in lines(house)] == [f"{row.sample_id}#{n}" for n in (1, 2, 3)]
    assert [r.supersedes for r in lines(house)] == ["", f"{row.sample_id}#1", f"{row.sample_id}#2"]


def test_a_late_correction_that_says_something_else_puts_the_moment_back_in_the_queue(house: House) -> None:
    sent = moment()
    house.send(sent)
    decisions.review(house.store, house.dataset, sent.record.chunk_id, ReviewDecision("nothing", "Eve"), now_s=1.0)
    said = spoken(sent.record.chunk_id, sound(5))
    house.send(said)
    assert house.dataset.rows()[0].reviewed
    house.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript="curb", confidence=0.9, proposal="Stop, curb ahead."
    )
    row = house.dataset.rows()[0]
    assert not row.reviewed
    assert row.instruction == "Stop, curb ahead."


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.permutations(range(6)), repeats=st.lists(st.integers(0, 5), max_size=3))
def test_any_order_and_any_repeats_give_the_same_sample(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], repeats: list[int]
) -> None:
    house = House(tmp_path_factory.mktemp("home"))
    sent = moment(with_clip=True)
    said = spoken(sent.record.chunk_id, sound(5))
    chunk_id, correction_id = sent.record.chunk_id, said.record.correction_id
    steps: list[Callable[[], Merged]] = [
        partial(house.merge.put_record, "pi-1", "chunk", sent.record),
        *(partial(house.put_part, "pi-1", chunk_id, p, sent.payloads[p.kind]) for p in sent.record.parts),
        partial(house.merge.put_record, "pi-1", "correction", said.record),
        partial(house.put_part, "pi-1", correction_id, said.record.parts[0], said.payloads["correction_audio"]),
    ]
    for step in [*order, *repeats]:
        assert steps[step]().state == "merged"
    house.merge.put_transcript("pi-1", correction_id, transcript="bin", confidence=0.9, proposal="Caution, bin ahead.")
    [row] = house.dataset.rows()
    assert row.instruction == "Caution, bin ahead."
    assert row.flags == ("wearer", "correction")
    assert row.clip_path
    assert len({r.row_id for r in lines(house)}) == len(lines(house))
    house.close()


def test_the_first_walk_teaches_and_later_ones_are_split_by_hash_and_for_ever(house: House) -> None:
    house.send_all([moment(n, walk_id=f"walk-{n}") for n in range(40)])
    splits = {row.walk_id: row.split for row in house.dataset.rows()}
    assert splits["walk-0"] == "train"
    assert 0.05 < sum(split == "held_out" for split in splits.values()) / 40 < 0.4
    held_out = next(walk for walk, split in splits.items() if split == "held_out")
    house.send(moment(99, walk_id=held_out))
    assert house.dataset.rows()[-1].split == "held_out"


def test_unknown_fields_of_a_record_reach_the_dataset_but_never_overwrite_its_own(house: House) -> None:
    house.send(moment(extra={"lanes": "two", "lighting": "night", "instruction": "Run!", "reviewed": True}))
    row = house.dataset.rows()[0]
    assert row.extra == {"lanes": "two"}
    assert row.lighting == ""
    assert row.instruction != "Run!"
    assert not row.reviewed


def test_the_last_status_is_kept(house: House) -> None:
    house.merge.put_statuses({"pi-1": Status(online=True, model_version="v1")})
    house.merge.put_statuses({"pi-1": Status(online=False, model_version="v2")})
    with house.store.reading() as connection:
        assert connection.execute(select(db.devices.c.status)).scalar_one()["model_version"] == "v2"


def test_a_row_survives_being_written_and_read(house: House) -> None:
    house.send(moment(extra={"lanes": "two"}))
    [row] = house.dataset.rows()
    assert sample_row.from_dict(json.loads(json.dumps(sample_row.to_dict(row)))) == row


def test_content_that_two_chunks_share_is_stored_once(house: House) -> None:
    house.send_all([moment(1, seed=0), moment(2, seed=0)])
    assert len(list((house.dataset.folder / "frames").iterdir())) == 1
    assert len(house.dataset.rows()) == 2


def test_silence_and_path_is_clear_mean_the_same() -> None:
    assert wording.means_the_same("", vocabulary.CLEAR)
    for one, other in itertools.combinations(("Stop, curb ahead.", "Caution, cone ahead.", ""), 2):
        assert not wording.means_the_same(one, other)
