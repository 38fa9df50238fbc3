"""A version in the shadow answers what devices sent: contradictions come earlier in the review, and nothing teaches."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.commands.main import main
from server.dataset import row_log
from server.dataset.blobs import FolderBlobs
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.learn.settings import LearnSettings
from server.learn.shadow import Shadow, after_night
from server.releases.registry import Registry
from server.review import proposals
from server.review.proposals import Opinion
from server.web import view
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
    shadow = Shadow(starter_bundle, FolderBlobs(home / "dataset"), threads=1)
    rows = sorted(Dataset(home / "dataset").rows(), key=lambda row: row.sample_id)
    opinion = shadow.advise(rows[0])
    assert opinion.wording == ("" if own_words == vocabulary.CLEAR else own_words)
    assert proposals.disagreement(VEHICLE, opinion) == pytest.approx(
        1 - max(score for (name, _), score in opinion.hazards.items() if name == "vehicle"), abs=0.3
    )
    with pytest.raises(DatasetError):
        shadow.advise(rows[2])


def second(home: Path, starter_bundle: Path, tmp_path: Path) -> None:
    """The champion m2, and m3 which was made after it."""
    made = tmp_path / "first"
    shutil.copytree(starter_bundle, made)
    bundle.write_bundle(made, replace(bundle.read_manifest(made), version="m3"))
    with closing(Registry(home)) as registry:
        registry.add(made)
        registry.promote("m2", "in a test")


def test_where_two_models_differ_the_moment_comes_earlier_and_its_page_says_so(
    home: Path, starter_bundle: Path, tmp_path: Path, own_words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    second(home, starter_bundle, tmp_path)
    advise, said = Shadow.advise, list[str]()

    def sees_more(self: Shadow, row: SampleRow) -> Opinion:
        """m3 as if it had learnt to see a vehicle at the first moment."""
        opinion = advise(self, row)
        if self.version == "m3" and row.sample_id.endswith("0"):
            return replace(opinion, wording=VEHICLE, score=0.9, hazards={("vehicle", "ahead"): 0.9})
        return opinion

    monkeypatch.setattr(Shadow, "advise", sees_more)
    counts = after_night(home, LearnSettings(threads=1), progress=said.append)
    assert counts == {"asked": 2, "disputed": 1}
    assert said == ["m2 and m3 were asked about 2 moments that wait: 1 differ"]
    rows = {row.sample_id[-1]: row for row in Dataset(home / "dataset").rows()}
    assert rows["0"].teacher == rows["1"].teacher == "challenger m3 beside m2"
    assert view.card(rows["0"]).why.endswith("wo models disagree: m2, which is in use, and m3.")
    assert "disagree" not in view.card(rows["1"]).why
    assert rows["1"].teacher_disagreement < 0.5, "the device said something else, but both models say the same"
    assert row_log.priority(rows["0"]) < row_log.priority(rows["1"])
    assert after_night(home, LearnSettings(threads=1), progress=said.append) == {"asked": 0, "disputed": 0}
    assert not any(row.reviewed or row.ground_truth for row in rows.values()), "nothing of it is a decision"


def test_nobody_is_asked_where_it_is_turned_off_or_there_is_one_model(home: Path) -> None:
    assert after_night(home, LearnSettings(threads=1), progress=print) is None
    assert after_night(home, LearnSettings(threads=1, challenge=0), progress=print) is None


def test_the_command_asks_a_version_beside_the_champion(
    home: Path, starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second(home, starter_bundle, tmp_path)
    assert main(["--home", str(home), "samples", "propose", "--challenge", "m3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["challenge"], told["champion"], told["looked"], told["contradicted"]) == ("m3", "m2", 2, 0)
    assert main(["--home", str(home), "samples", "propose", "--challenge", "m2"]) == 2
    assert "not two models" in capsys.readouterr().err
