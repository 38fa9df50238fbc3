"""Short trainings beside the nights: doubts by cross-validation, and learning curves; real ones, of a small base."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from server.commands.main import main
from server.dataset import splits
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.learn import crossed, curves, trials
from server.learn.settings import LearnSettings
from shared.clock import SystemClock
from shared.errors import Refused
from tests.server.dataset.moments import House
from tests.server.learn.parts import SENTENCES, confirmed_home, flat

MOMENTS = 12


def pictures(count: int) -> list[tuple[bytes, str]]:
    """Flat pictures, one colour a sentence."""
    out = []
    for n in range(count):
        _, jpeg = cv2.imencode(".jpg", flat(n))
        out.append((jpeg.tobytes(), SENTENCES[n % len(SENTENCES)]))
    return out


def row(number: int, walk: str, truth: str = "Stop, curb ahead.") -> SampleRow:
    return SampleRow(
        row_id=f"m-{number}#2",
        sample_id=f"m-{number}",
        frame_path="",
        audio_path="",
        instruction="",
        timestamp=float(number),
        device="d",
        walk_id=walk,
        reviewed=True,
        ground_truth=truth,
    )


def test_folds_hold_whole_walks_and_are_about_as_large() -> None:
    rows = [row(n, f"walk-{n % 7}") for n in range(70)]
    folds = crossed.folds_of(rows, 3)
    assert sorted(len(fold) for fold in folds) == [20, 20, 30]
    assert sum(len({one.walk_id for one in fold}) for fold in folds) == 7
    assert len(crossed.folds_of(rows[:1], 3)) == 1


def test_parts_are_nested_and_the_largest_holds_all() -> None:
    assert curves.Sizes(parts=4).counts(100) == [12, 25, 50, 100]
    assert curves.Sizes(parts=4).counts(3) == [1, 3]
    rows = [row(n, f"walk-{n % 5}") for n in range(20)]
    ordered = curves.nested(rows)
    assert ordered == curves.nested(list(reversed(rows)))
    assert len({one.walk_id for one in ordered[:4]}) == 1, "walk by walk"


def test_a_curve_of_a_thing_counts_what_was_taught_of_it() -> None:
    teaching = [row(n, "a", "Stop, curb ahead." if n % 2 else "Caution, bin ahead.") for n in range(8)]
    judged = [row(10, "b"), row(11, "b", "Caution, bin ahead."), row(12, "c")]
    whole, curb, bins = curves.curves(teaching, judged, {4: [True, False, False], 8: [True, True, True]})
    assert [(size.taught, size.right) for size in whole.sizes] == [(4, (True, False, False)), (8, (True, True, True))]
    assert (curb.thing, curb.walks) == ("curb", ("b", "c"))
    assert [(size.taught, size.right) for size in curb.sizes] == [(2, (True, False)), (4, (True, True))]
    assert bins.thing == "bin"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """Two walks that teach and one that is held out."""
    home = tmp_path_factory.mktemp("trials") / "home"
    assert main(["--home", str(home), "init"]) == 0
    for number, walk in enumerate(("a", "b", "c")):
        confirmed_home(home, pictures(MOMENTS)[number * 4 : number * 4 + 4], walk=walk, first=number * 4)
    house = House(home)
    for walk, split in (("a", "train"), ("b", "train"), ("c", "held_out")):
        splits.mark_walk(house.store, house.dataset, walk, split, now_s=1.0)  # type: ignore[arg-type]
    house.close()
    (home / "waycue.toml").write_text(f'[learn]\nbase = "{base}"\nthreads = 1\n')
    return home


def test_each_moment_is_looked_at_by_a_model_without_its_walk(home: Path, base: Path) -> None:
    said: list[str] = []
    learn = LearnSettings(base=str(base), threads=1)
    found = crossed.witnesses(home, learn, crossed.Crossing(3, steps=2), progress=said.append, clock=SystemClock())
    assert sorted(witness.walk_id for witness in found) == ["a"] * 4 + ["b"] * 4
    rows = {row.sample_id: row for row in Dataset(home / "dataset").rows()}
    assert len({witness.sample_id for witness in found}) == 8, "each of them once"
    assert all(
        (witness.walk_id, witness.label) == (rows[witness.sample_id].walk_id, rows[witness.sample_id].ground_truth)
        for witness in found
    )
    assert all(0 <= witness.sure <= 1 and abs(float(witness.feature @ witness.feature) - 1) < 1e-3 for witness in found)
    assert sum(text.startswith("part ") for text in said) == 2, "a part is a walk here"
    assert not trials.place(home).exists()


@pytest.mark.soak
def test_the_commands_tell_what_they_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(home), "samples", "doubt", "--list", "--steps", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["put_back"] == []
    assert main(["--home", str(home), "curves", "--parts", "3", "--steps", "1", "--json"]) == 0
    whole, *_ = json.loads(capsys.readouterr().out)
    assert [size["taught"] for size in whole["sizes"]] == [2, 4, 8]
    assert whole["said"] == "100 more moments: not enough to say (4 held-out moments, 20 are needed)."


def test_a_curve_without_held_out_moments_is_refused(tmp_path: Path, base: Path) -> None:
    home = confirmed_home(tmp_path / "home", pictures(2))
    learn = LearnSettings(base=str(base), threads=1)
    with pytest.raises(Refused, match="2 confirmed moments teach and 0 are held out"):
        curves.measured(home, learn, curves.Sizes(), progress=lambda text: None, clock=SystemClock())
