from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.web.app import create_app
from tests.server.dataset.moments import House
from tests.server.web.serving import seed, served


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    house = House(memory_path / "home")
    yield house
    house.close()


@pytest.fixture
def site(house: House) -> Iterator[str]:
    """The address of a server with four moments."""
    seed(house)
    app = create_app(house.store, house.dataset, clock=house.clock, model=lambda: "night-7")
    with served(app) as url:
        yield url
