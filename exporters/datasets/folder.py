"""An export folder that appears whole or not at all.

Everything is written into `.<name>.sealing` beside it, synced, and renamed. A folder that holds anything is never
touched, unless it was made here (it then has MARKER) and the caller says so; it is then replaced only once the new one
is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared import atomic, file_lock
from shared.errors import Refused

MARKER = ".waycue-export.json"  # hidden: the readers of the formats list what they find in the folder


class ExportFolder:
    """The folder under construction. `link`: symbolic links to the original media instead of copies."""

    def __init__(self, root: Path, *, link: bool) -> None:
        self.root = root
        self._link = link

    def place(self, source: Path, relative: str) -> str:
        """Bring a media file in under `relative`, which it returns. Raises: OSError."""
        target = self.root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._link:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)
        return relative

    def path(self, relative: str) -> Path:
        """Where a file goes that its writer makes itself."""
        target = self.root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def write_lines(self, relative: str, values: Iterable[Mapping[str, Any]]) -> None:
        """A JSON Lines file. Raises: OSError."""
        text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        self._write(relative, text)

    def write_json(self, relative: str, value: Any) -> None:
        """A readable JSON file. Raises: OSError."""
        self._write(relative, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_file(self, relative: str, text: str) -> None:
        """A text file. Raises: OSError."""
        self._write(relative, text)

    def _write(self, relative: str, text: str) -> None:
        target = self.root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def check(out: Path, *, force: bool) -> None:
    """Raises: Refused where `out` may not be written."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise Refused(f"{out} is not a folder.", hint="Name a new folder.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MARKER).is_file():
        raise Refused(f"{out} holds other files.", hint="Name a new or an empty folder.")
    if not force:
        raise Refused(f"{out} holds an earlier export.", hint="Name a new folder, or replace it with --force.")


@contextmanager
def building(out: Path, *, force: bool = False, link: bool = False) -> Iterator[ExportFolder]:
    """A folder that becomes `out` when the block ends well, and leaves nothing when it does not.

    Put a MARKER file in it (`write_json`) to let a later export replace it.
    raises: Refused where `out` may not be written or another export is writing it; OSError
    """
    out = out.absolute()
    check(out, force=force)
    atomic.make_dirs(out.parent)
    temp = out.with_name(f".{out.name}{atomic.SEALING_SUFFIX}")
    with _alone(out.with_name(f".{out.name}.lock"), out):
        shutil.rmtree(temp, ignore_errors=True)  # left by a crash
        temp.mkdir()
        try:
            yield ExportFolder(temp, link=link)
            _sync(temp)
            check(out, force=force)
            if out.exists() and any(out.iterdir()):
                atomic.remove_tree(out)
            atomic.move(temp, out)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise


@contextmanager
def _alone(lock: Path, out: Path) -> Iterator[None]:
    busy = Refused(f"Another export is writing {out}.", hint="Wait for it, or name another folder.")
    with file_lock.locked(lock, busy=busy):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _sync(root: Path) -> None:
    """Make all of it durable: files first, then the names, the deepest folders first."""
    for folder, _folders, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                fd = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        atomic.fsync_dir(Path(folder))
