"""The dataset as `datasets` loads it: each moment once, as it stands now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from server.dataset import view
from server.dataset.folder import Dataset, heads
from server.dataset.line_index import LineIndex
from server.dataset.sample_row import next_version, to_dict
from server.dataset.view import LoadableView
from server.dataset.viewing import ViewApart
from server.maintenance.check import check
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import vocabulary
from shared.clock import ManualClock
from shared.errors import DatasetError
from shared.messages import EraseRecord
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def filled(house: House) -> House:
    """Six moments: four confirmed, each decided about twice; one waits, one was rejected."""
    for n in range(6):
        house.send(moment(n, seed=n))
    for text in ("Caution, pole ahead.", "Stop, curb ahead."):
        for n in range(4):
            decide(house, n, "nothing" if n == 3 and text.startswith("Stop") else "edit", text)
    decide(house, 5, "reject")
    return house


def decide(house: House, n: int, action: str, text: str = "") -> None:
    decisions.review(house.store, house.dataset, f"pi-1-b00t-{n:06d}", ReviewDecision(action, "Ben", text), now_s=1.0)


def loaded(house: House) -> list[dict[str, Any]]:
    return list(datasets.load_dataset(str(house.dataset.folder), split="train"))


def test_load_dataset_gives_each_confirmed_moment_once_with_its_newest_words_and_its_picture(filled: House) -> None:
    done = server(filled.home, "samples", "view")
    assert "4 confirmed moments (4 train)" in done.stdout
    rows = loaded(filled)
    assert [row["instruction"] for row in rows] == ["Stop, curb ahead."] * 3 + [vocabulary.CLEAR]
    assert [row["sample_id"] for row in rows] == [f"pi-1-b00t-{n:06d}" for n in range(4)]
    assert np.asarray(rows[2]["image"]).shape == (270, 480, 3)
    assert (filled.dataset.folder / rows[0]["audio_path"]).is_file()
    assert check(filled.home, filled.clock).well


def test_what_is_erased_is_out_of_the_view_at_once_and_stays_out(filled: House) -> None:
    keeper = LoadableView(filled.dataset)
    assert (keeper.refresh(), keeper.refresh()) == (True, False)
    wish = EraseRecord("pi-1-b00t-e001", "pi-1", 1_700_000_200.0, ("pi-1-b00t-000001",))
    filled.merge.put_record("pi-1", "erase", wish)
    assert not (filled.dataset.folder / view.NAME).exists()
    assert keeper.refresh()
    assert [row["sample_id"][-1] for row in loaded(filled)] == ["0", "2", "3"]
    assert b"000001" not in (filled.dataset.folder / view.NAME).read_bytes()


def test_a_process_of_its_own_writes_the_view_and_says_where_it_cannot(filled: House) -> None:
    apart = ViewApart()
    keeper = LoadableView(filled.dataset, ManualClock(), write=apart.write)
    assert (keeper.refresh(), keeper.refresh()) == (True, False)
    assert len(loaded(filled)) > 1
    with open(filled.dataset.log, "ab") as log:
        log.write(b"no row\n")
    with pytest.raises(DatasetError, match="was not written"):
        keeper.refresh()
    apart.close()


def test_a_moment_that_is_rejected_later_leaves_the_view(filled: House) -> None:
    keeper = LoadableView(filled.dataset)
    keeper.refresh()
    for n in range(1, 4):
        decide(filled, n, "reject")
    keeper.refresh()
    assert len(loaded(filled)) == 1
    decide(filled, 0, "reject")
    keeper.refresh()
    assert not (filled.dataset.folder / view.NAME).exists()


def test_what_is_erased_while_the_view_is_made_is_not_in_it(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    write_beside, times = view._write_beside, list[int]()

    def beside(dataset: Dataset) -> Counter[str]:
        splits = write_beside(dataset)
        if not times:
            wish = EraseRecord("pi-1-b00t-e001", "pi-1", 1_700_000_200.0, ("pi-1-b00t-000001",))
            filled.merge.put_record("pi-1", "erase", wish)
        times.append(splits.total())
        return splits

    monkeypatch.setattr(view, "_write_beside", beside)
    assert view.write(filled.dataset).total() == 3
    assert times == [4, 3]
    assert sorted(path.name for path in filled.dataset.folder.glob("metadata.parquet*")) == [view.NAME]
    assert b"000001" not in (filled.dataset.folder / view.NAME).read_bytes()


def test_a_row_that_is_taken_back_while_the_view_is_made_is_not_in_it(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, row = LineIndex.add, filled.dataset.rows()[0]
    later = [next_version(row, row, ground_truth="Stop, stairs down ahead.", context="x" * n) for n in (1, 900)]

    def batch_fails(self: LineIndex, lines: Iterable[tuple[str, int, int, int]]) -> None:
        monkeypatch.setattr(LineIndex, "add", add)
        dataset = filled.dataset
        with suppress(KeyError), dataset.appending(), dataset.taken_back(unless=lambda _error: False):
            size = dataset.append(map(to_dict, later))
            add(self, [(head.sample_id, 9, head.at, head.size) for head in heads(dataset.log, up_to=size)])
            raise KeyError("unforeseen")

    monkeypatch.setattr(LineIndex, "add", batch_fails)
    assert view.write(filled.dataset).total() == 4
    assert b"stairs down" not in (filled.dataset.folder / view.NAME).read_bytes()
    assert filled.dataset.rows()[0] == row
