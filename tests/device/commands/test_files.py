"""Names of files: as people write them, and never one that is read as one to write into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device.capture.open import open_source
from device.capture.settings import CaptureSettings
from device.commands.main import main
from shared.errors import ConfigError
from shared.paths import refuse_overwriting
from tests.device.agent.stage import film

NAMES = ["12:30 walk.mp4", "http:walk.mp4", "concat:a|b.mp4", "-walk.mp4", "50%d.mp4", "IMG (portrait).MOV", "ä'.mp4"]


@pytest.mark.parametrize("name", [*map(os.fsencode, NAMES), b"odd \xff\xfe.mp4"])
def test_a_recording_of_any_name_is_walked_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: bytes
) -> None:
    made = film(tmp_path, 2.0)
    monkeypatch.chdir(tmp_path)
    os.rename(os.fsencode(made), name)
    source = f"replay:{os.fsdecode(name)}"
    options = ["--state", "state", "--speech", "none", "--pace", "fast", "--exit-at-end", "--report", "report.json"]
    assert main(["run", "--source", source, *options]) == 0, capfd.readouterr().err
    assert b'"frames_seen": 20' in Path("report.json").read_bytes()
    assert "Traceback" not in capfd.readouterr().err


def test_a_home_folder_is_expanded_in_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = film(tmp_path, 1.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = open_source(CaptureSettings(f"replay:~/{made.name}", pace="fast"))
    assert source.open().has_picture
    source.close()


def outputs(folder: Path) -> dict[str, list[str]]:
    """Ways to name an input as an output."""
    walk = folder / "walk.wav"
    link = folder / "link.wav"
    link.symlink_to(walk)
    hard = folder / "hard.wav"
    os.link(walk, hard)
    return {
        "speech": ["--speech", str(walk)],
        "speech by a link": ["--speech", str(link)],
        "speech by a hard link": ["--speech", str(hard)],
        "speech by another path": ["--speech", str(folder / "x" / ".." / "walk.wav")],
        "report": ["--report", str(walk)],
        "captions": ["--captions", str(walk)],
        "report over the settings": ["--report", str(folder / "device.toml")],
        "report over the presses": ["--report", str(folder / "presses.jsonl")],
        "report into the model": ["--report", str(folder / "model" / "manifest.json")],
        "report over the captions": ["--report", str(folder / "a.json"), "--captions", str(folder / "a.json")],
    }


def test_no_output_names_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = film(tmp_path, 1.0).rename(tmp_path / "walk.wav")
    (tmp_path / "x").mkdir()
    (tmp_path / "model").mkdir()
    for name in ("device.toml", "presses.jsonl", "model/manifest.json"):
        (tmp_path / name).write_text("")
    before = walk.read_bytes()
    inputs = ["--source", f"replay:{walk}", "--config", str(tmp_path / "device.toml")]
    inputs += ["--buttons", str(tmp_path / "presses.jsonl"), "--model", str(tmp_path / "model")]
    for name, wrong in outputs(tmp_path).items():
        assert main(["run", *inputs, "--state", str(tmp_path / "state"), *wrong]) == 2, name
        assert "would overwrite" in capsys.readouterr().err, name
        assert walk.read_bytes() == before


def test_files_that_are_only_alike_are_let_through(tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").touch()
    refuse_overwriting(
        {"a": tmp_path / "walk.mp4.wav", "b": tmp_path / "sub" / "walk.mp4", "c": None},
        {"walk": tmp_path / "walk.mp4", "settings": None},
    )
    with pytest.raises(ConfigError):
        refuse_overwriting({"a": tmp_path / "sub" / ".." / "walk.mp4"}, {"walk": tmp_path / "walk.mp4"})
