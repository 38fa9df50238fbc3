"""The summary, the page and the command, on a real bundle."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server.commands.main import main
from server.evaluation import page, summary, worst
from server.evaluation.bars import BARS, Bar
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import Drive
from server.evaluation.summary import held
from shared.policy import PolicySettings
from tests.server.evaluation.stage import CURB, Reader, course_of, driven, event

ABOUT = {"version": "reader <1>"}


@pytest.fixture
def missed() -> Drive:
    """A walk on which the model sees nothing of two curbs and warns of a third that is not there."""
    seen = drive(
        Reader(), course_of(lambda t: [CURB] if 8 <= t < 9 else [], duration_s=40.0), PolicySettings(), DriveSettings()
    )
    blank = driven([], [event(CURB, 2.0, 4.0), event(CURB, 30.0, 32.0)], duration_s=40.0)
    course, moments = blank.course, blank.moments
    return Drive(course, moments, seen.utterances, dict.fromkeys(range(len(moments)), b"jpeg"))


def test_every_bar_is_held_against_its_figure(missed: Drive) -> None:
    whole = summary.summarise([missed], bundle=ABOUT, dataset="curbs")
    bars = {bar["name"]: bar for bar in whole["bars"]}
    assert bars["tier-1 event recall"] == {
        "name": "tier-1 event recall",
        "wanted": "at least 0.9",
        "value": 0.0,
        "met": False,
        "perfect": None,
        "of_perfect": None,
    }
    assert bars["false alarms a minute"]["value"] == 1.5
    assert bars["repeats within 10 s"]["met"]
    assert len(bars) == len(BARS)


def test_what_was_not_measured_is_not_met() -> None:
    assert not held(Bar("x", ("x",), most=1.0), {"x": None})["met"]


def test_a_summary_is_plain_json(missed: Drive) -> None:
    whole = summary.summarise([missed], bundle=ABOUT, dataset="curbs")
    assert json.loads(json.dumps(whole))["groups"]["day"]["recall"]["1"]["recall"]["count"] == 2
    assert all(value for _, value in summary.headlines(whole))


def test_without_any_walk_nothing_is_claimed() -> None:
    whole = summary.summarise([], bundle=ABOUT, dataset="nothing")
    assert not any(bar["met"] for bar in whole["bars"] if bar["name"] != "repeats within 10 s")
    assert "<svg" in page.render(whole, [])


def test_the_worst_moments_are_the_costliest_and_not_all_of_one_kind(missed: Drive) -> None:
    found = worst.worst([missed])
    assert [one.kind for one in found] == [worst.MISSED, worst.MISSED, worst.NEEDLESS]
    assert found[0].cost >= found[-1].cost


def test_the_page_stands_alone_and_escapes_what_it_shows(missed: Drive) -> None:
    text = page.render(summary.summarise([missed], bundle=ABOUT, dataset="curbs"), [missed])
    assert "reader &lt;1&gt;" in text
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(value or "" for name, value in attrs if name in ("src", "href"))

    Links().feed(text)
    assert links != []
    assert all(link.startswith("data:") for link in links)


def test_the_command_writes_json_and_a_page(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "out.json", tmp_path / "out.html"
    arguments = [
        "--rendered",
        "2",
        "--minutes",
        "0.1",
        "--threads",
        "1",
        "--json",
        str(files[0]),
        "--html",
        str(files[1]),
    ]
    assert main(["evaluate", str(starter_bundle), *arguments]) == 0
    whole = json.loads(files[0].read_text())
    assert whole["format"] == 1
    assert whole["walks"] == 2
    assert whole["grammar"]["filtered"]["share"] in (1.0, None)
    assert "data:image/jpeg" in files[1].read_text() or "No missed warning" in files[1].read_text()
    assert "tier-1 event recall" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "either DATASET or --rendered"),
        (["/nowhere/at/all"], "There is no /nowhere/at/all"),
        (["--rendered", "0"], "is no walk"),
        (["--rendered", "1", "--looks", "0"], "must be above 0"),
    ],
)
def test_wrong_use_is_told(
    arguments: list[str], complaint: str, starter_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(starter_bundle), *arguments]) == 2
    assert complaint in capsys.readouterr().err
