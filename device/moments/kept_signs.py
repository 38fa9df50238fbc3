"""That a moment is kept is heard, and seen by those around: a sound for the wearer, a light for bystanders."""

from __future__ import annotations

from collections.abc import Callable

from device.config import KeptSound
from shared.messages import ChunkRecord, Record

EARCON = "kept"
_NOT_ITSELF = "predecessor"


def is_kept_for_itself(record: Record) -> bool:
    """Whether a record is a moment that was kept, and not only the one before it, a correction or an erasure."""
    return isinstance(record, ChunkRecord) and _NOT_ITSELF not in record.flags


def sounds(record: Record, wanted: KeptSound) -> bool:
    """Whether it is heard that this is durable now. presses: where the wearer pressed for it. Pure."""
    if wanted == "none" or not isinstance(record, ChunkRecord) or not is_kept_for_itself(record):
        return False
    return wanted == "all" or "wearer" in record.flags


class KeptSigns:
    """earcon: plays one. flash: the light, where there is one."""

    def __init__(
        self, wanted: KeptSound, earcon: Callable[[str], None], flash: Callable[[], None] = lambda: None
    ) -> None:
        self._wanted = wanted
        self._earcon = earcon
        self._flash = flash

    def kept(self, record: Record) -> None:
        """It is durable. Any thread."""
        if sounds(record, self._wanted):
            self._earcon(EARCON)
        if is_kept_for_itself(record):
            self._flash()
