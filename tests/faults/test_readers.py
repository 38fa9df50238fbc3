"""No reader of outside input is surprised: whatever lies on the disk or comes over the network, it says no by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, seed, settings

from device.outbox import folder
from shared import messages
from shared.errors import MessageError
from shared.messages import ChunkRecord
from tests.faults import cargo
from tests.faults.fuzz.engine import altered, targets

TARGETS = targets()
EXAMPLES = 40


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_reader_refuses_altered_input_by_name_and_never_crashes(name: str) -> None:
    target = TARGETS[name]
    run = target.make()
    for one in target.seeds:
        run(one)

    @seed(1)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(altered(target.seeds))
    def once(data: bytes) -> None:
        run(data)

    once()


def _chunk(**changed: object) -> bytes:
    record, payloads = cargo.chunk("pi-1", 0)
    sealed = replace(record, parts=folder.parts(payloads))
    return json.dumps(messages.to_dict(sealed) | changed).encode()


@pytest.mark.parametrize("changed", [{"spoken": "a\ud800b"}, {"\udfff": 1}, {"more": [{"deep": "\ud83d"}]}])
def test_half_a_character_is_refused_because_no_later_row_could_be_written_after_it(changed: dict[str, object]) -> None:
    with pytest.raises(MessageError, match="not JSON"):
        messages.decode(ChunkRecord, _chunk(**changed))


def test_a_whole_character_outside_the_first_plane_is_kept() -> None:
    assert messages.decode(ChunkRecord, _chunk(spoken="🐕")).spoken == "🐕"


def test_deep_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(MessageError, match="nested deeper"):
        messages.decode(ChunkRecord, _chunk(more=value))


@pytest.mark.parametrize("utc_s", [9e15, -1.0, 253_402_300_800])
def test_a_time_that_no_calendar_has_is_refused_because_pages_could_not_show_it(utc_s: float) -> None:
    with pytest.raises(MessageError, match="captured_at_utc"):
        messages.decode(ChunkRecord, _chunk(captured_at_utc=utc_s))
