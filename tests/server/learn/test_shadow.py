"""A version in the shadow answers what devices sent: contradictions come earlier in the review, and nothing teaches."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.commands.main import main
from server.dataset.folder import Dataset
from server.learn.shadow import Shadow
from server.releases.registry import Registry
from server.review import proposals
from shared import bundle, vocabulary
from shared.errors import DatasetError
from shared.jpeg import encode_jpeg
from shared.runtime import GuidanceModel
from tests.server.dataset.moments import House, Moment, moment, part, sound

GREY = np.full((90, 120, 3), 128, np.uint8)
VEHICLE = "Stop, vehicle ahead."


@pytest.fixture(scope="module")
def own_words(starter_bundle: Path) -> str:
    """What the version says of the picture."""
    model = GuidanceModel.load(starter_bundle, threads=1, allow_demo=True)
    return model.word(model.look(GREY)).text


@pytest.fixture
def home(starter_bundle: Path, tmp_path: Path, own_words: str) -> Path:
    """A server with the version, and three moments that wait: said as it would say, said otherwise, without picture."""
    home = tmp_path / "home"
    made = tmp_path / "made"
    shutil.copytree(starter_bundle, made)
    bundle.write_bundle(made, replace(bundle.read_manifest(made), version="m2"))
    registry = Registry(home)
    registry.add(made)
    registry.close()
    house = House(home)
    for number, said in enumerate((own_words, VEHICLE, VEHICLE)):
        payloads = {"frame": encode_jpeg(GREY + np.uint8(number == 2)), "audio": sound(0)}
        parts = tuple(part(kind, data) for kind, data in payloads.items())
        words = "" if said == vocabulary.CLEAR else said
        record = moment(number, parts=parts, raw_output=words, spoken=words, flags=("audit",)).record
        house.send(Moment(record, payloads))
    broken = next(row for row in house.dataset.rows() if row.sample_id.endswith("2"))
    (home / "dataset" / broken.frame_path).write_bytes(b"no picture")
    house.close()
    (home / "waycue.toml").write_text("[learn]\nthreads = 1\n")
    return home


def test_what_it_would_have_said_otherwise_comes_earlier_and_is_asked_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--home", str(home), "samples", "propose", "--shadow", "m2", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["shadow"], told["looked"], told["contradicted"], len(told["unreadable"])) == ("m2", 2, 1, 1)
    rows = {row.sample_id[-1]: row for row in Dataset(home / "dataset").rows()}
    assert rows["0"].teacher == rows["1"].teacher == "shadow m2"
    assert rows["0"].teacher_disagreement < 0.5 < rows["1"].teacher_disagreement
    assert not any(row.reviewed for row in rows.values())
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["looked"] == 0


def test_a_version_that_is_not_there_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(home), "samples", "propose", "--shadow", "m9"]) == 1
    assert "There is no model m9" in capsys.readouterr().err


def test_it_answers_as_the_device_would(home: Path, starter_bundle: Path, own_words: str) -> None:
    shadow = Shadow(starter_bundle, home / "dataset", threads=1)
    rows = sorted(Dataset(home / "dataset").rows(), key=lambda row: row.sample_id)
    opinion = shadow.advise(rows[0])
    assert opinion.wording == ("" if own_words == vocabulary.CLEAR else own_words)
    assert proposals.disagreement(VEHICLE, opinion) == pytest.approx(
        1 - max(score for (name, _), score in opinion.hazards.items() if name == "vehicle"), abs=0.3
    )
    with pytest.raises(DatasetError):
        shadow.advise(rows[2])
