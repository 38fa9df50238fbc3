"""`export --format samples|sqlite` and `samples import` of what they write, between two servers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from exporters.datasets import collection
from server import config
from server.dataset.sample_row import SampleRow
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment

CURB = "Stop, curb ahead."


@pytest.fixture
def other(tmp_path: Path) -> Iterator[House]:
    config.init(tmp_path / "other")
    house = House(tmp_path / "other")
    yield house
    house.close()


@pytest.fixture
def exported(house: House, tmp_path: Path) -> Path:
    """Three moments: one with a clip and a truth, one where silence was right, one that nobody has decided about."""
    house.send(moment(0, with_clip=True, raw_output="Caution, pole ahead.", spoken="Caution, pole ahead."))
    house.send(moment(1, seed=1))
    house.send(moment(2, seed=2, raw_output=CURB, spoken=CURB))
    for number, decision in enumerate((ReviewDecision("edit", "Ben", CURB), ReviewDecision("nothing", "Ben"))):
        decisions.review(house.store, house.dataset, f"pi-1-b00t-{number:06d}", decision, now_s=1.0)
    return export(house, tmp_path / "out", "samples")


def export(house: House, out: Path, form: str) -> Path:
    done = server(house.home, "export", "--format", form, "--out", out, "--only", "all")
    assert done.returncode == 0, done.stderr
    return out


def samples_of(out: Path) -> list[dict[str, Any]]:
    file = collection.find(out)
    assert file is not None
    return [collection.to_dict(sample) for _, sample in collection.read(file).samples]


def rows_of(house: House) -> list[SampleRow]:
    return sorted(house.dataset.rows(), key=lambda row: row.timestamp)


def test_an_export_has_the_layout_of_the_collection(exported: Path) -> None:
    lines = (exported / "training_data" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    assert first == {
        "id": "pi-1-b00t-000000",
        "video_path": "training_data/videos/training_1700000000000.avi",
        "raw_output": "Caution, pole ahead.",
        "llm_correction": "Caution, pole ahead.",
        "ground_truth": CURB,
        "timestamp": 1_700_000_000.0,
        "was_correct": False,
        "metadata": {"speaker": "Ada", "context": "to the shop"},
    }
    assert [json.loads(line)["was_correct"] for line in lines] == [False, True, None]
    assert json.loads(lines[2])["ground_truth"] is None
    with av.open(str(exported / first["video_path"])) as film:
        assert film.format.name == "avi"
        assert [stream.codec_context.name for stream in film.streams] == ["mjpeg", "pcm_s16le"]
        assert sum(1 for _ in film.decode(video=0)) == 20


@pytest.mark.parametrize("form", ["samples", "sqlite"])
def test_what_leaves_one_server_comes_into_another_and_leaves_it_equal(
    house: House, other: House, exported: Path, tmp_path: Path, form: str
) -> None:
    out = exported if form == "samples" else export(house, tmp_path / "table", form)
    done = server(other.home, "samples", "import", out, "--as", "Cleo")
    assert done.returncode == 0, done.stdout
    assert "3 moments brought in, 0 labels changed, 0 were there already." in done.stdout
    rows = rows_of(other)
    assert [(row.state, row.ground_truth, row.author) for row in rows[:2]] == [
        ("reviewed", CURB, "Cleo"),
        ("reviewed", "", "Cleo"),
    ]
    assert rows[2].state == "pending"
    assert all((other.dataset.folder / row.clip_path).is_file() for row in rows)
    again = export(other, tmp_path / "again", "sqlite" if form == "samples" else "samples")
    assert samples_of(again) == samples_of(out)


def test_bringing_it_in_again_or_where_it_came_from_changes_nothing(
    house: House, other: House, exported: Path, tmp_path: Path
) -> None:
    server(other.home, "samples", "import", exported)
    copy = shutil.copytree(exported, tmp_path / "copy")
    for home in (house, other):
        before = home.dataset.version()
        for source in (copy, copy / "training_data", copy / "training_data" / "samples.jsonl"):
            done = server(home.home, "samples", "import", source)
            assert "0 moments brought in, 0 labels changed, 3 were there already." in done.stdout
        assert home.dataset.version() == before


def edit(out: Path, number: int, **values: Any) -> None:
    file = out / "training_data" / "samples.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines[number].update(values)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_a_ground_truth_that_changed_is_a_new_decision(house: House, exported: Path) -> None:
    edit(exported, 0, ground_truth="Stop, stairs down.")
    assert "1 labels changed, 2 were there" in server(house.home, "samples", "import", exported).stdout
    assert rows_of(house)[0].ground_truth == "Stop, stairs down."


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ground_truth": "I have read many books about this subject."}, "can not be taught"),
        ({"video_path": "/etc/passwd"}, "is missing, or lies outside of"),
        ({"video_path": "../../secret.avi"}, "is missing, or lies outside of"),
        ({"video_path": "training_data/samples.jsonl"}, "is not a video"),
        ({"raw_output": "x" * 5000}, "it is no moment"),
    ],
)
def test_a_sample_that_can_not_come_in_is_left_out_and_named_by_its_line(
    other: House, exported: Path, values: dict[str, Any], why: str
) -> None:
    (exported.parent / "secret.avi").write_bytes(b"x")
    edit(exported, 1, **values)
    done = server(other.home, "samples", "import", exported)
    assert done.returncode == 1
    assert f"Left out: {exported / 'training_data' / 'samples.jsonl'}, line 2: " in done.stdout
    assert why in done.stdout
    assert len(rows_of(other)) == 2


def test_a_bad_line_keeps_everything_out(other: House, exported: Path) -> None:
    with open(exported / "training_data" / "samples.jsonl", "a", encoding="utf-8") as file:
        file.write('{"id": "torn')
    done = server(other.home, "samples", "import", exported)
    assert done.returncode == 1
    assert "samples.jsonl, line 4: it is not JSON" in done.stderr
    assert rows_of(other) == []


def test_an_undecided_sample_waits_with_its_correction_as_the_proposal(other: House, exported: Path) -> None:
    edit(exported, 2, raw_output="STOP THE KURB IS AHED", llm_correction=CURB, ground_truth=None, was_correct=None)
    assert server(other.home, "samples", "import", exported).returncode == 0
    row = rows_of(other)[2]
    assert (row.llm_model, row.llm_wording, decisions.proposal(row)) == ("collected", CURB, CURB)
    taken = server(other.home, "samples", "review", row.sample_id, "--accept")
    assert taken.returncode == 0, taken.stderr
    assert rows_of(other)[2].ground_truth == CURB


def test_a_broken_film_leaves_nothing_behind(other: House, exported: Path) -> None:
    film = exported / "training_data" / "videos" / "training_1700000000000.avi"
    os.truncate(film, 100)
    done = server(other.home, "samples", "import", exported)
    assert done.returncode == 1
    assert "line 1: " in done.stdout
    assert len(rows_of(other)) == 2
    assert not list((other.home / "importing").iterdir())
