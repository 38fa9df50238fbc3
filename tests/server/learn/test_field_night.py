"""A whole night of a field model on a small home: whatever it is like, it ends on trial, and says why in words."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.commands.gate import explained
from server.config import TEMPLATE
from server.database.store import open_store
from server.dataset import splits
from server.dataset.folder import Dataset
from server.gate import judge as judging
from server.gate.evidence import of_dict
from server.gate.judge import Bench, Judgement, Subject
from server.gate.settings import Bounds, GateSettings
from server.learn import nightly
from server.learn.nightly import Night
from server.learn.settings import LearnSettings
from server.releases.registry import Registry
from shared import bundle, model_card
from tests.server.commands.terminal import server
from tests.server.learn.parts import reviewed_home, save_field_checkpoint

pytestmark = pytest.mark.slow


@dataclass
class Slept:
    home: Path
    night: Night
    before_judging: str
    """What its bundle said that it is for, until the gate had judged it."""


@pytest.fixture(scope="module")
def slept(starter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Slept:
    """The starter is champion; the base is of the hub's shape with random weights; three walks, one of each kind."""
    folder = tmp_path_factory.mktemp("field")
    home = Path(shutil.copytree(starter_home, folder / "home"))
    (home / "waycue.toml").write_text(TEMPLATE)
    reviewed_home(home, walks_of={"walk-1": 6, "walk-2": 5, "walk-3": 4})
    store, dataset = open_store(home), Dataset(home / "dataset")
    for walk, split in (("walk-1", "train"), ("walk-2", "held_out"), ("walk-3", "golden")):
        splits.mark_walk(store, dataset, walk, split, now_s=2.0)  # type: ignore[arg-type]
    store.close()
    base = save_field_checkpoint(folder / "base")
    settings = LearnSettings(base=str(base), steps=2, threads=1, new_rows_least=1)
    bounds = Bounds(gate=GateSettings(parity_least=0.0))  # of random weights, all words are about equally probable
    said: list[str] = []

    def judge(subject: Subject, bench: Bench) -> Judgement:
        said.append(bundle.verify(subject.made.folder).intended_use)
        return judging.judge(subject, bench)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.learn.nightly.judge", judge)
        night = nightly.retrain(home, settings=settings, bounds=bounds, progress=lambda text: None)
    return Slept(home, night, *said)


def test_until_it_is_judged_its_bundle_is_on_trial(slept: Slept) -> None:
    """A night killed before the gate leaves a whole bundle behind, which must not say that it is for every walk."""
    assert slept.before_judging == "trial"


def test_its_manifest_tells_which_classes_were_measured_on_real_pictures(slept: Slept) -> None:
    manifest = bundle.verify(Registry(slept.home).bundle_folder(slept.night.version))
    measured = manifest.model["measured"]
    assert all(0 <= figure["precision"] <= 1 and 0 < figure["of"] <= 5 for figure in measured.values()), measured
    assert model_card.measured(manifest.model) is not None
    assert "measured" not in bundle.verify(Registry(slept.home).bundle_folder("waycue-starter-1")).model


def test_it_is_on_trial_whatever_champion_there_is(slept: Slept) -> None:
    registry = Registry(slept.home)
    assert slept.night.outcome == "trial", slept.night.reasons
    assert registry.champion() == "waycue-starter-1"
    model = registry.get(slept.night.version)
    assert bundle.verify(model.bundle_folder).intended_use == "trial"
    assert (slept.night.samples, slept.night.held_out) == (6, 5)
    registry.close()


def test_no_drawn_picture_and_no_demonstration_champion_judged_it(slept: Slept) -> None:
    decision = of_dict(slept.night.gate)
    assert not any("drawn" in rule.about for rule in decision.rules)
    assert not any(rule.name.startswith("no worse") for rule in decision.rules)
    (parity,) = [rule for rule in decision.rules if rule.name == "parity"]
    assert parity.cases == 9, "of the golden walk, then of the one held out"


def test_its_reasons_say_what_to_do(slept: Slept) -> None:
    text = "\n".join(slept.night.reasons)
    assert (
        "only 0 held-out moments of things to stop for, 50 are needed" in text
        or "held-out moments of obstacles" in text
    )
    assert "waycue-server samples hold-out" in text
    assert "waycue-server samples golden add ID" in text
    assert "only 1 held-out walk with confirmed moments, 5 are needed" in text


def test_no_moments_name_travels_with_what_the_gate_found(slept: Slept) -> None:
    registry = Registry(slept.home)
    folder = registry.bundle_folder(slept.night.version)
    manifest = bundle.read_manifest(folder)
    assert "gate" not in manifest.evaluation
    golden = b"".join(file.read_bytes() for file in sorted((folder / "golden").iterdir()))
    evaluation = json.dumps(manifest.evaluation).encode()
    for row in Dataset(slept.home / "dataset").rows():
        assert row.sample_id.encode() not in golden + evaluation
        assert row.walk_id.encode() not in golden + evaluation
    registry.close()


def test_the_command_explains_every_rule_as_the_registry_has_it(slept: Slept) -> None:
    version = slept.night.version
    done = server(slept.home, "gate", "--explain", version, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    written = json.loads((slept.home / "nights" / f"{version}.json").read_text())["gate"]
    assert {**written, "version": version, "champion": "waycue-starter-1"} == found
    assert all(
        {"name", "about", "verdict", "figures", "interval", "cases", "walks", "sentence"} <= set(rule)
        for rule in found["rules"]
    )
    plain = server(slept.home, "gate", "--explain", version)
    assert (
        plain.stdout.splitlines()
        == "\n".join(explained(version, {"champion": "waycue-starter-1"}, of_dict(written))).splitlines()
    )
    assert f"{version}: trial, against waycue-starter-1" in plain.stdout
    assert "On trial because" in plain.stdout
    assert all(rule["sentence"] in plain.stdout for rule in found["rules"])


@pytest.mark.parametrize(
    ("version", "reason"), [("waycue-starter-1", "was not judged by the gate"), ("n9", "no model")]
)
def test_a_model_that_no_gate_judged_is_refused_with_why(slept: Slept, version: str, reason: str) -> None:
    done = server(slept.home, "gate", "--explain", version)
    assert done.returncode == 1
    assert reason in done.stderr
