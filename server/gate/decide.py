"""May the candidate replace the champion, or at least be tried? Pure: evidence in, a list of judged rules out.

    against    no worse than the champion, on what is held out, by group and tier; forgets no confirmed correction
    fitness    the export is true to PyTorch, the self-test passes, size, memory and latency are within the budget
    floors     a model for the field: good enough by itself, on held-out real moments of its own dataset

What was trained on counts nowhere but in "forgets nothing". A rule that fails leads to `refused` or to `trial`, and the
worst of them is the verdict. A demonstration model needs no floors and is no bar for a field model.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.evaluation.facts import REAL, TAUGHT
from server.gate import against, fitness, floors
from server.gate.evidence import Evidence, GateDecision, Rule, Scores, Verdict
from server.gate.settings import Bounds


def decide(evidence: Evidence, bounds: Bounds | None = None) -> GateDecision:
    """Judge every rule; no rule stops another, so that a person reads all reasons at once."""
    rules = tuple(_rules(evidence, bounds or Bounds()))
    led_to = {rule.leads_to for rule in rules}
    worst = next((verdict for verdict in (Verdict.REFUSED, Verdict.TRIAL) if verdict in led_to), Verdict.PROMOTED)
    return GateDecision(worst, rules)


def _rules(evidence: Evidence, bounds: Bounds) -> Iterator[Rule]:
    yield _held_out(evidence)
    yield from against.rules(evidence, bounds.gate)
    yield from fitness.rules(evidence, bounds.budget, bounds.gate)
    if evidence.candidate.use == "demo":
        yield from floors.drawn_calibration(evidence, bounds.gate)
    else:
        yield from floors.rules(evidence, bounds.floors, bounds.gate)


def _held_out(evidence: Evidence) -> Rule:
    """Something that nobody learnt from, to judge on."""
    cases = [case for case in evidence.candidate.cases if case.group != TAUGHT]
    right, real = sum(case.right for case in cases), sum(case.group == REAL for case in cases)
    figures = {"right": right, "real": real, "drawn": len(cases) - real}
    rule = Rule("held-out cases", "all", figures=figures, cases=len(cases), walks=len({case.walk for case in cases}))
    if not cases:
        text = (
            "nothing is held out to judge it on: mark walks as held out (waycue-server samples hold-out WALK), or "
            "record more, of which about one walk in five is held out by itself"
        )
        return rule.failed(text, evidence.untested)
    text = f"{right} of {len(cases)} held-out cases right ({real} real, {len(cases) - real} drawn)"
    if evidence.champion is not None and evidence.champion.use == evidence.candidate.use:
        text += f", the champion has {_right(evidence.champion, {case.case_id for case in cases})}"
    return rule.passed(text)


def _right(scores: Scores, case_ids: set[str]) -> int:
    return sum(case.right for case in scores.cases if case.case_id in case_ids)
