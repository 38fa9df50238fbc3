"""scripts/arm64 says what it does, and begins nothing that it was not asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import paths

SCRIPT = paths.ROOT / "scripts" / "arm64"


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("trixie", "--help")])
def test_arm64_tells_how_it_is_called_from_any_folder(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*words, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "scripts/arm64 [SUITE...]" in done.stdout
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["buster", "--hel", ""])
def test_arm64_refuses_what_it_does_not_know_before_it_makes_anything(word: str, tmp_path: Path) -> None:
    done = run("bookworm", word, folder=tmp_path)
    assert done.returncode == 1
    assert "Known are bookworm and trixie." in done.stderr or "See --help." in done.stderr
    assert done.stdout == ""
