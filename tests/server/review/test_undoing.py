"""Undo: what was decided comes back exactly as it was, and nobody else's decision goes with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from server.database import review_tables as tables
from server.review import decisions, undoing
from server.review.decisions import ReviewDecision
from shared.errors import Refused
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.review.deciding import NOW_S, decide, name, row_of

POLE, CURB = "Caution, pole ahead.", "Stop, curb ahead."


def undo(house: House, by: str = "Ana", act: int | None = None) -> list[str]:
    return [row.sample_id for row in undoing.undo(house.store, house.dataset, by, act=act, now_s=NOW_S + 1)]


@pytest.mark.parametrize(("action", "text"), [("accept", ""), ("edit", CURB), ("nothing", ""), ("reject", "")])
def test_each_decision_is_taken_back_and_the_moment_waits_as_before(desk: House, action: str, text: str) -> None:
    desk.send(moment(0, raw_output=POLE))
    before = row_of(desk, name(0))
    decide(desk, before.row_id, by="Ana", action=action, text=text)
    assert undo(desk) == [name(0)]
    now = row_of(desk, name(0))
    assert replace(now, row_id=before.row_id, supersedes=before.supersedes) == before
    assert now.supersedes.endswith("#2")
    assert desk.dataset.rows() == [now], "the log says so, too"
    assert [past.action for past in decisions.history(desk.store, name(0))] == [action, "undo"]


def test_decisions_are_taken_back_one_after_the_other_to_the_first(desk: House) -> None:
    desk.send(moment(0, raw_output=POLE))
    first = row_of(desk, name(0))
    for action, text in (("accept", ""), ("edit", CURB), ("reject", ""), ("return", "")):
        decide(desk, row_of(desk, name(0)).row_id, by="Ana", action=action, text=text)
    states = []
    for _ in range(4):
        undo(desk)
        states.append((row_of(desk, name(0)).state, row_of(desk, name(0)).ground_truth))
    assert states == [("rejected", ""), ("reviewed", CURB), ("reviewed", POLE), ("pending", "")]
    now = row_of(desk, name(0))
    assert replace(now, row_id=first.row_id, supersedes="") == first
    with pytest.raises(Refused, match="nothing to undo"):
        undo(desk)


def test_nobody_elses_decision_is_undone(desk: House) -> None:
    desk.send(moment(0, raw_output=POLE))
    decide(desk, row_of(desk, name(0)).row_id, by="Ana")
    with pytest.raises(Refused, match="nothing to undo"):
        undo(desk, "Ben")
    decide(desk, row_of(desk, name(0)).row_id, by="Ben", action="edit", text=CURB)
    with pytest.raises(Refused, match="Ben has decided about it since: Stop, curb ahead"):
        undo(desk, "Ana")
    assert row_of(desk, name(0)).ground_truth == CURB
    undo(desk, "Ben")  # now Ana's stands again, and can be taken back
    assert row_of(desk, name(0)).ground_truth == POLE
    assert undo(desk, "Ana") == [name(0)]
    assert row_of(desk, name(0)).state == "pending"


@pytest.mark.both_databases
def test_what_was_decided_at_once_is_taken_back_at_once_or_not_at_all(desk: House) -> None:
    desk.send_all([moment(n, raw_output=POLE) for n in range(3)])
    decide(desk, *(row_of(desk, name(n)).row_id for n in range(3)), by="Ana")
    (act,) = undoing.newest(desk.store, "Ana")
    assert (act.sample_ids, act.action, act.after, act.undone) == (tuple(map(name, range(3))), "accept", POLE, False)
    decide(desk, row_of(desk, name(1)).row_id, by="Ben", action="reject")
    with pytest.raises(Refused, match="Ben"):
        undo(desk)
    assert decisions.counts(desk.store) == {"pending": 0, "reviewed": 2, "rejected": 1}
    undo(desk, "Ben")
    assert undo(desk) == list(map(name, range(3)))
    assert decisions.counts(desk.store)["pending"] == 3
    assert undoing.newest(desk.store, "Ana")[0].undone
    with pytest.raises(Refused, match="undone already"):
        undo(desk, act=act.act)


def test_only_the_last_twenty_can_be_taken_back(desk: House) -> None:
    desk.send(moment(0, raw_output=POLE))
    for n in range(undoing.MOST + 2):
        action, text = ("edit", CURB) if n % 2 else ("nothing", "")
        decide(desk, row_of(desk, name(0)).row_id, by="Ana", action=action, text=text)
    acts = undoing.newest(desk.store, "Ana")
    assert len(acts) == undoing.MOST
    with pytest.raises(Refused, match="not one of your newest"):
        undo(desk, act=acts[-1].act - 1)
    for _ in range(undoing.MOST):
        undo(desk)
    with pytest.raises(Refused, match="nothing to undo"):
        undo(desk)
    assert row_of(desk, name(0)).state == "reviewed"


def test_what_came_in_since_stays_and_a_correction_that_came_in_keeps_the_moment_waiting(desk: House) -> None:
    late = moment(0, raw_output=POLE, with_clip=True)
    desk.merge.put_record("pi-1", "chunk", late.record)
    for part in late.record.parts[:2]:
        desk.put_part("pi-1", name(0), part, late.payloads[part.kind])
    decide(desk, row_of(desk, name(0)).row_id, by="Ana", action="nothing")
    desk.put_part("pi-1", name(0), late.record.parts[2], late.payloads["clip"])
    undo(desk)
    assert (row_of(desk, name(0)).state, bool(row_of(desk, name(0)).clip_path)) == ("pending", True)
    decide(desk, row_of(desk, name(0)).row_id, by="Ana", action="nothing")
    said = spoken(name(0), sound(5))
    desk.send(said)
    desk.merge.put_transcript("pi-1", said.record.correction_id, transcript="kerb", confidence=0.9, proposal=CURB)
    with pytest.raises(Refused, match="waits for review"):
        undo(desk)


def test_a_decision_from_before_acts_were_kept_can_be_taken_back(desk: House) -> None:
    desk.send(moment(0, raw_output=POLE))
    decide(desk, row_of(desk, name(0)).row_id, by="Ana")
    with desk.store.writing() as connection:
        connection.execute(delete(tables.review_acts))
    assert undo(desk) == [name(0)]
    assert undoing.newest(desk.store, "Ana")[0].undone


def test_a_doubted_label_is_doubted_again(desk: House) -> None:
    from server.review.doubts import Doubt, put_back

    desk.send(moment(0, raw_output=POLE))
    decide(desk, row_of(desk, name(0)).row_id, by="Ana")
    put_back(desk.store, desk.dataset, [Doubt(name(0), POLE, CURB, 0.8, "It looks otherwise.")], now_s=NOW_S)
    decide(desk, row_of(desk, name(0)).row_id, by="Ben", action="reject")
    undo(desk, "Ben")
    now = row_of(desk, name(0))
    assert (now.doubted, now.doubt_score, now.ground_truth) == (True, 0.8, POLE)


actions = st.lists(
    st.tuples(st.sampled_from(["Ana", "Ben"]), st.sampled_from(["accept", "nothing", "reject", "return", "undo"])),
    max_size=8,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
def test_whatever_was_done_the_log_and_the_database_agree_and_undo_never_skips_a_later_decision(
    memory_path: Path, steps: list[tuple[str, str]]
) -> None:
    house = House(Path(mkdtemp(dir=memory_path)))
    house.send(moment(0, raw_output=POLE))
    standing: list[tuple[str, str]] = []  # decisions that changed something and were not taken back, newest last
    for by, action in steps:
        if action == "undo":
            own = [at for at, (who, _) in enumerate(standing) if who == by]
            if own and own[-1] == len(standing) - 1:
                undo(house, by)
                standing.pop()
            else:
                with pytest.raises(Refused):
                    undo(house, by)
            continue
        before = row_of(house, name(0))
        decision = ReviewDecision(action, by)
        after = decisions.review(house.store, house.dataset, name(0), decision, now_s=NOW_S)
        if after.row_id != before.row_id:
            standing.append((by, action))
    now = row_of(house, name(0))
    assert house.dataset.rows() == [now]
    state = {"accept": "reviewed", "nothing": "reviewed", "reject": "rejected", "return": "pending"}
    assert now.state == (state[standing[-1][1]] if standing else "pending")
    with house.store.reading() as connection:
        assert len(connection.execute(select(tables.review_acts.c.review)).all()) == len(
            connection.execute(select(tables.reviews.c.id)).all()
        )
    house.close()
