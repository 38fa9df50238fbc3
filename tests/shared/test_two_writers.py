"""Several writers of one path at once, in threads and in processes: each write is whole, and none disturbs another."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared import atomic

SIZE = 50_000


def written(path: Path, mark: bytes, times: int, errors: list[str]) -> None:
    for _ in range(times):
        try:
            atomic.write_bytes(path, mark * SIZE)
        except OSError as error:
            errors.append(str(error))


def test_threads_that_write_one_path_never_break_each_other_and_readers_see_whole_files(memory_path: Path) -> None:
    path, errors, torn, done = memory_path / "file", list[str](), list[int](), threading.Event()
    atomic.write_bytes(path, b"0" * SIZE)

    def read() -> None:
        while not done.is_set():
            data = path.read_bytes()
            if len(data) != SIZE or len(set(data)) != 1:
                torn.append(len(data))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=written, args=(path, mark, 60, errors)) for mark in (b"a", b"b", b"c")]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert (errors, torn) == ([], [])
    assert [entry.name for entry in memory_path.iterdir()] == ["file"]


def test_processes_that_write_one_path_never_break_each_other(memory_path: Path) -> None:
    path = memory_path / "file"
    code = "import sys\nfrom pathlib import Path\nfrom shared import atomic\n"
    code += f"for _ in range(60): atomic.write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * {SIZE})"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), mark]) for mark in "abc"]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert len(set(path.read_bytes())) == 1
    assert [entry.name for entry in memory_path.iterdir()] == ["file"]


def test_a_writer_that_is_under_way_is_left_alone_and_the_last_to_end_wins(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic.writing(path) as slow:
        slow.write(b"slow")
        atomic.write_bytes(path, b"quick")
        assert path.read_bytes() == b"quick"
        with pytest.raises(TypeError):
            atomic.write_json(path, object())
        with pytest.raises(FileNotFoundError), atomic.writing(path):
            (tmp_path / "nothing").read_bytes()
    assert path.read_bytes() == b"slow"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_a_crash_left_behind_is_used_again_and_does_not_pile_up(tmp_path: Path) -> None:
    code = "import os, sys\nfrom pathlib import Path\nfrom shared import atomic\n"
    code += "with atomic.writing(Path(sys.argv[1])) as file:\n    file.write(b'half'); os._exit(9)"
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")]).returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    atomic.write_bytes(tmp_path / "file", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("what", ["link", "open file", "pipe"])
def test_what_somebody_put_in_the_place_of_the_temporary_file_is_not_written_through(tmp_path: Path, what: str) -> None:
    temp, other = tmp_path / "file.part", tmp_path / "other"
    other.write_bytes(b"theirs")
    if what == "link":
        temp.symlink_to(other)
    elif what == "pipe":
        os.mkfifo(temp)
    else:
        temp.write_bytes(b"")
        temp.chmod(0o666)
    atomic.write_bytes(tmp_path / "file", b"ours", mode=0o600)
    assert other.read_bytes() == b"theirs"
    assert (tmp_path / "file").read_bytes() == b"ours"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert not temp.exists()
