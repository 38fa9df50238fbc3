"""`waycue-server samples import`: a labelled folder teaches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from server.dataset.sample_row import SampleRow
from server.labelling import folder as label
from server.labelling.footage import Chunk
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import at_terminal, server
from tests.server.dataset.moments import House, picture, sound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "dataset"
    with label.opened(root) as opened:
        for number, text in enumerate(
            ("Stop, car approaching from left.", "Continue straight, path is clear.", "Caution, pole ahead.")
        ):
            opened.show("to-the-shop", number, Chunk(picture(number), sound(number)))
            opened.save("to-the-shop", number, text)
    return root


def rows_of(house: House) -> list[SampleRow]:
    return sorted(house.dataset.rows(), key=lambda row: row.sample_id[-6:])


def test_every_label_becomes_a_confirmed_moment(house: House, folder: Path) -> None:
    done = server(house.home, "samples", "import", folder, "--as", "Ben")
    assert done.returncode == 0, done.stderr
    assert "3 moments brought in" in done.stdout
    rows = rows_of(house)
    assert [row.ground_truth for row in rows] == ["Stop, vehicle approaching left.", "", "Caution, pole ahead."]
    assert {(row.device, row.walk_id, row.author, row.state) for row in rows} == {
        ("label", "to-the-shop", "Ben", "reviewed")
    }
    for number, row in enumerate(rows):
        assert (house.dataset.folder / row.frame_path).read_bytes() == picture(number)
        assert (house.dataset.folder / row.audio_path).read_bytes() == sound(number)
    assert not list((house.home / "importing").iterdir())
    assert (folder / "frames" / "to-the-shop_chunk0000.jpg").exists()


def test_bringing_it_in_again_changes_nothing(house: House, folder: Path, tmp_path: Path) -> None:
    server(house.home, "samples", "import", folder)
    before = house.dataset.version()
    copy = shutil.copytree(folder, tmp_path / "copy")
    for again in (folder, copy):
        done = server(house.home, "samples", "import", again)
        assert "0 moments brought in, 0 labels changed, 3 were there already." in done.stdout
    assert house.dataset.version() == before


def test_a_label_that_changed_is_a_new_decision(house: House, folder: Path) -> None:
    server(house.home, "samples", "import", folder)
    with label.opened(folder) as opened:
        opened.save("to-the-shop", 0, "Stop, stairs down.")
    assert "1 labels changed, 2 were there" in server(house.home, "samples", "import", folder).stdout
    row = rows_of(house)[0]
    assert row.ground_truth == "Stop, stairs down."
    assert len(decisions.history(house.store, row.sample_id)) == 2


def test_what_a_caregiver_decided_since_is_not_undone(house: House, folder: Path) -> None:
    server(house.home, "samples", "import", folder)
    sample_id = rows_of(house)[0].sample_id
    decisions.review(house.store, house.dataset, sample_id, ReviewDecision("reject", "Cleo"), now_s=1.0)
    assert "0 labels changed, 3 were there" in server(house.home, "samples", "import", folder).stdout
    assert rows_of(house)[0].state == "rejected"


def test_labels_that_can_not_be_spoken_are_left_out_and_named(house: House, folder: Path) -> None:
    with label.opened(folder) as opened:
        opened.save("to-the-shop", 1, "mind the unicorn")
    done = server(house.home, "samples", "import", folder)
    assert done.returncode == 1
    assert "Left out: to-the-shop_chunk0001.jpg: “mind the unicorn” can not be taught: 'unicorn' is not" in done.stdout
    assert len(rows_of(house)) == 2


def test_a_line_without_words_is_left_out_and_never_taken_for_silence(house: House, folder: Path) -> None:
    with label.opened(folder) as opened:
        opened.save("to-the-shop", 0, "")
    done = server(house.home, "samples", "import", folder)
    assert done.returncode == 1
    assert "Left out: to-the-shop_chunk0000.jpg: It has no words." in done.stdout
    assert len(rows_of(house)) == 2


def rewordings(folder: Path) -> None:
    """Three labels in other words, two of them the same."""
    texts = ("Stop, kerb ahead.", "person on left, car approaching from right", "Stop, kerb ahead.")
    with label.opened(folder) as opened:
        for number, text in enumerate(texts, start=3):
            opened.show("to-the-shop", number, Chunk(picture(number), sound(number)))
            opened.save("to-the-shop", number, text)


LISTED = (
    "  2 × “Stop, kerb ahead.” → “Stop, curb ahead.”\n"
    "  1 × “person on left, car approaching from right” → “Stop, vehicle approaching right.”"
    " Left out: person on the left.\n"
)


def test_without_a_terminal_labels_in_other_words_are_left_out_and_listed(house: House, folder: Path) -> None:
    rewordings(folder)
    done = server(house.home, "samples", "import", folder)
    assert done.returncode == 1
    assert LISTED in done.stdout
    assert "3 moments brought in" in done.stdout
    taken = server(house.home, "samples", "import", folder, "--accept-rewordings")
    assert (taken.returncode, "3 moments brought in" in taken.stdout) == (0, True)
    assert [row.ground_truth for row in rows_of(house)[3:]] == [
        "Stop, curb ahead.",
        "Stop, vehicle approaching right.",
        "Stop, curb ahead.",
    ]
    again = server(house.home, "samples", "import", folder)  # confirmed once, they are no question any more
    assert (again.returncode, "6 were there already" in again.stdout) == (0, True)


@pytest.mark.parametrize(("typed", "brought_in"), [("y\n", 6), ("\n", 3), ("n\n", 3), ("\x04", 3)])
def test_at_a_terminal_they_are_listed_and_confirmed_once(
    typed: str, brought_in: int, house: House, folder: Path
) -> None:
    rewordings(folder)
    with at_terminal(house.home, "samples", "import", folder) as terminal:
        terminal.expect("3 labels would be taught in other words:\n" + LISTED)
        terminal.expect("Teach these? (y/n)")
        terminal.type(typed)
        terminal.expect(f"{brought_in} moments brought in")
        assert terminal.end() == (0 if brought_in == 6 else 1)
    assert len(rows_of(house)) == brought_in


def test_a_file_that_is_no_picture_is_left_out_and_named(house: House, folder: Path) -> None:
    (folder / "frames" / "to-the-shop_chunk0001.jpg").write_bytes(b"no picture")
    done = server(house.home, "samples", "import", folder)
    assert done.returncode == 1
    assert "Left out: to-the-shop_chunk0001.jpg: the frame is not a JPEG picture" in done.stdout
    assert len(rows_of(house)) == 2


def test_a_folder_without_labels_is_refused(house: House, tmp_path: Path) -> None:
    done = server(house.home, "samples", "import", tmp_path)
    assert done.returncode == 1
    assert "has no metadata.jsonl" in done.stderr


def test_what_was_brought_in_leaves_again_under_the_same_names(house: House, folder: Path, tmp_path: Path) -> None:
    server(house.home, "samples", "import", folder)
    server(house.home, "export", "--format", "jsonl", "--out", tmp_path / "out")
    names = [json.loads(line)["frame_path"] for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert names == [f"frames/to-the-shop_chunk000{n}.jpg" for n in range(3)]


def test_labelled_videos_do_not_count_as_a_models_accuracy(house: House, folder: Path) -> None:
    server(house.home, "samples", "import", folder)
    found = json.loads(server(house.home, "stats", "--json").stdout)
    assert found["states"]["reviewed"] == 3
    assert found["accuracy"]["judged"] == 0
