"""Graphs of the base that nights learnt from, kept by SHA-256 when the models that brought them leave their slots.

    <state>/models/bases/<sha256>

A slot's file is linked, not copied: it costs nothing while the model is there. Promise: a file is used only after all
of its bytes were hashed again. Those of another base are removed once a new one is asked for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared import atomic

logger = logging.getLogger(__name__)


class BaseFiles:
    """One thread. Methods raise OSError as the disk does."""

    def __init__(self, folder: Path, crash_point: atomic.Step) -> None:
        self.folder, self._crash_point = folder, crash_point

    def find(self, wanted: Sequence[str], held: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
        """SHA-256 → a file with that content, of those that are here or in `held`; from now on they stay here."""
        found = {}
        for sha256 in wanted:
            kept = self.folder / sha256
            path = next((path for path in (kept, *held.get(sha256, ())) if has_hash(path, sha256)), None)
            if path is not None:
                found[sha256] = path
                if path != kept:
                    self._keep(path, kept)
        self._remove_others(frozenset(wanted))
        return found

    def _keep(self, path: Path, kept: Path) -> None:
        atomic.make_dirs(self.folder)
        kept.unlink(missing_ok=True)
        try:
            os.link(path, kept)
        except PermissionError:  # a file system without links: the next night is fetched by blocks
            logger.info("%s cannot be kept beside its model: the file system has no links.", path.name)
            return
        atomic.fsync_dir(self.folder)
        self._crash_point("base kept")

    def _remove_others(self, wanted: frozenset[str]) -> None:
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in wanted:
                    path.unlink()


def has_hash(path: Path, sha256: str) -> bool:
    """Whether all of a file's bytes are these. Raises nothing."""
    try:
        return atomic.sha256_file(path) == sha256
    except OSError:
        return False
