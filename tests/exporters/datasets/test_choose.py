"""Which rows leave, and under which names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dataset.blobs import FolderBlobs
from server.dataset.sample_row import SampleRow
from server.review.export import Wanted, choose, draw, names_of
from shared import vocabulary

BLOBS = FolderBlobs(Path("dataset"))


def sample(n: int = 0, **changes: Any) -> SampleRow:
    values: dict[str, Any] = {
        "row_id": f"pi-1-b00t-{n:06d}#2",
        "sample_id": f"pi-1-b00t-{n:06d}",
        "frame_path": f"frames/{n}.jpg",
        "audio_path": f"audio/{n}.wav",
        "instruction": "Stop, curb ahead.",
        "raw_output": "Caution, pole ahead.",
        "llm_correction": "Stop, curb ahead.",
        "ground_truth": "Stop, curb ahead.",
        "was_correct": False,
        "timestamp": 1_700_000_000.0 + n,
        "device": "pi-1",
        "walk_id": "walk-1",
        "reviewed": True,
    }
    return SampleRow(**{**values, **changes})


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{"silence": vocabulary.CLEAR, **changes})


def test_only_confirmed_rows_leave_unless_all_are_asked_for() -> None:
    rows = [
        sample(0),
        sample(1, reviewed=False, ground_truth=""),
        sample(2, reviewed=False, ground_truth="", rejected=True),
        sample(3, reviewed=False, ground_truth="", llm_correction="", correction_id="c1"),
    ]
    chosen, left_out = choose(rows, wanted(), BLOBS)
    assert [row.name for row in chosen] == ["walk-1_chunk0000"]
    assert left_out == {"not reviewed yet": 2, "rejected": 1}
    chosen, left_out = choose(rows, wanted(only="all"), BLOBS)
    assert [row.name for row in chosen] == ["walk-1_chunk0000", "walk-1_chunk0001"]
    assert left_out == {"rejected": 1, "the wearer's correction was not understood yet": 1}


def test_silence_is_written_as_asked_or_left_out() -> None:
    silent = [sample(0, ground_truth="", instruction="")]
    assert choose(silent, wanted(), BLOBS)[0][0].text == vocabulary.CLEAR
    assert choose(silent, wanted(silence="<silence>"), BLOBS)[0][0].text == "<silence>"
    assert choose(silent, wanted(silence=""), BLOBS) == ([], {"nothing should be said": 1})


def test_what_was_hidden_from_a_picture_does_not_leave_as_what_it_shows() -> None:
    rows = [
        sample(0, extra={"hidden": "1 regions"}),
        sample(1, extra={"hidden": "whole"}),
        sample(2, extra={"hidden": "1 regions"}, ground_truth="Stop, person ahead."),
    ]
    chosen, left_out = choose(rows, wanted(), BLOBS)
    assert [row.name for row in chosen] == ["walk-1_chunk0000"]
    assert left_out == {"what should be said of it was made unrecognisable": 2}


def test_a_split_leaves_alone() -> None:
    rows = [sample(0), sample(1, split="held_out", walk_id="walk-2")]
    chosen, left_out = choose(rows, wanted(split="held_out"), BLOBS)
    assert [row.name for row in chosen] == ["walk-2_chunk0001"]
    assert left_out == {"of the other split": 1}


def test_at_most_so_many_of_each_object_leave_and_always_the_same() -> None:
    rows = [sample(n) for n in range(20)] + [sample(n, ground_truth="Caution, pole ahead.") for n in range(20, 23)]
    once, left_out = choose(rows, wanted(per_object=5), BLOBS)
    again, _ = choose(rows[::-1], wanted(per_object=5), BLOBS)
    assert [row.name for row in once] == [row.name for row in again]
    assert sum(row.text == "Stop, curb ahead." for row in once) == 5
    assert sum(row.text == "Caution, pole ahead." for row in once) == 3
    assert left_out == {"more than 5 of one object": 15}


@pytest.mark.parametrize("most", [1, 3])
def test_a_draw_keeps_the_order_given(most: int) -> None:
    kept = draw([f"{kind}{n}" for n in range(9) for kind in "ab"], most, kind=lambda one: one[0], name=lambda one: one)
    assert len(kept) == 2 * most
    assert kept == sorted(kept, key=lambda one: (int(one[1:]), one[0]))


ids = st.builds(
    lambda boot, n: f"pi-1-{boot}-{n:06d}", st.sampled_from(["b00t", "c00l"]), st.integers(0, 30)
) | st.sampled_from(["odd", "odd-one", "label-abc-x"])


@given(st.lists(st.tuples(ids, st.sampled_from(["walk-1", "walk-2"])), unique_by=lambda pair: pair[0]))
def test_names_are_unique_and_as_the_dataset_lays_them_out(pairs: list[tuple[str, str]]) -> None:
    rows = [sample(n, sample_id=sample_id, walk_id=walk) for n, (sample_id, walk) in enumerate(pairs)]
    names = names_of(rows)
    assert len(set(names.values())) == len(rows)
    assert names == names_of(rows[::-1])
    assert all(re.fullmatch(rf"{row.walk_id}_chunk\d{{4,}}", names[row.sample_id]) for row in rows)


def test_a_name_tells_the_place_in_the_walk_unless_two_moments_share_it() -> None:
    assert names_of([sample(7)]) == {"pi-1-b00t-000007": "walk-1_chunk0007"}
    twice = [sample(7), sample(7, sample_id="pi-1-c00l-000007", timestamp=1.0)]
    assert names_of(twice) == {"pi-1-c00l-000007": "walk-1_chunk0000", "pi-1-b00t-000007": "walk-1_chunk0001"}
