"""What a champion answered in one night is not computed in the next, and is the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from server.dataset import derived
from server.evaluation import answers as evaluate
from server.evaluation import rendered
from server.evaluation.answers import Answer
from server.gate import calibrate, judge, kept
from server.gate.kept import Kept
from shared import bundle as bundles
from shared.calibration import Calibration
from shared.runtime import GuidanceModel

CASES = evaluate.rendered_cases(5)


def silent(text: str) -> None:
    del text


@pytest.fixture(scope="module")
def bundle(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(starter_bundle, tmp_path_factory.mktemp("kept") / "bundle"))


def judged(home: Path, bundle: Path, cases: list[evaluate.Case] = CASES) -> tuple[list[Answer], int]:
    answers = Kept(home, threads=1)
    found = answers.answers(bundle, cases, progress=silent)
    answers.close()
    return found, answers.reused


def only_file(home: Path) -> Path:
    (file,) = (derived.folder(home) / "answers").glob("*.json")
    return file


def test_kept_answers_are_those_that_were_given_and_no_case_is_answered_twice(tmp_path: Path, bundle: Path) -> None:
    first, none = judged(tmp_path, bundle)
    again, reused = judged(tmp_path, bundle)
    assert (none, reused) == (0, len(CASES))
    assert again == first
    more, reused = judged(tmp_path, bundle, [*CASES[:2], *evaluate.rendered_cases(1, seed=3)])
    assert reused == 2
    assert more[:2] == first[:2]


def test_they_say_what_the_bundle_says_when_it_is_asked_itself(tmp_path: Path, bundle: Path) -> None:
    given, _ = judged(tmp_path, bundle)
    asked = evaluate.run(bundle, CASES, threads=1)
    assert bundles.read_manifest(bundle).model["calibration"] != Calibration().to_dict(), "the starter is calibrated"
    assert [answer.text for answer in given] == [answer.text for answer in asked]
    assert [answer.confidence for answer in given] == [answer.confidence for answer in asked]
    for ours, theirs in zip(given, asked, strict=True):
        assert [score[:2] for score in ours.scores] == [score[:2] for score in theirs.scores]
        assert np.allclose([s[2] for s in ours.scores], [s[2] for s in theirs.scores], atol=2e-4), "four decimals"


def test_a_candidate_that_became_champion_is_not_asked_again(tmp_path: Path, bundle: Path) -> None:
    candidate = Path(shutil.copytree(bundle, tmp_path / "candidate"))
    model = {name: value for name, value in bundles.read_manifest(bundle).model.items() if name != "calibration"}
    judge.restamp(candidate, model=model)
    raw, _ = judged(tmp_path, candidate)
    by = Calibration(1.7, 0.8, -0.4)
    judge.restamp(candidate, model={**model, "calibration": by.to_dict()}, thresholds={"hazard_above": 0.6})
    answers, reused = judged(tmp_path, candidate)
    assert reused == len(CASES)
    assert answers == calibrate.calibrated(raw, by)


def test_other_weights_are_another_bundle(tmp_path: Path, bundle: Path) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    entry = next(entry for entry in bundles.read_manifest(other).files if entry.path.endswith(".onnx"))
    with open(other / entry.path, "ab") as graph:
        graph.write(b"\0")
    judge.restamp(other)
    assert kept.bundle_key(other, threads=1) != kept.bundle_key(bundle, threads=1)
    assert kept.bundle_key(bundle, threads=2) != kept.bundle_key(bundle, threads=1)


def test_a_case_is_known_by_all_that_a_model_is_given() -> None:
    case = CASES[0]
    assert case.sound is None
    others = [
        replace(case, sound=np.zeros(4, np.float32)),
        replace(case, previous=case.image),
        replace(case, image=case.image[:-1]),
        replace(case, image=case.image.reshape(case.image.shape[1], case.image.shape[0], 3)),
    ]
    assert len({kept.case_key(one) for one in (case, *others)}) == 5
    assert kept.case_key(replace(case, case_id="another", text="Turn right.", group="real")) == kept.case_key(case)


@pytest.mark.parametrize("damage", ["cut", "empty", "another answer", "no object"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, bundle: Path, damage: str) -> None:
    first, _ = judged(tmp_path, bundle)
    file = only_file(tmp_path)
    text = file.read_text()
    other = json.loads(text)
    next(iter(other["kept"]["answers"].values()))[0] = "Stop, curb ahead!"
    held = {"cut": text[:-40], "empty": "", "another answer": json.dumps(other), "no object": "[1]"}
    file.write_text(held[damage])
    again, reused = judged(tmp_path, bundle)
    assert reused == 0
    assert plain(again) == plain(first)
    assert judged(tmp_path, bundle)[1] == len(CASES)


def plain(answers: list[Answer]) -> list[tuple[object, ...]]:
    """Without times."""
    return [(answer.text, answer.confidence, answer.scores, answer.grammatical) for answer in answers]


def test_answers_to_erased_moments_do_not_come_back_with_a_night_that_was_under_way(
    tmp_path: Path, bundle: Path
) -> None:
    judged(tmp_path, bundle)
    running = Kept(tmp_path, threads=1)
    running.answers(bundle, CASES[:1], progress=silent)
    derived.forget(tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    running.close()
    assert not list(tmp_path.rglob("*.json"))
    assert judged(tmp_path, bundle)[1] == 0


def test_only_what_was_asked_for_last_and_the_bundles_used_last_are_kept(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "BUNDLES", 2)
    judged(tmp_path, bundle)
    judged(tmp_path, bundle, CASES[:1])
    assert list(json.loads(only_file(tmp_path).read_text())["kept"]["answers"]) == [kept.case_key(CASES[0])]
    for number in range(3):
        other = Path(shutil.copytree(bundle, tmp_path / f"b{number}"))
        judge.restamp(other, model={**bundles.read_manifest(other).model, "number": number})
        judged(tmp_path, other, CASES[:1])
    assert len(list((derived.folder(tmp_path) / "answers").glob("*"))) == 2


def test_a_walk_is_driven_once_and_again_where_anything_of_it_changed(tmp_path: Path, bundle: Path) -> None:
    model = GuidanceModel.load(bundle, threads=1, allow_demo=True)
    course = rendered.course("day", seed=judge.DRAWN_SEED, duration_s=4.0)

    def scored(answers: Kept, of: object = course) -> tuple[object, int]:
        before = answers.reused
        ((walk,),) = judge.walk_scores([model], [(of, "drawn")], progress=silent, kept=[answers.walks(bundle)])  # type: ignore[list-item]
        return asdict(walk), answers.reused - before

    answers = Kept(tmp_path, threads=1)
    first, reused = scored(answers)
    assert reused == 0
    answers.close()
    later = Kept(tmp_path, threads=1)
    assert scored(later) == (first, 1)
    assert first == asdict(judge.walk_scores([model], [(course, "drawn")], progress=silent)[0][0])
    assert scored(later, replace(course, events=()))[1] == 0
    assert scored(later, replace(course, frames=lambda: iter(list(course.frames())[:-1])))[1] == 0
