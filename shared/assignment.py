"""Which model a device is to run, as signed release metadata says it. Pure; the same on server and device.

Each release target says who may run it: devices by name, and a share of all by a stable hash. Of those that a device
may run, the one with the highest order is its model; the others are refused, however well they are signed, so that an
old offer cannot be played back while the release that it names is still in use elsewhere.

A release may be `supervised`: it names wearers who walk with a sighted companion, and lets a model on trial guide them.
Such a release names each device; a share of all devices is nobody's companion.

Names of devices stand in the metadata as truncated hashes salted with the version: every device reads that file, and
need not learn what the others are called. Whoever guesses a name can check the guess; it is no secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared import topics
from shared.errors import MessageError

BUCKETS = 10_000  # 100 per percent
HASH_CHARS = 16  # 64 bits: two of 10,000 devices share one with a chance of 3 in 10^12
MAX_DEVICES = 10_000
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who may run one version."""

    version: str
    order: int  # of the versions that a device may run, the highest order is the one
    percent: int  # share of all devices, 0 to 100, chosen by hash: raising it only adds devices
    devices: frozenset[str]  # `device_hash`es of devices that may run it whatever the percentage
    supervised: bool = False  # these devices' wearers walk with a sighted companion: a model on trial may guide them


def device_hash(version: str, device: str) -> str:
    """A device's name as it stands in the metadata of a version: 16 hex digits."""
    return hashlib.sha256(f"waycue-device|{version}|{device}".encode()).hexdigest()[:HASH_CHARS]


def bucket(version: str, device: str) -> int:
    """0 to 9,999, stable for ever. Salted with the version: not always the same devices go first."""
    digest = hashlib.sha256(f"waycue-rollout|{version}|{device}".encode()).digest()
    return int.from_bytes(digest[:8]) % BUCKETS


def may_run(assignment: Assignment, device: str) -> bool:
    """Whether a device is one of those that a version is for."""
    if bucket(assignment.version, device) < assignment.percent * (BUCKETS // 100):
        return True
    return device_hash(assignment.version, device) in assignment.devices


def assigned(assignments: Iterable[Assignment], device: str) -> str | None:
    """The version that a device is to run, None where none is for it."""
    mine = [assignment for assignment in assignments if may_run(assignment, device)]
    return max(mine, key=lambda item: (item.order, item.version)).version if mine else None


def to_custom(assignment: Assignment) -> dict[str, Any]:
    """As it stands in the `custom` of a TUF target."""
    custom = {"order": assignment.order, "percent": assignment.percent, "devices": sorted(assignment.devices)}
    return custom | {"supervised": True} if assignment.supervised else custom  # absent before: nothing is signed anew


def target_path(version: str) -> str:
    """The TUF target path of a version's manifest."""
    return f"models/{version}/manifest.json"


def read(path: str, custom: Any) -> Assignment:
    """One target's assignment, strictly; unknown keys are left alone. Raises: MessageError."""
    version = path.removeprefix("models/").removesuffix("/manifest.json")
    if path != target_path(version) or not topics.NAME.match(version):
        raise MessageError(f"Release target {path[:60]!r}: not a model's manifest.")
    if not isinstance(custom, Mapping):
        raise MessageError(f"Release target {version}: it does not say whom it is for.")
    order: Any = custom.get("order")
    percent: Any = custom.get("percent")
    devices: Any = custom.get("devices")
    supervised: Any = custom.get("supervised", False)
    checks = (
        (_is_whole(order, 2**53 - 1), "its order is not a whole number"),
        (_is_whole(percent, 100), "its percent is not 0 to 100"),
        (_are_hashes(devices), f"its devices are not a list of at most {MAX_DEVICES} hashes"),
        (type(supervised) is bool, "its supervised is not true or false"),
        (not (supervised and percent), "it is supervised, and yet for a share of all devices"),
    )
    for passed, problem in checks:
        if not passed:
            raise MessageError(f"Release target {version}: {problem}.")
    return Assignment(version, order, percent, frozenset(devices), supervised)


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _are_hashes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_DEVICES and all(map(_is_hash, value))


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == HASH_CHARS and _HEX.issuperset(value)
