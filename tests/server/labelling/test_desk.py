"""One labelling, whoever answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.labelling import folder as label
from server.labelling import footage
from server.labelling.desk import NOTHING_TO_UNDO, AskedChunk, LabelDesk
from shared.errors import Refused
from tests.device.capture.films import make


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[footage.Footage, ...]:
    folder = tmp_path_factory.mktemp("films")
    one = make(folder / "one.mp4", seconds=4.0)
    two = make(folder / "two.mp4", seconds=4.0, size=(160, 120))
    return footage.find(one), footage.find(two)


@pytest.fixture
def desk(films: tuple[footage.Footage, ...], tmp_path: Path) -> Iterator[LabelDesk]:
    with label.opened(tmp_path / "dataset") as folder, closing(LabelDesk(folder, films)) as desk:
        yield desk


def asked(desk: LabelDesk) -> AskedChunk:
    found = desk.asked()
    assert found is not None
    return found


def place(desk: LabelDesk) -> tuple[str, int]:
    return asked(desk).name, asked(desk).number


def take(desk: LabelDesk, action: str, text: str = "", **fields: str) -> str:
    return desk.take(asked(desk).turn, action, text, fields=fields or None)


def test_an_answer_to_a_chunk_that_was_answered_meanwhile_is_refused(desk: LabelDesk) -> None:
    seen = asked(desk).turn
    desk.take(seen, "save", "Stop, curb ahead.")
    with pytest.raises(Refused, match="answered meanwhile"):
        desk.take(seen, "save", "Caution, pole ahead.")
    assert desk.folder.answer("one", 0) == "Stop, curb ahead."
    assert desk.folder.answer("one", 1) is None


def test_back_goes_over_the_border_of_two_videos(desk: LabelDesk) -> None:
    for _ in range(2):
        take(desk, "save", "Stop, curb ahead.")
    assert place(desk) == ("two", 0)
    assert asked(desk).place == (2, 2)
    take(desk, "back")
    assert place(desk) == ("one", 1)
    assert asked(desk).earlier == "Stop, curb ahead."
    take(desk, "keep")
    assert place(desk) == ("two", 0)


def test_undo_takes_answers_back_one_by_one_to_what_was_before(desk: LabelDesk) -> None:
    take(desk, "save", "Stop, curb ahead.", lighting="day", lighting_from="person")
    take(desk, "skip")
    take(desk, "back")
    take(desk, "save", "Caution, pole ahead.")
    take(desk, "undo")
    assert (place(desk), asked(desk).earlier) == (("one", 1), "skip")
    take(desk, "undo")
    assert (place(desk), asked(desk).earlier) == (("one", 1), None)
    take(desk, "undo")
    assert (place(desk), asked(desk).earlier) == (("one", 0), None)
    assert take(desk, "undo") == NOTHING_TO_UNDO
    assert desk.folder.counts("one") == (0, 0)
    assert place(desk) == ("one", 0)
    assert [path.name for path in (desk.folder.root / "frames").iterdir()] == ["one_chunk0000.jpg"]  # the asked one


def test_undo_brings_an_older_sentence_back_with_its_fields(desk: LabelDesk) -> None:
    take(desk, "save", "Stop, curb ahead.", lighting="day", lighting_from="person")
    take(desk, "back")
    take(desk, "skip")
    take(desk, "undo")
    assert desk.folder.answer("one", 0) == "Stop, curb ahead."
    assert desk.folder.fields("one", 0) == {"lighting": "day", "lighting_from": "person"}
    assert asked(desk).frame.is_file()


def test_what_a_person_said_of_the_place_holds_for_the_next_chunk_and_not_for_another_video(desk: LabelDesk) -> None:
    around = {"environment": "park", "environment_from": "person", "scenario": "hazards", "scenario_from": "person"}
    take(desk, "save", "Stop, curb ahead.", **around, lighting="day", lighting_from="picture")
    assert asked(desk).fields == {"environment": "park", "environment_from": "person"}
    take(desk, "save", "Stop, curb ahead.")
    assert place(desk) == ("two", 0)
    assert asked(desk).fields == {}


@pytest.mark.parametrize(("action", "text"), [("save", "  "), ("keep", ""), ("dance", ""), ("", "")])
def test_what_is_no_answer_leaves_the_chunk_asked(desk: LabelDesk, action: str, text: str) -> None:
    turn = asked(desk).turn
    with pytest.raises(Refused, match="no answer here"):
        take(desk, action, text)
    assert asked(desk).turn == turn


def test_quit_removes_the_files_of_a_chunk_without_an_answer(desk: LabelDesk) -> None:
    frame = asked(desk).frame
    assert frame.is_file()
    take(desk, "quit")
    assert desk.asked() is None
    assert not frame.exists()
