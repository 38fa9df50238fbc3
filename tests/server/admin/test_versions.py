"""What an admin reads of the models: date, verdict, score, role and why; and where each came from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from server import config
from server.admin import versions
from server.admin.versions import Ancestor
from server.releases.registry import Registry
from shared.clock import ManualClock
from tests.server.commands.terminal import server
from tests.shared.bundle.bundles import contents, make_bundle

NIGHT = {
    "reasons": ["better at things to stop for"],
    "gate": {"verdict": "promoted", "rules": []},
    "evaluation": {"frames": 200, "instruction_right": 0.83},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home, clock = tmp_path / "home", ManualClock(epoch_s=1_795_200_000.0)
    config.init(home)
    registry = Registry(home, clock=clock)
    for name, parent in (("m1", ""), ("m2", "m1"), ("m3", "m2")):
        make_bundle(tmp_path / name, name, contents({"a.onnx": 500}, seed=int(name[1:])))
        registry.add(tmp_path / name, parent=parent, evaluation=NIGHT if name == "m2" else None)
        clock.sleep(86_400)
    registry.promote("m1", "the first model")
    registry.promote("m2", "it knows our stairs")
    registry.close()
    return home


def test_each_version_has_its_date_verdict_score_and_why_it_has_its_role(home: Path) -> None:
    registry = Registry(home)
    first, second, third = versions.listed(registry)
    assert (first.role, first.why, first.verdict, first.score) == ("previous", "it knows our stairs", "", None)
    assert (second.role, second.why, second.verdict) == ("champion", "it knows our stairs", "promoted")
    assert second.score is not None
    assert (second.score.right, second.score.judged) == (166, 200)
    assert (third.role, third.why, third.role_since_utc) == ("", "", None)
    assert third.created_at_utc - first.created_at_utc == 2 * 86_400
    assert versions.lineage("m3", registry.list()) == (Ancestor("m2", True), Ancestor("m1", True))
    registry.close()


def test_a_damaged_version_is_listed_with_its_trouble(home: Path) -> None:
    (home / "models" / "m3" / "bundle" / "manifest.json").write_text("{")
    registry = Registry(home)
    assert [bool(line.trouble) for line in versions.listed(registry)] == [False, False, True]
    registry.close()
    assert server(home, "models", "list").returncode == 0


def test_a_lineage_that_bites_its_tail_ends(home: Path) -> None:
    registry = Registry(home)
    one, two, three = registry.list()
    circle = (replace(one, parent="m3"), two, three)
    assert [step.version for step in versions.lineage("m3", circle)] == ["m2", "m1", "m3"]
    registry.close()


def test_the_commands_print_all_of_it(home: Path) -> None:
    shown = server(home, "models", "list").stdout
    assert "promoted   83% right of 200" in shown
    assert "champion because it knows our stairs" in shown
    assert "2026-11-" in shown
    listed = json.loads(server(home, "models", "list", "--json").stdout)
    assert listed[1]["score"]["judged"] == 200
    assert listed[1]["evaluation"]["reasons"] == ["better at things to stop for"]
    log = server(home, "models", "log").stdout
    assert "champion: m1 → m2  it knows our stairs" in log
    assert json.loads(server(home, "models", "log", "--json").stdout)[0]["why"] == "the first model"
    assert server(home, "models", "rollback", "--why", "worse on stairs").returncode == 0
    assert "previous because worse on stairs" in server(home, "models", "list").stdout
