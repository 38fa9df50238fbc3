"""The homes that benchmarks measure are whole, and what streams says the same as what holds everything."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import _large_home
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.maintenance.check import check
from server.review import breakdown, export, figures, order, patterns, stats
from server.review.chosen import ChosenRows
from server.review.export import Wanted
from shared.clock import SystemClock


def test_a_large_home_is_whole_and_streams_say_what_lists_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_large_home, "KINDS", 60)
    monkeypatch.setattr(_large_home, "A_WALK", 25)
    _large_home.build(tmp_path, 120, own_files=True)
    found = check(tmp_path, SystemClock())
    assert (found.well, found.findings, found.files) == (True, (), found.files)
    assert found.files > 300
    dataset = Dataset(tmp_path / "dataset")
    rows = dataset.rows()
    with closing(open_store(tmp_path)) as store:
        assert figures.summary(store) == stats.summary(rows)
        assert figures.contributors(store) == breakdown.contributors(rows)
        reviewed = [row for row in rows if row.reviewed]
        assert {row.row_id for row in order.each(store, ("reviewed",))} == {row.row_id for row in reviewed}
        assert {row.row_id for row in dataset.newest()} == {row.row_id for row in rows}
        assert patterns.find(order.each(store, ("reviewed",))) == patterns.find(rows)
        light = breakdown.light_of(dataset.blobs)
        assert breakdown.by_light(rows, light) == breakdown.groups(rows, light)["by_light"]
        for wanted in (Wanted(silence=""), Wanted(silence="Path clear.", only="all", per_object=2)):
            chosen, left_out = export.choose(rows, wanted, dataset.blobs)
            streamed = ChosenRows.of(store, wanted, dataset.blobs)
            assert (list(streamed), streamed.left_out, len(streamed)) == (chosen, left_out, len(chosen))
            assert streamed[0] == chosen[0]
