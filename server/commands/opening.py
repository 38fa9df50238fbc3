"""What the commands share: opening a server's home, showing a person a file, telling how far a work is."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from server.database import store as db
from server.database.store import Store
from server.dataset.folder import Dataset

_EVERY = 500  # rows between two lines of progress where it can not be drawn in place


@contextmanager
def opened(home: Path) -> Iterator[tuple[Store, Dataset]]:
    """The database and dataset of a server that was initialised. Raises: ConfigError where there is none."""
    with closing(db.open_store(home, create=False)) as store:
        yield store, Dataset(home / "dataset")


def user_name() -> str:
    """Who is sitting here, for the record of decisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "caregiver"


def open_file(path: Path) -> bool:
    """Open a file with the desktop's own program; False where there is none."""
    program = shutil.which("xdg-open")
    if program is None:
        return False
    subprocess.Popen(
        [program, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return True


def when(at_s: float) -> str:
    """Wall time for people."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def shown(text: str) -> str:
    """A wording, or that there is none."""
    return text or "(nothing)"


def drawn(total: int, stream: TextIO) -> Callable[[int], None]:
    """Progress on a terminal in place, elsewhere a line now and then."""
    in_place = stream.isatty()

    def progress(done: int) -> None:
        if in_place:
            stream.write(f"\r{done} of {total}" + ("\n" if done == total else ""))
        elif done % _EVERY == 0:
            stream.write(f"{done} of {total}\n")
        stream.flush()

    return progress
