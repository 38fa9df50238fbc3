"""Is the candidate no worse than the champion? Non-inferiority on what is held out, group by group and tier by tier.

The end of the interval that speaks against the candidate decides, walks being the unit (server.gate.resample). Where
there are too few cases or walks for an interval to mean anything, a candidate is refused only where it is worse beyond
chance, and otherwise the rule says "not judged": one that could judge nothing leaves a demonstration model refused and
a field model on trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from server.evaluation.facts import DRAWN, REAL, TAUGHT
from server.gate import resample
from server.gate.evidence import TIERS, CaseScore, Evidence, Rule, Scores, WalkScore
from server.gate.settings import GateSettings

_Pair = tuple[bool, bool, str]
"""Under the champion, under the candidate, walk."""


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    about: str
    what: str
    """What a case is right in, for the sentence: "319 of 400 {what}"."""
    margin: float
    overall: bool = False
    """The one question that must be answered: what cannot be told is held against the candidate."""


def rules(evidence: Evidence, settings: GateSettings) -> Iterator[Rule]:
    """Every comparison with the champion, where it is a bar at all."""
    champion, candidate = evidence.champion, evidence.candidate
    if champion is None:
        return
    if candidate.use == "demo" and champion.use != "demo":
        yield Rule(
            "use",
            "champion",
            "failed",
            "it is a demonstration model, the champion is for the field: set learn.base to the base of the champion",
            "refused",
        )
    if champion.use == "demo" != candidate.use:
        return  # a demonstration model is no bar for one that real walks are judged by
    yield _not_forgotten(champion, candidate)
    overall = []
    for group in (REAL, DRAWN):
        found = list(_group(champion, candidate, group, evidence.known_to_champion, settings))
        overall += [rule for rule in found if rule.name == "no worse" and rule.about == group]
        yield from found
    if not any(rule.verdict != "not judged" for rule in overall):
        yield _nothing_compared(evidence)


def _group(
    champion: Scores, candidate: Scores, group: str, known: Sequence[str], settings: GateSettings
) -> Iterator[Rule]:
    pairs = list(_cases(champion, candidate, group, known))
    if not pairs:
        return
    whole, each = (
        (settings.margin_real, settings.margin_real_tier) if group == REAL else (settings.margin, settings.margin_tier)
    )
    everything = _Question("no worse", group, "right", whole, overall=True)
    yield _compare(everything, [_right(pair) for pair in pairs], settings)
    for tier, name in TIERS.items():
        some = [_right(pair) for pair in pairs if pair[1].tier == tier]
        if some:
            yield _compare(_Question("no worse", f"{group}, {name}", "right", each), some, settings)
    stops = [(old.warned, new.warned, new.walk) for old, new in pairs if new.tier == 1]
    if stops:
        yield _compare(_Question("warns as well", f"{group}, {TIERS[1]}", "warned of", each), stops, settings)
    there = [(not old.false_clear, not new.false_clear, new.walk) for old, new in pairs if new.tier > 0]
    if there:
        clear = _Question("no more false clear", group, "not passed over", settings.margin_clear)
        yield _compare(clear, there, settings)
    for question, of in (
        (_Question("whole walks: no more false alarms", group, "chunks quiet or right", settings.margin_walks), _clean),
        (_Question("whole walks: warns in time", group, "events warned of", settings.margin_walks), _events),
    ):
        driven = list(_walks(champion, candidate, group, known, of=of))
        if driven:
            yield _compare(question, driven, settings)


def _compare(question: _Question, pairs: Sequence[_Pair], settings: GateSettings) -> Rule:
    old, new, walks = zip(*pairs, strict=True)
    found = resample.paired(old, new, walks, resamples=settings.bootstrap)
    needed = resample.cases_for(question.margin, z=resample.Z90)
    low, high = found.interval
    enough = found.walks >= settings.walks_least and found.cases >= needed
    told_apart = needed if question.overall else max(needed, found.cases_to_tell(question.margin))
    figures = {
        "champion": found.old_right,
        "candidate": found.new_right,
        "lost": found.lost,
        "gained": found.gained,
        "difference": round(found.difference, 5),
        "chance": round(found.chance, 5),
    }
    told = (
        f"{question.about}: {found.new_right} of {found.cases} {question.what}, the champion has {found.old_right}; "
        f"the difference may be {low:+.3f} to {high:+.3f}"
    )
    common = {"figures": figures, "interval": found.interval, "bound": -question.margin}
    counts = {"cases": found.cases, "walks": found.walks}
    if enough and low >= -question.margin:
        return Rule(question.name, question.about, "passed", told, **common, **counts)  # type: ignore[arg-type]
    if enough and found.cases >= told_apart:
        text = f"{told}, at worst {-question.margin:+.3f} is allowed"
        return Rule(question.name, question.about, "failed", text, "refused", **common, **counts)  # type: ignore[arg-type]
    if found.chance < settings.unlikely:
        text = f"{told}: {found.lost} lost against {found.gained} gained is no chance ({found.chance:.3f})"
        return Rule(question.name, question.about, "failed", text, "refused", **common, **counts)  # type: ignore[arg-type]
    text = (
        f"{told}: too little to tell, it takes {told_apart} cases of {settings.walks_least} walks, "
        f"there are {found.cases} of {found.walks}"
    )
    return Rule(question.name, question.about, "not judged", text, **common, **counts)  # type: ignore[arg-type]


def _not_forgotten(champion: Scores, candidate: Scores) -> Rule:
    """The one rule that trained rows serve."""
    old = {case.case_id: case for case in champion.cases if case.group == TAUGHT}
    both = [case for case in candidate.cases if case.case_id in old]
    lost = [case.case_id for case in both if old[case.case_id].right and not case.right]
    walks = len({case.walk for case in both})
    if lost:
        text = f"forgot {len(lost)} of {len(both)} confirmed corrections that the champion has right: {', '.join(lost)}"
        figures = {"lost": len(lost)}
        return Rule(
            "forgets nothing", TAUGHT, "failed", text, "refused", figures, bound=0, cases=len(both), walks=walks
        )
    if not both:
        return Rule("forgets nothing", TAUGHT, "not judged", "there are no confirmed corrections yet", bound=0)
    text = f"none of {len(both)} confirmed corrections that the champion has right is forgotten"
    return Rule("forgets nothing", TAUGHT, "passed", text, "", {"lost": 0}, bound=0, cases=len(both), walks=walks)


def _nothing_compared(evidence: Evidence) -> Rule:
    field = evidence.candidate.use == "field"
    if not field:
        text = (
            "nothing shows that it is no worse than the champion: there are too few held-out cases. Raise "
            "learn.gate_cases, or mark walks as held out (waycue-server samples hold-out WALK)"
        )
        return Rule("was compared", "all", "failed", text, "refused")
    learnt = evidence.known_to_champion
    why = (
        f"the champion once learnt from {', '.join(learnt)}, which therefore shows nothing of it"
        if learnt
        else "there are too few held-out moments of walks that neither learnt from"
    )
    text = (
        f"nothing shows that it is no worse than the champion: {why}. Mark walks as held out "
        "(waycue-server samples hold-out WALK), or record and confirm more"
    )
    return Rule("was compared", "all", "failed", text, "trial")


def _cases(
    champion: Scores, candidate: Scores, group: str, known: Sequence[str]
) -> Iterator[tuple[CaseScore, CaseScore]]:
    old = {case.case_id: case for case in champion.cases if case.group == group}
    for case in candidate.cases:
        if case.group == group and case.case_id in old and case.walk not in known:
            yield old[case.case_id], case


def _right(pair: tuple[CaseScore, CaseScore]) -> _Pair:
    old, new = pair
    return old.right, new.right, new.walk


def _walks(
    champion: Scores,
    candidate: Scores,
    group: str,
    known: Sequence[str],
    *,
    of: Callable[[WalkScore], tuple[bool, ...]],
) -> Iterator[_Pair]:
    old = {walk.walk: walk for walk in champion.walks if walk.group == group}
    for walk in candidate.walks:
        if walk.group == group and walk.walk in old and walk.walk not in known:
            yield from ((a, b, walk.walk) for a, b in zip(of(old[walk.walk]), of(walk), strict=True))


def _clean(walk: WalkScore) -> tuple[bool, ...]:
    return walk.clean


def _events(walk: WalkScore) -> tuple[bool, ...]:
    return walk.events
