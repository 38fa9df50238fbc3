"""The figures of a home as Prometheus reads them, taken from the database at each scrape: a few short reads."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from server.admin import nights, waiting
from server.admin.fleet import FleetDevice
from server.admin.storage import StorageOutlook
from server.database import store as db
from server.database.store import Store
from server.ingest import counters
from server.metrics.names import TABLE
from server.metrics.requests import RequestCounts
from server.privacy import making_room
from server.releases.registry import CHAMPION
from server.review import decisions

Sample = tuple[tuple[str, ...], float]
"""(values of the labels, value)"""


@dataclass(frozen=True, slots=True)
class MetricSources:
    """What the figures are taken from."""

    store: Store
    devices: Callable[[], Sequence[FleetDevice]]
    broker_reached: Callable[[], bool]
    now_utc: Callable[[], float]
    outlook: Callable[[], StorageOutlook]


class ServerMetrics:
    """All metrics of one server. Any thread."""

    def __init__(self, sources: MetricSources) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # when each label was first seen: as many figures again, for nobody
        self._registry = CollectorRegistry()
        self.requests = RequestCounts(self._registry)
        self._registry.register(_Home(sources))

    def text(self) -> bytes:
        """In Prometheus' text format. Raises: OSError, SQLAlchemyError."""
        return generate_latest(self._registry)


class _Home(Collector):
    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing is read before the first scrape."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every figure, by its name."""
        found: dict[str, list[Sample]] = {
            "waycue_broker_up": [((), float(self._sources.broker_reached()))],
            **_counted(self._sources.store, now_utc=self._sources.now_utc()),
            **_of_space(self._sources),
            **of_devices(self._sources.devices()),
            **_of_nights(self._sources.store),
        }
        for name, samples in found.items():
            family = GaugeMetricFamily(name, TABLE[name].meaning, labels=TABLE[name].labels)
            for labels, value in samples:
                family.add_metric(list(labels), value)
            yield family


def _counted(store: Store, *, now_utc: float) -> dict[str, list[Sample]]:
    figures = counters.figures(store, now_s=now_utc)
    with store.reading() as connection:
        corrections = float(waiting.corrections(connection))
        models = float(connection.scalar(select(func.count()).select_from(db.models)) or 0)
        champion = connection.scalar(select(db.aliases.c.version).where(db.aliases.c.name == CHAMPION))
    return {
        "waycue_moments": [((state,), float(count)) for state, count in decisions.counts(store).items()],
        "waycue_corrections_waiting": [((), corrections)],
        "waycue_intake_today": [((name,), float(count)) for name, count in figures.today.items()],
        "waycue_quarantined": [((), float(figures.quarantined))],
        "waycue_models": [((), models)],
        "waycue_champion_info": [((champion,), 1.0)] if champion else [],
    }


def _of_space(sources: MetricSources) -> dict[str, list[Sample]]:
    disk, space = sources.outlook(), making_room.standing(sources.store)
    growth: list[Sample] = [] if disk.forecast is None else [((), disk.forecast.a_day)]
    return {
        "waycue_disk_free_bytes": [((), float(disk.free))],
        "waycue_disk_size_bytes": [((), float(disk.total))],
        "waycue_disk_growth_bytes_a_day": growth,
        "waycue_disk_full_in_days": [] if disk.days_left is None else [((), disk.days_left)],
        "waycue_space_announced_moments": [((), float(space.moments))],
        "waycue_space_announced_bytes": [((), float(space.size_bytes))],
        "waycue_space_over_bytes": [((), float(space.over_bytes))],
        "waycue_space_short_bytes": [((), float(space.short_bytes))],
    }


def of_devices(devices: Sequence[FleetDevice]) -> Mapping[str, list[Sample]]:
    """Of those that may come in. Pure."""
    found: dict[str, list[Sample]] = {name: [] for name in TABLE if name.startswith("waycue_device_")}
    for device in devices:
        if device.state == "revoked":
            continue
        for name, value in _figures(device).items():
            if value is not None:
                found[f"waycue_device_{name}"].append(((device.name,), float(value)))
        status = device.status
        runs = (status.agent_version, status.model_version) if status else ("", "")
        found["waycue_device_info"].append(((device.name, *runs, device.offered), 1.0))
    return found


def _figures(device: FleetDevice) -> dict[str, float | None]:
    known = {
        "online": float(device.online),
        "seen_timestamp_seconds": device.seen_utc,
        "certificate_ends_timestamp_seconds": device.not_after_utc,
    }
    status = device.status
    if status is None:
        return known
    return known | {
        "backlog": status.backlog,
        "failed": status.failed,
        "battery_percent": status.battery_percent,
        "heat_celsius": status.heat_c,
        "disk_free_bytes": status.disk_free_bytes,
        "look_p95_seconds": status.look_p95_ms / 1000 or None,
    }


def _of_nights(store: Store) -> dict[str, list[Sample]]:
    runs = nights.runs(store.home, store)
    tally = Tally(run.outcome for run in runs)
    return {
        "waycue_night_running": [((), float(nights.is_held(store.home)))],
        "waycue_night_last_begin_timestamp_seconds": [((), runs[0].began_utc)] if runs else [],
        "waycue_nights": [((outcome,), float(count)) for outcome, count in sorted(tally.items())],
    }
