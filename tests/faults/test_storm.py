"""A short storm: three devices, two ingest workers, everything goes wrong, and everything is merged once."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.broker.child import find_mosquitto
from tests.faults.aftermath import Plan
from tests.faults.soak import MAX_WINDOW_BYTES, WINDOW_BYTES
from tests.faults.storm import storm

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed (apt install mosquitto)")


@pytest.mark.both_databases(soak=True)
def test_after_a_storm_everything_is_merged_exactly_once_and_every_device_has_a_model(
    memory_path: Path, database: str
) -> None:
    after = storm(memory_path, Plan(faults=14, chunks=12, pause_s=0.5, calm_s=0.3, seed=7, database=database))
    verdict = after.verdict
    assert after.clean, (verdict, after.bricked)
    assert (verdict.chunks, verdict.corrections, len(verdict.merged)) == (36, 6, 42)
    assert after.most_resent_bytes(by_cut=True) <= WINDOW_BYTES
    assert after.most_resent_bytes(by_cut=False) <= MAX_WINDOW_BYTES
    assert after.activated > 0
