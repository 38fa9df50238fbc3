"""A sound system of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pulse import PulseChild, missing, rescan


@pytest.fixture
def own_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseChild]:
    """A sound system that the test may take away."""
    if missing():
        pytest.skip(missing())
    child = PulseChild(tmp_path / "own")
    child.start()
    for name, value in child.env.items():
        monkeypatch.setenv(name, value)
    rescan()
    yield child
    child.stop()
    monkeypatch.undo()
    rescan()
