"""The wearer asks for help: a call that waits in the outbox, before everything else, and what they hear of it.

Said once when it is durable, and once when the server has taken it or will not, also after a restart in between.
Presses that come soon after one another are one call. Where there is a connection the call also goes out at once, past
what holds records back (a metered link, a hot board, a card that takes nothing): the server takes a call only once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from device.moments.collector import WalkId
from device.moments.sealer import Parcel
from shared import messages
from shared.clock import Clock
from shared.messages import Envelope, HelpRecord

ASKED = "Asked for help. Your caregivers are told when there is a connection."
TAKEN = "Your call for help has arrived. The server tells your caregivers."
NOT_TAKEN = "The server took no call for help. Nobody was told."
HELP_TEXTS = (ASKED, TAKEN, NOT_TAKEN)
SAME_CALL_S = 10.0
ABOUT = "help"


@dataclass(frozen=True, slots=True)
class HelpPorts:
    store: Callable[[Parcel], None]
    """Have it sealed."""
    send_now: Callable[[bytes], object]
    """Publish an event as it is; nothing hangs on it."""
    tell: Callable[[str], None]


class HelpCalls:
    """The calls of one walk."""

    def __init__(self, walk: WalkId, clock: Clock, ports: HelpPorts) -> None:
        self._walk, self._clock, self._ports = walk, clock, ports
        self._count = 0
        self._asked_s = float("-inf")

    def ask(self) -> None:
        """The wearer presses for help. Returns at once."""
        now_s = self._clock.monotonic_s()
        if now_s - self._asked_s < SAME_CALL_S:
            return
        self._asked_s = now_s
        self._count = self._count % 999 + 1
        walk = self._walk
        record = HelpRecord(
            help_id=f"{walk.walk_id}-h{self._count:03d}",
            device=walk.device,
            asked_at_utc=self._clock.utc_s(),
            clock_synced=walk.clock_synced,
        )
        self._ports.store(Parcel(record, {}, say=ASKED))
        self._ports.send_now(messages.encode(Envelope(messages.HELP, record.help_id, messages.to_dict(record))))

    def answered(self, _help_id: str, taken: bool) -> None:
        """The server has it now, or will never take it."""
        self._ports.tell(TAKEN if taken else NOT_TAKEN)
