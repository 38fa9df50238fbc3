"""`waycue-server label` at a terminal and with pipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.commands.label_terminal import typed_words
from tests.device.capture.films import make
from tests.server.commands.terminal import at_terminal, server


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("film") / "walk.mp4", seconds=8.0)


def instructions(root: Path) -> dict[str, str]:
    lines = (root / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return {Path(line["frame_path"]).stem: line["instruction"] for line in map(json.loads, lines)}


def test_each_chunk_is_asked_and_the_answers_become_the_dataset(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    typed = "Stop, curb ahead.\nskip\nwatch out kerb in front\ny\nnothing\n"
    done = server(None, "label", film, "--dataset", root, typed=typed)
    assert done.returncode == 0, done.stderr
    assert instructions(root) == {
        "walk_chunk0000": "Stop, curb ahead.",
        "walk_chunk0002": "Caution, curb ahead.",
        "walk_chunk0003": "Continue straight, path is clear.",
    }
    assert sorted(path.name for path in (root / "frames").iterdir()) == [f"walk_chunk000{n}.jpg" for n in (0, 2, 3)]
    assert "Chunk 2 of 4, 2.0 s to 4.0 s" in done.stdout
    assert f"Showing frame: {root / 'frames' / 'walk_chunk0001.jpg'}" in done.stdout
    assert "You wrote:             watch out kerb in front" in done.stdout
    assert "It will be taught as:  Caution, curb ahead." in done.stdout
    assert "3 labelled, 1 skipped, 0 to go" in done.stdout


def test_without_a_video_its_path_is_asked_for_until_there_is_one(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    typed = f"{tmp_path / 'none.mp4'}\n{tmp_path}\n'{film}'\nStop, curb ahead.\nquit\n"
    done = server(None, "label", "--dataset", root, typed=typed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Enter the path to the video file you want to label: ") == 3
    assert "none.mp4 cannot be read" in done.stdout
    assert "is a folder, not a video" in done.stdout
    assert instructions(root) == {"walk_chunk0000": "Stop, curb ahead."}
    unnamed = server(None, "label", "--dataset", tmp_path / "other", typed="")
    assert unnamed.returncode == 2
    assert "No video was named." in unnamed.stderr
    assert not (tmp_path / "other").exists()


def test_the_same_command_goes_on_where_it_stopped(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    first = server(None, "label", film, "--dataset", root, typed="stop curb ahead\ns\nq\n")
    assert "1 labelled, 1 skipped, 2 to go" in first.stdout
    assert not (root / "frames" / "walk_chunk0002.jpg").exists()  # shown, not answered
    second = server(None, "label", film, "--dataset", root, typed="Caution, pole ahead.\n")
    assert "Chunk 1 of" not in second.stdout
    assert "Chunk 2 of" not in second.stdout
    assert "2 labelled, 1 skipped, 1 to go" in second.stdout
    assert second.returncode == 0


def test_back_changes_an_answer_and_enter_keeps_it(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    typed = "Stop, curb ahead.\nskip\nback\nCaution, pole ahead.\nback\nback\n\nquit\n"
    done = server(None, "label", film, "--dataset", root, typed=typed)
    assert "Until now: skip (Enter keeps it)" in done.stdout
    assert instructions(root) == {"walk_chunk0000": "Stop, curb ahead.", "walk_chunk0001": "Caution, pole ahead."}
    again = server(None, "label", film, "--dataset", root, "--again", typed="skip\n\nquit\n")
    assert "1 labelled, 1 skipped, 2 to go" in again.stdout
    assert instructions(root) == {"walk_chunk0001": "Caution, pole ahead."}


def test_words_that_can_not_be_spoken_are_questioned_and_may_be_kept(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    done = server(None, "label", film, "--dataset", root, typed="mind the unicorn over there\nk\nquit\n")
    assert "'unicorn' is not in the vocabulary" in done.stdout
    assert "It teaches nothing like this" in done.stdout
    assert instructions(root) == {"walk_chunk0000": "mind the unicorn over there"}


def test_enter_takes_no_other_words_and_a_number_takes_a_suggestion(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    typed = (
        "person on left, car approaching from right\n\n"
        "do not cross, car coming\n\n"
        "kerb\nk\n"
        "don't go, hole ahead\n1\nquit\n"
    )
    done = server(None, "label", film, "--dataset", root, typed=typed)
    assert "It will be taught as:  Stop, vehicle approaching right.\nLeft out: person on the left." in done.stdout
    assert "say what to do, not what not to do" in done.stdout
    assert "  1   Stop, drop-off ahead." in done.stdout
    assert instructions(root) == {"walk_chunk0000": "kerb", "walk_chunk0001": "Stop, drop-off ahead."}


def test_ctrl_c_loses_nothing(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    with at_terminal(None, "label", film, "--dataset", root) as terminal:
        terminal.expect("Enter instruction")
        terminal.type("Stop, curb ahead.\n")
        terminal.expect("Chunk 2 of 4")
        terminal.expect("Enter instruction")
        terminal.type("half an answ")
        terminal.expect("half an answ")
        terminal.interrupt()
        terminal.expect("1 labelled, 0 skipped, 3 to go")
        assert terminal.end() == 130
    assert instructions(root) == {"walk_chunk0000": "Stop, curb ahead."}
    assert [path.name for path in (root / "audio").iterdir()] == ["walk_chunk0000.wav"]


def test_a_killed_labelling_keeps_every_answer(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    with at_terminal(None, "label", film, "--dataset", root) as terminal:
        for number, answer in enumerate(("Stop, curb ahead.", "skip"), start=1):
            terminal.expect(f"Chunk {number} of 4")
            terminal.expect("Enter instruction")
            terminal.type(answer + "\n")
        terminal.expect("Chunk 3 of 4")
        terminal.process.kill()
    done = server(None, "label", film, "--dataset", root, typed="quit\n")
    assert "1 labelled, 1 skipped, 2 to go" in done.stdout
    assert instructions(root) == {"walk_chunk0000": "Stop, curb ahead."}


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.mp4", "cannot be read"), ("empty.mp4", "is empty (0 bytes)"), ("sound.m4a", "has sound but no picture")],
)
def test_what_can_not_be_labelled_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    make(tmp_path / "sound.m4a", codec=None)
    done = server(None, "label", tmp_path / name, "--dataset", tmp_path / "dataset")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "dataset").exists()


def test_a_film_that_was_cut_off_says_what_is_missing(tmp_path: Path) -> None:
    film = make(tmp_path / "walk.mp4", seconds=8.0, times=[n / 15 for n in range(30)])
    done = server(None, "label", film, "--dataset", tmp_path / "dataset", typed="Stop, curb ahead.\n")
    assert "1 labelled, 0 skipped, 0 to go" in done.stdout
    assert "3 could not be read" in done.stdout


@pytest.mark.parametrize(
    ("typed", "taken", "wording"),
    [
        ("stop curb ahead", "Stop, curb ahead.", None),
        ("Follow the path.", "Follow the path.", None),
        ("Stop, car approaching from left.", "Stop, vehicle approaching left.", None),
        ("kerb", None, "Stop, curb ahead."),
        ("flowers everywhere", None, None),
        ("path is clear", None, "Continue straight, path is clear."),
    ],
)
def test_the_vocabulary_is_offered(typed: str, taken: str | None, wording: str | None) -> None:
    offered = typed_words(typed)
    assert (offered.taken, offered.wording) == (taken, wording)
