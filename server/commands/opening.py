"""What the commands share: opening a server's home, JSON output, showing a person a file, telling how far a work is."""

from __future__ import annotations

import argparse
import getpass
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from server.database import store as db
from server.database.store import Store
from server.dataset import own_words
from server.dataset.folder import Dataset

_EVERY = 500  # rows between two lines of progress where it can not be drawn in place
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@contextmanager
def opened(home: Path) -> Iterator[tuple[Store, Dataset]]:
    """The database and dataset of a server that was initialised. Raises: ConfigError where there is none, or where its
    own words are wrong."""
    own_words.use(home)
    with closing(db.open_store(home, create=False)) as store:
        yield store, Dataset(home / "dataset")


def add_json(parser: argparse.ArgumentParser, what: str = "it") -> None:
    """The option --json."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def print_json(value: object) -> None:
    """As every --json prints."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def add_reviewer(parser: argparse.ArgumentParser, what: str) -> None:
    """The option --as: who is written down as having decided."""
    help_text = f"who {what} (default: you)"
    parser.add_argument("--as", dest="reviewer", default=_user_name(), metavar="NAME", help=help_text)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "caregiver"


def open_picture(path: Path) -> None:
    """Open a picture with the desktop's own program, or say that there is none."""
    program = shutil.which("xdg-open")
    if program is None:
        print("No program to open pictures was found (xdg-open).")
        return
    null = subprocess.DEVNULL
    subprocess.Popen([program, str(path)], stdin=null, stdout=null, stderr=null, start_new_session=True)


def when(at_s: float) -> str:
    """Wall time for people."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def shown(text: str) -> str:
    """A wording, or that there is none."""
    return text or "(nothing)"


def size(count: int) -> str:
    """Bytes for people."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


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
