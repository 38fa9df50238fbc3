"""Who opens a source closes it, also where `open` raised: a live one goes on trying until then."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_capture_is_left() -> Iterator[None]:
    """A thread that stays starts processes for as long as the tests run, and a fork may inherit a lock that it held."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not [name for name in left if name.startswith("capture ")], "a source was opened and not closed"
