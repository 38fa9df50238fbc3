"""`waycue-server samples`: list, show, review by flag and at a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.ends import UNREAD
from tests.paths import ROOT
from tests.server.commands.terminal import Terminal, at_terminal, server
from tests.server.dataset.moments import House, moment, sound, spoken

ID = "pi-1-b00t-{:06d}"


def fill(house: House, count: int = 3) -> list[str]:
    """Moments at which the device proposed a pole; returns their ids in the order of the queue."""
    for n in range(count):
        house.send(moment(n, raw_output="Caution, pole ahead.", spoken="Caution, pole ahead."))
    return [row.sample_id for row in decisions.listing(house.store)]


def state_of(house: House, sample_id: str) -> tuple[str, str, bool | None]:
    row = decisions.get(house.store, sample_id)
    assert row is not None
    return row.state, row.ground_truth, row.was_correct


def test_list_shows_what_waits_and_how_much_more(house: House) -> None:
    fill(house)
    done = server(house.home, "samples", "list", "--limit", 2)
    assert done.returncode == 0, done.stderr
    assert ID.format(2) in done.stdout
    assert ID.format(0) not in done.stdout
    assert "said: Caution, pole ahead.  →  Caution, pole ahead." in done.stdout
    assert "2 of 3 pending moments." in done.stdout


def test_a_limit_without_end_and_the_last_day_of_all_are_taken_and_bytes_that_are_no_text_refused(house: House) -> None:
    fill(house, 1)
    for options in (("--limit", 10**20), ("--until", "9999-12-31")):
        assert "1 of 1 pending moments." in server(house.home, "samples", "list", *options).stdout
    done = server(house.home, "samples", "list", "--words", "\udcff")
    assert done.returncode != 0
    assert "is no text" in done.stderr


def test_list_as_json_has_every_field(house: House) -> None:
    fill(house, 1)
    (found,) = json.loads(server(house.home, "samples", "list", "--json").stdout)
    assert found["sample_id"] == ID.format(0)
    assert found["state"] == "pending"
    assert found["proposal"] == "Caution, pole ahead."
    assert json.loads(server(house.home, "samples", "list", "--json", "--state", "rejected").stdout) == []


def test_show_tells_everything_and_where_the_files_are(house: House) -> None:
    house.send(moment(0, with_clip=True, raw_output="Caution, pole ahead."))
    house.send(spoken(ID.format(0), sound(5)))
    house.merge.put_transcript(
        "pi-1", "pi-1-b00t-c0000", transcript="no stop kerb", confidence=0.8, proposal="Stop, curb ahead."
    )
    decisions.review(house.store, house.dataset, ID.format(0), ReviewDecision("accept", "Ben"), now_s=1_700_000_500.0)
    text = server(house.home, "samples", "show", ID.format(0)).stdout
    for part in ("no stop kerb", "Ada", "to the shop", "walk-1", "Stop, curb ahead.", "Ben chose accept", "bytes)"):
        assert part in text
    found = json.loads(server(house.home, "samples", "show", ID.format(0), "--json").stdout)
    assert set(found["files"]) == {"frame", "audio", "clip", "correction_audio"}
    assert all(file["size_bytes"] for file in found["files"].values())
    assert found["decisions"][0]["reviewer"] == "Ben"


def test_show_says_which_file_is_missing(house: House) -> None:
    house.send(moment(0))
    row = decisions.get(house.store, ID.format(0))
    assert row is not None
    (house.dataset.folder / row.frame_path).unlink()
    assert "(MISSING)" in server(house.home, "samples", "show", ID.format(0)).stdout


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        (["--accept"], ("reviewed", "Caution, pole ahead.", True)),
        (["--edit", "Stop, curb ahead."], ("reviewed", "Stop, curb ahead.", False)),
        (["--edit", "kerb in front", "--yes"], ("reviewed", "Stop, curb ahead.", False)),
        (["--nothing"], ("reviewed", "", False)),
        (["--reject"], ("rejected", "", None)),
    ],
)
def test_each_decision_is_written_down(flags: list[str], state: tuple[Any, ...], house: House) -> None:
    fill(house, 1)
    done = server(house.home, "samples", "review", ID.format(0), *flags, "--as", "Ben")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("✓")
    assert state_of(house, ID.format(0)) == state
    assert decisions.history(house.store, ID.format(0))[0].reviewer == "Ben"
    assert house.dataset.rows()[0].state == state[0]


def test_wrong_use_says_what_to_do(house: House) -> None:
    fill(house, 1)
    for arguments, message in (
        (["show", "pi-9"], "There is no moment 'pi-9'"),
        (["review", "pi-9", "--accept"], "There is no moment 'pi-9'"),
        (["review", "--accept"], "needs the id"),
        (["review", ID.format(0), "--edit", "flowers"], "'flowers' is not in the vocabulary"),
        (["review", ID.format(0), "--edit", "kerb"], 'To teach this: --edit "Stop, curb ahead.", or add --yes.'),
        (["review", ID.format(0), "--edit", "do not cross, car coming", "--yes"], "Did you mean “Stop, vehicle"),
    ):
        done = server(house.home, "samples", *arguments)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert server(house.home, "samples", "list", "--limit", 0).returncode == 2
    assert state_of(house, ID.format(0))[0] == "pending"


def test_a_home_that_was_never_made_is_named(house: House) -> None:
    done = server(house.home / "elsewhere", "samples", "list")
    assert done.returncode == 2
    assert "init" in done.stderr


def test_each_answer_of_the_review_is_kept(house: House) -> None:
    ids = fill(house, 6)
    typed = "y\nn\nkerb in front\ny\ne\nStop, stairs down.\n-\ns\nr\n"
    done = server(house.home, "samples", "review", typed=typed)
    assert done.returncode == 0, done.stderr
    assert [state_of(house, one)[:2] for one in ids] == [
        ("reviewed", "Caution, pole ahead."),
        ("reviewed", "Stop, curb ahead."),
        ("reviewed", "Stop, stairs down."),
        ("reviewed", ""),
        ("pending", ""),
        ("rejected", ""),
    ]
    assert done.stdout.count("RAW OUTPUT:     Caution, pole ahead.") == 6
    assert "CORRECTION:     Caution, pole ahead." in done.stdout
    assert "Was this correct? (y/n/e/s/q)" in done.stdout
    assert "5 decided, 1 still wait." in done.stdout


def test_quit_help_and_the_end_of_the_input_decide_nothing(house: House) -> None:
    ids = fill(house, 2)
    done = server(house.home, "samples", "review", typed="what\nn\n\nq\n")
    assert "reject: this moment must not teach" in done.stdout
    assert "0 decided, 2 still wait." in done.stdout
    assert server(house.home, "samples", "review", typed="").returncode == 0
    assert {state_of(house, one)[0] for one in ids} == {"pending"}


def test_a_correction_that_was_not_understood_can_not_be_accepted_as_silence(house: House) -> None:
    house.send(moment(0))
    house.send(spoken(ID.format(0), sound(5)))
    house.merge.put_transcript("pi-1", "pi-1-b00t-c0000", transcript="mumble", confidence=0.1, proposal="")
    done = server(house.home, "samples", "review", typed="y\nn\nflowers\nkerb\ny\n")
    assert "CORRECTION:     (not understood" in done.stdout
    assert "Listen to it" in done.stdout
    assert "'flowers' is not in the vocabulary" in done.stdout
    assert state_of(house, ID.format(0))[:2] == ("reviewed", "Stop, curb ahead.")


def test_other_words_are_confirmed_with_y_and_enter_is_no(house: House) -> None:
    ids = fill(house, 1)
    typed = "n\nperson on left, car approaching from right\n\nkerb\nn\n\nq\n"
    done = server(house.home, "samples", "review", typed=typed)
    for line in (
        "You wrote:             person on left, car approaching from right",
        "It will be taught as:  Stop, vehicle approaching right.",
        "Left out: person on the left.",
        "It will be taught as:  Stop, curb ahead.",
    ):
        assert line in done.stdout
    assert done.stdout.count("Teach this? (y/n)") == 2
    assert state_of(house, ids[0])[0] == "pending"


def test_a_suggestion_is_chosen_by_its_number_and_never_by_enter(house: House) -> None:
    ids = fill(house, 2)
    typed = "n\ncone left, bollard right\n\ns\nn\ncone left, bollard right\n9\ncone left, bollard right\n2\n"
    done = server(house.home, "samples", "review", typed=typed)
    assert "  1   Caution, cone on the left.\n  2   Caution, bollard on the right." in done.stdout
    assert "a number: that wording" in done.stdout
    assert [state_of(house, one)[:2] for one in ids] == [
        ("pending", ""),
        ("reviewed", "Caution, bollard on the right."),
    ]


def test_what_the_device_said_in_two_sentences_is_taught_as_one_only_after_a_question(house: House) -> None:
    house.send(moment(0, raw_output="", spoken="Stop, curb ahead. Caution, bin on the left."))
    done = server(house.home, "samples", "review", typed="y\n\nq\n")
    assert "made from:    Stop, curb ahead. Caution, bin on the left. Left out: bin on the left" in done.stdout
    assert "It was said:           Stop, curb ahead. Caution, bin on the left." in done.stdout
    assert state_of(house, ID.format(0))[0] == "pending"
    done = server(house.home, "samples", "review", ID.format(0), "--accept")
    assert (done.returncode, "Nothing was saved." in done.stderr) == (1, True)
    assert server(house.home, "samples", "review", ID.format(0), "--accept", "--yes").returncode == 0
    assert state_of(house, ID.format(0)) == ("reviewed", "Stop, curb ahead.", True)


def test_what_the_device_should_never_have_said_is_named_and_another_wording_chosen(house: House) -> None:
    house.send(moment(0, raw_output="Cross, vehicle ahead."))
    done = server(house.home, "samples", "review", typed="y\n1\n")
    assert "CORRECTION:     (none: type what is right)" in done.stdout
    assert "walker's own to decide" in done.stdout
    assert state_of(house, ID.format(0)) == ("reviewed", "Stop, vehicle ahead.", False)


def test_at_a_terminal_a_number_is_not_typed_behind_the_refused_words(house: House) -> None:
    ids = fill(house, 1)
    with at_terminal(house.home, "samples", "review", ids[0]) as terminal:
        answer(terminal, "n")
        terminal.expect("> ")
        terminal.type("don't continue, hole ahead\n")
        terminal.expect("1   Stop, drop-off ahead.")
        terminal.expect("> ")
        terminal.type("1\n")
        terminal.expect("✓ Saved: Stop, drop-off ahead.")
        assert terminal.end() == 0


def test_nothing_to_review_is_said(house: House) -> None:
    assert "No moments wait for review." in server(house.home, "samples", "review").stdout


def test_ctrl_c_at_the_terminal_keeps_every_answer(house: House) -> None:
    ids = fill(house)
    with at_terminal(house.home, "samples", "review") as terminal:
        answer(terminal, "y")
        answer(terminal, "n")
        terminal.expect("> ")
        terminal.type("stop cu")
        terminal.expect("stop cu")  # Ctrl-C throws away what was not read yet
        terminal.interrupt()
        terminal.expect("1 decided, 2 still wait.")
        assert terminal.end() == 130
    assert [state_of(house, one)[0] for one in ids] == ["reviewed", "pending", "pending"]


def test_the_wording_to_edit_stands_in_the_line_already(house: House) -> None:
    ids = fill(house, 1)
    with at_terminal(house.home, "samples", "review", ids[0]) as terminal:
        answer(terminal, "e")
        terminal.expect("Caution, pole ahead.")
        terminal.type("\x7f" * 6 + "on the left.\n")
        terminal.expect("✓ Saved: Caution, pole on the left.")
        assert terminal.end() == 0


def test_a_moment_that_somebody_else_decided_meanwhile_is_not_asked(house: House) -> None:
    ids = fill(house, 2)
    with at_terminal(house.home, "samples", "review") as terminal:
        terminal.expect("Was this correct?")
        decisions.review(house.store, house.dataset, ids[1], ReviewDecision("nothing", "Ben"), now_s=1.0)
        terminal.type("y\n")
        terminal.expect("1 decided, 0 still wait.")
        assert terminal.end() == 0
    assert state_of(house, ids[1])[:2] == ("reviewed", "")


def test_a_correction_that_came_meanwhile_is_shown_before_it_is_accepted(house: House) -> None:
    ids = fill(house, 1)
    with at_terminal(house.home, "samples", "review") as terminal:
        terminal.expect("Was this correct?")
        house.send(spoken(ids[0], sound(5)))
        house.merge.put_transcript(
            "pi-1", "pi-1-b00t-c0000", transcript="kerb", confidence=0.9, proposal="Stop, curb ahead."
        )
        terminal.type("y\n")
        terminal.expect("It has changed meanwhile:")
        terminal.expect("CORRECTION:     Stop, curb ahead.")
        answer(terminal, "y")
        terminal.expect("✓ Saved: Stop, curb ahead. The device was wrong.")
        assert terminal.end() == 0


def answer(terminal: Terminal, text: str) -> None:
    terminal.expect("Was this correct? (y/n/e/s/q)")
    terminal.type(text + "\n")


def test_a_reader_that_has_seen_enough_is_no_failure(house: House) -> None:
    """`... | head`: the pipe is closed before a word was printed."""
    fill(house, 1)
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "server", "--home", str(house.home), "samples", "list"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writes)
    assert (done.returncode, done.stderr) == (UNREAD, "")
