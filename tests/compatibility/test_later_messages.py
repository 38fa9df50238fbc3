"""Messages that came after 0.1.0: once published in a version, they are read and written the same for ever.

`later.jsonl` holds them as they were first written. One that is changed on purpose gets a new line beside the old.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared import messages, strict
from tests.compatibility.wire import plain

GOLDEN = [json.loads(line) for line in (Path(__file__).parent / "later.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("known", GOLDEN, ids=lambda known: known["kind"])
def test_a_later_message_is_read_to_the_same_values_and_written_to_the_same_bytes(known: dict[str, Any]) -> None:
    kind, payload = getattr(messages, known["kind"]), known["payload"].encode()
    message = messages.decode(kind, payload)
    assert plain(message) == known["values"]
    assert messages.encode(message) == payload
    if known["kind"] == "Envelope":
        body = strict.read(messages.EraseRecord, message.body)
        assert strict.plain(body) == message.body


def test_each_kind_that_the_older_fixture_lacks_has_its_line() -> None:
    assert {known["kind"] for known in GOLDEN} == {"EraseRecord", "CorrectionHeard", "Envelope", "HelpRecord"}
