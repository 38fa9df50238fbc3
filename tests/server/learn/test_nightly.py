"""A whole night, on a small home that a real Merge and real reviews made."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest

from exporters.onnx import bundle as exporter
from server.dataset.folder import Dataset
from server.gate import golden, judge
from server.gate.evidence import of_dict
from server.learn import bundles, lineage, nightly
from server.learn.nightly import Night
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.releases.registry import Registry
from shared import assembly, atomic, bundle
from shared.errors import Transient
from shared.runtime.language import DECODER, VISION
from tests.server.learn.crash_driver import exported_once
from tests.server.learn.parts import reviewed_home
from tests.shared.runtime.altered import rewrite

SETTINGS = LearnSettings(steps=4, replay=32, gate_cases=100, threads=1, new_rows_least=5)
DEVICE, WEARER, WALK, PLACE = "chest-of-marguerite", "Marguerite Delacroix", "walk-to-the-bakery", "Rue des Lilas 14"
HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def silent(text: str) -> None:
    del text


RATES = ("rate", "connector_rate", "head_rate")


def learn_at(rate: float, patch: pytest.MonkeyPatch) -> None:
    """The same night at other learning rates."""
    recipe = Recipe
    patch.setattr(nightly, "Recipe", lambda **given: recipe(**{**given, **dict.fromkeys(RATES, rate)}))


@pytest.fixture(scope="module", autouse=True)
def cheaper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs of the same weights are exported once, and the gate looks at fewer drawn walks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "export_graphs", exported_once(tmp_path_factory.mktemp("graphs")))
        patch.setattr(judge, "CALIBRATING", 96)
        patch.setattr(judge, "DRAWN_WALKS", 2)
        yield


@dataclass
class Slept:
    home: Path
    night: Night


@pytest.fixture(scope="module")
def home(starter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Path(shutil.copytree(starter_home, tmp_path_factory.mktemp("night") / "home"))
    return reviewed_home(home, walks_of={WALK: 6}, device=DEVICE, wearer=WEARER, context=PLACE)


@pytest.fixture(scope="module")
def slept(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Slept:
    """One night whose steps are too small to change an answer: the gate must let it pass."""
    slept = Path(shutil.copytree(home, tmp_path_factory.mktemp("slept") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        learn_at(1e-6, patch)
        return Slept(slept, nightly.retrain(slept, settings=SETTINGS, progress=silent))


def test_the_starter_is_added_once(starter_home: Path) -> None:
    registry = Registry(starter_home)
    before = (registry.champion(), registry.list(), registry.log())
    assert bundles.add_starter(starter_home, progress=silent) == before[0] == "waycue-starter-1"
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
    assert (model.folder / "adapter").is_dir()
    assert (model.folder / "adapter" / "adapter_config.json").is_file()
    manifest = bundle.verify(model.bundle_folder)
    reported = manifest.extra["lineage"]
    assert (reported["rows"], reported["walks"]) == (6, 1)
    assert "taught_by" not in manifest.extra
    rows = Dataset(slept.home / "dataset").rows()
    assert reported["root"] == lineage.root(registry.taught_by(night.version))
    assert set(registry.taught_by(night.version)) == set(lineage.identities(rows))
    kept = registry.lineage(night.version)
    size, digest = Dataset(slept.home / "dataset").version()
    assert kept["dataset"] == f"{size}:{digest}"
    assert (kept["rows"], kept["walks"]) == (6, 1)
    assert kept["seconds"] > 0
    assert "torch 2" in kept["code"]
    assert manifest.intended_use == "demo"
    assert registry.champion() == night.version
    assert of_dict(model.evaluation["gate"]).verdict == "promoted"
    assert json.loads((slept.home / "nights" / f"{night.version}.json").read_text())["outcome"] == night.outcome
    left = {path.name for path in (slept.home / "nights").iterdir()}
    assert left == {f"{night.version}.json", nightly.TENSORBOARD}, "its work is cleared away"
    registry.close()


def test_no_file_of_a_bundle_names_a_moment_a_device_or_a_wearer(slept: Slept) -> None:
    registry = Registry(slept.home)
    folder = registry.bundle_folder(slept.night.version)
    rows = Dataset(slept.home / "dataset").rows()
    names = {DEVICE, WEARER, WALK, PLACE, "Marguerite", "Delacroix", "bakery", "b00t", "/frames/"}
    frames = {Path(row.frame_path).stem for row in rows}
    for row in rows:
        names |= {row.row_id, row.sample_id, Path(row.frame_path).stem[:16], Path(row.audio_path).stem[:16]}
    needles = {form for name in names for form in (name.encode(), name.encode("utf-16-le"), name[::-1].encode())}
    needles |= {bytes.fromhex(frame) for frame in frames}
    assert len(needles) > 40
    looked_at = 0
    for file in (path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        found = [needle for needle in needles if needle in data or needle.lower() in data.lower()]
        assert not found, f"{file.name} holds {found[0]!r}"
        assert hashlib.sha256(data).hexdigest() not in frames, f"{file.name} is a picture of the dataset, byte for byte"
        looked_at += 1
    assert looked_at >= 16, "three graphs, tokenizer, manifest, blocks, and the golden pictures with their list"
    kept = (registry.get(slept.night.version).folder / "taught_by.txt").read_bytes()
    assert DEVICE.encode() in kept, "the same search finds them where they belong"
    registry.close()


def test_the_strings_in_graphs_and_golden_pictures_are_none_of_the_datasets(slept: Slept) -> None:
    """Protobuf may pack strings, a JPEG may hold segments: read as what they are, not only as bytes."""
    registry = Registry(slept.home)
    folder = registry.bundle_folder(slept.night.version)
    for file in folder.glob("*.onnx"):
        texts = list(strings(onnx.load(file)))
        assert texts
        assert not [text for text in texts if DEVICE in text or WALK in text or str(slept.home) in text]
    for file in (folder / "golden").glob("*.jpg"):
        kinds = [kind for kind, _ in segments(file.read_bytes())]
        assert not [kind for kind in kinds if kind == 0xFE or 0xE1 <= kind <= 0xEF], "no EXIF, no comment"
    registry.close()


def strings(message: Any) -> Iterator[str]:
    """Every text of a protobuf message: names, doc strings, metadata, attributes."""
    for field, value in message.ListFields():
        many = value if field.is_repeated else [value]
        for one in many:
            if field.type == field.TYPE_MESSAGE:
                yield from strings(one)
            elif field.type == field.TYPE_STRING:
                yield one
            elif field.type == field.TYPE_BYTES and len(one) < 4096:
                yield one.decode("latin-1")


def segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        yield jpeg[at + 1], jpeg[at + 4 : at + 2 + length]
        at += 2 + length


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
@pytest.mark.soak
def test_a_champion_that_a_person_chose_while_the_night_ran_is_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(home, tmp_path / "home"))
    learn_at(1e-6, monkeypatch)
    registry = Registry(home)
    copy = Path(shutil.copytree(registry.bundle_folder("waycue-starter-1"), tmp_path / "by-hand"))
    rewrite(copy, version="by-hand")
    registry.add(copy)

    def progress(text: str) -> None:
        if text.startswith("judging on"):
            registry.promote("by-hand", why="a person chose it")

    night = nightly.retrain(home, settings=SETTINGS, progress=progress, force=True)
    assert night.outcome == "overtaken", night.reasons
    assert "but by-hand is in use now: it is not promoted" in night.reasons[0]
    assert night.champion == "waycue-starter-1"
    assert registry.champion() == "by-hand"
    assert registry.get(night.version).evaluation["outcome"] == "promoted"
    registry.close()


@pytest.mark.slow
@pytest.mark.soak
def test_a_night_that_forgot_everything_is_refused_and_the_champion_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(home, tmp_path / "home"))
    learn_at(0.3, monkeypatch)
    night = nightly.retrain(home, settings=SETTINGS, progress=silent, force=True)
    registry = Registry(home)
    assert night.outcome == "refused"
    assert any(reason.startswith("drawn: ") for reason in night.reasons)
    assert any(reason.startswith("self-test") for reason in night.reasons)
    assert registry.champion() == "waycue-starter-1"
    assert night.version in {model.version for model in registry.list()}
    registry.close()


def test_a_night_travels_as_a_difference_to_its_base_and_is_judged_as_that(slept: Slept, tmp_path: Path) -> None:
    registry = Registry(slept.home)
    folder = registry.bundle_folder(slept.night.version)
    starter = registry.bundle_folder("waycue-starter-1")
    registry.close()
    manifest, has = bundle.verify(folder), bundle.verify(starter)
    delta = assembly.read(folder / bundle.DELTA_NAME)
    assert {file.path for file in delta.files} <= {DECODER, VISION}
    for file in delta.files:
        entry, before = manifest.entry(file.path), has.entry(file.path)
        assert entry is not None
        assert before is not None
        assert before.sha256 == file.base_sha256  # the first model is the base: devices have it
        with open(tmp_path / file.path, "wb") as out:
            assembly.assemble(delta, file.path, starter / file.path, out)
        assert atomic.sha256_file(tmp_path / file.path) == entry.sha256
    made = {file.path for file in delta.files}
    known = {entry.sha256 for entry in has.files}
    moved = [entry for entry in manifest.files if entry.path not in made and entry.sha256 not in known]
    model = [entry.size_bytes for entry in moved if not entry.path.startswith("golden/")]  # this home's own pictures
    assert sum(model) < 0.12 * manifest.size_bytes
    assert slept.night.parity > 0.95
