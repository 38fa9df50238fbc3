"""`label --script`: answers from a file, taken whole or named; the same file may be run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.device.capture.films import make
from tests.server.commands.terminal import Done, server


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("films")
    return make(folder / "monday.mp4", seconds=4.0), make(folder / "tuesday.mp4", seconds=4.0, size=(160, 120))


def lines(root: Path) -> dict[str, dict[str, str]]:
    text = (root / "metadata.jsonl").read_text(encoding="utf-8")
    return {Path(line["frame_path"]).stem: line for line in map(json.loads, text.splitlines())}


def labelled(films: tuple[Path, ...], root: Path, text: str, *more: str) -> Done:
    script = root.parent / "answers.txt"
    script.write_text(text, encoding="utf-8")
    return server(None, "label", *films, "--dataset", root, "--script", script, *more)


def test_a_sentence_a_line_answers_the_chunks_of_all_videos_in_order(films: tuple[Path, Path], tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    done = labelled(films, root, "Stop, curb ahead.\nskip\n\nnothing\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: line["instruction"] for name, line in lines(root).items()} == {
        "monday_chunk0000": "Stop, curb ahead.",
        "tuesday_chunk0001": "Continue straight, path is clear.",
    }
    assert "monday: 1 labelled, 1 skipped, 0 to go" in done.stdout
    assert "tuesday: 1 labelled, 0 skipped, 1 to go" in done.stdout


def test_the_same_script_again_changes_nothing_and_a_longer_one_goes_on(
    films: tuple[Path, Path], tmp_path: Path
) -> None:
    root = tmp_path / "dataset"
    labelled(films, root, "Stop, curb ahead.\n")
    before = (root / "metadata.jsonl").read_bytes()
    labelled(films, root, "Stop, curb ahead.\n")
    assert (root / "metadata.jsonl").read_bytes() == before
    done = labelled(films, root, "Caution, pole ahead.\n\nCaution, bin ahead.\n")
    assert (root / "metadata.jsonl").read_bytes().startswith(before)  # an answered chunk is not asked again
    assert lines(root)["tuesday_chunk0000"]["instruction"] == "Caution, bin ahead."
    assert done.returncode == 0


def test_json_lines_name_video_and_chunk_in_any_order_and_carry_other_fields(
    films: tuple[Path, Path], tmp_path: Path
) -> None:
    root = tmp_path / "dataset"
    answers = [
        {"video": "tuesday.mp4", "chunk": 1, "instruction": "Caution, pole ahead.", "by": "Ada"},
        {"video": "monday", "chunk": 0, "skip": True},
        {"video": str(films[0]), "chunk": 1, "instruction": "Stop, curb ahead."},
    ]
    done = labelled(films, root, "\n".join(map(json.dumps, answers)))
    assert done.returncode == 0, done.stderr
    found = lines(root)
    assert found["tuesday_chunk0001"]["by"] == "Ada"
    assert found["monday_chunk0001"]["instruction"] == "Stop, curb ahead."
    assert len(found) == 2


def test_other_words_are_left_out_until_they_are_accepted(films: tuple[Path, Path], tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    text = "watch out kerb in front\nmind the unicorn\n"
    done = labelled(films, root, text)
    assert done.returncode == 1
    assert "line 1: “watch out kerb in front” would be taught as “Caution, curb ahead.”" in done.stdout
    assert "line 2: “mind the unicorn” can not be taught" in done.stdout
    assert list((root / "frames").iterdir()) == []
    accepted = labelled(films, root, text, "--accept-rewordings")
    assert accepted.returncode == 1  # the unicorn
    assert [line["instruction"] for line in lines(root).values()] == ["Caution, curb ahead."]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"video": "monday", "chunk": 0, "instruction": "Stop."\n', "line 1"),
        ('{"video": "monday", "chunk": 7, "instruction": "Stop."}\n', '"chunk" is 7, not a number from 0 to 1'),
        ('{"video": "sunday", "chunk": 0, "instruction": "Stop."}\n', "'sunday' is none of the videos"),
        ('{"chunk": 0, "instruction": "Stop."}\n', '"video" is missing'),
        ('{"video": "monday", "instruction": "Stop."}\n', "'chunk' is missing"),
        ('{"video": "monday", "chunk": 0, "instruction": ""}\n', '"instruction" has no words'),
        ('{"video": "monday", "chunk": 0, "skip": true}\n[1]\n', "line 2"),
        ('{"video": "monday", "chunk": 0, "skip": true}\n' * 2, "line 1 answers this chunk"),
        ("\n\n\n\nStop, curb ahead.\n", "line 5: there are only 4 chunks"),
    ],
)
def test_a_script_with_a_mistake_is_named_by_line_and_nothing_of_it_is_taken(
    films: tuple[Path, Path], tmp_path: Path, text: str, why: str
) -> None:
    done = labelled(films, tmp_path / "dataset", text)
    assert done.returncode == 1
    assert why in done.stderr
    assert "answers.txt" in done.stderr
    assert not (tmp_path / "dataset").exists()
