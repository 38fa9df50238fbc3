"""Which layout a folder has, found out by what lies in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server.dataset import incoming, packed
from server.dataset.incoming import Incoming
from server.labelling.folder import LOG_NAME
from shared.errors import DatasetError


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """A folder whose moments can be read, again and again."""

    says: str
    """What it was found to be, for people."""
    moments: Callable[[], Iterator[Incoming]]
    """Every moment, one after the other; a faulty one says why. Raises: OSError."""


def find(root: Path) -> FolderLayout:
    """The layout of a folder. Raises: DatasetError where it is none that can be brought in."""
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder.", hint="Name a folder made by `label` or `export`.")
    if (root / LOG_NAME).is_file():
        return FolderLayout("a labelled folder", lambda: incoming.from_lines(root))
    if named := [folder.name for folder, _ in incoming.folders(root)]:
        return FolderLayout(f"a folder of {', '.join(named)}", lambda: incoming.from_lines(root))
    for says, pattern, moments in _PACKED:
        if files := sorted(root.rglob(pattern)):
            return FolderLayout(f"{says} ({len(files)} files)", partial(_all, moments, root, files))
    raise DatasetError(
        f"{root} has no {LOG_NAME}.", hint="Name a folder made by `label` or `export`, or of their layout."
    )


_PACKED = (("Parquet", "*.parquet", packed.from_parquet), ("WebDataset", "*.tar", packed.from_tar))


def _all(read: Callable[[Path], Iterator[Incoming]], root: Path, files: Sequence[Path]) -> Iterator[Incoming]:
    for file in files:
        if file.resolve().is_relative_to(root.resolve()):
            yield from read(file)
        else:
            yield Incoming(key=str(file), where=str(file), fault="it is a link that leads out of the folder")
