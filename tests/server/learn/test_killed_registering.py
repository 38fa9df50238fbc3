"""A night killed while its verdict is carried out comes to the same version and bytes as one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.learn.killed import run_driver

KINDS = (
    "before _insert", "replace in writing < write_bytes < write_json < retrain",
)  # fmt: skip
"""Of the kinds of steps that the driver finds, what is tried in every run of the tests; `make soak` tries all."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_night_killed_at_any_kind_of_step_comes_to_the_same_version_and_bytes(tmp_path: Path) -> None:
    run_driver(tmp_path, *KINDS)
