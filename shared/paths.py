"""Names of files as people write them and as FFmpeg takes them, and files that must not be written over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConfigError


@contextmanager
def for_ffmpeg(path: Path) -> Iterator[str]:
    """What to open instead of `path`: FFmpeg takes what stands before a colon for a protocol, and PyAV takes no name
    that is not UTF-8. Open it within the block. Raises: OSError."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        fd = os.open(path, os.O_RDONLY)
        try:
            yield f"file:/proc/self/fd/{fd}"
        finally:
            os.close(fd)
    else:
        yield f"file:{path}"


def refuse_overwriting(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """What is written must be no file that is read, by whatever name or link, nor another output.

    outputs, inputs: what a person calls it → the file; None = there is none. Raises: ConfigError.
    """
    taken = {name: path for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is None:
            continue
        for other, read in taken.items():
            if _is_same(path, read):
                raise ConfigError(f"{name} would overwrite {other}: {path}.", hint="Name another file to write into.")
        taken[name] = path


def _is_same(path: Path, other: Path) -> bool:
    """The same file, or a file in that folder."""
    try:
        if path.samefile(other):
            return True
    except OSError:  # one of them is not there yet
        pass
    resolved, whole = path.expanduser().resolve(), other.expanduser().resolve()
    return resolved == whole or (whole.is_dir() and whole in resolved.parents)
