"""Every metric with its kind, its meaning and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricName:
    """One metric."""

    kind: str
    """gauge | counter | histogram. Prometheus names a counter with `_total` behind it."""
    meaning: str
    labels: tuple[str, ...] = ()


TABLE: Mapping[str, MetricName] = {
    "waycue_broker_up": MetricName("gauge", "1 = the broker is reached"),
    "waycue_moments": MetricName("gauge", "Moments by state: pending, reviewed, rejected", ("state",)),
    "waycue_corrections_waiting": MetricName("gauge", "Moments with a spoken correction that wait for review"),
    "waycue_intake_today": MetricName("gauge", "What devices sent on this UTC day, by what became of it", ("what",)),
    "waycue_quarantined": MetricName("gauge", "Files and records in quarantine"),
    "waycue_device_online": MetricName("gauge", "1 = the device is connected", ("device",)),
    "waycue_device_seen_timestamp_seconds": MetricName("gauge", "When the device was heard of last", ("device",)),
    "waycue_device_backlog": MetricName("gauge", "Records that wait on the device", ("device",)),
    "waycue_device_failed": MetricName("gauge", "Records that the server refused for good", ("device",)),
    "waycue_device_battery_percent": MetricName("gauge", "Charge of its battery", ("device",)),
    "waycue_device_heat_celsius": MetricName("gauge", "Heat of its board", ("device",)),
    "waycue_device_disk_free_bytes": MetricName("gauge", "Free where its moments wait", ("device",)),
    "waycue_device_look_p95_seconds": MetricName("gauge", "95th percentile of a look of its model", ("device",)),
    "waycue_device_certificate_ends_timestamp_seconds": MetricName("gauge", "End of its certificate", ("device",)),
    "waycue_device_info": MetricName("gauge", "1, with what it runs", ("device", "agent", "model", "offered")),
    "waycue_night_running": MetricName("gauge", "1 = a night runs"),
    "waycue_night_last_begin_timestamp_seconds": MetricName("gauge", "When the newest night began"),
    "waycue_nights": MetricName("gauge", "The newest 30 runs, by what became of them", ("outcome",)),
    "waycue_models": MetricName("gauge", "Registered versions"),
    "waycue_champion_info": MetricName("gauge", "1, with the version that devices are offered", ("version",)),
    "waycue_disk_free_bytes": MetricName("gauge", "Free on the disk of the server's home"),
    "waycue_disk_size_bytes": MetricName("gauge", "Size of that disk"),
    "waycue_disk_growth_bytes_a_day": MetricName("gauge", "What is stored grows by, over the newest four weeks"),
    "waycue_disk_full_in_days": MetricName(
        "gauge", "Until devices have to wait, at this rate; none where it does not grow"
    ),
    "waycue_space_announced_moments": MetricName("gauge", "Moments that may be deleted for space"),
    "waycue_space_announced_bytes": MetricName("gauge", "What they come to"),
    "waycue_space_over_bytes": MetricName("gauge", "Stored beyond the bounds of space"),
    "waycue_space_short_bytes": MetricName("gauge", "Needed, and nothing that may be deleted was found for it"),
    "waycue_http_requests": MetricName("counter", "Requests to the page", ("route", "method", "status")),
    "waycue_http_request_seconds": MetricName("histogram", "Time of the server for a request", ("route",)),
}
