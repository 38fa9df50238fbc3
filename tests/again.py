"""Tests that failed beside others are tried once more, alone: on a busy machine a part may come too late.

`-p tests.again` appends each test that failed to the file that WAYCUE_TESTS_FAILED names, one a line, so that several
runs share it. `python -m tests.again FILE` then runs them in one process, one after the other. What passes alone is
listed, because it waits for too short a time or disturbs another test, and is to be mended; what fails again fails the
run. More than AT_MOST failures are a fault of the code and are not tried again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

NOTED_IN = "WAYCUE_TESTS_FAILED"
AT_MOST = 5


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Workers of xdist hand their reports on to the process that started them, which alone notes them."""
    if report.failed and NOTED_IN in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(os.environ[NOTED_IN], "a", encoding="utf-8") as noted:
            noted.write(report.nodeid + "\n")


def read(noted: Path) -> list[str]:
    """The tests that failed, each once: its call and its teardown may both have."""
    if not noted.exists():
        return []
    return list(dict.fromkeys(noted.read_text(encoding="utf-8").splitlines()))


def again(noted: Path) -> int:
    """Exit status: 0 where every test that failed passes alone.

    noted: lines of node ids; emptied first, so that it holds what failed again
    """
    tests = read(noted)
    if not tests or len(tests) > AT_MOST:
        print(f"again: {len(tests)} tests failed: none is tried once more", flush=True)
        return 1
    noted.write_text("", encoding="utf-8")
    print(f"again: {len(tests)} tests failed and are tried once more, alone", flush=True)
    status = subprocess.run([sys.executable, "-m", "pytest", "-p", "tests.again", *tests], check=False).returncode
    tell("failed beside others, passed alone (to be mended)", [one for one in tests if one not in read(noted)])
    tell("failed again", read(noted))
    return status


def tell(what: str, tests: Sequence[str]) -> None:
    for test in tests:
        print(f"AGAIN: {what}: {test}", flush=True)


if __name__ == "__main__":
    os.environ[NOTED_IN] = sys.argv[1]
    raise SystemExit(again(Path(sys.argv[1])))
