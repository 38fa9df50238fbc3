"""The devices as an admin watches over them: what each reported last, what it waits for, until when it may come in.

What a device says of itself is text from outside: it is cut, and shown as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.identity.claims import DeviceSummary
from shared import messages, strict
from shared.errors import MessageError
from shared.messages import Status
from shared.plural import several

SILENT_AFTER_S = 3 * 24 * 3600.0
"""A device that is worn twice a week is heard of within this."""
LOW_BATTERY, HOT_C, LITTLE_DISK = 15.0, 80.0, 500_000_000
WAITS_MOST, TEXT_MOST = 5, 200


@dataclass(frozen=True, slots=True)
class FleetDevice:
    """One device."""

    name: str
    cohort: str
    state: str
    """enrolled | waiting (for its code to be used) | ended | revoked | not enrolled"""
    code_open: bool
    online: bool
    seen_utc: float | None
    not_after_utc: float | None
    """When its certificate ends."""
    revoked_why: str
    status: Status | None
    """None = it never said anything that can be read."""
    offered: str
    """The version that it was offered last."""
    waits: tuple[str, ...]
    """What it waits for, in words: its own reasons, and an update that it has not taken."""
    not_kept: int

    def is_silent(self, now_utc: float) -> bool:
        """It may come in, and was not heard of for long."""
        if self.state != "enrolled" or self.online or self.seen_utc is None:
            return False
        return now_utc - self.seen_utc > SILENT_AFTER_S


def devices(store: Store, known: Sequence[DeviceSummary]) -> tuple[FleetDevice, ...]:
    """known: of server.identity.claims, by name"""
    with store.reading() as connection:
        said = {row.device: row for row in connection.execute(select(db.devices))}
        offered: dict[str, str] = {
            row.device: row.version for row in connection.execute(select(db.offers.c.device, db.offers.c.version))
        }
    return tuple(device(each, said.get(each.device), offered.get(each.device, "")) for each in known)


def device(known: DeviceSummary, said: Any, offered: str) -> FleetDevice:
    """said: its row in `devices`, None = it was never here"""
    status = None if said is None else read_status(said.status)
    extra: Mapping[str, Any] = {} if status is None else status.extra
    not_kept = extra.get("not_kept")
    return FleetDevice(
        name=known.device,
        cohort=known.cohort,
        state=known.state,
        code_open=known.code_open,
        online=known.online,
        seen_utc=known.seen_at_s,
        not_after_utc=known.not_after_s,
        revoked_why=known.revoked_why,
        status=status,
        offered=offered,
        waits=_waits(status, extra.get("waits"), offered),
        not_kept=not_kept if isinstance(not_kept, int) else 0,
    )


def read_status(value: Any) -> Status | None:
    """What the database keeps of a device's last status; None where it cannot be read."""
    try:
        return strict.read(messages.Status, value)
    except MessageError:
        return None


def _waits(status: Status | None, told: Any, offered: str) -> tuple[str, ...]:
    own = [text[:TEXT_MOST] for text in told if isinstance(text, str)] if isinstance(told, list) else []
    if status is not None and offered and status.model_version != offered:
        state = f" ({status.model_state[:TEXT_MOST]})" if status.model_state not in ("", "idle") else ""
        own.append(f"the update to {offered}{state}")
    return tuple(own[:WAITS_MOST])


def troubles(device: FleetDevice, *, now_utc: float) -> tuple[str, ...]:
    """What an admin should know of a device, in words."""
    if device.state == "revoked":
        return ()
    status, found = device.status, []
    if device.is_silent(now_utc) and device.seen_utc is not None:
        found.append(f"not heard of for {(now_utc - device.seen_utc) / 86_400:.0f} days")
    if status is not None:
        found += _reported(status)
    if device.not_kept:
        found.append(f"lost of this walk: {several(device.not_kept, 'flagged record')}")
    return tuple(found)


def _reported(status: Status) -> list[str]:
    checks = (
        (
            status.battery_percent is not None and status.battery_percent <= LOW_BATTERY,
            f"battery at {status.battery_percent or 0:.0f} %",
        ),
        (status.heat_c is not None and status.heat_c >= HOT_C, f"{status.heat_c or 0:.0f} °C"),
        (status.disk_free_bytes is not None and status.disk_free_bytes < LITTLE_DISK, "its disk is nearly full"),
        (status.failed > 0, f"refused for good: {several(status.failed, 'record')}"),
        (status.model_state.startswith(("refused", "withdrawn")), f"its model: {status.model_state[:TEXT_MOST]}"),
    )
    return [text for is_so, text in checks if is_so]
