"""What Home Assistant is told of each device: one discovery message and one state, both retained. Pure.

source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery ("Device discovery", since 2024.11)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from server.admin.fleet import FleetDevice
from shared.messages import Status

ROOT = "waycue"
AVAILABILITY = f"{ROOT}/server/availability"
ONLINE, OFFLINE = b"online", b"offline"
ORIGIN = {"name": "waycue"}
EMPTY = b""
"""A retained message without content takes the topic off the broker, and the device out of Home Assistant."""
_VERSIONS = "{{ {'installed_version': value_json.model, 'latest_version': value_json.offered} | to_json }}"
_SENSORS: Mapping[str, Mapping[str, str]] = {
    "battery": {"name": "Battery", "device_class": "battery", "unit_of_measurement": "%", "state_class": "measurement"},
    "backlog": {"name": "Waiting moments", "icon": "mdi:tray-full", "state_class": "measurement"},
    "heat": {"name": "Temperature", "device_class": "temperature", "unit_of_measurement": "°C"},
    "seen": {"name": "Last seen", "device_class": "timestamp"},
    "model": {"name": "Model", "icon": "mdi:brain"},
}


def wanted(devices: Iterable[FleetDevice], *, prefix: str) -> dict[str, bytes]:
    """Topic → what must be retained there; EMPTY for a device that was revoked. prefix: Home Assistant's own topic"""
    found: dict[str, bytes] = {}
    for device in devices:
        gone = device.state == "revoked"
        found[config_topic(device.name, prefix)] = EMPTY if gone else _encoded(_config(device))
        found[state_topic(device.name)] = EMPTY if gone else _encoded(_state(device))
    return found


def config_topic(device: str, prefix: str) -> str:
    """Where Home Assistant finds a device."""
    return f"{prefix}/device/{ROOT}_{device}/config"


def state_topic(device: str) -> str:
    """Where its figures are."""
    return f"{ROOT}/{device}/state"


def _config(device: FleetDevice) -> dict[str, Any]:
    ids, status = f"{ROOT}_{device.name}", device.status or Status(online=False)
    components: dict[str, Any] = {
        name: {"platform": "sensor", "unique_id": f"{ids}_{name}", "value_template": f"{{{{ value_json.{name} }}}}"}
        | dict(sensor)
        for name, sensor in _SENSORS.items()
    }
    components["online"] = {
        "platform": "binary_sensor",
        "unique_id": f"{ids}_online",
        "name": "Connected",
        "device_class": "connectivity",
        "value_template": "{{ value_json.online }}",
    }
    # Without a command topic it only shows: updates are the server's decision, which judges each version first.
    components["update"] = {
        "platform": "update",
        "unique_id": f"{ids}_update",
        "name": "Guidance model",
        "value_template": _VERSIONS,
    }
    about = {"identifiers": [ids], "name": device.name, "manufacturer": "waycue", "sw_version": status.agent_version}
    return {
        "device": about | ({"model": status.device_kind} if status.device_kind else {}),
        "origin": ORIGIN,
        "availability_topic": AVAILABILITY,
        "state_topic": state_topic(device.name),
        "components": components,
    }


def _state(device: FleetDevice) -> dict[str, Any]:
    status = device.status or Status(online=False)
    return {
        "online": "ON" if device.online else "OFF",
        "seen": None if device.seen_utc is None else _iso(device.seen_utc),
        "battery": status.battery_percent,
        "heat": status.heat_c,
        "backlog": status.backlog,
        "model": status.model_version or "none",
        "offered": device.offered or status.model_version or "none",
    }


def _iso(at_utc: float) -> str:
    return datetime.fromtimestamp(at_utc, UTC).isoformat(timespec="seconds")


def _encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
