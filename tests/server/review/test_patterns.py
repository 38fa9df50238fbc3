"""Error patterns and breakdowns of what people confirmed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.dataset.sample_row import SampleRow
from server.review import breakdown, decisions, patterns
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, sound, spoken

CURB, POLE = "Stop, curb ahead.", "Caution, pole on the left."


def row(n: int, said: str, should: str, **changes: Any) -> SampleRow:
    values: dict[str, Any] = {
        "row_id": f"pi-1-{n}#1",
        "sample_id": f"pi-1-{n}",
        "frame_path": f"frames/{n}.jpg",
        "audio_path": "audio/x.wav",
        "instruction": should,
        "raw_output": said,
        "spoken": said,
        "ground_truth": should,
        "was_correct": said == should,
        "reviewed": True,
        "timestamp": float(n),
        "device": "pi-1",
        "walk_id": f"walk-{n % 2}",
        "model_version": "m-1",
        "author": "Ben",
        "confidence": 0.9,
    }
    return SampleRow(**{**values, **changes})


@pytest.mark.parametrize(
    ("said", "should", "found"),
    [
        ("", CURB, ("silent", "", "curb")),
        ("Continue straight, path is clear.", CURB, ("silent", "", "curb")),
        (POLE, CURB, ("confusion", "pole", "curb")),
        (POLE, "Caution, pole on the right.", ("side", "pole left", "pole right")),
        (POLE, "", ("false alarm", "pole", "")),
        ("Caution, curb ahead.", CURB, ("urgency", "Caution, curb ahead.", CURB)),
        ("mind the unicorn", CURB, ("silent", "", "curb")),
    ],
)
def test_a_wrong_moment_has_one_pattern(said: str, should: str, found: tuple[str, str, str]) -> None:
    assert patterns.kind_of(said, should) == found


def test_patterns_are_counted_with_the_newest_example_of_each_walk_and_what_would_mend_them() -> None:
    rows = [*(row(n, "", CURB) for n in range(4)), row(7, POLE, ""), row(8, CURB, CURB)]
    rows += [row(9, "", CURB, reviewed=False, was_correct=None)]
    first, second = patterns.find(rows)
    assert (first.kind, first.should, first.count, first.walks) == ("silent", "curb", 4, 2)
    assert [example.sample_id for example in first.examples] == ["pi-1-3", "pi-1-2", "pi-1-1"]
    assert first.remedy.startswith("More moments of curb: 5 teach")
    assert (second.kind, second.said, second.should, second.count) == ("false alarm", "pole", "", 1)


def test_what_would_mend_an_error_follows_from_what_is_known_of_it() -> None:
    taught = [row(100 + n, CURB, CURB) for n in range(patterns.FEW)]
    held = [row(n, "", CURB, raw_output=CURB, spoken="", was_correct=False) for n in range(2)]
    unsure = [row(5, POLE, "", confidence=0.2)]
    aside = [row(6, "Stop, curb on the left.", "Stop, curb on the right.")]
    remedies = {item.kind: item.remedy for item in patterns.find([*taught, *held, *unsure, *aside])}
    assert "higher threshold for pole" in remedies["false alarm"]
    assert "camera is worn straight" in remedies["side"]
    silent = [replace(one, raw_output="") for one in held]
    assert "look like these" in {item.kind: item.remedy for item in patterns.find([*taught, *silent])}["silent"]


def test_words_that_the_vocabulary_does_not_know_are_counted_once_a_moment() -> None:
    rows = [
        row(n, "", "", reviewed=False, was_correct=None, correction_id="c", transcript="the zorb zorb is ahead")
        for n in range(3)
    ]
    found = {item.word: (item.count, item.examples) for item in patterns.missing_words(rows)}
    assert found["zorb"] == (3, ("pi-1-0", "pi-1-1", "pi-1-2"))
    assert "ahead" not in found


def test_contributors_are_counted_by_what_they_decided_and_said() -> None:
    rows = [
        row(1, CURB, CURB),
        row(2, CURB, CURB, author="Cleo"),
        row(3, CURB, CURB, author="Cleo"),
        row(4, CURB, "", reviewed=False, rejected=True, author="Cleo"),
        row(5, CURB, CURB, correction_id="c", speaker_id="Ada", author="Ben"),
    ]
    found = [(one.name, one.confirmed, one.rejected, one.corrections) for one in breakdown.contributors(rows)]
    assert found == [("Cleo", 2, 1, 0), ("Ben", 2, 0, 0), ("Ada", 0, 0, 1)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


def test_the_command_shows_breakdowns_patterns_and_people_as_text_json_and_a_page(house: House, tmp_path: Path) -> None:
    house.send_all([moment(n, raw_output=POLE, spoken=POLE, wearer=f"Ada{n % 2} <b>") for n in range(3)])
    house.send(moment(4))
    about = spoken("pi-1-b00t-000004", sound(8))
    house.send(about)
    house.merge.put_transcript("pi-1", about.record.correction_id, transcript="a zorb", confidence=0.5, proposal="")
    for n in range(3):
        sample_id = f"pi-1-b00t-{n:06d}"
        decisions.review(house.store, house.dataset, sample_id, ReviewDecision("edit", "Ben", CURB), now_s=1.0)
    page = tmp_path / "stats.html"
    text = server(house.home, "stats", "--html", page).stdout
    assert "   3 × confusion: said pole, right was curb (on 1 walk)" in text
    assert "zorb 1" in text
    assert "Ben" in text.partition("Contributors")[2]
    assert "By light\n  bright" in text
    plain = json.loads(server(house.home, "stats", "--json").stdout)
    assert [group["name"] for group in plain["by_wearer"]] == ["Ada0 <b>", "Ada1 <b>"]
    assert plain["by_wearer"][0]["all"]["judged"] == 2
    assert plain["errors"]["patterns"][0]["examples"][0]["frame_path"].startswith("frames/")
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") >= 6
    assert "data:image/jpeg;base64," in html
    assert "Ada0 &lt;b&gt;" in html
    assert "<b>" not in html


def test_light_is_a_rows_own_field_where_it_has_one_else_its_pictures_brightness(house: House) -> None:
    house.send(moment(0))
    light = breakdown.light_of(house.dataset.blobs)
    own = house.dataset.rows()[0]
    assert light(own) == "bright"
    assert light(replace(own, extra={"lighting": "dusk"})) == "dusk"
    assert light(replace(own, frame_path="frames/none.jpg")) == breakdown.UNKNOWN
    assert [breakdown.light_in(grey) for grey in (10, 70, 140)] == ["dark", "dim", "bright"]
