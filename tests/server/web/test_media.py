"""The dataset's files over HTTP: the right bytes, the right type, and nothing else on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from server.dataset.blobs import FolderBlobs
from server.web.media import find
from tests.server.dataset.moments import House, clip, picture, sound
from tests.server.web.serving import CORRECTED, ask


def paths(site: str) -> dict[str, str]:
    row = ask(f"{site}/api/samples/{CORRECTED}").json
    return {name: row[f"{name}_path"] for name in ("frame", "audio", "clip", "correction_audio")}


def test_each_file_comes_whole_with_its_type_and_no_browser_keeps_a_copy(site: str) -> None:
    expected = {
        "frame": ("image/jpeg", picture(3)),
        "audio": ("audio/wav", sound(3)),
        "clip": ("video/mp4", clip(3)),
        "correction_audio": ("audio/wav", sound(8)),
    }
    for name, path in paths(site).items():
        answer = ask(f"{site}/media/{path}")
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, *expected[name])
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["cache-control"] == "no-store"


def test_a_player_may_ask_for_a_range(site: str) -> None:
    url, whole = f"{site}/media/{paths(site)['clip']}", clip(3)
    part = ask(url, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert ask(url, headers={"Range": "bytes=-5"}).body == whole[-5:]
    assert ask(url, headers={"Range": f"bytes={len(whole)}-"}).status == 416
    assert ask(url, method="HEAD").headers["content-length"] == str(len(whole))


@pytest.mark.parametrize(
    "path",
    ["frames/../metadata.jsonl", "frames/..%2fmetadata.jsonl", "%2e%2e/waycue.sqlite", "..%2f..%2fetc/passwd",
     "frames/metadata.jsonl", "incoming/" + "a" * 64 + ".jpg", "frames/" + "a" * 64 + ".jpg",
     "frames/" + "A" * 64 + ".jpg", "frames/" + "a" * 64 + ".jpg%0a", "frames//etc/passwd", "frames/%00", "frames/"],
)  # fmt: skip
def test_nothing_else_is_served(site: str, path: str) -> None:
    assert ask(f"{site}/media/{path}").status == 404


def test_a_file_is_served_only_under_its_own_kind(site: str) -> None:
    frame = Path(paths(site)["frame"]).name
    assert ask(f"{site}/media/audio/{frame}").status == 404
    assert ask(f"{site}/media/audio/{Path(frame).stem}.wav").status == 404


def test_links_are_not_followed(site: str, house: House, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    name = "b" * 64 + ".jpg"
    (house.dataset.folder / "frames" / name).symlink_to(secret)
    assert ask(f"{site}/media/frames/{name}").status == 404
    (house.dataset.folder / "frames" / ("c" * 64 + ".jpg")).mkdir()
    assert ask(f"{site}/media/frames/{'c' * 64}.jpg").status == 404


def test_the_dataset_itself_may_lie_behind_a_link(house: House, tmp_path: Path) -> None:
    elsewhere = tmp_path / "big-disk"
    name = "d" * 64 + ".wav"
    (house.dataset.folder / "audio" / name).write_bytes(sound(1))
    shutil.copytree(house.dataset.folder, elsewhere)
    (tmp_path / "linked").symlink_to(elsewhere)
    assert find(FolderBlobs(tmp_path / "linked"), "audio", name) is not None
