"""Ends from outside: each signal is the same end, nohup is respected, and imports die without a word."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

WAITING = """
import signal, sys, threading
from shared.ends import ending
stopped = threading.Event()
with ending(stopped.set):
    print("ready", flush=True)
    stopped.wait(30)
    for _ in range(int(sys.argv[1])):
        signal.raise_signal(int(sys.argv[2]))
    print("sealed", flush=True)
"""


def run(number: signal.Signals, *, again: int = 0, before: str = "") -> tuple[str, int]:
    command = [sys.executable, "-c", before + WAITING, str(again), str(int(number))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        out, _ = child.communicate(timeout=30)
    return out, child.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_every_end_is_the_same_end(number: signal.Signals) -> None:
    assert run(number) == ("sealed\n", 0)


def test_a_second_ctrl_c_ends_at_once_and_a_second_hangup_does_not() -> None:
    assert run(signal.SIGINT, again=1) == ("", -signal.SIGINT)
    assert run(signal.SIGHUP, again=3) == ("sealed\n", 0)


def test_under_nohup_a_hangup_is_no_end_and_sigterm_is() -> None:
    ignored = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code = ignored + WAITING.replace(
        "stopped.wait(30)", "os.kill(os.getpid(), 1); print(stopped.wait(0.2), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", code, "0", "1"], capture_output=True, text=True, check=True)
    assert done.stdout == "ready\nFalse\nsealed\n"
    assert run(signal.SIGTERM, before=ignored) == ("sealed\n", 0)


DEMO = """
import sys
from pathlib import Path
from scripts.demo import __main__ as demo, story
from scripts.demo.children import Children

def run(out, screen, eyes_from):
    with Children(out) as children:
        child = children.start("broker", ["sleep", "1000"])
        print(child.process.pid, flush=True)
        children.wait(child, timeout_s=1000)

story.run = run
sys.exit(demo.main(["--out", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_under_nohup_the_demo_ends_with_all_its_processes_by_every_other_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    command = [sys.executable, "-c", ignored + DEMO, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        child = int(demo.stdout.readline())
        demo.send_signal(signal.SIGINT)
        demo.send_signal(number)
        _, err = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert "every process it started has ended" in err
    assert not Path(f"/proc/{child}").exists()


def test_ctrl_c_among_imports_ends_the_process_without_a_word() -> None:
    code = """
import signal
from shared.ends import interrupted_quietly
with interrupted_quietly():
    signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    after = code.replace("    signal.raise", "    pass\nprint(signal.getsignal(2) is signal.default_int_handler)\n#")
    assert subprocess.run([sys.executable, "-c", after], capture_output=True, text=True).stdout == "True\n"
