"""Locks between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared import file_lock
from shared.errors import ConfigError

BUSY = ConfigError("Another one is at it.")


def test_a_second_holder_gets_the_callers_error(tmp_path: Path) -> None:
    with file_lock.locked(tmp_path / "lock"), pytest.raises(ConfigError, match="Another one"):
        file_lock.acquire(tmp_path / "lock", busy=BUSY)
    with file_lock.acquire(tmp_path / "lock", busy=BUSY):
        pass


def test_shared_holders_get_along_but_not_with_an_exclusive_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        file_lock.locked(lock, shared=True, busy=BUSY),
        file_lock.locked(lock, shared=True),
        pytest.raises(ConfigError),
    ):
        file_lock.acquire(lock, busy=BUSY)


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from shared import file_lock\n"
        "held = file_lock.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(ConfigError):
            file_lock.acquire(tmp_path / "lock", busy=BUSY)
        child.kill()
        with file_lock.locked(tmp_path / "lock"):  # waits until the child is gone
            pass


def test_what_fails_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock.locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with file_lock.locked(tmp_path / "lock", busy=BUSY):
        pass
