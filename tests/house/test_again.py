"""A test that failed beside others is tried once more, alone: on a made-up suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.again import AT_MOST, NOTED_IN
from tests.paths import ROOT

WAITING = ("device", "e2e", "enrolment", "faults", "link", "security", "trust")
# As in this project's own: every process would spend a second on importing what nothing here uses.
UNUSED = '["-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:anyio"]'
PROJECT = f'[tool.pytest.ini_options]\ntestpaths = ["tests"]\naddopts = {UNUSED}\n'
RIGHT = "def test_right():\n    pass\n"
WRONG = "def test_wrong():\n    assert False\n"
AT_FIRST = """
from pathlib import Path
def test_a_part_came_too_late_at_first():
    tried = Path(__file__).with_suffix(".tried")
    first = not tried.exists()
    tried.touch()
    assert not first
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A checkout with the scripts of this one, checks that pass, and no tests."""
    for name in ("scripts/test", "tests/__init__.py", "tests/again.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "scripts" / "check").write_text("#!/bin/sh\necho check: all is said of $1\n")
    (tmp_path / "scripts" / "check").chmod(0o755)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    for name in WAITING:
        (tmp_path / "tests" / name).mkdir()
    return tmp_path


def run(suite: Path, *command: str | Path, noted: Path | None = None) -> subprocess.CompletedProcess[str]:
    others = ("PYTEST_", "WAYCUE_TESTS_", "PYTHONPATH")
    own = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    if noted is not None:
        own[NOTED_IN] = str(noted)
    return subprocess.run(command, cwd=suite, env=own, capture_output=True, text=True, timeout=300, check=False)


def test_what_passes_alone_is_named_and_fails_no_run(suite: Path) -> None:
    (suite / "tests" / "device" / "test_late.py").write_text(AT_FIRST + RIGHT)
    (suite / "tests" / "test_other.py").write_text(RIGHT)
    done = run(suite, suite / "scripts" / "test")
    assert done.returncode == 0, done.stdout + done.stderr
    name = "tests/device/test_late.py::test_a_part_came_too_late_at_first"
    assert f"AGAIN: failed beside others, passed alone (to be mended): {name}" in done.stdout.splitlines()
    assert done.stdout.count("AGAIN: ") == 1
    assert "check: all is said of slow" in done.stdout.splitlines()
    assert list((suite / "build").glob("tests-*.log"))


def test_what_fails_again_fails_the_run(suite: Path) -> None:
    (suite / "tests" / "test_late.py").write_text(AT_FIRST)
    (suite / "tests" / "test_wrong.py").write_text(WRONG)
    noted = suite / "failed"
    first = run(suite, sys.executable, "-m", "pytest", "-q", "-p", "tests.again", noted=noted)
    assert first.returncode == 1
    assert len(noted.read_text().splitlines()) == 2
    done = run(suite, sys.executable, "-m", "tests.again", noted)
    assert done.returncode == 1, done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("AGAIN: ")]
    assert [line.rpartition("::")[2] for line in said] == ["test_a_part_came_too_late_at_first", "test_wrong"]
    assert "passed alone" in said[0]
    assert "failed again" in said[1]


@pytest.mark.parametrize("failed", [0, AT_MOST + 1])
def test_many_failures_and_none_that_is_known_are_not_tried_again(suite: Path, failed: int) -> None:
    (suite / "tests" / "test_late.py").write_text(AT_FIRST)
    (suite / "failed").write_text("".join(f"tests/test_late.py::test_{number}\n" for number in range(failed)))
    done = run(suite, sys.executable, "-m", "tests.again", suite / "failed")
    assert done.returncode == 1
    assert f"{failed} tests failed: none is tried once more" in done.stdout
    assert not (suite / "tests" / "test_late.tried").exists()
