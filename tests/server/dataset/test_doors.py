"""Every door through which words come in: none becomes its opposite, nothing is lost unseen, each is explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from server import config
from server.commands.label_terminal import typed_words
from server.dataset.sample_row import SampleRow
from server.labelling import folder
from server.labelling.footage import Chunk
from server.review import decisions
from server.web.app import create_app
from shared.speech import Transcript, proposal
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, picture, sound, spoken
from tests.server.dataset.table import ALL, AS_WRITTEN, REFUSED, REWORDED, safe
from tests.server.web.serving import ask, post_json, served

IDS = {text: f"pi-1-b00t-{n:06d}" for n, text in enumerate(ALL)}


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    """One moment for each text of the table, at which the device was silent."""
    house = House(memory_path / "home")
    house.send_all([moment(n, raw_output="") for n in range(len(ALL))])
    yield house
    house.close()


def row_of(house: House, text: str) -> SampleRow:
    row = decisions.get(house.store, IDS[text])
    assert row is not None
    return row


def stored(house: House) -> dict[str, str]:
    """What a person confirmed: text → wording."""
    return {text: row.ground_truth for text in ALL if (row := row_of(house, text)).reviewed}


CONFIRMED = AS_WRITTEN | {text: wording for text, (wording, _) in REWORDED.items()}


def test_the_api_takes_explains_and_lets_other_words_be_confirmed(house: House) -> None:
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        for text in ALL:
            url = f"{site}/api/samples/{IDS[text]}/review"
            read = {"action": "edit", "row_id": row_of(house, text).row_id}
            answer = post_json(url, {**read, "text": text})
            if text in AS_WRITTEN:
                assert (answer.status, answer.json["ground_truth"]) == (200, AS_WRITTEN[text])
                continue
            assert answer.status == 422
            assert row_of(house, text).state == "pending"
            assert set(answer.json) == {"detail", "proposal", "wording", "lost", "suggestions", "unknown"}
            if text in REFUSED:
                assert REFUSED[text] in answer.json["detail"]
                assert (answer.json["wording"], answer.json["lost"]) == ("", [])
                assert all(map(safe, answer.json["suggestions"]))
                continue
            wording, lost = REWORDED[text]
            assert (answer.json["wording"], answer.json["proposal"]) == (wording, wording)
            assert (answer.json["lost"], answer.json["suggestions"]) == (list(lost), [])
            again = post_json(url, {**read, "text": answer.json["wording"]})
            assert (again.status, again.json["ground_truth"]) == (200, wording)
    assert stored(house) == CONFIRMED


def test_the_page_without_javascript_shows_what_would_be_taught_and_takes_it_with_a_button(house: House) -> None:
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        for text in (*REFUSED, *REWORDED):
            answer = ask(
                f"{site}/moments/{IDS[text]}/review",
                method="POST",
                data=urlencode({"action": "edit", "text": text, "row_id": row_of(house, text).row_id}).encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
            )
            assert answer.status == 422
            html = answer.text.replace("&#39;", "'")
            if text in REFUSED:
                assert REFUSED[text] in html
                assert "Teach this wording" not in html
                continue
            wording, lost = REWORDED[text]
            assert f"You wrote <q>{text}</q>" in html
            assert f"It will be taught as <q>{wording}</q>" in html
            assert f'<input type="hidden" name="text" value="{wording}">' in html
            assert all(f"Left out: {one}." in html for one in lost)
    assert stored(house) == {}


def test_the_review_in_a_terminal_takes_nothing_by_enter(house: House) -> None:
    for text in (*REFUSED, *REWORDED):
        done = server(house.home, "samples", "review", IDS[text], typed=f"n\n{text}\n\n\nq\n")
        if text in REFUSED:
            assert REFUSED[text] in done.stdout
            continue
        wording, lost = REWORDED[text]
        assert f"You wrote:             {text}\nIt will be taught as:  {wording}\n" in done.stdout
        assert "Teach this? (y/n)" in done.stdout
        assert all(f"Left out: {one}." in done.stdout for one in lost)
    assert stored(house) == {}
    for text in (*REWORDED, *AS_WRITTEN):
        server(house.home, "samples", "review", IDS[text], typed=f"n\n{text}\ny\n")
    assert stored(house) == CONFIRMED


def test_one_command_takes_other_words_only_when_told_to(house: House) -> None:
    for text in ALL:
        done = server(house.home, "samples", "review", IDS[text], "--edit", text)
        assert done.returncode == (0 if text in AS_WRITTEN else 1)
        if text in REFUSED:
            assert REFUSED[text] in done.stderr
            assert server(house.home, "samples", "review", IDS[text], "--edit", text, "--yes").returncode == 1
        if text in REWORDED:
            assert f'--edit "{REWORDED[text][0]}"' in done.stderr
    assert stored(house) == AS_WRITTEN
    for text in REWORDED:
        assert server(house.home, "samples", "review", IDS[text], "--edit", text, "--yes").returncode == 0
    assert stored(house) == CONFIRMED


@pytest.mark.parametrize("text", ALL)
def test_label_writes_nothing_down_that_was_not_confirmed(text: str) -> None:
    typed = typed_words(text)
    assert typed.taken == AS_WRITTEN.get(text)
    if text in REFUSED:
        assert REFUSED[text] in typed.lines[0]
        assert typed.wording is None
        assert all(map(safe, typed.choices))
    if text in REWORDED:
        assert (typed.wording, typed.choices) == (REWORDED[text][0], ())
        assert "y: teach this" in typed.question


def test_import_leaves_out_what_nobody_confirmed_and_says_so(house: House, tmp_path: Path) -> None:
    config.init(house.home)
    with folder.opened(tmp_path / "labelled") as opened:
        for number, text in enumerate(ALL):
            opened.show("walk", number, Chunk(picture(90 + number), sound(90 + number)))
            opened.save("walk", number, text)

    def brought_in() -> set[str]:
        return {row.ground_truth for row in house.dataset.rows() if row.device == "label"}

    done = server(house.home, "samples", "import", tmp_path / "labelled")
    assert (done.returncode, brought_in()) == (1, set())
    assert all(because in done.stderr for because in REFUSED.values())
    done = server(house.home, "samples", "import", tmp_path / "labelled", "--leave-out-faulty")
    assert done.returncode == 1
    assert brought_in() == set(AS_WRITTEN.values())
    assert all(because in done.stdout for because in REFUSED.values())
    assert all(f"1 × “{text}” → “{wording}”" in done.stdout for text, (wording, _) in REWORDED.items())
    done = server(house.home, "samples", "import", tmp_path / "labelled", "--accept-rewordings", "--leave-out-faulty")
    assert done.returncode == 1  # the refused ones are still left out
    assert brought_in() == set(CONFIRMED.values())


def test_what_a_wearer_said_is_proposed_in_the_same_words_or_left_to_a_person(house: House) -> None:
    for n, text in enumerate(ALL):
        said = spoken(IDS[text], sound(200 + n), n=n)
        house.send(said)
        house.merge.put_transcript(
            "pi-1", said.record.correction_id, transcript=text, confidence=1.0, proposal=proposal(Transcript(text, 1.0))
        )
        row = row_of(house, text)
        assert row.llm_correction == row.instruction == CONFIRMED.get(text, "")
        assert decisions.not_understood(row) == (text in REFUSED)
        assert server(house.home, "samples", "review", IDS[text], "--accept").returncode == (text in REFUSED)
    assert stored(house) == CONFIRMED


def test_what_a_device_worded_otherwise_or_should_not_have_said_is_not_confirmed_as_it_is(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    try:
        house.send_all([moment(n, raw_output=text, spoken=text) for n, text in enumerate(ALL)])
        for text in ALL:
            row = row_of(house, text)
            assert row.llm_correction == row.instruction == CONFIRMED.get(text, "")
            server(house.home, "samples", "review", IDS[text], "--accept")
        assert stored(house) == CONFIRMED
    finally:
        house.close()


def test_an_old_proposal_that_may_not_be_said_is_not_accepted(house: House) -> None:
    """As rows of an earlier version have it: its own words, in the dataset already."""
    text = ALL[0]
    said = spoken(IDS[text], sound(300), n=3)
    house.send(said)
    house.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript="w", confidence=1.0, proposal="Cross, vehicle ahead."
    )
    row = row_of(house, text)
    assert (row.llm_correction, decisions.not_understood(row)) == ("", True)
    old = replace(row, llm_correction="Cross, vehicle ahead.", instruction="Cross, vehicle ahead.")
    assert decisions.proposal(old) == ""
    assert "the walker's own to decide" in str(decisions.objection(old))
    decided = replace(old, reviewed=True, ground_truth="Cross, vehicle ahead.")
    assert "the walker's own to decide" in str(decisions.objection(decided))
