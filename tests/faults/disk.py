"""Disks that fail: one that is small, and one whose power can be cut.

`PowerDisk` is a real ext4 on a loop device. `cut_power` uses the filesystem's own shutdown ioctl, as xfstests does:
from that moment every call on it fails with EIO, and what was never synced is gone after `restore`, renames and new
names included. So it shows a missing fsync, which kill -9 cannot: a killed process leaves its page cache behind.
`SmallDisk` is a tmpfs that is full as soon as one says so.

Both need root and mount(8); `why_not()` says what is missing.
source: EXT4_IOC_SHUTDOWN in fs/ext4/ext4.h; xfstests src/godown.c
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2  # not even the journal is written: what a power cut leaves
DISK_BYTES = 96 * 1024 * 1024
BALLAST = "ballast"


@functools.cache
def why_not() -> str:
    """Why no disk can be mounted here, "" = it can. Tried once per process."""
    if os.geteuid() != 0:
        return "mounting a filesystem needs root"
    missing = [name for name in ("mount", "umount", "mkfs.ext4") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    try:
        with tempfile.TemporaryDirectory() as folder, PowerDisk(Path(folder)) as disk:
            disk.cut_power()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no ext4 on a loop device can be mounted and shut down here ({error})"
    return ""


class _Mounted:
    """A folder with something mounted on it. Leaving the block takes it off, whoever still has files open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self.path.mkdir(parents=True, exist_ok=True)

    def _mount(self) -> None:
        raise NotImplementedError

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Use up all free space but some, with a file named `ballast`."""
        free = os.statvfs(self.path)
        size = max(0, free.f_bavail * free.f_frsize - leave_bytes)
        fd = os.open(self.path / BALLAST, os.O_CREAT | os.O_WRONLY)
        try:
            with contextlib.suppress(OSError):  # the file's own metadata may not fit any more: full is full
                os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)

    def empty(self) -> None:
        """Take the ballast away."""
        (self.path / BALLAST).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self._mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _run("umount", "-l", str(self.path))


class SmallDisk(_Mounted):
    """A tmpfs of a given size."""

    def __init__(self, folder: Path, *, size_bytes: int = 4 * 1024 * 1024) -> None:
        super().__init__(folder)
        self._size_bytes = size_bytes

    def _mount(self) -> None:
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "waycue-test", str(self.path))


class PowerDisk(_Mounted):
    """An ext4 in a file beside its mount point."""

    def __init__(self, folder: Path, *, size_bytes: int = DISK_BYTES) -> None:
        super().__init__(folder)
        self._image = folder / "disk.img"
        if not self._image.exists():
            with open(self._image, "wb") as image:
                image.truncate(size_bytes)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image))

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def cut_power(self) -> None:
        """From now on every access fails with EIO. Processes that use the disk go on, and see that."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def restore(self) -> None:
        """Power is back: only what was durable is there. Every process that used the disk must have ended."""
        _run("umount", str(self.path))
        self._mount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
