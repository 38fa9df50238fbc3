"""Undo, skips, marks, filters and near-duplicates in the terminal, and device text that steers none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from server.database import store as db
from server.dataset import sample_row
from server.review import decisions, leases, marks
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.review.deciding import name, row_of

POLE, CURB = "Caution, pole ahead.", "Stop, curb ahead."
NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31mStop\x07, \u202ecurb\nahead.\x1b[0m"


def fill(house: House, count: int = 3, seed: int | None = None) -> None:
    house.send_all([moment(n, seed=seed, raw_output=POLE, spoken=POLE) for n in range(count)])


def review(house: House, typed: str, *options: object) -> str:
    done = server(house.home, "samples", "review", "--as", "Ana", *options, typed=typed)
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(house: House, count: int = 3) -> list[str]:
    return [row_of(house, name(n)).state for n in range(count)]


def test_u_takes_the_newest_decision_back_and_asks_about_it_again(house: House) -> None:
    fill(house)
    shown = review(house, "y\nr\nu\n-\nq\n")
    assert f"Undone: {name(1)} stands as before." in shown
    assert shown.count(name(1)) >= 3, "asked about, undone, asked about again"
    assert states(house) == ["pending", "reviewed", "reviewed"]
    assert row_of(house, name(1)).ground_truth == ""
    assert "2 decided, 1 still wait." in shown
    assert "There is nothing to undo." in review(house, "u\nq\n", "--as", "Ben")


def test_undo_by_one_command_and_only_what_is_ones_own(house: House) -> None:
    fill(house, 1)
    review(house, "e\nStop, curb ahead.\n")
    assert server(house.home, "samples", "undo", "--as", "Ben").returncode == 1
    (act,) = json.loads(server(house.home, "samples", "undo", "--list", "--json", "--as", "Ana").stdout)
    assert (act["action"], act["before"], act["after"]) == ("edit", POLE, CURB)
    assert f"{POLE} → {CURB}" in server(house.home, "samples", "undo", "--list", "--as", "Ana").stdout
    done = server(house.home, "samples", "undo", act["act"], "--as", "Ana")
    assert (done.returncode, f"stands as before: {POLE}" in done.stdout) == (0, True)
    assert states(house, 1) == ["pending"]


def test_a_decided_moment_is_returned_to_review(house: House) -> None:
    fill(house, 1)
    assert server(house.home, "samples", "review", name(0), "--accept").returncode == 0
    assert server(house.home, "samples", "review", name(0), "--return").returncode == 0
    assert states(house, 1) == ["pending"]


def test_a_skip_is_remembered_and_blocks_nothing(house: House) -> None:
    fill(house)
    review(house, "s\nq\n")
    shown = review(house, "q\n")
    assert shown.index(name(1)) < shown.index("Was this correct?"), "the next one is asked about first"
    assert [row["sample_id"] for row in listed(house, "--as", "Ana")] == [name(1), name(0), name(2)]
    assert [row["sample_id"] for row in listed(house, "--as", "Ben")] == [name(2), name(1), name(0)]
    assert [row["sample_id"] for row in listed(house, "--as", "Ana", "--skipped")] == [name(2)]


def listed(house: House, *options: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(server(house.home, "samples", "list", "--json", *options).stdout)
    return found


def test_near_duplicates_are_decided_with_it_when_asked_for(house: House) -> None:
    fill(house, 3, seed=0)
    house.send(moment(3, seed=1, raw_output=POLE))
    shown = review(house, "s\nx\nx\nx\ny\nu\nx\ny\nq\n")
    assert "2 near-duplicates are decided with it." in shown
    assert "Only this moment is decided." in shown
    assert "2 near-duplicates with it." in shown
    assert states(house, 4) == ["reviewed", "reviewed", "reviewed", "pending"]
    assert row_of(house, name(0)).batch == name(2)
    server(house.home, "samples", "undo", "--as", "Ana")
    assert states(house, 4) == ["pending"] * 4


def test_marks_are_left_and_shown(house: House) -> None:
    fill(house, 1)
    review(house, "d\nc\nIs it a bin?\nq\n")
    assert server(house.home, "samples", "mark", name(0), "--assign", "Ben", "--as", "Ana").returncode == 0
    shown = server(house.home, "samples", "show", name(0)).stdout
    assert all(part in shown for part in ("Difficult, says Ana.", "Assigned to Ben by Ana.", "Ana: Is it a bin?"))
    assert "1 of 1" in server(house.home, "samples", "list", "--difficult", "--assigned", "Ben").stdout
    review(house, "d\nq\n")
    assert "No pending moments." in server(house.home, "samples", "list", "--difficult").stdout
    assert server(house.home, "samples", "mark", "nobody", "--difficult").returncode == 1


def test_filters_choose_what_is_asked_about(house: House) -> None:
    house.send_all([moment(0, wearer="Ada", raw_output=POLE), moment(1, wearer="Bea", raw_output=POLE)])
    assert name(1) not in review(house, "q\n", "--wearer", "Ada")
    assert "No moments wait" in review(house, "", "--thing", "cone")
    for options, why in ((("--thing", "tree house"), "no thing"), (("--since", "yesterday"), "no day")):
        done = server(house.home, "samples", "list", *options)
        assert (done.returncode, why in done.stderr) == (1, True)
    assert len(listed(house, "--thing", "pole", "--since", "2023-11-14", "--until", "2023-11-14")) == 2


def test_another_persons_moment_is_passed_over(house: House) -> None:
    fill(house, 2)
    leases.take(house.store, name(1), "Ben", now_s=4e9)
    shown = review(house, "y\n")
    assert f"Ben has {name(1)} before them." in shown
    assert states(house, 2) == ["reviewed", "pending"]
    assert set(leases.standing(house.store, [name(0), name(1)], now_s=4e9)) == {name(1)}, "its own was given back"


def test_a_named_row_that_does_not_stand_any_more_is_not_decided_about(house: House) -> None:
    fill(house, 1)
    read = row_of(house, name(0)).row_id
    decision = ReviewDecision("edit", "Ben", CURB)
    decisions.review(house.store, house.dataset, name(0), decision, now_s=1.0)
    done = server(house.home, "samples", "review", read, "--accept")
    assert done.returncode == 1
    assert all(part in done.stderr for part in (POLE, CURB, "Ben decided"))


@pytest.fixture
def nasty(house: House) -> House:
    """Device text with escapes in every field that is text, and rows from before the merge took them out."""
    fields: dict[str, Any] = dict.fromkeys(
        ("raw_output", "spoken", "wearer", "context", "model_version", "consent"), NASTY
    )
    house.send(moment(0, **fields, flags=("wearer", NASTY), extra={NASTY: {"deep": [NASTY]}}))
    said = spoken(name(0), sound(5), heard=NASTY, heard_by=NASTY, heard_meaning=NASTY, wearer=NASTY)
    house.send(said)
    house.merge.put_transcript("pi-1", said.record.correction_id, transcript=NASTY, confidence=0.9, proposal=NASTY)
    return house


def test_escapes_of_a_device_do_not_pass_the_merge(nasty: House) -> None:
    log = "".join(file.read_text("utf-8") for file in (nasty.dataset.log, nasty.dataset.records))
    for text in (log, json.dumps(sample_row.to_dict(row_of(nasty, name(0))))):
        assert not any(sign in text for sign in ("\\u001b", "\\u0007", "\\u009b", "\\u202e", "\x9b", "\u202e"))
    assert row_of(nasty, name(0)).spoken == "Stop, curb ahead."
    again = moment(0, raw_output=NASTY)
    assert nasty.merge.put_record("pi-1", "chunk", again.record).state == "refused", "other words are another record"


def test_a_record_that_came_before_the_merge_took_escapes_out_may_come_again(house: House) -> None:
    sent = moment(0, raw_output=NASTY)
    house.send(sent)
    with house.store.writing() as connection:
        body = {**json.loads(json.dumps(_body(house))), "raw_output": NASTY}
        connection.execute(update(db.records).values(body=body))
    assert house.merge.put_record("pi-1", "chunk", sent.record).state == "merged"


def _body(house: House) -> object:
    from sqlalchemy import select

    with house.store.reading() as connection:
        return connection.execute(select(db.records.c.body)).scalar()


def test_escapes_that_are_stored_already_reach_no_terminal(nasty: House) -> None:
    row = replace(row_of(nasty, name(0)), spoken=NASTY, raw_output=NASTY, transcript=NASTY, speaker_id=NASTY)
    with nasty.store.writing() as connection:
        body = sample_row.to_dict(replace(row, model_version=NASTY, context=NASTY, walk_id=NASTY))
        connection.execute(update(db.samples).values(body=body))
        connection.execute(update(db.devices).values(status={"online": True, "agent_version": NASTY}))
    marks.comment(nasty.store, name(0), "Ana", NASTY, now_s=1.0)
    for command in (
        ("samples", "list"),
        ("samples", "list", "--json"),
        ("samples", "show", name(0)),
        ("samples", "review"),
        ("samples", "review", name(0), "--accept"),
        ("samples", "show", NASTY),
        ("samples", "mark", name(0)),
        ("stats",),
        ("vocabulary", "check", NASTY),
    ):
        done = server(nasty.home, *command, typed="what\ny\nq\n")
        printed = done.stdout + done.stderr
        assert printed.strip()
        assert not set(printed) & {"\x1b", "\x07", "\x9b", "\u202e", "\r", "\x00"}, command


def test_one_long_word_does_not_fill_the_terminal(house: House) -> None:
    house.send(moment(0, raw_output="w" * 4000, spoken="w" * 4000))
    for shown in (server(house.home, "samples", "list").stdout, review(house, "q\n")):
        assert max(map(len, shown.splitlines())) < 300
