"""What an outbox reports about itself, and the item to send that it hands out. See device.outbox.outbox."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.outbox.folder import wire_name
from shared.messages import CONTAINER


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One thing to send, claimed by the uploader: a record, a file of one, or a container (shared.container)."""

    record_id: str
    kind: str
    """"record", one of messages.PART_KINDS, or "container"."""
    path: Path
    size_bytes: int
    sha256: str
    bulk: bool
    resumed: bool
    """The server may have some of it already."""
    order: tuple[int, int, int, int]
    """Smaller goes first."""
    head: bytes = b""
    """Of a container: what comes before its files. It is made while it is sent; on disk there are its parts."""
    members: tuple[OutboxItem, ...] = ()
    """Of a container: the record, then the files that it holds."""

    @property
    def name(self) -> str:
        """Its name on the wire: the record's id, or a transfer's."""
        return wire_name(self.record_id, self.kind)

    @property
    def is_container(self) -> bool:
        return self.kind == CONTAINER

    @property
    def has_clip(self) -> bool:
        """Whether it is, or holds, something that waits where only small things may be sent."""
        return self.bulk or any(member.bulk for member in self.members)

    @property
    def single(self) -> tuple[OutboxItem, ...]:
        """What it stands for in the outbox."""
        return self.members or (self,)


@dataclass(frozen=True, slots=True)
class Counts:
    """How full the outbox is. Records, except where it says bytes."""

    queued: int = 0
    """Not yet merged as a whole; includes those being sent."""
    queued_bytes: int = 0
    """What is still to be merged of them."""
    sending: int = 0
    """Those of them that this process is sending now."""
    merged: int = 0
    """Since the index was last rebuilt."""
    failed: int = 0
    failed_erasures: int = 0
    """Those of them that are no moments, but wishes to have some erased."""
    lost: int = 0
    disk_bytes: int = 0
    """All that lies here, merged and failed included."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` deleted, by record id."""

    merged: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """Never reached the server and never will: the wearer must hear about it."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening the outbox had to put right."""

    leftovers: tuple[str, ...] = ()
    rebuilt: bool = False
    added: tuple[str, ...] = ()
    """Sealed, but not in the index before."""
    lost: tuple[str, ...] = ()
    """In the index, but their folder is gone."""
    damaged: tuple[str, ...] = ()
    """Sealed folders that cannot be read; now in failed/."""

    def summary(self) -> str:
        return (
            f"{len(self.leftovers)} leftovers removed, {len(self.added)} records added, {len(self.lost)} lost,"
            f" {len(self.damaged)} damaged, index {'built again' if self.rebuilt else 'kept'}"
        )
