"""An object that is added to the vocabulary is scored after one night, without a new starter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from server.learn import nightly
from server.learn.nightly import Night
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.model.hazard_head import UNTAUGHT
from server.releases.registry import Registry
from shared import bundle, vocabulary
from shared.errors import BundleError
from shared.runtime import GuidanceModel, grammar
from shared.vocabulary import lexemes, reading, sentences, table
from tests.paths import ROOT
from tests.server.learn.parts import confirmed_home, save_field_checkpoint

pytestmark = pytest.mark.slow

NEW = "fountain"
ENTRY = f"""
[objects.{NEW}]
tier = 2
synonyms = ["well"]
"""


def forget() -> None:
    """Drop all that was derived from the table."""
    for module in (table, lexemes, reading, sentences, grammar):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture(scope="module")
def old_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was trained before there was the object."""
    folder = tmp_path_factory.mktemp("base")
    base = checkpoints.load(save_field_checkpoint(folder / "hub"))
    torch.nn.init.normal_(base.head.place, generator=torch.Generator().manual_seed(1))
    base.known = ("pole", "curb")
    checkpoints.save(base, folder / "old")
    return folder / "old"


@pytest.fixture(scope="module")
def grown_table(old_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The packaged table and one object more, while these tests run."""
    folder = tmp_path_factory.mktemp("table")
    text = (ROOT / "shared" / "vocabulary.toml").read_text(encoding="utf-8")
    (folder / "vocabulary.toml").write_text(text + ENTRY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "files", lambda package: folder)
        forget()
        yield
    forget()


def picture(seed: int, *, shown: bool) -> NDArray[np.uint8]:
    """uint8 [48, 64, 3]: grey noise, with a bright blue block in the middle where the thing is shown."""
    image = np.random.default_rng([seed, shown]).integers(60, 110, (48, 64, 3)).astype(np.uint8)
    if shown:
        image[10:40, 22:42] = (20, 60, 250)
    return image


def jpeg(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


@dataclass
class Slept:
    home: Path
    night: Night
    said: list[str]


@pytest.fixture(scope="module")
def slept(grown_table: None, old_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Slept:
    moments = [(jpeg(picture(n, shown=True)), f"Caution, {NEW} ahead.") for n in range(4)]
    moments += [(jpeg(picture(n, shown=False)), "") for n in range(4)]
    home = confirmed_home(tmp_path_factory.mktemp("new") / "home", moments)
    settings = LearnSettings(base=str(old_base), steps=200, replay=16, threads=1, new_rows_least=2)
    said: list[str] = []
    return Slept(home, nightly.retrain(home, settings=settings, progress=said.append), said)


def test_the_table_has_it_and_no_checkpoint_had(grown_table: None, old_base: Path) -> None:
    assert vocabulary.normalise("watch out, well in front") == f"Caution, {NEW} ahead."
    assert NEW not in checkpoints.load(old_base).objects


def test_a_grown_head_scores_the_others_as_before_and_the_new_one_near_nothing(
    grown_table: None, old_base: Path
) -> None:
    old, grown = checkpoints.load(old_base), checkpoints.load(old_base)
    assert checkpoints.grow(grown) == (NEW,)
    assert grown.objects == (*old.objects, NEW)
    with torch.no_grad():
        before, after = scores(old), scores(grown)
    assert torch.equal(before, after[:, :-1])
    assert after[:, -1].numpy() == pytest.approx(1 / (1 + np.exp(-UNTAUGHT)), abs=1e-4)
    assert checkpoints.grow(grown) == ()
    again = checkpoints.load(old_base)
    checkpoints.grow(again)
    assert checkpoints.fingerprint(again) == checkpoints.fingerprint(grown), "a night that is gone on with finds it"


def scores(of: Checkpoint) -> torch.Tensor:
    pixels = torch.randn((2, 3, 256, 256), generator=torch.Generator().manual_seed(2))
    scored: torch.Tensor = of.head(of.model.model.vision_model(pixel_values=pixels).last_hidden_state)[1].sigmoid()
    return scored


@pytest.mark.soak
def test_after_one_night_it_is_scored_where_it_is_and_not_where_it_is_not(slept: Slept) -> None:
    assert slept.night.samples == 8
    registry = Registry(slept.home)
    folder = registry.bundle_folder(slept.night.version)
    registry.close()
    assert bundle.verify(folder).model["objects"][-1] == NEW
    model = GuidanceModel.load(folder, threads=1, allow_demo=True)
    with_it, without = ([score(model, picture(100 + n, shown=shown)) for n in range(5)] for shown in (True, False))
    assert min(with_it) > max(without), (with_it, without)
    assert min(with_it) > 0.5 > max(without)


def score(model: GuidanceModel, image: NDArray[np.uint8]) -> float:
    return next(h.score for h in model.look(image).hazards if (h.object, h.side) == (NEW, "ahead"))


@pytest.mark.soak
def test_a_device_that_does_not_know_it_refuses_the_model_and_says_why(slept: Slept) -> None:
    registry = Registry(slept.home)
    manifest = bundle.verify(registry.bundle_folder(slept.night.version))
    registry.close()
    bundle.check_vocabulary(manifest)
    forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "files", lambda package: ROOT / package)
        with pytest.raises(BundleError, match=f"newer vocabulary than this device knows: {NEW}"):
            bundle.check_vocabulary(manifest)
    forget()
