"""A whole night, on a small home that a real Merge and real reviews made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.learn import golden, lora, nightly
from server.learn.evidence import of_dict
from server.learn.nightly import Night
from server.learn.settings import LearnSettings
from server.registry import Registry
from shared import bundle
from shared.errors import Transient
from tests.learn.parts import reviewed_home

SETTINGS = LearnSettings(steps=4, replay=32, gate_cases=100, threads=1, new_rows_least=5)
HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def silent(text: str) -> None:
    del text


def learn_at(rate: float, patch: pytest.MonkeyPatch) -> None:
    """The same night at other learning rates, which the settings do not offer."""
    recipe = lora.Recipe
    patch.setattr(lora, "Recipe", lambda **given: recipe(**given, rate=rate, connector_rate=rate, head_rate=rate))


@dataclass
class Slept:
    home: Path
    night: Night


@pytest.fixture(scope="module")
def home(starter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Path(shutil.copytree(starter_home, tmp_path_factory.mktemp("night") / "home"))
    return reviewed_home(home, walks_of={"walk-1": 6})


@pytest.fixture(scope="module")
def slept(home: Path) -> Slept:
    """One night whose steps are too small to change an answer: the gate must let it pass."""
    with pytest.MonkeyPatch.context() as patch:
        learn_at(1e-6, patch)
        return Slept(home, nightly.retrain(home, settings=SETTINGS, progress=silent))


def test_the_starter_is_added_once(starter_home: Path) -> None:
    registry = Registry(starter_home)
    before = (registry.champion(), registry.list(), registry.log())
    assert nightly.add_starter(starter_home, progress=silent) == before[0] == "waycue-starter-1"
    assert (registry.champion(), registry.list(), registry.log()) == before
    assert not list((starter_home / "nights").iterdir())
    registry.close()


def test_a_night_with_too_few_new_rows_is_skipped(home: Path) -> None:
    registry = Registry(home)
    models = registry.list()
    night = nightly.retrain(home, settings=LearnSettings(new_rows_least=7), progress=silent)
    assert night.outcome == "skipped"
    assert night.reasons == ("6 verified rows are new, 7 are needed",)
    assert night.champion == registry.champion()
    assert registry.list() == models
    registry.close()


def test_only_one_night_runs_at_a_time(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home / "nightly.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Transient, match="Another retrain is running"):
            nightly.retrain(home, settings=SETTINGS, progress=silent)
        other.communicate()
    assert nightly.retrain(home, settings=LearnSettings(new_rows_least=7), progress=silent).outcome == "skipped"


def test_a_night_registers_what_it_made_with_the_gates_reasons(slept: Slept) -> None:
    night, registry = slept.night, Registry(slept.home)
    assert night.reasons
    assert night.outcome == "promoted", night.reasons
    assert night.samples == 6
    assert night.parity_float >= 0.98
    assert night.parity >= 0.95
    model = registry.get(night.version)
    assert model.parent == night.champion == "waycue-starter-1"
    assert model.adapter_folder is not None
    assert (model.adapter_folder / "adapter_config.json").is_file()
    manifest = bundle.verify(model.bundle_folder)
    assert len(manifest.extra["taught_by"]) == 6
    assert manifest.intended_use == "demo"
    assert registry.champion() == night.version
    assert of_dict(model.evaluation["gate"]).verdict == "promoted"
    assert json.loads((slept.home / "nights" / f"{night.version}.json").read_text())["outcome"] == night.outcome
    assert [path.suffix for path in (slept.home / "nights").iterdir()] == [".json"], "its work is cleared away"
    registry.close()


def test_rows_that_taught_once_are_not_new_again(slept: Slept) -> None:
    again = nightly.retrain(slept.home, settings=SETTINGS, progress=silent)
    assert again.outcome == "skipped"
    assert again.reasons == ("0 verified rows are new, 5 are needed",)


def test_later_versions_are_held_to_the_first_ones_golden_chunks(slept: Slept) -> None:
    registry = Registry(slept.home)
    first, later = (
        golden.of_bundle(registry.bundle_folder(name)) for name in (slept.night.champion, slept.night.version)
    )
    assert [(c.object, c.side, c.must_stop) for c in first] == [(c.object, c.side, c.must_stop) for c in later]
    registry.close()


@pytest.mark.slow
def test_a_night_that_forgot_everything_is_refused_and_the_champion_kept(
    starter_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(starter_home, tmp_path / "home"))
    reviewed_home(home, walks_of={"walk-1": 2})
    learn_at(0.3, monkeypatch)
    night = nightly.retrain(home, settings=SETTINGS, progress=silent, force=True)
    registry = Registry(home)
    assert night.outcome == "refused"
    assert any(reason.startswith("drawn: ") for reason in night.reasons)
    assert any(reason.startswith("self-test") for reason in night.reasons)
    assert registry.champion() == "waycue-starter-1"
    assert night.version in {model.version for model in registry.list()}
    registry.close()
