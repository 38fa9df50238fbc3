"""`python -m server.walks`."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import pytest

from server.walks import DRAWN, ROUTES
from server.walks.__main__ import main


def test_list_names_every_route_and_thing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*ROUTES, *DRAWN))
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["drawn"] == list(DRAWN)


def test_frame_writes_a_picture_and_its_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, mask = tmp_path / "a.png", tmp_path / "m.png"
    assert main(["frame", "--object", "cone", "--out", str(picture), "--mask", str(mask), "--size", "320x240"]) == 0
    assert "cone" in capsys.readouterr().out
    image, labels = cv2.imread(str(picture)), cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert labels is not None
    assert image.shape == (240, 320, 3)
    assert (labels == DRAWN.index("cone") + 1).any()


def test_sheet_shows_everything(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["sheet", "--columns", "2", "--out", str(out)]) == 0
    sheet = cv2.imread(str(out))
    assert sheet is not None
    assert sheet.shape == (192 * len(DRAWN), 512, 3)


def test_truth_is_one_json_line_per_chunk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["truth", "--route", "town", "--duration", "8"]) == 0
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert set(rows[0]) == {"index", "start_s", "end_s", "instruction", "seen", "events"}
    out = tmp_path / "truth.jsonl"
    assert main(["truth", "--route", "town", "--duration", "8", "--out", str(out)]) == 0
    assert out.read_text() == printed


def test_video_writes_a_file_that_plays(tmp_path: Path) -> None:
    out = tmp_path / "walk.mp4"
    assert main(["video", "--duration", "2", "--size", "160x120", "--fps", "5", "--out", str(out)]) == 0
    with av.open(out) as container:
        assert len(list(container.decode(video=0))) == 10


def test_wrong_use_ends_with_2_and_says_what_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frame", "--object", "dragon", "--out", str(tmp_path / "a.png")]) == 2
    assert "waycue-walks: Cannot draw ['dragon']. Choose from: curb" in capsys.readouterr().err
    assert main(["truth", "--duration", "0"]) == 2
    with pytest.raises(SystemExit) as ended:
        main(["frame", "--size", "big", "--out", "a.png"])
    assert ended.value.code == 2


def test_a_folder_that_cannot_be_written_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert main(["frame", "--out", str(blocked / "a.png")]) == 1
    assert "waycue-walks:" in capsys.readouterr().err
