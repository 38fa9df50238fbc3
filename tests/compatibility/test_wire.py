"""Messages of older code are read to the same values and written to the same bytes, and what was refused is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compatibility import wire


@pytest.mark.parametrize("kind", wire.EXAMPLES)
def test_a_message_is_read_to_the_same_values_and_written_to_the_same_bytes(kind: str, answers: dict[str, Any]) -> None:
    decode, encode = wire.codec(kind)
    assert answers["written"][kind]
    for known in answers["written"][kind]:
        payload = known["payload"].encode()
        message = decode(payload)
        assert wire.plain(message) == known["value"]
        assert encode(message) == payload
    assert list(wire.written(kind)) == answers["written"][kind]


@pytest.mark.parametrize("kind", wire.EXAMPLES)
def test_damaged_messages_are_refused_and_odd_ones_taken_as_before(kind: str, answers: dict[str, Any]) -> None:
    assert wire.verdicts(kind) == answers["verdicts"][kind]
