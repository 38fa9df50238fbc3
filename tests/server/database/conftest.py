from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import migrated
from tests.server.dataset.moments import House


@pytest.fixture(autouse=True)
def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the migrations themselves are tested."""
    monkeypatch.setattr(migrated, "stepwise", True)


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    house = House(memory_path / "home")
    yield house
    house.close()
