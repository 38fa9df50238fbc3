"""A little disk space held back, so that a full disk can be emptied.

To delete what the server has, the index must first be able to write that down: on a disk without a free byte a device
would hold everything for ever. The reserve is given up for that, never for sealing more, and taken back when there is
room again.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from shared import atomic

NAME = ".reserve"
SIZE_BYTES = 512 * 1024  # the index's log grows by at most 400 KB before it is folded in (see device.outbox.index)
ONLY_WITH_FREE_BYTES = 8 * SIZE_BYTES
FULL = (errno.ENOSPC, errno.EDQUOT)

logger = logging.getLogger(__name__)


class Reserve:
    """The reserve in one folder. Its caller holds a lock around every call."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def hold(self) -> None:
        """Take it (back), where there is plenty of room. Raises nothing: all else goes on without."""
        try:
            if not self._path.exists() and shutil.disk_usage(self._path.parent).free >= ONLY_WITH_FREE_BYTES:
                # Not zeros: a filesystem that compresses would hold nothing back.
                atomic.write_bytes(self._path, os.urandom(SIZE_BYTES))
        except OSError as error:
            logger.info("No disk space is held back: %s", error)

    def spend(self) -> bool:
        """Give it up; False where there is none, or the disk is not full at all."""
        try:
            if shutil.disk_usage(self._path.parent).free >= SIZE_BYTES:
                return False
            self._path.unlink()
            atomic.fsync_dir(self._path.parent)
        except OSError:
            return False
        logger.warning("The disk is full; what was held back of it is used to make room.")
        return True
