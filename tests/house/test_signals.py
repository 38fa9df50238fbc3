"""The suite runs the same in the foreground and as a background job."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

STORY = """
import signal, subprocess, sys
def test_a_child_has_the_default():
    child = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT).__name__)"]
    assert subprocess.check_output(child, text=True).strip() == "default_int_handler"
"""


def test_children_get_the_default_sigint_where_the_suite_was_started_with_it_ignored(tmp_path: Path) -> None:
    (tmp_path / "test_story.py").write_text(STORY)
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_configure\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.returncode == 0, done.stdout
