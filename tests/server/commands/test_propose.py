"""Teachers propose what should have been said: in the queue, on the page, at the terminal; a person decides."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from server import config
from server.commands.proposing import KEPT_EVERY, propose
from server.dataset.sample_row import SampleRow
from server.review import decisions, proposals
from server.review.decisions import ReviewDecision
from server.review.proposals import Opinion, disagreement
from server.web.app import create_app
from shared.clock import ManualClock
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.eyes.checkpoints import made
from tests.server.web.serving import ask, served
from tests.server.web.test_page import Page, submit

ID = "pi-1-b00t-{:06d}"
SEEN = frozenset({"person", "vehicle"})


def opinion(wording: str = "Stop, vehicle ahead.", score: float = 0.9, teacher: str = "a detector") -> Opinion:
    hazards = {("vehicle", "ahead"): score} if wording else {("vehicle", "ahead"): 0.1}
    return Opinion(teacher, wording, score if wording else 0.9, hazards, SEEN)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with random weights. Read only."""
    return made("rtdetr", tmp_path_factory.mktemp("teacher"))


def newest(house: House, sample_id: str) -> SampleRow:
    row = decisions.get(house.store, sample_id)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("said", "wording", "expected"),
    [
        ("Stop, vehicle ahead.", "Stop, vehicle ahead.", 0.0),
        ("", "Stop, vehicle ahead.", 0.9),
        ("Continue straight, path is clear.", "Stop, vehicle ahead.", 0.9),
        ("Caution, vehicle on the left.", "Stop, vehicle ahead.", 0.9),
        ("Caution, person slightly left.", "Caution, person on the left.", 0.0),
        ("Stop, curb ahead.", "Stop, vehicle ahead.", 0.0),  # it cannot see curbs, which are as urgent
        ("Caution, pole ahead.", "Stop, vehicle ahead.", 0.9),  # nor poles, but a vehicle comes first
        ("Stop, vehicle ahead.", "Caution, person on the left.", 0.1),  # a sentence names one thing
        ("Caution, person ahead.", "Stop, vehicle ahead.", 1.0),  # it sees no person
        ("Stop, vehicle ahead.", "", 0.9),
        ("Stop, curb ahead.", "", 0.0),
        ("", "", 0.0),
        ("Continue straight, path is clear.", "", 0.0),
    ],
)
def test_a_teacher_contradicts_only_in_what_it_can_see(said: str, wording: str, expected: float) -> None:
    assert disagreement(said, opinion(wording)) == pytest.approx(expected)


def test_the_command_proposes_once_and_nothing_teaches_by_it(house: House, teacher: Path) -> None:
    server(house.home, "init")
    for n in range(3):
        house.send(moment(n, raw_output="Caution, pole ahead."))
    decisions.review(house.store, house.dataset, ID.format(1), ReviewDecision("accept", "Ben"), now_s=1.0)
    (house.dataset.folder / newest(house, ID.format(2)).frame_path).write_bytes(b"\xff\xd8 no picture")
    done = server(house.home, "samples", "propose", "--teacher", teacher, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["teachers"] == {str(teacher): "apache-2.0"}
    assert (found["looked"], found["unreadable"]) == (1, [ID.format(2)])
    assert f"of {ID.format(2)} cannot be read" in done.stderr
    row = newest(house, ID.format(0))
    assert (row.state, row.teacher, row.instruction) == ("pending", str(teacher), "Caution, pole ahead.")
    assert found["proposed"] == bool(row.teacher_wording)
    assert newest(house, ID.format(1)).teacher == ""
    lines = [json.loads(line) for line in house.dataset.log.read_text().splitlines()]
    assert [line["row_id"] for line in lines if "teacher" in line] == [row.row_id], "other rows are as they were"
    assert {row.sample_id: row.teacher for row in house.dataset.rows()}[ID.format(0)] == str(teacher)
    again = json.loads(server(house.home, "samples", "propose", "--teacher", teacher, "--json").stdout)
    assert again["looked"] == 0
    assert "0 moments looked at" in server(house.home, "samples", "propose", "--teacher", teacher).stdout


def test_without_a_teacher_it_says_what_to_do(house: House, teacher: Path) -> None:
    server(house.home, "init")
    done = server(house.home, "samples", "propose")
    assert (done.returncode, "Set learn.teacher, or name one: --teacher packaged" in done.stderr) == (2, True)
    (house.home / "waycue.toml").write_text(f'[learn]\nteacher = "{teacher}"\n')
    assert server(house.home, "samples", "propose").returncode == 0


def test_what_was_looked_at_before_ctrl_c_is_kept_and_a_second_run_goes_on(house: House) -> None:
    count = KEPT_EVERY + 4
    for n in range(count):
        house.send(moment(n, seed=0))
    left = count - 1

    def advise(row: SampleRow) -> Opinion:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return opinion()

    def run() -> int:
        rows = proposals.waiting(house.store, "a detector")
        clock = ManualClock()
        return propose(house.store, house.dataset, rows, advise, clock=clock, progress=lambda done: None).looked

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(proposals.waiting(house.store, "a detector")) == 1
    left = count
    assert run() == 1
    assert proposals.waiting(house.store, "a detector") == []
    assert len(proposals.waiting(house.store, "another")) == count


def test_what_contradicts_the_device_comes_after_presses_and_before_doubt(house: House) -> None:
    for n, flag in enumerate(("wearer", "low_confidence", "audit", "audit")):
        house.send(moment(n, flags=(flag,), raw_output="Caution, person ahead."))
    agrees, contradicts = opinion("Caution, person ahead."), opinion()
    kept = proposals.keep(house.store, house.dataset, [(ID.format(2), contradicts), (ID.format(3), agrees)], now_s=5.0)
    assert [row.teacher_disagreement for row in kept] == [1.0, 0.0]
    queue = [row.sample_id for row in decisions.listing(house.store)]
    assert queue == [ID.format(n) for n in (0, 2, 1, 3)]


def test_a_decision_taken_meanwhile_stands_and_a_proposal_outlives_a_correction(house: House) -> None:
    for n in range(2):
        house.send(moment(n))
    decisions.review(house.store, house.dataset, ID.format(0), ReviewDecision("nothing", "Ben"), now_s=1.0)
    both = [(ID.format(n), opinion()) for n in range(2)]
    assert [row.sample_id for row in proposals.keep(house.store, house.dataset, both, now_s=2.0)] == [ID.format(1)]
    assert newest(house, ID.format(0)).state == "reviewed"
    house.send(spoken(ID.format(1), sound(5)))
    row = newest(house, ID.format(1))
    assert ("correction" in row.flags, row.teacher_wording) == (True, "Stop, vehicle ahead.")


def test_the_page_offers_it_as_the_teachers_and_a_person_teaches_it(house: House) -> None:
    for n in range(3):
        house.send(moment(n, raw_output="Caution, person ahead."))
    opinions = [opinion(), opinion(""), opinion("Caution, person ahead.")]
    both = [(ID.format(n), said) for n, said in enumerate(opinions)]
    proposals.keep(house.store, house.dataset, both, now_s=2.0)
    with served(create_app(house.store, house.dataset, clock=house.clock, model=lambda: None)) as site:
        offered, silent, same = (ask(f"{site}/moments/{ID.format(n)}").text for n in range(3))
        assert "a detector on this server, 90 % sure" in offered
        assert "a detector, a network on this server, would say <q>Stop, vehicle ahead.</q>, 90 % sure." in offered
        for text in (silent, same):
            Page(text)
            assert "a detector, a network on this server, would say" in text
            assert "Stop, vehicle ahead." not in text.partition("<datalist")[0]
        row = newest(house, ID.format(0))
        taken = submit(site, row.sample_id, action="edit", text=row.teacher_wording, row_id=row.row_id)
        assert taken.status in (200, 303)
        assert "a detector" not in ask(f"{site}/moments/{ID.format(0)}").text
    row = newest(house, ID.format(0))
    assert (row.ground_truth, row.source, row.was_correct) == ("Stop, vehicle ahead.", "caregiver", False)


def test_at_the_terminal_t_takes_it(house: House) -> None:
    for n in range(3):
        house.send(moment(n, raw_output="Caution, person ahead."))
    both = [(ID.format(0), opinion("")), (ID.format(1), opinion())]
    proposals.keep(house.store, house.dataset, both, now_s=2.0)
    done = server(house.home, "samples", "review", typed="t\ns\nt\nt\n")  # the newest first
    assert "TEACHER:        Stop, vehicle ahead. (a detector, 90% sure)" in done.stdout
    assert "No teacher has looked at this moment" in done.stdout
    decided = [(newest(house, ID.format(n)).state, newest(house, ID.format(n)).ground_truth) for n in range(3)]
    assert decided == [("reviewed", ""), ("reviewed", "Stop, vehicle ahead."), ("pending", "")]


def test_without_a_champion_it_says_what_to_do(house: House) -> None:
    server(house.home, "init")
    none = server(house.home, "samples", "propose", "--shadow", "champion")
    assert (none.returncode, "models add starter" in none.stderr) == (2, True)


def test_the_champion_looks_again_and_what_it_contradicts_moves_up(starter_home: Path, tmp_path: Path) -> None:
    shutil.copytree(starter_home, tmp_path / "home")
    config.init(tmp_path / "home")
    with closing(House(tmp_path / "home")) as house:
        for n, said in enumerate(("Stop, stairs down ahead.", "")):
            house.send(moment(n, seed=0, raw_output=said, spoken=said))
        command = ("samples", "propose", "--shadow", "champion", "--json")
        assert json.loads(server(house.home, *command).stdout)["looked"] == 2
        rows = [newest(house, ID.format(n)) for n in range(2)]
        [bundle] = (house.home / "models").glob("*/bundle")
        assert [row.teacher for row in rows] == [f"shadow {bundle.parent.name}"] * 2
        assert {row.teacher_wording for row in rows} == {rows[0].teacher_wording}, "the same picture twice"
        assert rows[0].teacher_disagreement > 0.5, "no stairs are there, which it was taught to see"
        assert rows[1].teacher_disagreement < rows[0].teacher_disagreement
        assert json.loads(server(house.home, *command).stdout)["looked"] == 0
