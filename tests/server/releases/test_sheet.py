"""What each version sees, class by class, and how well: from its manifest and its own evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server import config
from server.commands.main import main
from server.evaluation.answers import Answer, Case, by_object
from server.releases.registry import Registry
from server.releases.sheet import rows_of, sheet_of, sheets
from shared import vocabulary
from shared.model_card import NOT_KNOWN, SightCard, card_of
from tests.shared.bundle.bundles import make_bundle

KNOWN = {"objects": ["curb"], "sides": ["ahead"], "known": ["curb", "pole", "door"]}


def answered(due: str, said: str) -> Answer:
    picture = np.zeros((2, 2, 3), np.uint8)
    return Answer(Case("c", "drawn", picture, due), said, 0.9, (), 1.0, 1.0)


FIGURES: dict[str, Any] = {
    "frames": 5,
    "objects": by_object(
        [
            answered("Stop, curb ahead.", "Stop, curb ahead."),
            answered("Stop, curb ahead.", "Caution, pole on the left."),
            answered("Caution, pole on the left.", "Caution, pole on the left."),
            answered(vocabulary.CLEAR, "Stop, curb ahead."),
            answered(vocabulary.CLEAR, vocabulary.CLEAR),
        ]
    ),
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    config.init(tmp_path / "home")
    with closing(Registry(tmp_path / "home")) as registry:
        for version, model in (("old", {"objects": ["curb"], "sides": ["ahead"]}), ("taught", KNOWN)):
            make_bundle(tmp_path / version, version, model=model)
            figures: dict[str, Any] = {"evaluation": FIGURES} if version == "taught" else {}
            registry.add(tmp_path / version, evaluation=figures)
        registry.promote("old", "the first")
        yield registry


def test_recall_and_precision_are_counted_by_the_object_named() -> None:
    curb, pole = FIGURES["objects"]["curb"], FIGURES["objects"]["pole"]
    assert (curb["recall"]["hits"], curb["recall"]["count"]) == (1, 2)
    assert (curb["precision"]["hits"], curb["precision"]["count"]) == (1, 2)
    assert pole["recall"]["share"] == 1.0
    assert pole["precision"]["share"] == 0.5
    assert set(FIGURES["objects"]) == {"curb", "pole"}


def test_the_worst_come_first() -> None:
    rows = rows_of(card_of(KNOWN), FIGURES["objects"])
    assert [(row.state, row.tier) for row in rows[:2]] == [("does not see", 1), ("does not see", 1)]
    assert [row.object for row in rows if row.state == "sees"] == ["door", "curb", "pole"]
    assert len(rows) == len(vocabulary.load().objects)
    unknown = rows_of(SightCard(sees=("pole",), unknown=("curb",)), {})
    assert [row.state for row in unknown] == ["not known", "sees"]


@pytest.mark.parametrize("spoilt", [7, {}, {"share": "x"}, {"share": None, "low": 0, "high": 1, "hits": 0, "count": 0}])
def test_what_is_no_figure_is_not_measured(spoilt: object) -> None:
    [row] = rows_of(SightCard(sees=("curb",)), {"curb": {"recall": spoilt}})
    assert row.recall is None


def test_the_champion_comes_first_and_a_damaged_manifest_is_told(registry: Registry) -> None:
    old, taught = sheets(registry)
    assert (old.version, old.role, old.spoken, old.judged_on) == ("old", "champion", (NOT_KNOWN,), 0)
    assert (taught.version, taught.role, taught.judged_on) == ("taught", "", 5)
    model = registry.get("taught")
    (model.bundle_folder / "manifest.json").write_text("{")
    assert "cannot be read" in sheet_of(model, "").trouble
    assert sheet_of(replace(registry.get("old"), evaluation={"evaluation": 3}), "").judged_on == 0


def test_the_command_shows_it(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(registry.home), "models", "show", "taught"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith('Wearers hear: "This model sees curbs, poles and doors. It does not see ')
    assert any("curb " in line and "recall 0.50 (0.09 to 0.91; 1 of 2)" in line for line in lines)
    assert main(["--home", str(registry.home), "models", "show", "taught", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["state"] == "does not see"
    assert main(["--home", str(registry.home), "models", "show", "none"]) != 0
