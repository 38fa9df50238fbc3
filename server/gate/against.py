"""Is the candidate no worse than the champion? Non-inferiority on what is held out, group by group and tier by tier.

The end of the interval that speaks against the candidate decides, walks being the unit (server.gate.resample). Where
there are too few cases or walks for an interval to mean anything, a candidate is refused only where it is worse beyond
chance, and otherwise the rule says "not judged": one that could judge nothing leaves a demonstration model refused and
a field model on trial.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from server.evaluation.facts import DRAWN, REAL, TAUGHT
from server.gate import resample
from server.gate.evidence import TIERS, CaseScore, Evidence, Rule, RuleVerdict, Scores, Verdict, WalkScore
from server.gate.settings import GateSettings
from shared.model_card import MEASURED_FROM

_Pair = tuple[bool, bool, str]
"""Under the champion, under the candidate, walk."""
_Score = TypeVar("_Score", CaseScore, WalkScore)
_Both = list[tuple[_Score, _Score]]
"""The champion's and the candidate's score of the same."""


@dataclass(frozen=True, slots=True)
class _Comparison:
    name: str
    about: str
    what: str
    """What a case is right in, for the sentence: "319 of 400 {what}"."""
    margin: float
    pairs: Sequence[_Pair]
    overall: bool = False
    """The one comparison that must be made: what cannot be told is held against the candidate."""


def rules(evidence: Evidence, settings: GateSettings) -> Iterator[Rule]:
    """Every comparison with the champion, where it is a bar at all."""
    champion, candidate = evidence.champion, evidence.candidate
    if champion is None:
        return
    if candidate.use == "demo" != champion.use:
        text = "it is a demonstration model, the champion is for the field: set learn.base to the base of the champion"
        yield Rule("use", "champion").failed(text, Verdict.REFUSED)
    if champion.use == "demo" != candidate.use:
        return  # a demonstration model is no bar for one that real walks are judged by
    yield _not_forgotten(champion, candidate)
    yield from _names_no_less(champion, candidate)
    compared = False
    for group in (REAL, DRAWN):
        for comparison in _comparisons(evidence, champion, group, settings):
            if not comparison.pairs:
                continue
            rule = _compare(comparison, settings)
            compared |= comparison.overall and rule.verdict is not RuleVerdict.NOT_JUDGED
            yield rule
    if not compared:
        yield _nothing_compared(evidence)


def _names_no_less(champion: Scores, candidate: Scores) -> Iterator[Rule]:
    """A wearer who was warned of a thing until yesterday is warned of it tomorrow."""
    if candidate.use == "demo" or not champion.names:
        return  # one is judged on drawn walks, where all is named; of the other it is not known
    rule, lost = Rule("names no less", "champion"), [name for name in champion.names if name not in candidate.names]
    if not lost:
        yield rule.passed("it may name all that the champion names")
        return
    text = (
        f"it may not name {', '.join(lost)}, which the champion names: of each, {MEASURED_FROM} held-out real moments "
        "must show that it sees it. Confirm more such moments, and hold their walks out"
    )
    yield rule.failed(text, Verdict.TRIAL)


def _comparisons(evidence: Evidence, champion: Scores, group: str, settings: GateSettings) -> Iterator[_Comparison]:
    """Everything that is compared in a group; walks that taught the champion are left out."""
    known = evidence.known_to_champion
    cases = _in_both(champion.cases, evidence.candidate.cases, group, known=known)
    if cases:
        yield from _of_cases(cases, group, settings)
        walks = _in_both(champion.walks, evidence.candidate.walks, group, known=known)
        yield from _of_walks(walks, group, settings.margin_walks)


def _in_both(old: Sequence[_Score], new: Sequence[_Score], group: str, *, known: Container[str] = ()) -> _Both[_Score]:
    """What both models were judged on in a group, but for the walks in `known`: (champion's, candidate's)."""
    theirs = {score.key: score for score in old if score.group == group}
    ours = [score for score in new if score.group == group and score.walk not in known]
    return [(theirs[score.key], score) for score in ours if score.key in theirs]


def _of_cases(cases: _Both[CaseScore], group: str, settings: GateSettings) -> Iterator[_Comparison]:
    whole, each = settings.margins(real=group == REAL)
    right = [(new.tier, (old.right, new.right, new.walk)) for old, new in cases]
    yield _Comparison("no worse", group, "right", whole, [pair for _, pair in right], overall=True)
    for tier, name in TIERS.items():
        yield _Comparison("no worse", f"{group}, {name}", "right", each, [pair for at, pair in right if at == tier])
    warned = [(old.warned, new.warned, new.walk) for old, new in cases if new.tier == 1]
    yield _Comparison("warns as well", f"{group}, {TIERS[1]}", "warned of", each, warned)
    clear = [(not old.false_clear, not new.false_clear, new.walk) for old, new in cases if new.tier > 0]
    yield _Comparison("no more false clear", group, "not passed over", settings.margin_clear, clear)


def _of_walks(walks: _Both[WalkScore], group: str, margin: float) -> Iterator[_Comparison]:
    clean = [(a, b, new.walk) for old, new in walks for a, b in zip(old.clean, new.clean, strict=True)]
    yield _Comparison("whole walks: no more false alarms", group, "chunks quiet or right", margin, clean)
    events = [(a, b, new.walk) for old, new in walks for a, b in zip(old.events, new.events, strict=True)]
    yield _Comparison("whole walks: warns in time", group, "events warned of", margin, events)


def _compare(comparison: _Comparison, settings: GateSettings) -> Rule:
    old, new, walks = zip(*comparison.pairs, strict=True)
    paired = resample.paired(old, new, walks, resamples=settings.bootstrap)
    needed = resample.cases_for(comparison.margin, confidence=resample.PAIRED_CONFIDENCE)
    low, high = paired.interval
    enough = paired.walks >= settings.walks_least and paired.cases >= needed
    decisive = needed if comparison.overall else max(needed, paired.cases_to_tell(comparison.margin))
    rule = Rule(
        comparison.name,
        comparison.about,
        figures={
            "champion": paired.old_right,
            "candidate": paired.new_right,
            "lost": paired.lost,
            "gained": paired.gained,
            "difference": round(paired.difference, 5),
            "chance": round(paired.chance, 5),
        },
        interval=paired.interval,
        bound=-comparison.margin,
        cases=paired.cases,
        walks=paired.walks,
    )
    text = (
        f"{comparison.about}: {paired.new_right} of {paired.cases} {comparison.what}, the champion has "
        f"{paired.old_right}; the difference may be {low:+.3f} to {high:+.3f}"
    )
    if enough and low >= -comparison.margin:
        return rule.passed(text)
    if enough and paired.cases >= decisive:
        return rule.failed(f"{text}, at worst {-comparison.margin:+.3f} is allowed", Verdict.REFUSED)
    if paired.chance < settings.unlikely:
        unlikely = f"{paired.lost} lost against {paired.gained} gained is no chance ({paired.chance:.3f})"
        return rule.failed(f"{text}: {unlikely}", Verdict.REFUSED)
    return rule.not_judged(
        f"{text}: too little to tell, it takes {decisive} cases of {settings.walks_least} walks, there are "
        f"{paired.cases} of {paired.walks}"
    )


def _not_forgotten(champion: Scores, candidate: Scores) -> Rule:
    """The one rule that trained rows serve."""
    both = _in_both(champion.cases, candidate.cases, TAUGHT)
    rule = Rule("forgets nothing", TAUGHT, bound=0)
    if not both:
        return rule.not_judged("there are no confirmed corrections yet")
    lost = [new.case_id for old, new in both if old.right and not new.right]
    walks = len({new.walk for _, new in both})
    rule = replace(rule, figures={"lost": len(lost)}, cases=len(both), walks=walks)
    if lost:
        text = f"forgot {len(lost)} of {len(both)} confirmed corrections that the champion has right: {', '.join(lost)}"
        return rule.failed(text, Verdict.REFUSED)
    return rule.passed(f"none of {len(both)} confirmed corrections that the champion has right is forgotten")


def _nothing_compared(evidence: Evidence) -> Rule:
    rule, text = Rule("was compared", "all"), "nothing shows that it is no worse than the champion: "
    if evidence.candidate.use != "field":
        text += (
            "there are too few held-out cases. Raise learn.gate_cases, or mark walks as held out (waycue-server "
            "samples hold-out WALK)"
        )
        return rule.failed(text, Verdict.REFUSED)
    learnt = ", ".join(evidence.known_to_champion)
    text += (
        f"the champion once learnt from {learnt}, which therefore shows nothing of it"
        if learnt
        else "there are too few held-out moments of walks that neither learnt from"
    )
    text += ". Mark walks as held out (waycue-server samples hold-out WALK), or record and confirm more"
    return rule.failed(text, Verdict.TRIAL)
