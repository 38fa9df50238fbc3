"""Ctrl-C in the middle of the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.site import ENV
from tests.paths import ROOT
from tests.pulse import until


def processes_about(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.soak
def test_ctrl_c_ends_the_demo_and_every_process_it_started(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.demo", "--out", str(out)],
        cwd=ROOT,
        env=ENV,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            # Written when the first walk is planned: it is being rendered then, while a child exports the starter.
            until((out / "buttons.jsonl").exists, "the middle of the first step", timeout_s=180)
            assert len(processes_about(out)) >= 2
            os.killpg(demo.pid, signal.SIGINT)
            _, err = demo.communicate(timeout=60)
        finally:
            demo.kill()
    assert demo.returncode == 130, err
    assert "stopped" in err
    assert "Traceback" not in err
    assert processes_about(out) == []
