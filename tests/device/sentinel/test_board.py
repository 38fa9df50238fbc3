"""The page that both sides share: whole records or the ones before, whatever happens to a writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from device.sentinel.board import SIZE_BYTES, AgentPhase, AgentRecord, Board, SentinelRecord, started
from tests.paths import ROOT
from tests.pulse import until

RECORD = AgentRecord(7, 70, AgentPhase.GUIDING, 1.0, 2.0, 3.0, 0.25, 4.0, 5.0, 6.0, 7.0)


def test_what_one_side_writes_the_other_reads(tmp_path: Path) -> None:
    ours, theirs = Board(tmp_path / "board"), Board(tmp_path / "board")
    assert theirs.agent() is None
    assert ours.sentinel() is None
    ours.write_agent(RECORD)
    theirs.write_sentinel(SentinelRecord(9, False, True, 8.0, 9.0))
    assert theirs.agent() == RECORD
    assert ours.sentinel() == SentinelRecord(9, False, True, 8.0, 9.0)


@pytest.mark.parametrize("at", [0, 5, 20, 60, 83])
def test_half_a_record_is_not_read_and_the_one_before_stands(tmp_path: Path, at: int) -> None:
    board = Board(tmp_path / "board")
    board.write_agent(RECORD)
    assert board.agent() == RECORD
    with open(tmp_path / "board", "r+b") as file:
        file.seek(at)
        file.write(b"\xa5\xa5")
    assert board.agent() == RECORD
    assert Board(tmp_path / "board").agent() is None
    board.write_agent(replace(RECORD, beat_s=99.0))
    again = board.agent()
    assert again is not None
    assert again.beat_s == 99.0


def test_a_page_of_something_else_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "board").write_bytes(os.urandom(2 * SIZE_BYTES))
    board = Board(tmp_path / "board")
    assert board.agent() is None
    assert board.sentinel() is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "board").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="board"):
        Board(tmp_path / "board")


def test_what_was_written_stays_when_the_writer_is_killed_at_any_time(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from device.sentinel.board import *\n"
        "board, n = Board(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    n += 1; board.write_agent(AgentRecord(n, n, AgentPhase.GUIDING, *[float(n)] * 8))\n"
    )
    board = Board(tmp_path / "board")
    command = [sys.executable, "-c", program, str(board.path)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) as writer:
        until(lambda: board.agent() is not None, "the first record")
        for _ in range(5000):
            record = board.agent()
            assert record is not None
            assert record == AgentRecord(record.pid, record.pid, AgentPhase.GUIDING, *[float(record.pid)] * 8)
        writer.send_signal(signal.SIGKILL)
    assert board.agent() is not None


def test_a_process_is_told_from_a_later_one_of_the_same_number() -> None:
    own = started(os.getpid())
    assert own is not None
    with subprocess.Popen(["sleep", "60"]) as child:
        until(lambda: (started(child.pid) or 0) >= own, "the child")
        child.send_signal(signal.SIGSTOP)
        assert started(child.pid) is not None  # stopped is not gone
        child.kill()
        until(lambda: started(child.pid) is None, "a zombie to count as gone")
    assert started(child.pid) is None
