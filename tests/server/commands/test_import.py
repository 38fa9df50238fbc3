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


def test_labels_that_can_not_be_spoken_stop_the_import_and_are_named_by_line(house: House, folder: Path) -> None:
    with label.opened(folder) as opened:
        opened.save("to-the-shop", 1, "mind the unicorn")
    done = server(house.home, "samples", "import", folder)
    assert done.returncode == 1
    assert f"Faulty: {folder}/metadata.jsonl, line 2: “mind the unicorn” can not be taught: 'unicorn' is" in done.stderr
    assert "nothing was taken in" in done.stderr
    assert rows_of(house) == []


FAULTY = {
    "no words": (b"{}", "it names no picture"),
    "an empty sentence": (b'{"instruction": "  "}', "it has no words. Where nothing should be said, write: Continue"),
    "an instruction that is a number": (b'{"instruction": 3}', "instruction is not text"),
    "half a line at the end": (b'{"frame_path": "frames/to-the-sh', "it is the last line and was cut off"),
    "a list": (b"[1]", "it is no JSON object"),
    "no sound": (b'{"audio_path": ""}', "it names no sound"),
    "a file elsewhere": (b'{"frame_path": "../../secret.jpg"}', "is missing, or lies elsewhere"),
    "a link that leads elsewhere": (b'{"frame_path": "frames/link.jpg"}', "is missing, or lies elsewhere"),
    "half a picture": (b'{"frame_path": "frames/half.jpg"}', "the picture cannot be taken: it is damaged or cut off"),
    "no picture": (b'{"frame_path": "frames/text.jpg"}', "the frame is not a JPEG picture"),
    "an empty sound": (b'{"audio_path": "audio/empty.wav"}', "the sound is empty"),
    "half a surrogate": (b'{"scene": "\\ud800"}', "surrogates not allowed"),
    "a number that is none": (b'{"lux": NaN}', "not JSON compliant"),
    "a context without end": (json.dumps({"context": "x" * 1_000_000}).encode(), "context"),
    "no sound at all": (b'{"audio_path": "frames/text.jpg"}', "the audio is not a WAV sound"),
}


def faulty_files(folder: Path) -> None:
    """Files that the lines of FAULTY name."""
    (folder.parent / "secret.jpg").write_bytes(picture(7))
    (folder / "frames" / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    (folder / "frames" / "half.jpg").write_bytes(picture(7)[: len(picture(7)) // 2])
    (folder / "frames" / "text.jpg").write_bytes(b"no picture")
    (folder / "audio" / "empty.wav").write_bytes(sound(0)[:44])


@pytest.mark.parametrize("kind", FAULTY)
def test_a_faulty_line_stops_the_import_whole_and_is_named(kind: str, house: House, folder: Path) -> None:
    changed, reason = FAULTY[kind]
    faulty_files(folder)
    log = folder / "metadata.jsonl"
    line = changed
    if changed.startswith(b"{") and changed.endswith(b"}") and changed != b"{}":
        whole = {"frame_path": "frames/to-the-shop_chunk0002.jpg", "audio_path": "audio/to-the-shop_chunk0002.wav"}
        line = json.dumps({**whole, "instruction": "Stop, curb ahead.", **json.loads(changed)}).encode()
    log.write_bytes(log.read_bytes() + line)
    done = server(house.home, "samples", "import", folder)
    assert done.returncode == 1
    assert f"{log}, line 4: " in done.stderr
    assert reason in done.stderr
    assert rows_of(house) == []
    rest = server(house.home, "samples", "import", folder, "--leave-out-faulty")
    assert rest.returncode == 1
    assert f"Left out: {log}, line 4: " in rest.stdout
    assert len(rows_of(house)) == 3


def test_a_last_line_without_its_end_counts(house: House, folder: Path) -> None:
    log = folder / "metadata.jsonl"
    log.write_bytes(log.read_bytes().removesuffix(b"\n"))
    assert "3 moments brought in" in server(house.home, "samples", "import", folder).stdout
    with label.opened(folder) as opened:
        assert opened.answer("to-the-shop", 2) == "Caution, pole ahead."
    assert log.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(("choice", "truth"), [("last", "Stop, stairs down."), ("first", "Caution, pole ahead.")])
def test_a_moment_that_stands_there_twice_is_named_and_a_person_decides(
    choice: str, truth: str, house: House, folder: Path
) -> None:
    log = folder / "metadata.jsonl"
    *_, last = log.read_text(encoding="utf-8").splitlines()
    log.write_text(log.read_text() + last.replace("Caution, pole ahead.", "Stop, stairs down.") + "\n")
    refused = server(house.home, "samples", "import", folder, "--duplicates", "refuse")
    assert (refused.returncode, rows_of(house)) == (1, [])
    done = server(house.home, "samples", "import", folder, "--duplicates", choice)
    assert f"line 3 (“Caution, pole ahead.”) and {log}, line 4 (“Stop, stairs down.”)" in done.stdout
    assert f"The {choice} one was taken" in done.stdout
    assert rows_of(house)[2].ground_truth == truth


def test_fields_of_other_tools_are_kept_and_those_that_only_the_server_says_are_named(
    house: House, folder: Path, tmp_path: Path
) -> None:
    log = folder / "metadata.jsonl"
    first, *others = log.read_text(encoding="utf-8").splitlines()
    more = {"scene": "street", "light": "dusk", "lux": 12.5, "context": "rain", "consent": "share", "reviewed": False}
    log.write_text("\n".join([json.dumps({**json.loads(first), **more}), *others]) + "\n", encoding="utf-8")
    done = server(house.home, "samples", "import", folder)
    assert "Not taken, only the server says it: reviewed (1 lines)" in done.stdout
    row = rows_of(house)[0]
    assert {name: row.extra[name] for name in ("scene", "light", "lux")} == {
        "scene": "street",
        "light": "dusk",
        "lux": 12.5,
    }
    assert (row.context, row.consent, row.reviewed) == ("rain", "share", True)


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
