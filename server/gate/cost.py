"""What a look takes: several bundles in turns, picture by picture, in one run.

A B A B …, on one core each, in processor time: what else the machine does takes none of it, and what it does to caches
and clock rate hits all alike; each picture's fastest of a few rounds counts. By wall time, of two equal models that
shared two cores with ten other processes, one took twice as long as the other.

What devices report of a model that runs here too gives the scale: a look of the candidate takes there what that model
takes there, times the ratio of the two here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from server.database import store as db
from server.evaluation.measures import percentile
from server.gate import footprint
from server.gate.evidence import Cost, DeviceReport
from server.releases.registry import Registry
from shared import bundle as bundles
from shared.runtime import GuidanceModel

ROUNDS, PICTURES = 4, 12
REFERENCES = 3
"""Versions at most that devices report and that are measured beside the candidate."""
Look = Callable[[NDArray[np.uint8]], object]


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a device last reported of itself."""

    kind: str
    version: str
    look_p95_ms: float


def measure(candidate: Path, registry: Registry, pictures: Sequence[NDArray[np.uint8]], *, threads: int) -> Cost:
    """Everything that the budget is about. pictures: uint8 [h, w, 3] each"""
    reported = reports(registry)
    known = {model.version: model.bundle_folder for model in registry.list()}
    versions = [name for name in dict.fromkeys(report.version for report in reported) if name in known][:REFERENCES]
    folders = {"": candidate, **{name: known[name] for name in versions}}
    models = {name: GuidanceModel.load(folder, threads=1, allow_demo=True).look for name, folder in folders.items()}
    took = in_turns(models, pictures[:PICTURES])
    here_ms, ratios = percentile(took[""], 95), {name: ratio(took[""], took[name]) for name in versions}
    plausible, ignored = scaled(reported, ratios, here_ms)
    return Cost(
        look_p95_ms=here_ms,
        memory_mb=footprint.peak_mb(candidate, threads=threads),
        bundle_mb=bundles.read_manifest(candidate).size_bytes / 1e6,
        reported=plausible,
        ignored=ignored,
        unknown=unknown(reported, ratios),
    )


def reports(registry: Registry) -> list[StatusReport]:
    """What devices report, where they say both what they are and what a look takes; the newest first."""
    with registry.store.reading() as connection:
        newest = select(db.devices.c.status).order_by(db.devices.c.seen_at.desc())
        statuses = connection.execute(newest).scalars().all()
    out = []
    for status in statuses:
        kind, version = str(status.get("device_kind", "")), str(status.get("model_version", ""))
        p95_ms = status.get("look_p95_ms", 0.0)
        if kind and version and isinstance(p95_ms, int | float) and p95_ms > 0:
            out.append(StatusReport(kind, version, float(p95_ms)))
    return out


def scaled(
    reported: Sequence[StatusReport], ratios: Mapping[str, float], here_ms: float
) -> tuple[tuple[DeviceReport, ...], tuple[DeviceReport, ...]]:
    """(one report per kind: the device on which the candidate would be slowest; reports that cannot be). Pure.

    ratios: version → time of a look of the candidate ÷ that of the version, here
    here_ms: what a look of the candidate takes here
    """
    known = [
        DeviceReport(report.kind, 1, report.version, report.look_p95_ms, ratios[report.version])
        for report in reported
        if report.version in ratios
    ]
    by_kind: dict[str, list[DeviceReport]] = {}
    for report in known:
        if report.plausible(here_ms):
            by_kind.setdefault(report.kind, []).append(report)
    slowest = [max(kind, key=lambda report: report.look_p95_ms * report.ratio) for kind in by_kind.values()]
    counted = (
        replace(report, devices=sum(other.version == report.version for other in by_kind[report.kind]))
        for report in slowest
    )
    return tuple(counted), tuple(report for report in known if not report.plausible(here_ms))


def unknown(reported: Sequence[StatusReport], ratios: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
    """Kind → versions that it reports on, where none of them was measured here. Pure."""
    judged = {report.kind for report in reported if report.version in ratios}
    versions: dict[str, dict[str, None]] = {}
    for report in reported:
        if report.kind not in judged:
            versions.setdefault(report.kind, {})[report.version] = None
    return {kind: tuple(names) for kind, names in versions.items()}


def in_turns(
    looks: Mapping[str, Look],
    pictures: Sequence[NDArray[np.uint8]],
    *,
    rounds: int = ROUNDS,
    seconds: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Milliseconds of processor time of a look at each picture, the fastest of the rounds, for each name."""
    best = {name: [float("inf")] * len(pictures) for name in looks}
    for look in looks.values():
        for picture in pictures[:1]:
            look(picture)  # the first of all allocates
    for _ in range(rounds):
        for at, picture in enumerate(pictures):
            for name, look in looks.items():
                started = seconds()
                look(picture)
                best[name][at] = min(best[name][at], (seconds() - started) * 1e3)
    return best


def ratio(took: Sequence[float], other: Sequence[float]) -> float:
    """How many times as long the first takes, by the middle of the pictures; 1 where nothing was measured. Pure."""
    return float(np.median(np.asarray(took) / np.asarray(other))) if len(took) else 1.0
