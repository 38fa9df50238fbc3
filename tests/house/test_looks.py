"""scripts/arm64 compares what a model says on two machines: rounding is no difference, other words are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.looks import differences, main

LOOK: dict[str, Any] = {"t_s": 1.0, "text": "Caution, bin ahead.", "confidence": 0.8, "hazards": {"bin ahead": 0.7}}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, False),
        ({"confidence": 0.75, "hazards": {"bin ahead": 0.65, "curb ahead": 0.02}}, False),
        ({"text": "Caution, curb ahead."}, True),
        ({"confidence": 0.6}, True),
        ({"hazards": {}}, True),
        ({"hazards": {"bin ahead": 0.7, "curb ahead": 0.4}}, True),
    ],
)
def test_rounding_is_no_difference_and_other_words_are(change: dict[str, Any], differs: bool) -> None:
    assert bool(differences([LOOK], [LOOK | change])) == differs


def test_words_that_neither_would_say_may_differ() -> None:
    unsure = LOOK | {"confidence": 0.3}
    assert differences([unsure], [unsure | {"text": "Caution, curb ahead."}]) == []


def test_a_look_that_is_missing_is_a_difference_and_so_is_none_at_all(tmp_path: Path) -> None:
    assert differences([LOOK, LOOK], [LOOK])
    (tmp_path / "one").write_text(json.dumps(LOOK) + "\n")
    (tmp_path / "none").write_text("")
    assert main(["--compare", str(tmp_path / "one"), str(tmp_path / "one")]) == 0
    assert main(["--compare", str(tmp_path / "one"), str(tmp_path / "none")]) == 1
    assert main(["--compare", str(tmp_path / "none"), str(tmp_path / "none")]) == 1
