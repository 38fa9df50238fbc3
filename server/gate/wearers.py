"""Is an adapter worth offering to its wearer? Better on their own held-out walks, and no worse in what matters most.

    better for the wearer    their held-out moments: the lower end of the interval, by walks, is above nothing
    tier 1 no worse          of things to stop for none fewer is warned of, on all that is held out
    the gate's comparisons   on the wearer's held-out moments and walks, against the champion (server.gate.against)
    self-test                the device's own

What cannot be told is held against it: a wearer without an adapter has the champion, which was judged whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from server.evaluation.answers import Answer
from server.gate import against, resample, scoring
from server.gate.evidence import SILENCE, CaseScore, Evidence, GateDecision, Rule, Verdict
from server.gate.resample import Paired
from server.gate.settings import GateSettings
from shared.policy import PolicySettings, calibrated, criteria
from shared.runtime import Hazard


def served(answers: Sequence[Answer], thresholds: Mapping[str, float]) -> tuple[CaseScore, ...]:
    """Each answer as a case that is right where the wearer would hear what is right: things to stop for are warned of
    by the hazard scores alone, everything else is the decoder's words, and where nothing is to be said no score may
    warn either. thresholds: of the bundle. Pure."""
    settings = calibrated(PolicySettings(), thresholds)
    scored = zip(answers, scoring.case_scores(answers, thresholds), strict=True)
    return tuple(replace(case, right=_is_served(answer, case, settings)) for answer, case in scored)


def _is_served(answer: Answer, case: CaseScore, settings: PolicySettings) -> bool:
    if case.tier == 1:
        return case.warned
    seen = criteria.seen_of([Hazard(*scored) for scored in answer.scores], settings)
    return case.right and not (case.tier == SILENCE and any(criteria.tier_of(key) == 1 for key in seen))


@dataclass(frozen=True, slots=True)
class WearerGain:
    """What an adapter changes for its wearer: share of their held-out moments where they hear what is right."""

    cases: int
    walks: int
    without: float
    """Share that the champion has right …"""
    adapted: float
    """… and the champion with the adapter."""
    low: float
    high: float
    """90 % interval of the difference, walks being the unit; -1 to 1 for a single walk."""

    @property
    def gain(self) -> float:
        return self.adapted - self.without


def gain_of(old: Sequence[CaseScore], new: Sequence[CaseScore], settings: GateSettings) -> WearerGain:
    """The same moments in the same order, without and with the adapter. Pure."""
    paired = _paired(old, new, settings)
    of, (low, high) = max(1, paired.cases), paired.interval
    return WearerGain(paired.cases, paired.walks, paired.old_right / of, paired.new_right / of, low, high)


def decide(
    evidence: Evidence, *, everywhere: tuple[Sequence[CaseScore], Sequence[CaseScore]], settings: GateSettings
) -> GateDecision:
    """Offer it or not: promoted, or refused with the reasons.

    evidence: on the wearer's held-out moments and walks; candidate with the adapter, champion without it
    everywhere: champion and candidate on all that is held out, of every wearer, in the same order
    """
    rules = tuple(_rules(evidence, everywhere, settings))
    refused = [replace(rule, leads_to=Verdict.REFUSED) if rule.leads_to is not None else rule for rule in rules]
    led = any(rule.leads_to is not None for rule in rules)
    return GateDecision(Verdict.REFUSED if led else Verdict.PROMOTED, tuple(refused))


def _rules(
    evidence: Evidence, everywhere: tuple[Sequence[CaseScore], Sequence[CaseScore]], settings: GateSettings
) -> Iterator[Rule]:
    champion = evidence.champion
    assert champion is not None
    yield _better(champion.cases, evidence.candidate.cases, settings)
    yield _tier1(list(zip(*everywhere, strict=True)))
    yield from against.rules(evidence, settings)
    if evidence.export.unfit:
        yield Rule("self-test", "device").failed("; ".join(evidence.export.unfit), Verdict.REFUSED)


def _better(old: Sequence[CaseScore], new: Sequence[CaseScore], settings: GateSettings) -> Rule:
    paired = _paired(old, new, settings)
    low, high = paired.interval
    rule = Rule(
        "better for the wearer",
        "their held-out walks",
        figures={"champion": paired.old_right, "adapted": paired.new_right, "lost": paired.lost},
        interval=paired.interval,
        bound=0,
        cases=paired.cases,
        walks=paired.walks,
    )
    text = (
        f"{paired.new_right} of {paired.cases} held-out moments of the wearer right, without the adapter "
        f"{paired.old_right}; the difference may be {low:+.3f} to {high:+.3f}"
    )
    if paired.walks < settings.walks_least:
        least = settings.walks_least
        more = f"too little to tell, it takes {least} held-out walks of the wearer, there are {paired.walks}"
        return rule.failed(f"{text}: {more} (waycue-server samples hold-out WALK)", Verdict.REFUSED)
    return rule.passed(text) if low > 0 else rule.failed(f"{text}: that is not better beyond chance", Verdict.REFUSED)


def _tier1(both: Sequence[tuple[CaseScore, CaseScore]]) -> Rule:
    stops = [(old, new) for old, new in both if new.tier == 1]
    before, after = sum(old.warned for old, _ in stops), sum(new.warned for _, new in stops)
    rule = Rule("tier 1 no worse", "all", figures={"champion": before, "adapted": after}, bound=0, cases=len(stops))
    text = f"of {len(stops)} things to stop for {after} are warned of, without the adapter {before}"
    return rule.passed(text) if after >= before else rule.failed(text, Verdict.REFUSED)


def _paired(old: Sequence[CaseScore], new: Sequence[CaseScore], settings: GateSettings) -> Paired:
    right = [case.right for case in old], [case.right for case in new]
    return resample.paired(*right, [case.walk for case in new], resamples=settings.bootstrap)
