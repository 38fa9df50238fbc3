"""Bad candidates, planted: each is refused or held on trial, and the reason names what is wrong with it.

The first half are models as plain functions, judged by the real scoring and statistics beside a good one that passes;
the second half are bundles, altered on purpose, through the device's own runtime.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from server.dataset import material, splits, teaching
from server.dataset.teaching import training_rows
from server.evaluation import answers as evaluate
from server.evaluation import rendered
from server.evaluation.facts import DRAWN, TAUGHT
from server.gate import calibrate, cases, cost, decide, judge, scoring
from server.gate.evidence import Cost, DeviceReport, Evidence, Export, GateDecision, Scores
from server.gate.footprint import peak_mb
from server.gate.settings import Bounds
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared import bundle as bundles
from shared import vocabulary
from shared.calibration import Calibration
from shared.runtime import GuidanceModel, check_golden
from tests.server.dataset.moments import House, moment
from tests.server.learn.judged import (
    STOPS,
    Head,
    Seen,
    corrections,
    evidence,
    held_out,
    mostly,
    of_words,
    right,
    scores,
)
from tests.shared.runtime.altered import rewrite

pytestmark = pytest.mark.slow

MOMENTS = [*held_out(), *corrections(40)]
CHAMPION = scores("champion", mostly(0.99), MOMENTS)
DEADLY = "Cross, vehicle ahead."


def judged(said: Callable[[Seen], tuple[str, float]], champion: Scores | None = CHAMPION) -> GateDecision:
    return decide.decide(evidence(scores("planted", said, MOMENTS), champion), Bounds())


def reasons(decision: GateDecision, name: str) -> str:
    return " | ".join(rule.sentence for rule in decision.rules if rule.name == name and rule.leads_to)


def test_a_good_one_passes_so_each_planted_one_differs_in_its_fault() -> None:
    assert judged(right).verdict == "promoted"
    assert judged(right, None).verdict == "promoted"


@pytest.mark.parametrize("champion", [CHAMPION, None], ids=["against a champion", "the first"])
def test_always_silent(champion: Scores | None) -> None:
    decision = judged(lambda seen: (vocabulary.CLEAR, 0.99), champion)
    assert decision.verdict == ("refused" if champion else "trial")
    assert "names nothing at 420 of 420 held-out moments with something there" in reasons(decision, "false clear")
    assert "warns of 0 of 180 held-out things to stop for" in reasons(decision, "tier-1 recall")
    if champion:
        assert "0 of 420 not passed over" in reasons(decision, "no more false clear")


@pytest.mark.parametrize("champion", [CHAMPION, None], ids=["against a champion", "the first"])
def test_always_stop(champion: Scores | None) -> None:
    decision = judged(lambda seen: ("Stop, vehicle ahead.", 0.99), champion)
    assert decision.verdict == ("refused" if champion else "trial")
    assert "Confirm as “nothing should be said”" in reasons(decision, "false alarms a minute")
    assert "curb (60)" in reasons(decision, "tier-1 recall")
    if champion:
        assert "chunks quiet or right" in reasons(decision, "whole walks: no more false alarms")


def dead(seen: Seen) -> tuple[tuple[str, str, float], ...]:
    return ()


def swapped_head(seen: Seen) -> tuple[tuple[str, str, float], ...]:
    """Everything is seen, at the other side; what is ahead, on the left."""
    other = {"on the left": "on the right", "on the right": "on the left", "ahead": "on the left"}
    return tuple((thing, other[side], score) for thing, side, score in of_words(right)(seen))


def unsure_head(seen: Seen) -> tuple[tuple[str, str, float], ...]:
    return tuple((thing, side, 0.49) for thing, side, _ in of_words(right)(seen))


@pytest.mark.parametrize("head", [dead, swapped_head, unsure_head])
@pytest.mark.parametrize("champion", [CHAMPION, None], ids=["against a champion", "the first"])
def test_a_hazard_head_that_warns_of_nothing_beside_perfect_words(champion: Scores | None, head: Head) -> None:
    """Of things to stop for a wearer hears by the hazard head alone: whatever the decoder would have said."""
    planted = scores("planted", right, MOMENTS, head=head)
    assert all(case.right for case in planted.cases)
    decision = decide.decide(evidence(planted, champion), Bounds())
    assert decision.verdict == ("refused" if champion else "trial")
    assert "warns of 0 of 180 held-out things to stop for, by the hazard head" in reasons(decision, "tier-1 recall")
    assert "0 of 180 things to stop for are warned of in time" in reasons(decision, "warned of in time")
    if champion:
        assert "0 of 180 warned of" in reasons(decision, "warns as well")


def test_perfect_moments_do_not_outvote_whole_walks_on_which_nobody_is_warned() -> None:
    """540 perfect moments of 8 walks, and 8 whole walks with 96 events, none warned of in time: it was promoted."""
    good = scores("planted", right, MOMENTS)
    driven = tuple(replace(walk, events=(False,) * 6) for walk in good.walks)
    decision = decide.decide(evidence(replace(good, walks=driven)), Bounds())
    assert decision.verdict == "trial"
    assert "on 16 whole held-out walks 0 of 96 things to stop for" in reasons(decision, "warned of in time")


@pytest.mark.parametrize(("events", "said"), [((), "no whole held-out walk comes upon"), ((True,), "takes 35 on two")])
def test_too_few_things_to_stop_for_on_whole_walks(events: tuple[bool, ...], said: str) -> None:
    good = scores("planted", right, MOMENTS)
    driven = tuple(replace(walk, events=events) for walk in good.walks)
    decision = decide.decide(evidence(replace(good, walks=driven)), Bounds())
    assert decision.verdict == "trial"
    text = reasons(decision, "warned of in time")
    assert said in text
    assert "waycue-server samples hold-out" in text


def test_swapped_sides() -> None:
    swap = {"left": "right", "right": "left"}

    def swapped(seen: Seen) -> tuple[str, float]:
        return " ".join(swap.get(word.strip("."), word) for word in seen.due.split()).rstrip(".") + ".", 0.99

    decision = judged(swapped)
    assert decision.verdict == "refused"
    assert "real, obstacles: 0 of" in reasons(decision, "no worse")
    assert reasons(judged(swapped, None), "calibration"), "and the first one is too sure of it"


@pytest.mark.parametrize("sure", [0.999, 0.5])
def test_uncalibrated(sure: float) -> None:
    """As often right as the champion, 19 in 20, and sure of everything or of nothing."""
    often = mostly(0.95)
    champion = scores("champion", often, MOMENTS)
    bad = scores("planted", lambda seen: (often(seen)[0], sure), MOMENTS)
    decision = decide.decide(evidence(bad, champion), Bounds())
    honest = decide.decide(evidence(champion, champion), Bounds())
    text = reasons(decision, "calibration")
    if sure == 0.5:
        assert decision.verdict == "trial"
        assert "uncalibrated, unsure of what is right" in text
    else:
        assert "mean confidence 1.00, right 0.9" in " ".join(
            r.sentence for r in decision.rules if r.name == "calibration"
        )
    assert not reasons(honest, "calibration")


def test_sure_of_what_is_wrong() -> None:
    often = mostly(0.8)
    text = reasons(judged(lambda seen: (often(seen)[0], 0.99)), "calibration")
    assert "uncalibrated, sure of what is wrong" in text
    assert "waycue-server samples golden add WALK" in text


def test_slow() -> None:
    report = DeviceReport("raspberry-pi-5", 2, "champion", look_p95_ms=300.0, ratio=2.1)
    slow = evidence(scores("planted", right, MOMENTS), CHAMPION, cost=Cost(20.0, 300.0, 6.0, (report,)))
    decision = decide.decide(slow, Bounds())
    assert decision.verdict == "refused"
    assert "a look takes 630 ms (p95) on raspberry-pi-5" in reasons(decision, "look")
    assert "too slow" in reasons(decision, "look")


def test_one_that_learnt_a_careless_reviewers_mistakes() -> None:
    """Every curb was confirmed as "Caution": it has all of these corrections right, which counts for nothing."""

    def careless(seen: Seen) -> tuple[str, float]:
        return ("Caution, curb ahead." if seen.due == STOPS[0] else seen.due), 0.99

    confirmed = [replace(seen, due="Caution, curb ahead.") for seen in corrections(200)]
    new = scores(
        "planted", lambda seen: (seen.due, 0.99) if seen.group == TAUGHT else careless(seen), [*held_out(), *confirmed]
    )
    old = scores("champion", mostly(0.99), [*held_out(), *confirmed])
    decision = decide.decide(evidence(new, old), Bounds())
    assert decision.verdict == "refused"
    assert all(case.right for case in new.cases if case.group == TAUGHT)
    assert "real, things to stop for: 120 of 180 right" in reasons(decision, "no worse")


def test_one_with_deadly_sentences_in_its_data_says_them_and_is_refused() -> None:
    """The head sees the vehicle, and the policy says "Stop": but what its decoder says may not be said."""
    decision = judged(lambda seen: (DEADLY, 0.99) if seen.due == "Stop, vehicle ahead." else right(seen))
    assert decision.verdict == "refused"
    assert "420 of 480 of its sentences may be said" in reasons(decision, "grammar")
    assert "real, things to stop for: 120 of 180 right" in reasons(decision, "no worse")


def test_deadly_sentences_do_not_teach() -> None:
    if not vocabulary.problems(DEADLY):
        pytest.skip("this vocabulary still lets it through")
    assert not teaching.may_teach(DEADLY)


def test_trained_on_its_own_test(tmp_path: Path) -> None:
    """The same walk brought in twice, under two names, of which one is held out: it is no evidence, and is named."""
    house = House(tmp_path)
    for walk, first in (("mill", 0), ("mill-again", 100)):
        for n in range(8):
            house.send(moment(first + n, seed=n, walk_id=walk, captured_at_utc=2.0 * n))
    for row in house.dataset.rows():
        decisions.review(
            house.store, house.dataset, row.sample_id, ReviewDecision("edit", "Eve", "Caution, cone ahead."), now_s=1.0
        )
    splits.mark_walk(house.store, house.dataset, "mill-again", "held_out", now_s=2.0)
    view = house.dataset.rows()
    house.close()
    teaching = training_rows(view)
    assert cases.learnt(view, teaching) == {"mill-again": 8}
    found = cases.real(tmp_path / "dataset", view, teaching, material.Senses(), progress=print)
    assert found == []
    decision = decide.decide(evidence(Scores("planted", "field", ()), learnt=cases.learnt(view, teaching)), Bounds())
    assert decision.verdict == "trial"
    text = reasons(decision, "never saw its test")
    assert "8 held-out moments of the walk mill-again show pictures that also taught it" in text
    assert "trained on its own test" in text
    assert "waycue-server samples teach mill-again" in text


# --- real bundles -----------------------------------------------------------------------------------------------------

FRAMES = evaluate.rendered_cases(120, seed=11)


@pytest.fixture(scope="module")
def champion(starter_bundle: Path) -> Scores:
    return of_bundle(starter_bundle)


def of_bundle(folder: Path) -> Scores:
    answers = evaluate.run(folder, FRAMES, threads=1)
    return Scores(folder.parent.name, "demo", scoring.case_scores(answers, bundles.read_manifest(folder).thresholds))


def against(champion: Scores, folder: Path, **changes: Any) -> GateDecision:
    export = Export(1.0, 50, 0.0, len(FRAMES), tuple(check_golden(folder, threads=1)), 12, 6)
    return decide.decide(
        replace(Evidence(of_bundle(folder), champion, export, Cost(9.0, 200.0, 6.0)), **changes), Bounds()
    )


@pytest.fixture
def bundle(starter_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(starter_bundle, tmp_path / "planted" / "bundle"))


def test_the_bundle_itself_passes(champion: Scores, bundle: Path) -> None:
    assert against(champion, bundle).verdict == "promoted"


def test_a_bundle_with_swapped_sides(champion: Scores, bundle: Path) -> None:
    """Its tokenizer reads "left" where the decoder means right, and its hazards are at the other side."""
    file = bundle / "tokenizer.json"
    whole = json.loads(file.read_text())
    words: dict[str, int] = whole["model"]["vocab"]
    words["Ġleft"], words["Ġright"] = words["Ġright"], words["Ġleft"]
    file.write_text(json.dumps(whole))
    model = dict(bundles.read_manifest(bundle).model)
    left, ahead, right_ = model["sides"]
    rewrite(bundle, model={**model, "sides": [right_, ahead, left]})
    decision = against(champion, bundle)
    assert decision.verdict == "refused"
    assert "drawn, obstacles" in reasons(decision, "no worse")


def test_a_bundle_whose_calibration_makes_it_sure_of_everything(champion: Scores, bundle: Path) -> None:
    """The manifest's own numbers, on answers of which four in ten are made wrong."""
    answers = evaluate.run(bundle, FRAMES, threads=1)
    wrong = [replace(a, text="Caution, pole ahead.") if n % 5 < 2 else a for n, a in enumerate(answers)]
    judged_on = calibrate.calibrated(wrong, Calibration(temperature=0.05))
    sure = Scores("planted", "demo", scoring.case_scores(judged_on, bundles.read_manifest(bundle).thresholds))
    decision = decide.decide(replace(evidence(sure), candidate=sure), Bounds())
    assert "uncalibrated, sure of what is wrong" in reasons(decision, "calibration")


def test_a_slow_bundle_is_slow_however_busy_the_machine_is(bundle: Path) -> None:
    """In turns, and the fastest of a few rounds of processor time: twice the work is twice the time, the same the same.

    Beside four processes that do nothing but calculate."""
    model, pictures = GuidanceModel.load(bundle, threads=1, allow_demo=True), [case.image for case in FRAMES[:6]]

    def twice(image: NDArray[np.uint8]) -> object:
        model.look(image)
        return model.look(image)

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        took = cost.in_turns({"champion": model.look, "same": model.look, "slow": twice}, pictures, rounds=5)
    finally:
        for child in busy:
            child.kill()
            child.wait()
    assert cost.ratio(took["same"], took["champion"]) == pytest.approx(1.0, abs=0.2)
    assert cost.ratio(took["slow"], took["champion"]) == pytest.approx(2.0, abs=0.4)


def test_whole_drawn_walks_are_driven_through_the_policy_as_on_a_device(bundle: Path) -> None:
    model = GuidanceModel.load(bundle, threads=1, allow_demo=True)
    course = rendered.course("day", seed=judge.DRAWN_SEED, duration_s=10.0)
    (ours, again) = judge.walk_scores([model, model], [(course, DRAWN)], progress=print)
    assert ours == again
    assert ours[0].minutes == pytest.approx(10 / 60, rel=0.05)
    assert len(ours[0].clean) == 5


def test_what_a_bundle_takes_in_memory_is_measured_in_a_process_of_its_own(bundle: Path) -> None:
    assert 30 < peak_mb(bundle, threads=1) < 600, "the runtime and the model, not this process with torch"
