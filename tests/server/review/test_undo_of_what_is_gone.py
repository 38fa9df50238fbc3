"""Undo where a moment of a person's newest decision was erased: it stands in nobody's way."""

from __future__ import annotations

import pytest

from server.review import undoing
from shared.errors import Refused
from shared.messages import EraseRecord
from tests.server.dataset.moments import House, moment
from tests.server.review.deciding import NOW_S, decide, name, row_of

POLE = "Caution, pole ahead."


def erase(desk: House, n: int) -> None:
    wish = EraseRecord(f"pi-1-b00t-e{n:03d}", "pi-1", 1_700_000_200.0, (name(n),))
    assert desk.merge.put_record("pi-1", "erase", wish).state == "merged"


def test_what_was_erased_is_left_out_and_the_decision_before_it_is_taken_back(desk: House) -> None:
    desk.send_all([moment(n, seed=n, raw_output=POLE) for n in range(4)])
    decide(desk, row_of(desk, name(0)).row_id, by="Ana")
    decide(desk, row_of(desk, name(1)).row_id, by="Ana")
    decide(desk, *(row_of(desk, name(n)).row_id for n in (2, 3)), by="Ana")
    erase(desk, 1)
    erase(desk, 3)
    acts = undoing.newest(desk.store, "Ana")
    assert [act.sample_ids for act in acts] == [(name(0),)]
    rows = undoing.undo(desk.store, desk.dataset, "Ana", now_s=NOW_S)
    assert [row.sample_id for row in rows] == [name(0)]
    with pytest.raises(Refused, match="nothing to undo"):
        undoing.undo(desk.store, desk.dataset, "Ana", now_s=NOW_S)
