"""`waycue-server coverage`: what was recorded by where and when, by a person's word and by guess, against a plan."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from server.dataset import surroundings
from server.dataset.sample_row import SampleRow
from server.labelling import conditions
from server.review import coverage, decisions
from server.review.coverage import RecordingPlan, covered, next_up
from server.review.decisions import ReviewDecision
from shared.errors import Refused
from shared.jpeg import decode_picture, encode_jpeg
from tests import paths
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment

PERSON = conditions.PERSON
STREETS = paths.DATA / "streets" / "train"


def said(**fields: str) -> dict[str, str]:
    return conditions.by_person(fields)


def test_a_persons_word_fills_the_plan_and_a_guess_stands_beside_it() -> None:
    moments = [
        said(environment="sidewalk", lighting="night"),
        {**said(environment="sidewalk"), "lighting": "night", "lighting_from": "picture"},
        {},
    ]
    together = (("environment", "sidewalk"), ("lighting", "night"))
    found = covered(moments, RecordingPlan({(("environment", "sidewalk"),): 2, together: 3}))
    cells = {cell.where: cell for cell in found.cells}
    assert (cells[together].confirmed, cells[together].guessed, cells[together].missing) == (1, 1, 2)
    assert cells[(("environment", "sidewalk"),)].missing == 0
    assert found.unknown == {"environment": 1, "lighting": 1, "weather": 3, "scenario": 3}
    assert found.grid["sidewalk"]["night"] == 2
    assert next_up(found) == [
        "Confirm 1 that look like sidewalk, night, then record what is missing:"
        " 2 more of sidewalk, night (1 of 3 are there)."
    ]


def test_indoors_no_weather_is_missed_and_a_full_plan_says_so() -> None:
    found = covered([said(environment="hallway")], RecordingPlan({(("environment", "hallway"),): 1}))
    assert found.unknown["weather"] == 0
    assert next_up(found) == ["The plan is full."]


def test_the_shipped_plan_asks_for_every_surrounding_of_the_dataset_seed() -> None:
    asked = {pair for where in coverage.plan_of().want for pair in where}
    for field in ("lighting", "weather", "scenario"):
        assert {choice for name, choice in asked if name == field} == set(conditions.CHOICES[field])
    assert {"hallway", "stairs", "elevator", "doorway", "office", "sidewalk", "park", "parking lot", "entrance"} <= {
        choice for name, choice in asked if name == "environment"
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[lighting]\nnoon = 3\n", "'noon' is no lighting"),
        ("[lighting]\nday = -3\n", "-3 is no number of moments"),
        ("[mood]\ngood = 3\n", "'mood' is no field"),
        ("[[together]]\nlighting = 'day'\n", "'want' is missing"),
        ("[[together]]\nmood = 'good'\nwant = 1\n", "'mood' is no field"),
        ("lighting = 3\n", "is no recording plan"),
        ("[lighting\n", "is no recording plan"),
    ],
)
def test_a_plan_with_a_mistake_is_named(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(Refused, match=r"plan\.toml is no recording plan") as refused:
        coverage.plan_of(tmp_path / "plan.toml")
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("sidewalk, day, rain", {"environment": "sidewalk", "lighting": "day", "weather": "rain"}),
        ("Crossing with signal / dusk", {"environment": "crossing with signal", "lighting": "low light"}),
        (
            "parking lot low light hazard",
            {"environment": "parking lot", "lighting": "low light", "scenario": "hazards"},
        ),
        ("", {}),
    ],
)
def test_surroundings_are_said_in_free_words(text: str, fields: dict[str, str]) -> None:
    assert conditions.named(text) == fields


def test_a_word_that_is_no_surrounding_is_named() -> None:
    with pytest.raises(Refused, match="“moonbase”"):
        conditions.named("day on the moonbase".replace("on the ", ""))


@pytest.mark.parametrize(
    ("wording", "about"),
    [
        ("Stop, curb ahead.", "hazards"),
        ("Caution, pole ahead.", "obstacles"),
        ("Turn right at the corner.", "navigation"),
        ("Continue straight, path is clear.", ""),
        ("", ""),
        ("mind the unicorn", ""),
    ],
)
def test_the_scenario_follows_from_the_words(wording: str, about: str) -> None:
    assert surroundings.scenario(wording) == about


def rows(house: House) -> dict[str, SampleRow]:
    return {row.sample_id: row for row in house.dataset.rows()}


def test_guesses_and_a_persons_word_are_rows_of_the_log_and_the_word_stays(house: House) -> None:
    house.send_all([moment(0), moment(1)])
    first, second = sorted(rows(house))
    decisions.review(house.store, house.dataset, first, ReviewDecision("edit", "Ada", "Stop, curb ahead."), now_s=1.0)
    done = server(house.home, "samples", "review", first, "--where", "park, night")
    assert (done.returncode, done.stdout.strip()) == (0, "Where and when: park, night")
    before = (house.dataset.log).read_bytes()
    guessed = server(house.home, "coverage", "--guess")
    assert "2 moments have new guesses." in guessed.stdout
    assert (house.dataset.log).read_bytes().startswith(before)
    found = rows(house)
    assert (found[first].lighting, found[first].lighting_from) == ("night", PERSON)
    assert (found[first].scenario, found[first].scenario_from) == ("hazards", "words")
    assert (found[second].lighting, found[second].lighting_from) == ("day", "picture")
    assert found[first].ground_truth == "Stop, curb ahead."
    assert "0 moments have new guesses." in server(house.home, "coverage", "--guess").stdout
    shown = server(house.home, "samples", "show", first).stdout
    assert "environment:            park" in shown
    assert "environment_from:       person" in shown


def test_the_command_prints_a_table_json_and_a_page(house: House, tmp_path: Path) -> None:
    house.send_all([moment(0)])
    (name,) = rows(house)
    server(house.home, "samples", "review", name, "--where", "sidewalk, day, clear")
    page = tmp_path / "coverage.html"
    told = json.loads(server(house.home, "coverage", "--json", "--html", page).stdout)
    assert told["moments"] == 1
    sidewalk = next(cell for cell in told["cells"] if cell.get("environment") == "sidewalk")
    assert (sidewalk["confirmed"], sidewalk["missing"]) == (1, sidewalk["want"] - 1)
    assert told["grid"]["sidewalk"]["day"] == 1
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "http://" not in text
    assert told["next"][0] in text
    table = server(house.home, "coverage").stdout
    assert "Scenario (1 not said)" in table
    assert told["next"][0] in table


def test_a_label_folder_is_counted_and_its_words_come_with_the_import(house: House, tmp_path: Path) -> None:
    from tests.device.capture.films import make

    film = make(tmp_path / "walk.mp4", seconds=4.0)
    script = tmp_path / "answers.jsonl"
    around = {"environment": "park", "environment_from": "person", "lighting": "moonlit", "lighting_from": "person"}
    script.write_text(json.dumps({"chunk": 0, "instruction": "Stop, curb ahead.", **around}))
    root = tmp_path / "labels"
    assert server(None, "label", film, "--dataset", root, "--script", script).returncode == 0
    assert json.loads(server(None, "coverage", "--dataset", root, "--json").stdout)["grid"]["park"]["day"] == 0
    assert server(house.home, "samples", "import", root).returncode == 0
    (row,) = house.dataset.rows()
    assert (row.environment, row.environment_from, row.lighting) == ("park", PERSON, "")
    server(house.home, "samples", "review", row.sample_id, "--where", "sidewalk")
    server(house.home, "samples", "import", root)
    assert rows(house)[row.sample_id].environment == "sidewalk"  # what was said since stays


@pytest.mark.skipif(not STREETS.is_dir(), reason="../shared/data/streets is not there")
def test_the_light_of_real_streets_is_told_better_than_by_the_most_frequent_answer() -> None:
    lines = [json.loads(line) for line in (STREETS / "labels.jsonl").read_text().splitlines()][::4]
    truth = ["low light" if line["walk_id"] == "0001TP" else "day" for line in lines]
    pictures = [decode_picture((STREETS / line["frame_path"]).read_bytes()) for line in lines]
    told = [surroundings.lighting(picture) for picture in pictures if picture is not None]
    right = sum(a == b for a, b in zip(told, truth, strict=True))
    assert right > max(truth.count("day"), truth.count("low light"))


@pytest.mark.parametrize(
    ("hour", "grey", "light"), [(23, 20, "night"), (4, 20, "night"), (12, 20, "low light"), (23, 160, "day")]
)
def test_a_dark_picture_is_of_a_night_only_where_the_hour_says_so(
    tmp_path: Path, hour: int, grey: int, light: str
) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(encode_jpeg(np.full((48, 64, 3), grey, np.uint8)))
    at = datetime(2026, 11, 29, hour, 30, tzinfo=UTC)
    source = "picture and hour" if light == "night" else "picture"
    assert surroundings.guesses(picture, at=at) == {"lighting": (light, source)}
    assert surroundings.guesses(picture)["lighting"][0] != "night", "a film says no hour"
