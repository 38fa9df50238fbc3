"""Is a model good enough for real walks? Absolute floors, on held-out real moments of its own dataset.

Whatever was not shown yet is taken for not good enough: too few cases and a floor that is missed both lead to `trial`.
Each reason says what a person can do about it, with the command and the numbers. The end of the interval that speaks
against the model decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from server.evaluation.facts import DRAWN, REAL
from server.evaluation.measures import calibration, poisson
from server.gate import resample
from server.gate.evidence import SILENCE, TIERS, CaseScore, Evidence, Rule, TeachingStock, Verdict, WalkScore
from server.gate.settings import FloorSettings, GateSettings, softened

HOLD_OUT = "waycue-server samples hold-out"
GOLDEN_ADD = "waycue-server samples golden add"


def rules(evidence: Evidence, floors: FloorSettings, settings: GateSettings) -> Iterator[Rule]:
    """Every floor of a model for the field."""
    cases = [case for case in evidence.candidate.cases if case.group == REAL]
    yield from _softened(floors)
    yield from _learnt(evidence)
    yield from _enough(cases, evidence.stock, floors)
    yield _recall(cases, evidence.stock, floors, settings)
    yield _false_clear(cases, evidence.stock, floors, settings)
    yield _in_time(evidence, floors, settings)
    yield from _walks(evidence, floors, settings)
    if cases:
        yield _grammar(cases, floors)
        yield _calibrated(cases, Rule("calibration", REAL, bound=floors.calibration_error), settings, Verdict.TRIAL)
    yield _fitted(evidence, settings)
    yield _sure(evidence)
    yield _golden(evidence, floors)


def drawn_calibration(evidence: Evidence, settings: GateSettings) -> Iterator[Rule]:
    """The same question for the demonstration model."""
    cases = [case for case in evidence.candidate.cases if case.group == DRAWN]
    if cases:
        rule = Rule("calibration", DRAWN, bound=settings.calibration_drawn)
        yield _calibrated(cases, rule, settings, Verdict.REFUSED)


# --- is there enough to judge on? -------------------------------------------------------------------------------------


def _softened(floors: FloorSettings) -> Iterator[Rule]:
    """Not hidden from who reads the verdict: it was easier to come by than it is elsewhere."""
    for name, (ours, usual) in softened(floors).items():
        rule = Rule("softer floor", f"gate.{name}", figures={"default": usual}, bound=ours)
        yield rule.not_judged(f"the setting gate.{name} is {ours:g}, softer than the default of {usual:g}")


def _learnt(evidence: Evidence) -> Iterator[Rule]:
    for walk, count in evidence.learnt.items():
        text = (
            f"{count} held-out moments of the walk {walk} show pictures that also taught it: it was trained on its own "
            f"test, so that walk does not count. Let it teach (waycue-server samples teach {walk}) and hold out "
            f"another ({HOLD_OUT} WALK)"
        )
        rule = Rule("never saw its test", walk, figures={"moments": count}, bound=0, walks=1)
        yield rule.failed(text, Verdict.TRIAL)


def _enough(cases: Sequence[CaseScore], stock: TeachingStock, floors: FloorSettings) -> Iterator[Rule]:
    for tier, least in (
        (1, floors.tier1_cases),
        (2, floors.tier2_cases),
        (3, floors.tier3_cases),
        (SILENCE, floors.quiet_cases),
    ):
        some = [case for case in cases if case.tier == tier]
        rule = _on(Rule("enough cases", TIERS[tier], bound=least), some)
        noun = TIERS[tier] if tier == SILENCE else f"moments of {TIERS[tier]}"
        text = f"{len(some)} held-out {noun.replace('moments', 'moment', 1) if len(some) == 1 else noun}, {least} are"
        if some and len(some) >= least:
            yield rule.passed(f"{text} needed")
        else:
            missing = advice(stock, tier, least - len(some))
            yield rule.not_judged(f"only {text} needed: {missing}", Verdict.TRIAL)
    rule = _on(Rule("enough walks", REAL, bound=floors.walks), cases)
    if rule.walks >= floors.walks:
        yield rule.passed(f"{rule.walks} held-out walks, {floors.walks} are needed")
    else:
        walks = _count(rule.walks, "held-out walk")
        text = f"only {walks} with confirmed moments, {floors.walks} are needed: "
        yield rule.not_judged(text + _more_walks(stock, floors.walks - rule.walks), Verdict.TRIAL)


def _more_walks(stock: TeachingStock, missing: int) -> str:
    """How to come by more held-out walks; one must go on teaching."""
    ranked = sorted(stock.walks, key=lambda name: sum(stock.walks[name].values()))
    names = ranked[: max(0, min(len(stock.walks) - 1, missing))]
    mark = f"mark {_count(len(names), 'more walk')} as held out ({HOLD_OUT} {' '.join(names)})" if names else ""
    record = f"record and confirm {_count(missing - len(names), 'more walk')}" if missing > len(names) else ""
    return ", and ".join(filter(None, (mark, record)))


def advice(stock: TeachingStock, tier: int, missing: int) -> str:
    """How to come by `missing` more held-out moments of a tier: which walks to hold out, what to record. Pure."""
    counts = {walk: tiers.get(tier, 0) for walk, tiers in stock.walks.items()}
    ranked = sorted(counts, key=lambda walk: (-counts[walk], walk))[: max(0, len(counts) - 1)]
    taken: list[str] = []
    gained = 0
    for walk in ranked:
        if gained < missing and counts[walk]:
            taken.append(walk)
            gained += counts[walk]
    if not taken:
        return (
            f"record and confirm {missing} more on new walks, of which about one in five is held out by itself "
            f"(or {HOLD_OUT} WALK)"
        )
    names = ", ".join(f"{walk} has {counts[walk]}" for walk in taken[:3])
    which, more = " ".join(taken[:3]), (" …", ", …") if len(taken) > 3 else ("", "")
    mark = f"mark {_count(len(taken), 'more walk')} as held out ({HOLD_OUT} {which}{more[0]}: {names}{more[1]})"
    if gained >= missing:
        return f"{mark}, or record and confirm {missing} more on new walks"
    return f"{mark}, and record and confirm {missing - gained} more on new walks"


# --- is it good? ------------------------------------------------------------------------------------------------------


def _recall(cases: Sequence[CaseScore], stock: TeachingStock, floors: FloorSettings, settings: GateSettings) -> Rule:
    least, stops = floors.tier1_recall, [case for case in cases if case.tier == 1]
    if not stops:
        return _nothing("tier-1 recall", TIERS[1], advice(stock, 1, floors.tier1_cases))
    share = _Share.of([(case.warned, case.walk) for case in stops], settings)
    rule = share.on(Rule("tier-1 recall", TIERS[1], bound=least), "hits")
    text = (
        f"warns of {share.hits} of {share.count} held-out {TIERS[1]}, by the hazard head, at their side ({share}); the "
        f"lower end must be at least {_percent(least)}"
    )
    if share.low >= least:
        return rule.passed(text)
    if share.share >= least:
        needed = resample.cases_for(1 - least)
        text += (
            f": the share is enough, the number of cases is not. Without one error it takes {needed} of them: hold out "
            f"more walks ({HOLD_OUT} WALK)"
        )
    else:
        missed = _most(case.thing for case in stops if not case.warned)
        text += f". Most often missed: {missed}. Record and confirm more of these on walks that teach"
    return rule.failed(text, Verdict.TRIAL)


def _false_clear(
    cases: Sequence[CaseScore], stock: TeachingStock, floors: FloorSettings, settings: GateSettings
) -> Rule:
    most, there = floors.false_clear, [case for case in cases if case.tier > 0]
    if not there:
        return _nothing("false clear", "things", advice(stock, 2, floors.tier2_cases))
    share = _Share.of([(case.false_clear, case.walk) for case in there], settings)
    rule = share.on(Rule("false clear", REAL, bound=most), "errors")
    text = (
        f"names nothing at {share.hits} of {share.count} held-out moments with something there ({share}); the upper "
        f"end may be at most {_percent(most)}"
    )
    if share.high <= most:
        return rule.passed(text)
    if share.share <= most:
        needed = resample.cases_for(most)
        todo = advice(stock, 1, max(1, needed - share.count))
        text += f": without one error it takes {needed} such moments. {todo[:1].upper()}{todo[1:]}"
    else:
        missed = _most(case.thing for case in there if case.false_clear)
        text += f". Most often passed over: {missed}. Record and confirm more of these on walks that teach"
    return rule.failed(text, Verdict.TRIAL)


def _in_time(evidence: Evidence, floors: FloorSettings, settings: GateSettings) -> Rule:
    """What a wearer would have heard on whole walks, through the policy: the one thing that all of it is for."""
    least = floors.tier1_recall
    rule = Rule("warned of in time", TIERS[1], bound=least)
    walks = [walk for walk in evidence.candidate.walks if walk.group == REAL]
    warned = [(flag, walk.walk) for walk in walks for flag in walk.events]
    needed = resample.cases_for(1 - least)
    if not warned:
        text = (
            f"no whole held-out walk comes upon {TIERS[1]}: without one error it takes {needed} of them on two walks. "
            f"Label a video with some (waycue-server label), or confirm a stretch of moments, and hold it out "
            f"({HOLD_OUT} WALK)"
        )
        return rule.not_judged(text, Verdict.TRIAL)
    share = _Share.of(warned, settings)
    rule = share.on(rule, "hits")
    text = (
        f"on {_count(rule.walks, 'whole held-out walk')} {share.hits} of {share.count} {TIERS[1]} are warned of in "
        f"time ({share}); the lower end must be at least {_percent(least)}"
    )
    if share.low >= least:
        return rule.passed(text)
    if share.share >= least:
        text += (
            f": the share is enough, the number is not. Without one error it takes {needed} on two walks or more: hold "
            f"out more whole walks ({HOLD_OUT} WALK)"
        )
    else:
        text += ". Record and confirm more stretches that lead up to such things, on walks that teach"
    return rule.failed(text, Verdict.TRIAL)


@dataclass(frozen=True, slots=True)
class _Share:
    """How many of some cases, with its 95 % interval over walks."""

    hits: int
    count: int
    walks: int
    low: float
    high: float

    @classmethod
    def of(cls, cases: Sequence[tuple[bool, str]], settings: GateSettings) -> _Share:
        """cases: (hit, walk)"""
        flags, walks = [hit for hit, _ in cases], [walk for _, walk in cases]
        low, high = resample.share(flags, walks, resamples=settings.bootstrap)
        return cls(sum(flags), len(flags), len(set(walks)), low, high)

    @property
    def share(self) -> float:
        return self.hits / self.count

    def on(self, rule: Rule, name: str) -> Rule:
        figures = {name: self.hits, "share": self.share}
        interval = (self.low, self.high)
        return replace(rule, figures=figures, interval=interval, cases=self.count, walks=self.walks)

    def __str__(self) -> str:
        return f"{_percent(self.share)}; 95 % interval {_percent(self.low)} to {_percent(self.high)}"


def _nothing(name: str, about: str, do: str) -> Rule:
    """A floor of which nothing is known, whatever the settings ask for."""
    return Rule(name, about).not_judged(f"there is no held-out real moment to judge it on: {do}", Verdict.TRIAL)


def _walks(evidence: Evidence, floors: FloorSettings, settings: GateSettings) -> Iterator[Rule]:
    walks = [walk for walk in evidence.candidate.walks if walk.group == REAL]
    minutes = sum(walk.minutes for walk in walks)
    if minutes <= 0:
        text = (
            "no held-out walk has moments that follow one another, so that false alarms a minute cannot be counted: "
            f"flag a stretch of a walk, or label a video (waycue-server label) and hold it out ({HOLD_OUT} WALK)"
        )
        yield Rule("false alarms a minute", REAL, bound=floors.false_alarms).not_judged(text, Verdict.TRIAL)
        return
    yield _false_alarms(walks, floors, settings)
    repeats = sum(walk.repeats for walk in walks)
    rule = Rule("repeats", REAL, figures={"repeats": repeats}, bound=floors.repeats, walks=len(walks))
    text = f"{_count(repeats, 'repeat')} within 10 s on whole held-out walks, at most {floors.repeats} may be"
    yield rule.passed(text) if repeats <= floors.repeats else rule.failed(text, Verdict.TRIAL)


def _false_alarms(walks: Sequence[WalkScore], floors: FloorSettings, settings: GateSettings) -> Rule:
    most, counts, minutes = floors.false_alarms, [walk.alarms for walk in walks], [walk.minutes for walk in walks]
    alarms, a_minute = sum(counts), sum(counts) / sum(minutes)
    low, high = resample.rate(counts, minutes, resamples=settings.bootstrap)
    figures = {"alarms": alarms, "minutes": sum(minutes), "a_minute": a_minute}
    about = Rule("false alarms a minute", REAL, figures=figures, interval=(low, high), bound=most, walks=len(walks))
    text = (
        f"{_count(alarms, 'false alarm')} in {sum(minutes):.1f} minutes of {_count(len(walks), 'held-out walk')} "
        f"({a_minute:.2f} a minute; 95 % interval {low:.2f} to {high:.2f}); the upper end may be at most {most:g}"
    )
    if high <= most:
        return about.passed(text)
    if a_minute <= most:
        needed = poisson(0)[1] / most
        text += f". Hold out more: without one alarm it takes {needed:.1f} minutes of two walks ({HOLD_OUT} WALK)"
    else:
        text += ". Confirm as “nothing should be said” more moments of that kind, on walks that teach"
    return about.failed(text, Verdict.TRIAL)


def _grammar(cases: Sequence[CaseScore], floors: FloorSettings) -> Rule:
    kept = sum(case.grammatical for case in cases)
    rule = _on(Rule("grammar", REAL, figures={"share": kept / len(cases)}, bound=floors.grammar), cases)
    text = f"{kept} of {len(cases)} of its sentences may be said, the share must be at least {floors.grammar:g}"
    return rule.passed(text) if kept / len(cases) >= floors.grammar else rule.failed(text, Verdict.TRIAL)


def _calibrated(cases: Sequence[CaseScore], rule: Rule, settings: GateSettings, leads_to: Verdict) -> Rule:
    bound = rule.bound or 0.0
    sure, right = [case.confidence for case in cases], [case.right for case in cases]
    error = calibration(sure, right).ece or 0.0
    chance = _chance(sure, resamples=settings.bootstrap // 10)
    mean, share = sum(sure) / len(sure), sum(right) / len(right)
    rule = _on(replace(rule, figures={"error": error, "chance": chance, "overconfidence": mean - share}), cases)
    text = (
        f"confidence and the share of right sentences are {error:.3f} apart on {len(cases)} {rule.about} moments (mean "
        f"confidence {mean:.2f}, right {share:.2f}); at most {bound:g} is allowed, and chance alone makes up to "
        f"{chance:.3f}"
    )
    if error <= max(bound, chance):
        return rule.passed(text)
    way = "sure of what is wrong" if mean > share else "unsure of what is right"
    text += f": it is uncalibrated, {way}. Put a whole walk or two into the golden set ({GOLDEN_ADD} WALK): "
    return rule.failed(f"{text}models are calibrated on those", leads_to)


def _fitted(evidence: Evidence, settings: GateSettings) -> Rule:
    """Without enough to fit on, confidence is what the base happened to say."""
    basis, least, walks = evidence.calibrated, settings.calibration_cases, settings.calibration_walks
    figures = {"moments": basis.moments}
    rule = Rule("calibrated on", "golden walks", figures=figures, bound=float(least), cases=basis.moments)
    rule = replace(rule, walks=basis.walks)
    text = (
        f"calibrated on {_count(basis.moments, 'moment')} of {_count(basis.walks, 'golden walk')}, {least} of "
        f"{_count(walks, 'walk')} are needed"
    )
    if basis.moments >= least and basis.walks >= walks:
        return rule.passed(text)
    text = f"only {text}: put whole walks into the golden set ({GOLDEN_ADD} WALK) and confirm their moments"
    return rule.not_judged(text, Verdict.TRIAL)


def _sure(evidence: Evidence) -> Rule:
    rule = Rule("sure enough", "golden walks")
    if evidence.calibrated.sure:
        return rule.passed("from a confidence on its sentences are right in 9 of 10 cases")
    text = (
        "at no confidence are its sentences right in 9 of 10 cases on golden walks, so that what may be spoken cannot "
        "be told: record and confirm more on walks that teach"
    )
    return rule.failed(text, Verdict.TRIAL)


def _chance(sure: Sequence[float], *, resamples: int) -> float:
    """Of perfectly calibrated models, 95 % have at most this error on so few cases (Bröcker & Smith 2007)."""
    rng = np.random.default_rng(1)
    probabilities = np.asarray(sure, float)
    errors = [
        calibration(sure, list(rng.random(len(probabilities)) < probabilities)).ece or 0.0 for _ in range(resamples)
    ]
    return float(np.quantile(errors, 0.95))


def _golden(evidence: Evidence, floors: FloorSettings) -> Rule:
    stops, least = evidence.export.golden_stops, floors.golden_stops
    figures = {"pictures": evidence.export.golden, "stops": stops}
    rule = Rule("golden pictures", TIERS[1], figures=figures, bound=least)
    if stops >= least:
        return rule.passed(f"{stops} golden pictures of {TIERS[1]} that it has right, {least} are needed")
    none = f"only {_count(stops, 'golden picture')}" if stops else "no golden picture"
    text = (
        f"{none} of {TIERS[1]} that it has right, {least} are needed: a device could not tell whether it sees them "
        f"there. Add {least - stops} confirmed moments that nobody learns from ({GOLDEN_ADD} ID), or wait until it has "
        "those of the golden set right (waycue-server samples golden list)"
    )
    return rule.not_judged(text, Verdict.TRIAL)


def _on(rule: Rule, cases: Sequence[CaseScore]) -> Rule:
    """The rule with the counts of what it is judged on."""
    return replace(rule, cases=len(cases), walks=len({case.walk for case in cases}))


def _most(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common(3))


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"
