"""<state>/status.json: how the running agent is doing, for `waycue-device status` and for a caregiver on the phone.

Written every few seconds as a whole. It is about this boot: after a restart of the machine, or when it is older than
STALE_S, the agent counts as not running.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.boot import kernel_boot
from shared import atomic, strict
from shared.clock import Clock
from shared.errors import MessageError
from shared.messages import Status, to_dict

NAME = "status.json"
EVERY_S = 2.0
STALE_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a person asks first."""

    device: str
    kernel_boot: str
    updated_s: float
    """Monotonic, of this boot."""
    pid: int
    agent_version: str
    uptime_s: float
    source: str
    walking: bool
    walk_s: float
    guidance: str
    """guiding | paused | no model | ended"""
    model_version: str
    model_state: str
    """What an update is doing; idle = nothing."""
    last_said: str
    looks: int
    chunks: int
    flagged: int
    """Records made durable in this walk, corrections included."""
    not_kept: int
    """Flagged records that were lost."""
    online: bool
    broker: str
    queued: int
    """Records that wait for the server."""
    queued_bytes: int
    failed: int
    """Records that the server refused for good."""
    waits: tuple[str, ...] = ()
    """Why some of what is queued is not sent now, in words."""
    troubles: tuple[str, ...] = ()
    """What is wrong now, in words."""
    offline: str = ""
    """Why there is no connection to the broker, in words, and what to do where a person must."""
    device_kind: str = ""
    """As in shared.messages.Status, like the next."""
    look_p95_ms: float = 0.0
    battery_percent: float | None = None
    """None = no battery tells, like the next."""
    battery_minutes: float | None = None
    low_voltage: bool | None = None
    """The board is fed less than it needs, now; None = it does not say."""
    heat_c: float | None = None
    """Of the board's hottest zone."""
    profile: str = ""
    """The one that is worn; "" = none."""
    sees: tuple[str, ...] = ()
    """Objects that the model in use sees, the most urgent first; these three are empty without a model."""
    unseen: tuple[str, ...] = ()
    """Those that it does not see."""
    unknown: tuple[str, ...] = ()
    """Those of which that is not known."""
    recording: bool = True
    """Off: the wearer, a switch or the place has paused it, and nothing is kept."""
    extra: Mapping[str, Any] = field(default_factory=dict)


def in_one_line(current: DeviceStatus) -> str:
    """For `systemctl status`: nothing of the wearer, and no line break whatever a driver says."""
    state = current.guidance
    if not current.looks and state in ("guiding", "ended"):
        state = "waiting for a picture" if current.walking else "starting" if current.source != "none" else "sync only"
    model = f", model {current.model_version}" if current.model_version else ""
    return " ".join(f"{state}{model}{''.join(f'; {trouble}' for trouble in current.troubles)}".split())


def write(state_dir: Path, status: DeviceStatus) -> None:
    atomic.write_json(state_dir / NAME, to_dict(status))


def read(state_dir: Path, clock: Clock) -> DeviceStatus | None:
    """The status of the running agent; None = not running. Raises: MessageError where the file is not a status."""
    try:
        value = json.loads((state_dir / NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise MessageError(f"{state_dir / NAME} cannot be read: {error}.", hint="Restart the agent.") from None
    status = strict.read(DeviceStatus, value)
    fresh = 0 <= clock.monotonic_s() - status.updated_s <= STALE_S
    return status if fresh and status.kernel_boot == kernel_boot() else None


def power_lines(current: DeviceStatus) -> list[str]:
    """Battery and heat as a person reads them; empty where neither tells."""
    parts = []
    if current.battery_percent is not None:
        left = "" if current.battery_minutes is None else f", {current.battery_minutes:.0f} min left"
        parts.append(f"battery {current.battery_percent:.0f} %{left}")
    if current.low_voltage:
        parts.append("too little voltage")
    if current.heat_c is not None:
        parts.append(f"{current.heat_c:.0f} °C")
    return [f"power: {', '.join(parts)}"] if parts else []


def retained(current: DeviceStatus, *, disk_free_bytes: int | None = None) -> Status:
    """What the broker keeps of it for the server. disk_free_bytes: where moments wait; None = not known"""
    return Status(
        online=True,
        agent_version=current.agent_version,
        model_version=current.model_version,
        model_state=current.model_state,
        backlog=current.queued,
        backlog_bytes=current.queued_bytes,
        failed=current.failed,
        uptime_s=current.uptime_s,
        device_kind=current.device_kind,
        look_p95_ms=current.look_p95_ms,
        battery_percent=_within(current.battery_percent, 0.0, 100.0),
        heat_c=_within(current.heat_c, -273.15, 1000.0),
        disk_free_bytes=disk_free_bytes,
        extra={"waits": list(current.waits), "not_kept": current.not_kept},
    )


def free_bytes(folder: Path) -> int | None:
    """What is free where moments wait; None = it cannot be told."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _within(value: float | None, least: float, most: float) -> float | None:
    """A reading to a tenth; one that no sensor can mean is told as none, so that the status around it is read."""
    return round(value, 1) if value is not None and least <= value <= most else None
