"""Each wearer's moments beside the champion: offered where it helps that wearer, and nothing where it does not."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.commands import adapters
from server.config import ServerConfig
from server.consent import register as consents
from server.consent.register import ConsentAnswer
from server.consent.terms import GRANTED
from server.dataset import sample_row
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.gate.settings import GateSettings
from server.learn import tonight, wearer_adapters
from server.learn.settings import LearnSettings
from server.learn.wearer_adapters import NOT_BETTER, OFFERED, TOO_FEW, WearerOutcome
from server.releases.registry import Registry
from shared import bundle
from shared.bundle import WEARER_ADAPTER
from shared.jpeg import encode_jpeg
from shared.runtime import GuidanceModel

SETTINGS = LearnSettings(threads=1)
GATE = GateSettings(bootstrap=500)
CURB, VEHICLE = "Stop, curb ahead.", "Stop, vehicle ahead."
COLOURS = {CURB: (200, 60, 40), VEHICLE: (40, 90, 200), "": (120, 120, 120)}
"""What anna's street looks like, and what a person said is there."""


def rows_of(
    folder: Path, wearer: str, device: str, *, teach: int, held: int, mixed_up: bool = False
) -> list[SampleRow]:
    """Confirmed moments of flat colours, those held out on six walks. mixed_up: what is said has nothing to do with
    them."""
    rng, found = random.Random(wearer), list[SampleRow]()
    for n in range(teach + held):
        is_held = n >= teach
        shown = list(COLOURS)[n % 3]
        said = rng.choice(list(COLOURS)) if mixed_up else shown
        image = np.full((48, 64, 3), COLOURS[shown], np.int16) + np.random.default_rng(n).integers(-20, 20, (48, 64, 3))
        name = f"frames/{wearer}-{n:03d}.jpg"
        (folder / name).write_bytes(encode_jpeg(image.clip(0, 255).astype(np.uint8)))
        found.append(
            SampleRow(
                row_id=f"{device}-b-{n:06d}#2",
                sample_id=f"{device}-b-{n:06d}",
                frame_path=name,
                audio_path="",
                instruction=said,
                ground_truth=said,
                timestamp=1000.0 + 10 * n,
                speaker_id=wearer,
                device=device,
                walk_id=f"{wearer}-{'held' if is_held else 'walk'}-{n % 6}",
                reviewed=True,
                split="held_out" if is_held else "train",
            )
        )
    return found


def write(home: Path, rows: Sequence[SampleRow]) -> None:
    lines = "".join(json.dumps(sample_row.to_dict(row)) + "\n" for row in rows)
    (home / "dataset" / "metadata.jsonl").write_text(lines)


@pytest.fixture(scope="module")
def home(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server whose champion came as a bundle, and three wearers: one whose street tells, one for whom nothing does,
    one with few moments."""
    home = tmp_path_factory.mktemp("wearers") / "home"
    (home / "dataset" / "frames").mkdir(parents=True)
    brought = home.parent / "brought"
    shutil.copytree(starter_bundle, brought)
    bundle.write_bundle(brought, replace(bundle.read_manifest(brought), version="m1"))
    registry = Registry(home)
    registry.add(brought)
    registry.promote("m1", "brought")
    registry.close()
    folder = home / "dataset"
    anna = rows_of(folder, "anna", "pi-anna", teach=48, held=54)
    ben = rows_of(folder, "ben", "pi-ben", teach=40, held=6, mixed_up=True)
    write(home, [*anna, *ben, *rows_of(folder, "cleo", "pi-cleo", teach=9, held=3)])
    return home


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the run below reported."""
    return []


@pytest.fixture(scope="module")
def outcomes(home: Path, said: list[str]) -> dict[str, WearerOutcome]:
    return wearer_adapters.run(home, settings=SETTINGS, gate=GATE, progress=said.append)


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    registry = Registry(home)
    yield registry
    registry.close()


def test_the_wearer_whom_it_helps_is_offered_one_with_its_gain(
    outcomes: dict[str, WearerOutcome], registry: Registry
) -> None:
    anna = outcomes["anna"]
    assert (anna.outcome, anna.rows) == (OFFERED, 48), anna.reason
    assert anna.gain is not None
    assert anna.gain.low > 0
    assert (anna.gain.cases, anna.gain.walks) == (54, 6)
    assert registry.alias("wearer/anna") == anna.version
    assert registry.get(anna.version).evaluation["wearer"]["devices"] == ["pi-anna"]


def test_what_is_offered_is_the_champion_with_one_file_more_and_guides_differently(
    outcomes: dict[str, WearerOutcome], registry: Registry
) -> None:
    folder, champion = registry.bundle_folder(outcomes["anna"].version), registry.bundle_folder("m1")
    files = {entry.path: entry.sha256 for entry in bundle.verify(folder).files}
    theirs = {entry.path: entry.sha256 for entry in bundle.verify(champion).files}
    assert files.keys() - theirs.keys() == {WEARER_ADAPTER}
    assert {path for path in theirs if files[path] != theirs[path]} == {bundle.BLOCKS_NAME}
    street = np.full((48, 64, 3), COLOURS[CURB], np.uint8)
    before, after = (score_of(each, street) for each in (champion, folder))
    assert after > 0.5 > before


def score_of(folder: Path, picture: NDArray[np.uint8]) -> float:
    seen = GuidanceModel.load(folder, threads=1, allow_demo=True).look(picture)
    return next(hazard.score for hazard in seen.hazards if (hazard.object, hazard.side) == ("curb", "ahead"))


def test_the_wearer_whom_nothing_helps_keeps_the_champion_and_so_does_the_one_with_few_moments(
    outcomes: dict[str, WearerOutcome], registry: Registry
) -> None:
    assert outcomes["ben"].outcome == NOT_BETTER
    assert outcomes["cleo"].outcome == TOO_FEW
    assert "9 confirmed moments teach, 40 are needed" in outcomes["cleo"].reason
    assert registry.alias("wearer/ben") is registry.alias("wearer/cleo") is None


def test_without_the_champions_own_adapter_only_scores_are_fitted_and_that_is_said(
    outcomes: dict[str, WearerOutcome], said: list[str]
) -> None:
    assert any("only hazard scores are fitted" in line for line in said)


def test_nobody_is_fitted_again_of_whom_nothing_is_new(home: Path, outcomes: dict[str, WearerOutcome]) -> None:
    again = list[str]()
    assert wearer_adapters.run(home, settings=SETTINGS, gate=GATE, progress=again.append) == outcomes
    assert not any("fitting" in line for line in again)


def test_the_night_fits_them_where_the_setting_says_so_and_else_only_clears_up(
    home: Path, outcomes: dict[str, WearerOutcome], registry: Registry
) -> None:
    on = ServerConfig(learn=replace(SETTINGS, adapters=True))
    told = adapters.after_night(home, on, json=True)["wearers"]
    assert {name: entry["outcome"] for name, entry in told.items()} == {
        "anna": OFFERED,
        "ben": NOT_BETTER,
        "cleo": TOO_FEW,
    }
    assert adapters.after_night(home, ServerConfig(learn=SETTINGS), json=True) == {}
    assert registry.alias("wearer/anna") == outcomes["anna"].version


def test_a_trial_for_the_report_gives_the_same_gains_and_changes_nothing(
    home: Path, outcomes: dict[str, WearerOutcome], registry: Registry
) -> None:
    before = [model.version for model in registry.list()]
    gains = wearer_adapters.gains(home, settings=SETTINGS, gate=GATE, progress=lambda text: None)
    assert gains == {name: outcomes[name].gain for name in ("anna", "ben")}
    assert [model.version for model in registry.list()] == before
    assert not (home / "nights" / "wearers").exists()


def test_a_wearer_who_takes_consent_back_has_no_adapter_after_the_next_night(
    outcomes: dict[str, WearerOutcome], registry: Registry
) -> None:
    """The last test of this file: it changes the home."""
    assert outcomes["anna"].version
    answer = ConsentAnswer("anna", 1.0, "Eve", "by telephone", replace(GRANTED, teach=False))
    consents.say(registry.store, answer)
    after = wearer_adapters.run(registry.home, settings=SETTINGS, gate=GATE, progress=lambda text: None)
    assert "anna" not in after
    assert registry.alias("wearer/anna") is None
    view = tonight.view_of(Dataset(registry.home / "dataset"), allowed=consents.read(registry.store).teaches)
    assert {row.speaker_id for row in view.rows} == {"ben", "cleo"}
