"""A page with people of each role, and a push service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.access.people import Town, town
from tests.server.telling.push_services import PushService, push_service


@pytest.fixture
def site(memory_path: Path) -> Iterator[Town]:
    with town(memory_path) as made:
        yield made


@pytest.fixture
def service() -> Iterator[PushService]:
    with push_service() as running:
        yield running
