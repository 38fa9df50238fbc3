"""The view for `load_dataset`, written by a process of its own: `python -m server.dataset.viewing FOLDER`.

It reads the whole log: at a million moments a minute of Python's lock, for which the page and the ingest would wait,
and the memory of PyArrow. Killed at any moment, it leaves the view that was there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from server.dataset import view
from server.dataset.folder import Dataset
from shared.child_process import die_with_parent, stand_back
from shared.errors import DatasetError

NICER = 10


class ViewApart:
    """Writes the view in another process. One thread writes; any may call `close`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def write(self, dataset: Dataset) -> None:
        """As `view.write`. Raises: DatasetError where the process fails, which has said why; OSError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server.dataset.viewing", str(dataset.folder)],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        if self._closed:
            self._process.kill()
        status = self._process.wait()
        if status and not self._closed:
            raise DatasetError(f"The view of {dataset.folder} was not written: its process ended with {status}.")

    def close(self) -> None:
        """End what is being written. Idempotent."""
        self._closed = True
        if self._process is not None:
            self._process.kill()


def main(argv: list[str]) -> int:
    """Write it once."""
    stand_back(NICER)
    die_with_parent()
    view.write(Dataset(Path(argv[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
