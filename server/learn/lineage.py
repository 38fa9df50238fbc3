"""What a version was taught: the whole list stays on the server, the manifest tells a root hash and two counts.

Every device reads every manifest. A row's identity holds the name of the device that recorded it, so none may stand
there; nor may anything that grows with the dataset, for readers take no manifest above bundle.MAX_MANIFEST_BYTES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from server.dataset.sample_row import SampleRow
from server.releases.registry import Registry, Taught
from shared.errors import BundleError

PACKAGES = ("waycue", "torch", "transformers", "peft", "onnx", "onnxruntime")
FRAME_CHARS = 16


def identity(row: SampleRow) -> str:
    """row_id names a moment and its revision, the frame's file name is its content hash."""
    return f"{row.row_id}:{Path(row.frame_path).stem[:FRAME_CHARS]}"


def identities(rows: Iterable[SampleRow]) -> tuple[str, ...]:
    """Of some rows, in the order of their ids."""
    return tuple(identity(row) for row in sorted(rows, key=lambda row: row.row_id))


def root(rows: Iterable[str]) -> str:
    """SHA-256 over the sorted identities, each with a line feed: equal exactly where the lists are."""
    return hashlib.sha256("".join(f"{row}\n" for row in sorted(rows)).encode()).hexdigest()


def manifest_entry(rows: Sequence[SampleRow]) -> dict[str, Any]:
    """What the manifest says of the rows that taught: nothing that names a moment, a device or a wearer."""
    return {
        "root": root(identities(rows)),
        "rows": len(rows),
        "walks": len({(row.device, row.walk_id) for row in rows}),
    }


def taught(rows: Sequence[SampleRow], *, dataset: tuple[int, str], seconds: float) -> Taught:
    """What the registry keeps of a night. dataset: its version, as Dataset.version gives it"""
    walks = manifest_entry(rows)["walks"]
    return Taught(identities(rows), walks, f"{dataset[0]}:{dataset[1]}", code(), round(seconds, 1))


def code() -> str:
    """The versions of what trains and exports: "waycue 0.9.0, torch 2.13.0, …"."""
    return ", ".join(f"{name} {_version(name)}" for name in PACKAGES)


def seen(registry: Registry) -> tuple[set[str], list[str]]:
    """(identities of all rows that taught a registered version, versions of which that cannot be read).

    One damaged list costs the rows in it: they count as new, the night goes on.
    """
    rows, unread = set[str](), list[str]()
    for model in registry.list():
        try:
            rows.update(registry.taught_by(model.version))
        except (BundleError, OSError, ValueError):
            unread.append(model.version)
    return rows, unread


def samples(registry: Registry, version: str | None) -> frozenset[str]:
    """Ids of the samples that a version learnt from; none where its list cannot be read."""
    try:
        return frozenset(row.partition("#")[0] for row in registry.taught_by(version)) if version else frozenset()
    except (BundleError, OSError, ValueError):
        return frozenset()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout
        return "unknown"
