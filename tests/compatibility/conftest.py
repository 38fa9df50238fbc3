"""The fixture of the version before this one, unpacked."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.compatibility import site

ARCHIVE = Path(__file__).parent / "0.1.0.tar.xz"
Unpack = Callable[[Path], Path]


@pytest.fixture(scope="session")
def unpack() -> Unpack:
    """Unpack everything into a folder, as the old code left it."""

    def unpacked(folder: Path) -> Path:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="tar")
        return folder

    return unpacked


@pytest.fixture(scope="module")
def old(unpack: Unpack) -> Iterator[Path]:
    """A copy for the tests of one module, in memory where the machine has some: there fsync costs nothing."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="waycue-", dir=memory) as folder:
        yield unpack(Path(folder))


@pytest.fixture(scope="module")
def answers(old: Path) -> dict[str, Any]:
    """The output of the old code's commands, its messages, and which damaged ones it refused."""
    recorded: dict[str, Any] = json.loads((old / "answers.json").read_bytes())
    return recorded


@pytest.fixture(scope="session")
def needs_broker() -> None:
    if site.find("mosquitto") is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
