"""Which of several processes takes in which devices. Pure.

Every device belongs to one of PARTITIONS by a hash of its name, and every partition to at most one process, by a lease
in the database (server.ingest.leases). So all messages of a device reach one process, in their order, and no two write
into one folder.

Rules that it keeps:

1. A partition is taken only where nobody has a lease on it that still runs.
2. Every process that lives has its share: 16 over their number, and no two differ by more than one.
3. Who has more gives back what is beyond its share, after it has settled what came of it. Nothing moves otherwise.
4. A lease that runs for longer than any is given belongs to a clock that was set back: it counts as ended.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

PARTITIONS = 16
SLACK = 1.5
"""A lease that runs for more than so many times its length was written under another time."""


@dataclass(frozen=True, slots=True)
class PartitionLease:
    holder: str
    until_s: float
    """UTC."""


@dataclass(frozen=True, slots=True)
class Division:
    """What one process does about its partitions."""

    held: frozenset[int] = frozenset()
    """Its own, those that it is to give back included."""
    taken: frozenset[int] = frozenset()
    """New among them."""
    leave: frozenset[int] = frozenset()
    """To be given back, as soon as what came of them is settled."""


def partition_of(device: str) -> int:
    """Which partition a device belongs to: the same on every machine, for ever."""
    return zlib.crc32(device.encode()) % PARTITIONS


def runs(until_s: float, now_s: float, lease_s: float) -> bool:
    """Whether a lease still runs."""
    return now_s < until_s <= now_s + SLACK * lease_s


def divide(
    me: str, workers: Mapping[str, float], leases: Mapping[int, PartitionLease], *, now_s: float, lease_s: float
) -> Division:
    """What this process has from now on. workers: name → until when it may be believed to live, UTC."""
    live = sorted({name for name, until_s in workers.items() if runs(until_s, now_s, lease_s)} | {me})
    held = {number: lease.holder for number, lease in leases.items() if runs(lease.until_s, now_s, lease_s)}
    mine = sorted(number for number, holder in held.items() if holder == me)
    share = PARTITIONS // len(live) + (live.index(me) < PARTITIONS % len(live))
    free = [number for number in range(PARTITIONS) if number not in held]
    taken = free[: max(0, share - len(mine))]
    return Division(frozenset([*mine, *taken]), frozenset(taken), frozenset(mine[share:]))
