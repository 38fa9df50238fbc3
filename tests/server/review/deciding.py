"""Decisions of people in tests, about rows that they read."""

from __future__ import annotations

from server.dataset.sample_row import SampleRow
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.dataset.moments import House

NOW_S = 1_700_001_000.0


def name(n: int) -> str:
    return f"pi-1-b00t-{n:06d}"


def row_of(house: House, sample_id: str) -> SampleRow:
    row = decisions.get(house.store, sample_id)
    assert row is not None
    return row


def decide(house: House, *row_ids: str, by: str, action: str = "accept", text: str = "") -> list[SampleRow]:
    batch = row_ids[0].rpartition("#")[0] if len(row_ids) > 1 else ""
    decision = ReviewDecision(action, by, text, batch=batch)
    return decisions.review_read(house.store, house.dataset, row_ids, decision, now_s=NOW_S)
