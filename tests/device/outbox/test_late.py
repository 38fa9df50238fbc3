"""An outbox that could not be opened at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.outbox.late import LateOutbox
from device.outbox.outbox import Outbox
from shared.errors import InUse


def test_another_agent_ends_a_start_and_never_a_walk(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.write_bytes(b"")  # a disk that does not take it yet
    late = LateOutbox(folder)
    assert late.trouble is not None
    folder.unlink()
    held = Outbox(folder)
    with pytest.raises(InUse):
        LateOutbox(folder)
    with pytest.raises(OSError, match="in use"):  # what the sealer holds chunks for
        late.check()
    held.close()
    assert late.check().counts().queued == 0
    late.close()
