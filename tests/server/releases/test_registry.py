"""Models are registered once, whole and unchanged; who is champion changes with a line in the log."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import store as tables
from server.database.store import open_store
from server.releases.registry import AliasChange, Registry
from shared import bundle
from shared.clock import ManualClock
from shared.errors import BundleError, Refused
from tests.shared.bundle.bundles import contents, flip_byte, make_bundle


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def registry(tmp_path: Path, clock: ManualClock) -> Iterator[Registry]:
    registry = Registry(tmp_path / "home", clock=clock)
    yield registry
    registry.close()


def make(tmp_path: Path, version: str, *, seed: int = 1) -> Path:
    folder = tmp_path / "made" / version
    make_bundle(folder, version, contents(seed=seed), evaluation={"f1": 0.9}, parent="m0")
    return folder


def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    (folder / "inner").mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "inner" / "weights.safetensors").write_bytes(b"w" * 1000)
    return folder


def test_a_registered_bundle_is_a_copy_with_its_lineage(registry: Registry, tmp_path: Path) -> None:
    source = make(tmp_path, "m1")
    model = registry.add(source, adapter=adapter(tmp_path), evaluation={"gate": "passed"})
    shutil.rmtree(source)
    assert model == registry.get("m1")
    assert registry.list() == (model,)
    assert registry.bundle_folder("m1") == tmp_path / "home" / "models" / "m1" / "bundle"
    assert bundle.verify(model.bundle_folder).version == "m1"
    assert (model.parent, model.base, model.evaluation) == ("m0", "starter", {"gate": "passed"})
    assert (model.folder / "adapter").is_dir()
    assert (model.folder / "adapter" / "inner" / "weights.safetensors").read_bytes() == b"w" * 1000
    assert registry.lineage("m1")["dataset"] == ""  # no night of this server made it
    assert registry.champion() is None


def test_adding_the_same_bundle_again_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    model = registry.add(make(tmp_path, "m1"))
    assert registry.add(tmp_path / "made" / "m1") == model
    assert not (model.folder / "adapter").exists()
    assert len(registry.list()) == 1


def test_the_same_version_with_other_bytes_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.add(make(tmp_path, "m1"))
    shutil.rmtree(tmp_path / "made")
    with pytest.raises(BundleError, match=r"m1 is already registered with other content\. Export"):
        registry.add(make(tmp_path, "m1", seed=2))


def test_a_damaged_bundle_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    source = make(tmp_path, "m1")
    flip_byte(source / "tokenizer.json")
    with pytest.raises(BundleError, match=r"tokenizer\.json was altered"):
        registry.add(source)
    assert registry.list() == ()
    assert not (tmp_path / "home" / "models" / "m1").exists()


def test_an_adapter_with_a_link_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder = adapter(tmp_path)
    (folder / "secret").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="not a plain file"):
        registry.add(make(tmp_path, "m1"), adapter=folder)
    assert registry.list() == ()


def test_promote_and_rollback_exchange_champion_and_previous_and_are_logged(
    registry: Registry, tmp_path: Path, clock: ManualClock
) -> None:
    for number in (1, 2):
        registry.add(make(tmp_path, f"m{number}", seed=number))
        clock.sleep(1)
    registry.promote("m1", "the first model")
    registry.promote("m2", "better on curbs")
    assert (registry.champion(), registry.alias("previous")) == ("m2", "m1")
    registry.promote("m2", "again")  # nothing to do, nothing logged
    clock.sleep(1)
    assert registry.rollback("stops too often") == "m1"
    assert (registry.champion(), registry.alias("previous")) == ("m1", "m2")
    changes = [(change.name, change.old, change.new, change.why) for change in registry.log()]
    assert changes == [
        ("champion", "", "m1", "the first model"),
        ("previous", "", "m1", "better on curbs"),
        ("champion", "m1", "m2", "better on curbs"),
        ("previous", "m1", "m2", "stops too often"),
        ("champion", "m2", "m1", "stops too often"),
    ]
    assert registry.log()[-1] == AliasChange(clock.utc_s(), "champion", "m2", "m1", "stops too often")


def test_what_is_not_there_or_not_whole_gets_no_role(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"There is no model m9\. See: waycue-server models list"):
        registry.promote("m9", "why not")
    with pytest.raises(Refused, match="no previous model"):
        registry.rollback("panic")
    registry.add(make(tmp_path, "m1"))
    registry.promote("m1", "first")
    registry.add(make(tmp_path, "m2", seed=2))
    registry.promote("m2", "second")
    flip_byte(registry.bundle_folder("m1") / "tokenizer.json")
    with pytest.raises(BundleError, match=r"tokenizer\.json was altered"):
        registry.rollback("back")
    assert registry.champion() == "m2"


def test_a_folder_whose_row_was_lost_gets_it_back(registry: Registry, tmp_path: Path) -> None:
    model = registry.add(make(tmp_path, "m1"), parent="m0", evaluation={"f1": 0.5})
    with registry.store.writing() as connection:
        connection.execute(tables.models.delete())
    assert registry.list() == ()
    assert registry.add(tmp_path / "made" / "m1") == model


def test_what_an_interrupted_add_left_is_no_obstacle(registry: Registry, tmp_path: Path) -> None:
    half = tmp_path / "home" / "models" / ".m1.adding" / "bundle"
    half.mkdir(parents=True)
    (half / "decoder_model_merged.onnx").write_bytes(b"half")
    registry.add(make(tmp_path, "m1"))
    assert [model.version for model in registry.list()] == ["m1"]
    assert not half.parent.exists()


def test_two_processes_adding_the_same_model_at_once_register_it_once(tmp_path: Path) -> None:
    source = make(tmp_path, "m1")
    open_store(tmp_path / "home").close()
    program = """
import sys
from pathlib import Path
from server.releases.registry import Registry
print(Registry(Path(sys.argv[1])).add(Path(sys.argv[2])).version)
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "home", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.strip()) == (0, b"m1"), err.decode()
    registry = Registry(tmp_path / "home")
    assert len(registry.list()) == 1
    registry.close()


def test_lineage_is_readable_json(registry: Registry, tmp_path: Path) -> None:
    registry.add(make(tmp_path, "m1"))
    saved = json.loads((tmp_path / "home" / "models" / "m1" / "lineage.json").read_text())
    assert saved["evaluation"] == {"f1": 0.9}
    assert saved["manifest_sha256"] == registry.get("m1").manifest_sha256


def test_killed_at_every_step_of_adding_it_is_added_by_the_next_try(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.releases.crash_driver", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(tries) >= 20
    assert [one for one in tries if one["problems"]] == []
