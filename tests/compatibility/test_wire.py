"""Messages of older code: read to the same values, written to the same bytes, and refused where they were refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from shared import messages
from shared.errors import MessageError
from tests.compatibility import wire


@pytest.mark.parametrize("kind", wire.EXAMPLES)
def test_a_message_is_read_to_the_same_values_and_written_to_the_same_bytes(kind: str, answers: dict[str, Any]) -> None:
    assert len(answers["written"][kind]) == len(wire.EXAMPLES[kind])
    assert list(wire.written(kind)) == answers["written"][kind]
    for known in answers["written"][kind]:
        assert wire.rewritten(kind, known["payload"]) == known


@pytest.mark.parametrize("kind", wire.EXAMPLES)
def test_the_same_damaged_messages_are_refused(kind: str, answers: dict[str, Any]) -> None:
    assert wire.verdicts(kind) == answers["verdicts"][kind]


def test_a_field_that_came_later_travels_and_is_not_written_where_it_says_nothing() -> None:
    older = messages.decode(messages.ChunkRecord, json.dumps(wire.CHUNK).encode())
    assert older.fov_deg == 0.0
    assert b"fov_deg" not in messages.encode(older)
    newer = messages.encode(dataclasses.replace(older, fov_deg=62.2))
    assert messages.decode(messages.ChunkRecord, newer).fov_deg == 62.2
    with pytest.raises(MessageError, match="fov_deg"):
        messages.decode(messages.ChunkRecord, newer.replace(b"62.2", b"-1"))
