from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.dataset.moments import House


@pytest.fixture
def desk(memory_path: Path) -> Iterator[House]:
    """An empty server in memory."""
    house = House(memory_path / "desk")
    yield house
    house.close()
