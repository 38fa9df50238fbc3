from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.access.people import Town, town


@pytest.fixture
def site(memory_path: Path) -> Iterator[Town]:
    """A page with two wearers' moments and one person of each role."""
    with town(memory_path) as made:
        yield made


@pytest.fixture
def empty(memory_path: Path) -> Iterator[Town]:
    """The same before anybody has an account."""
    with town(memory_path, people=False) as made:
        yield made
