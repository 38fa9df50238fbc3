"""The runtime benchmark's rows do the work that their names say, and its rates are counted, not assumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import _runtime_hits as hits
from benchmarks import runtime
from benchmarks._runtime_sides import Picture, Plain, starter
from server.walks import render_frame, walk_from_name
from shared.runtime import GuidanceModel


@pytest.fixture(scope="module")
def model(starter_bundle: Path) -> GuidanceModel:
    return GuidanceModel.load(starter_bundle, threads=1, allow_demo=True)


def pictures(count: int) -> list[Picture]:
    return list(hits._drawn("market"))[:count]


def test_the_naive_loop_over_our_graphs_writes_what_the_runtime_writes(
    model: GuidanceModel, starter_bundle: Path
) -> None:
    naive = Plain(starter(), starter_bundle, threads=1)
    for picture in pictures(6):
        took = naive(picture)
        said = model.word(model.look(picture), constrained=False)
        assert tuple(naive.written) == said.token_ids
        assert 0 < took.look_s < took.whole_s
        assert took.cpu_s > 0


def test_an_answer_that_was_written_before_is_a_hit_and_one_that_nobody_drafts_is_none(model: GuidanceModel) -> None:
    same = [render_frame(walk_from_name("market"), 3.0, *hits.SIZE_PX).image] * 8
    found = hits._over(model, {"same": same})
    assert found["every look"]["one_pass"]["hits"] >= 7
    assert found["one look in eight"]["one_pass"]["count"] == 1
    model.language.forget()
    observation = model.look(same[0])
    assert model.word(observation, drafted=False).passes == len(model.word(observation).token_ids) + 1


def test_where_recordings_are_absent_the_reason_is_told(
    model: GuidanceModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hits, "DATA", tmp_path)
    five = pictures(5)
    monkeypatch.setattr(hits, "_drawn", lambda route: iter(five))
    found = hits.rates(model)
    assert found["drawn"]["every look"]["one_pass"]["count"] == 5 * len(hits.ROUTES)
    assert "walks/crosswalk_02.mp4" in found["real"]["missing"]


def test_a_headline_at_a_measured_rate_lies_between_the_rows_that_it_is_made_of() -> None:
    seconds = {runtime.TRANSFORMERS: 8.0, runtime.PLAIN: 4.0, runtime.NAIVE: 2.0, runtime.OURS: 1.0, runtime.NEVER: 1.5}
    figures = {name: {"whole_s": took, "whole_cpu_s": took} for name, took in seconds.items()}
    drafting = {"drawn": {hits.EVERY_LOOK: {"one_pass": {"share": 0.5}}}, "real": {"missing": "not here"}}
    found = runtime.at_rate(figures, drafting)
    assert found == {
        f"drawn, {unit}": {runtime.TRANSFORMERS: 6.4, runtime.PLAIN: 3.2, runtime.NAIVE: 1.6}
        for unit in ("whole_s", "whole_cpu_s")
    }


def test_a_still_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.server.evaluation.stage import course_of

    course = course_of(lambda t: [], duration_s=6.0, step_s=2.0)
    shown: Iterator[Picture] = hits._recorded(course)
    assert len(list(shown)) == 3
