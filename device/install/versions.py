"""Virtual environments of several versions beside each other, one of them in use. Only names and links; no pip.

    /opt/waycue                    → waycue.versions/2     what the units start; at first a folder of its own
    /opt/waycue.versions/1                                 the former version, whole
    /opt/waycue.versions/2
    /opt/waycue.versions/former    → 1

Promise: the prefix names a whole environment at every moment. A version is whole once it holds READY.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

from shared import atomic

FORMER = "former"
READY = "waycue-ready"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class Versions:
    """prefix: the folder or link that the units start from."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._folder = prefix.with_name(f"{prefix.name}.versions")

    @property
    def current(self) -> Path:
        """The environment in use."""
        return self._prefix.resolve()

    @property
    def former(self) -> Path | None:
        """The one before it; None = there is none."""
        link = self._folder / FORMER
        return link.resolve() if link.is_symlink() and (link / READY).exists() else None

    def fresh(self) -> Path:
        """Where the next version goes. What an interrupted upgrade left there is removed. Raises: OSError."""
        atomic.make_dirs(self._folder)
        for path in self._numbered():
            if not (path / READY).exists() and path != self.current:
                shutil.rmtree(path)
        taken = [int(path.name) for path in self._numbered()]
        return self._folder / str(max(taken, default=1 if self._is_folder else 0) + 1)

    def use(self, wanted: Path) -> None:
        """Switch to it in one step; what was in use becomes the former one. Raises: OSError."""
        atomic.write_bytes(wanted / READY, b"")
        target = f"{self._folder.name}/{wanted.name}"
        if self._is_folder:
            former = self._exchange(target)
        else:
            former = self.current
            atomic.write_bytes(former / READY, b"")
            atomic.point(self._prefix, target)
        atomic.point(self._folder / FORMER, former.name)

    def forget(self, version: Path, *, former: Path | None) -> None:
        """Remove a version that was no good, as if it had never been. former: the one before, then. Raises: OSError."""
        link = self._folder / FORMER
        if former is None:
            link.unlink(missing_ok=True)
        else:
            atomic.point(link, former.name)
        atomic.remove_tree(version)

    def forget_older(self) -> None:
        """Only what is in use and the one before it stay. Raises: OSError."""
        for path in self._numbered():
            if path not in (self.current, self.former):
                atomic.remove_tree(path)

    @property
    def _is_folder(self) -> bool:
        return not self._prefix.is_symlink()

    def _numbered(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.name.isdigit() and path.is_dir()]

    def _exchange(self, target: str) -> Path:
        """The first time the prefix is a folder: folder and link change places. Returns where the folder lies now."""
        aside = self._folder / "1"
        atomic.write_bytes(self._prefix / READY, b"")
        if aside.is_symlink():
            aside.unlink()
        aside.symlink_to(target)
        try:
            _exchange(aside, self._prefix)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise
            aside.unlink()  # a file system that cannot exchange: for a moment there is no prefix
            self._prefix.rename(aside)
            self._prefix.symlink_to(target)
        atomic.fsync_dir(self._folder)
        atomic.fsync_dir(self._prefix.parent)
        return aside


def _exchange(one: Path, other: Path) -> None:
    """Raises: OSError. source: renameat2(2), RENAME_EXCHANGE"""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
