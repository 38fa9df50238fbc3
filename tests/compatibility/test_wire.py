"""Messages of older code: read to the same values, written to the same bytes, and refused where they were refused."""

from __future__ import annotations

from typing import Any

import pytest

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
