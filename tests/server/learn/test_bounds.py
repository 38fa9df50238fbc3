"""[gate] and [budget] in waycue.toml: read strictly, with the bars of `evaluate` as defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from server import config
from server.evaluation.bars import BARS
from server.gate.settings import FloorSettings
from shared.errors import ConfigError


def load(home: Path, text: str) -> config.ServerConfig:
    (home / config.FILE).write_text(text)
    return config.load(home)


def test_the_floors_are_the_bars_of_evaluate() -> None:
    bars = {bar.name: bar.least if bar.least is not None else bar.most for bar in BARS}
    floors = FloorSettings()
    assert floors.tier1_recall == bars["tier-1 event recall"]
    assert floors.false_clear == bars["false-clear rate"]
    assert floors.false_alarms == bars["false alarms a minute"]
    assert floors.grammar == bars["filtered grammar rate"]
    assert floors.repeats == bars["repeats within 10 s"]
    assert floors.calibration_error == bars["calibration error (ECE)"]


def test_a_kind_of_device_has_the_general_budget_but_for_what_its_table_says(tmp_path: Path) -> None:
    text = "[budget]\nlook_ms = 400\n[budget.kinds.raspberry-pi-5]\nbundle_mb = 300\n[budget.kinds.jetson-orin-nano]\n"
    budget = load(tmp_path, text).budget
    assert budget.of("raspberry-pi-5") == (400.0, 2000.0, 300.0)
    assert budget.of("jetson-orin-nano") == budget.of("never heard of") == (400.0, 2000.0, 1000.0)
    assert list(budget.kinds) == ["raspberry-pi-5", "jetson-orin-nano"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[gate]\ntier1_recal = 0.5", "Did you mean tier1_recall?"),
        ("[gate]\ntier1_recall = 1.5", r"gate\.tier1_recall is 1\.5.*0\.5 to 1"),
        ("[gate]\ntier1_cases = -1", r"gate\.tier1_cases is -1"),
        ("[budget]\nlook_ms = 0", r"budget\.look_ms is 0"),
        ("[budget]\nkinds = 3", r"Write \[budget\.kinds\.NAME\]"),
        ("[budget.kinds]\npi = 3", r"Write \[budget\.kinds\.NAME\]"),
        ("[budget.kinds.pi]\nlook = 3", "Did you mean look_ms?"),
        ("[budget.kinds.pi]\nlook_ms = -3", r"budget\.kinds\.pi\.look_ms is -3"),
        ('[budget.kinds.pi]\nlook_ms = "fast"', "It must be a number"),
    ],
)
def test_a_slip_is_named_with_what_to_write(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, text)
