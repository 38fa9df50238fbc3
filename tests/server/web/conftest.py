from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from server.web.app import create_app
from tests.server.dataset.moments import House
from tests.server.web.browsing import NewPage, chromium, pages
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one file of tests: Playwright runs once in a process at a time."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, site: str) -> Iterator[NewPage]:
    with pages(browser, site) as open_page:
        yield open_page
