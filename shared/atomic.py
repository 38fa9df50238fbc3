"""Durable files: a file appears whole under its final name, or not at all.

Every durable file that is written as a whole is written here:

    temp file in the same directory → write → fsync file → rename → fsync directory

Three kinds of files are opened elsewhere, and `tests/house/test_writers.py` lists each place: append-only logs, whose
owners fsync what they append and begin with `drop_torn_tail`; files in a folder under construction, which is synced and
moved into place as one; and what need not survive a power cut (a caption file, a child process's log).

Why the directory too: ext4 may forget a rename that was never synced, and a Pi loses power (restic's local backend and
litefs do the same; python-tuf and openpilot do not).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMP_SUFFIX = ".part"
SEALING_SUFFIX = ".sealing"
GONE_SUFFIX = ".gone"

Step = Callable[[str], None]
"""Called with the name of each durable step right after it is done: where a crash test kills the process."""


def no_step(_name: str) -> None:
    """What `Step` is outside crash tests."""


def fsync_dir(path: Path) -> None:
    """Make the names in `path` durable. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_dirs(path: Path) -> None:
    """Create `path` and its missing parents, each made durable in its own parent."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_dir(folder.parent)


@contextmanager
def writing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and leaves nothing when it does not.

    Raises: OSError (ENOSPC included) from any step; `path` then still holds what it held before.
    """
    make_dirs(path.parent)
    temp, fd = _own_temp(path, mode)
    with os.fdopen(fd, "wb") as file:  # closed, and with that unlocked, only when the name is no longer there
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temp, path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
    fsync_dir(path.parent)


def _own_temp(path: Path, mode: int) -> tuple[Path, int]:
    """A temporary file that no other writer of `path` uses, thread or process, and its descriptor.

    Each is locked by its writer, so that a leftover of a crash is told from work under way, and its name used again.
    """
    with _folder_lock(path.parent):
        for number in itertools.count():
            temp = path.with_name(f"{path.name}{f'.{number}' if number else ''}{TEMP_SUFFIX}")
            if _is_written(temp):
                continue
            # Made anew: what lies there may be open to others, or a link that somebody else put into his own folder.
            temp.unlink(missing_ok=True)
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            _lock(fd)
            return temp, fd
    raise AssertionError("itertools.count has no end")


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Against other writers in `folder` while a name is chosen: microseconds."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Whether it is locked now. A file system without locks has one writer."""
    try:
        fcntl.flock(fd, how)
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
    return True


def _is_written(temp: Path) -> bool:
    """Whether somebody writes it right now."""
    try:
        fd = os.open(temp, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # there is none, or it is none of ours
        return False
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` with `data`, durably. Raises: OSError."""
    with writing(path, mode=mode) as file:
        file.write(data)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """Replace `path` with `value` as readable JSON, durably. Raises: OSError, TypeError."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"), mode=mode)  # odd bytes of a file name: a JSON escape


def move(source: Path, target: Path) -> None:
    """Rename an already synced file or folder to its final name, durably. Same filesystem only. Raises: OSError."""
    make_dirs(target.parent)
    os.replace(source, target)
    fsync_dir(target.parent)
    if source.parent != target.parent:
        fsync_dir(source.parent)


def write_folder(folder: Path, files: Mapping[str, bytes], *, private: bool = False, step: Step = no_step) -> None:
    """Create `folder` with these files, durably: it is there with all of them whole, or not at all.

    private: for secrets: the folder 0700, the files 0600, from their first byte on.

    Built as `.<name>.sealing` beside it, which a crash may leave behind and `remove_leftovers` deletes.
    Steps: files_written, files_synced, renamed. Raises: OSError (ENOSPC included, and nothing is left behind).
    """
    make_dirs(folder.parent)
    temp = folder.with_name(f".{folder.name}{SEALING_SUFFIX}")
    if temp.exists():
        _unlink_tree(temp)
    try:
        temp.mkdir(mode=0o700 if private else 0o777)
        for name, data in files.items():
            _write_synced(temp / name, data, mode=0o600 if private else 0o666)
        step("files_written")
        fsync_dir(temp)
        step("files_synced")
        temp.rename(folder)
    except BaseException:
        if temp.exists():
            _unlink_tree(temp)
        raise
    step("renamed")
    fsync_dir(folder.parent)


def _write_synced(path: Path, data: bytes, *, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_tree(folder: Path, *, step: Step = no_step) -> None:
    """Delete a folder so that a crash half-way never leaves it looking whole: rename aside first, then unlink.

    A crash may leave `<name>.gone` behind, which `remove_leftovers` deletes. Step: moved_aside.
    """
    remove_trees([folder], step=step)


def remove_trees(folders: Iterable[Path], *, step: Step = no_step) -> None:
    """remove_tree for many in one go: two fsyncs for all of them, not for each. Missing ones are passed over."""
    remove_aside(move_aside(folders, step=step))


def move_aside(folders: Iterable[Path], *, step: Step = no_step) -> list[Path]:
    """The first half of remove_trees, durable when it returns. Returns what `remove_aside` is to delete."""
    doomed = []
    for folder in folders:
        if folder.exists():
            aside = folder.with_name(folder.name + GONE_SUFFIX)
            if aside.exists():
                _unlink_tree(aside)
            os.replace(folder, aside)
            doomed.append(aside)
    for parent in {aside.parent for aside in doomed}:
        fsync_dir(parent)
    if doomed:
        step("moved_aside")
    return doomed


def remove_aside(doomed: Iterable[Path]) -> None:
    """The second half: delete what was moved aside. Raises: OSError."""
    parents = set()
    for aside in doomed:
        parents.add(aside.parent)
        _unlink_tree(aside)
    for parent in parents:
        fsync_dir(parent)


def remove_leftovers(parent: Path) -> list[str]:
    """Delete what a crash of write_folder, remove_tree or writing left in `parent`; returns the names.

    Only before writers start: it cannot tell a leftover from work under way.
    """
    leftovers = []
    for entry in sorted(parent.iterdir()):
        if entry.is_dir() and entry.name.endswith((SEALING_SUFFIX, GONE_SUFFIX)):
            _unlink_tree(entry)
        elif entry.is_file() and entry.name.endswith(TEMP_SUFFIX):
            entry.unlink()
        else:
            continue
        leftovers.append(entry.name)
    if leftovers:
        fsync_dir(parent)
    return leftovers


def _unlink_tree(folder: Path) -> None:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            _unlink_tree(Path(entry.path))
        else:
            os.unlink(entry.path)
    folder.rmdir()


def point(link: Path, target_name: str) -> None:
    """Make symlink `link` point at sibling `target_name` in one atomic step. Raises: OSError."""
    temp = link.with_name(link.name + TEMP_SUFFIX)
    with _folder_lock(link.parent):
        temp.unlink(missing_ok=True)
        temp.symlink_to(target_name)
        os.replace(temp, link)
    fsync_dir(link.parent)


def append_line(file: BinaryIO, value: Any) -> None:
    """Append one JSON line to an open log and fsync it: afterwards the row is on disk. Raises: OSError."""
    file.write((json.dumps(value, ensure_ascii=False) + "\n").encode())
    file.flush()
    os.fsync(file.fileno())


def whole_lines(path: Path, *, from_byte: int = 0) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of a log from the line that starts at `from_byte`; none where there is no file.

    A last line without its end is left out: it is torn, or being written right now.
    """
    if path.exists():
        with open(path, "rb") as file:
            file.seek(from_byte)
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.endswith(b"\n"))


def drop_torn_tail(path: Path) -> int:
    """Cut bytes after the last newline of a line log (a write that power interrupted). Returns bytes dropped."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = size
        while keep > 0:
            start = max(0, keep - 65536)
            file.seek(start)
            newline = file.read(keep - start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep < size:
            file.truncate(keep)
            os.fsync(file.fileno())
    return size - keep


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises: OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
