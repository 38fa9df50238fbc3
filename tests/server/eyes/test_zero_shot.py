"""A model of pictures and words guesses where and when; a person confirms. Small checkpoints with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from server.dataset import surroundings
from server.eyes import zero_shot
from server.eyes.zero_shot import ZeroShotModel
from server.labelling import conditions
from shared.errors import ConfigError
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment
from tests.server.eyes.checkpoints import clip_with_words, dinov2

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    return clip_with_words(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


def shown(model: ZeroShotModel, wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the picture fit these choices best, by what the model computes last."""
    real = model._model.forward

    def forward(**inputs: object) -> object:
        out = real(**inputs)
        out.logits_per_image[:] = 0.0
        for at, (field, choice) in enumerate(zip(model._fields, model._choices, strict=True)):
            if wanted.get(field) == choice:
                out.logits_per_image[0, at] = 9.0
        return out

    monkeypatch.setattr(model._model, "forward", forward)


def test_every_field_has_a_sentence_for_each_choice_and_shares_are_of_one_field(checkpoint: Path) -> None:
    model = ZeroShotModel(str(checkpoint), conditions.CHOICES)
    assert model.licence == "mit"
    found = model.guess(PICTURE)
    assert set(found) <= set(zero_shot.SENTENCES)
    assert all(choice in conditions.CHOICES[field] and by == str(checkpoint) for field, (choice, by) in found.items())
    assert found == model.guess(PICTURE)


def test_it_guesses_what_it_is_sure_of_and_no_weather_indoors(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ZeroShotModel(str(checkpoint), conditions.CHOICES)
    shown(model, {"environment": "park", "weather": "rain"}, monkeypatch)
    assert {field: choice for field, (choice, _) in model.guess(PICTURE).items()} == {
        "environment": "park",
        "weather": "rain",
    }, "of three lights none is surer than the others"
    monkeypatch.undo()
    shown(model, {"environment": "hallway", "weather": "rain"}, monkeypatch)
    assert set(surroundings.fitting(model.guess(PICTURE))) == {"environment"}


def test_its_guesses_stand_beside_and_a_persons_word_stays(house: House, checkpoint: Path) -> None:
    house.send(moment(0))
    (sample_id,) = (row.sample_id for row in house.dataset.rows())
    server(house.home, "samples", "review", sample_id, "--where", "park")
    guessed = {"environment": ("street", "m"), "weather": ("rain", "m")}
    rows = house.dataset.rows()
    surroundings.guess_all(house.store, house.dataset, rows, now_s=2.0, also=lambda image: guessed)
    (row,) = house.dataset.rows()
    assert (row.environment, row.environment_from) == ("park", "person")
    assert (row.weather, row.weather_from, row.lighting_from) == ("rain", "m", "picture")
    told = server(house.home, "coverage", "--guess", "--model", checkpoint)
    assert (told.returncode, f"Model {checkpoint}: licence mit." in told.stderr) == (0, True), told.stderr


def test_what_is_no_such_model_is_refused_with_what_to_do(house: House, tmp_path: Path) -> None:
    other = dinov2(tmp_path / "dino")
    with pytest.raises(ConfigError, match="no model of pictures and words"):
        ZeroShotModel(str(other), conditions.CHOICES)
    with pytest.raises(ConfigError):
        ZeroShotModel(str(tmp_path / "none"), conditions.CHOICES)
    assert "Add --guess." in server(house.home, "coverage", "--model", other).stderr
