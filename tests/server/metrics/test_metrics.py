"""Every metric is what the table says, and the board asks for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.admin.fleet import FleetDevice
from server.admin.nights import NightRecord
from server.admin.storage import StorageForecast, StorageOutlook
from server.metrics.collected import MetricSources, ServerMetrics
from server.metrics.names import TABLE
from server.metrics.settings import MetricsSection, token_of
from server.releases.registry import Registry
from shared.errors import ConfigError
from shared.messages import Status
from tests.docs.pages import DOCS, page
from tests.server.dataset.moments import House
from tests.server.web.serving import seed
from tests.shared.bundle.bundles import contents, make_bundle

STATUS = Status(
    online=True, agent_version="0.1.0", model_version="m1", backlog=3, failed=1, battery_percent=71.0, heat_c=48.0,
    disk_free_bytes=10**9, look_p95_ms=210.0,
)  # fmt: skip
DEVICES = (
    FleetDevice("pi-1", "", "enrolled", False, True, 1_795_200_000.0, 1_800_000_000.0, "", STATUS, "m2", (), 0),
    FleetDevice("pi-2", "", "waiting", True, False, None, None, "", None, "", (), 0),
    FleetDevice("pi-3", "", "revoked", False, False, 1.0, None, "lost", STATUS, "", (), 0),
)


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    house = House(memory_path / "home")
    yield house
    house.close()


def scraped(house: House, devices: Sequence[FleetDevice] = DEVICES) -> dict[str, list[Any]]:
    """Name of a family → its samples, read back by Prometheus' own parser."""
    disk = StorageOutlook(10**9, 10**10, StorageForecast(10**8, 10.0))
    sources = MetricSources(house.store, lambda: devices, lambda: True, house.clock.utc_s, lambda: disk)
    metrics = ServerMetrics(sources)
    metrics.requests.add("/moments/{sample_id}", "GET", 200, 0.012)
    metrics.requests.add("other", "BREW", 418, 0.001)
    families = text_string_to_metric_families(metrics.text().decode())
    return {family.name: list(family.samples) for family in families}


def test_a_scrape_has_every_metric_of_the_table_with_its_labels(house: House, tmp_path: Path) -> None:
    seed(house)
    make_bundle(tmp_path / "m1", "m1", contents({"a.onnx": 500}, seed=1))
    registry = Registry(house.home, store=house.store)
    registry.add(tmp_path / "m1")
    registry.promote("m1", "first")
    NightRecord(house.store, house.clock).end("refused")
    found = scraped(house)
    assert set(found) == set(TABLE)
    for name, metric in TABLE.items():
        own = {label for sample in found[name] for label in sample.labels} - {"le"}
        assert own == set(metric.labels), name
    battery = found["waycue_device_battery_percent"]
    assert [(sample.labels["device"], sample.value) for sample in battery] == [("pi-1", 71.0)]
    assert [sample.labels["device"] for sample in found["waycue_device_online"]] == ["pi-1", "pi-2"]
    assert found["waycue_nights"][0].labels == {"outcome": "refused"}
    assert {sample.labels["method"] for sample in found["waycue_http_requests"]} == {"GET", "other"}
    assert found["waycue_corrections_waiting"][0].value == 2


def test_an_empty_home_is_scraped_too(house: House) -> None:
    assert "waycue_champion_info" in scraped(house, ())


def names(text: str) -> set[str]:
    found = set(re.findall(r"\bwaycue_\w+", text))
    return {re.sub(r"_(?:total|bucket|sum|count)$", "", name) for name in found}


def test_the_board_asks_only_for_metrics_that_there_are_by_labels_that_they_have() -> None:
    board = json.loads((DOCS / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(queries) == 19
    assert names(" ".join(queries)) <= set(TABLE)
    for panel in board["panels"]:
        for target in panel["targets"]:
            allowed = {label for name in names(target["expr"]) for label in TABLE[name].labels} | {"le"}
            used = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            used |= set(re.findall(r"(\w+)=~", target["expr"]))
            used |= {part.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for part in by.split(",")}
            assert used <= allowed, target


def test_every_metric_is_described_for_an_admin() -> None:
    described = set(re.findall(r"^\| `(waycue_\w+)`", page("admin.md"), re.MULTILINE))
    assert described == set(TABLE)


def test_a_token_is_long_enough_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert token_of(MetricsSection()) == ""
    path.write_text("0123456789abcdef\n")
    assert token_of(MetricsSection(str(path))) == "0123456789abcdef"
    path.write_text("short")
    with pytest.raises(ConfigError, match="16 are needed"):
        token_of(MetricsSection(str(path)))
    with pytest.raises(ConfigError, match="cannot be read"):
        token_of(MetricsSection(str(tmp_path / "none")))
