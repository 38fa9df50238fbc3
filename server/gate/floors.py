"""Is a model good enough for real walks? Absolute floors, on held-out real moments of its own dataset.

Whatever was not shown yet is taken for not good enough: too few cases and a floor that is missed both lead to `trial`.
Each reason says what a person can do about it, with the command and the numbers. The end of the interval that speaks
against the model decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from server.evaluation.facts import DRAWN, REAL
from server.evaluation.measures import calibration
from server.gate import resample
from server.gate.evidence import SILENCE, TIERS, CaseScore, Evidence, Found, LeadsTo, Rule, Stock
from server.gate.settings import FloorSettings, GateSettings, softened

HOLD_OUT = "waycue-server samples hold-out"
GOLDEN_ADD = "waycue-server samples golden add"


def rules(evidence: Evidence, floors: FloorSettings, settings: GateSettings) -> Iterator[Rule]:
    """Every floor of a model for the field."""
    cases = [case for case in evidence.candidate.cases if case.group == REAL]
    yield from _softened(floors)
    yield from _learnt(evidence)
    yield from _enough(cases, evidence.stock, floors)
    stops = [case for case in cases if case.tier == 1]
    there = [case for case in cases if case.tier > 0]
    if stops:
        yield _recall(stops, floors, settings)
    else:
        yield _nothing("tier-1 recall", TIERS[1], advice(evidence.stock, 1, floors.tier1_cases))
    if there:
        yield _false_clear(there, evidence.stock, floors, settings)
    else:
        yield _nothing("false clear", "things", advice(evidence.stock, 2, floors.tier2_cases))
    yield _in_time(evidence, floors, settings)
    yield from _walks(evidence, floors, settings)
    if cases:
        yield _grammar(cases, floors)
        yield _calibrated(cases, REAL, floors.calibration_error, settings, leads_to="trial")
    yield _fitted(evidence, settings)
    yield _sure(evidence)
    yield _golden(evidence, floors)


def drawn_calibration(evidence: Evidence, settings: GateSettings) -> Iterator[Rule]:
    """The same question for the demonstration model."""
    cases = [case for case in evidence.candidate.cases if case.group == DRAWN]
    if cases:
        yield _calibrated(cases, DRAWN, settings.calibration_drawn, settings, leads_to="refused")


# --- is there enough to judge on? -------------------------------------------------------------------------------------


def _softened(floors: FloorSettings) -> Iterator[Rule]:
    """Not hidden from who reads the verdict: it was easier to come by than it is elsewhere."""
    for name, (ours, usual) in softened(floors).items():
        text = f"the setting gate.{name} is {ours:g}, softer than the default of {usual:g}"
        yield Rule("softer floor", f"gate.{name}", "not judged", text, "", {"default": usual}, bound=ours)


def _learnt(evidence: Evidence) -> Iterator[Rule]:
    for walk, count in evidence.learnt.items():
        text = (
            f"{count} held-out moments of the walk {walk} show pictures that also taught it: it was trained on its own "
            f"test, so that walk does not count. Let it teach (waycue-server samples teach {walk}) and hold out "
            f"another ({HOLD_OUT} WALK)"
        )
        yield Rule("never saw its test", walk, "failed", text, "trial", {"moments": count}, bound=0, walks=1)


def _enough(cases: Sequence[CaseScore], stock: Stock, floors: FloorSettings) -> Iterator[Rule]:
    for tier, least in (
        (1, floors.tier1_cases),
        (2, floors.tier2_cases),
        (3, floors.tier3_cases),
        (SILENCE, floors.quiet_cases),
    ):
        some = [case for case in cases if case.tier == tier]
        walks = len({case.walk for case in some})
        told = f"{len(some)} held-out {_noun(tier, len(some))}"
        if some and len(some) >= least:
            text = f"{told}, {least} are needed"
            yield Rule("enough cases", TIERS[tier], "passed", text, bound=least, cases=len(some), walks=walks)
            continue
        text = f"only {told}, {least} are needed: {advice(stock, tier, least - len(some))}"
        yield Rule("enough cases", TIERS[tier], "not judged", text, "trial", bound=least, cases=len(some), walks=walks)
    walks = len({case.walk for case in cases})
    if walks >= floors.walks:
        text = f"{walks} held-out walks, {floors.walks} are needed"
        yield Rule("enough walks", REAL, "passed", text, bound=floors.walks, cases=len(cases), walks=walks)
        return
    spare, missing = len(stock.walks) - 1, floors.walks - walks  # one must go on teaching
    names = sorted(stock.walks, key=lambda name: sum(stock.walks[name].values()))[: max(0, min(spare, missing))]
    do = f"mark {_count(len(names), 'more walk')} as held out ({HOLD_OUT} {' '.join(names)})" if names else ""
    more = missing - max(0, min(spare, missing))
    do += f"{', and ' if do else ''}record and confirm {_count(more, 'more walk')}" if more else ""
    text = f"only {_count(walks, 'held-out walk')} with confirmed moments, {floors.walks} are needed: {do}"
    yield Rule("enough walks", REAL, "not judged", text, "trial", bound=floors.walks, cases=len(cases), walks=walks)


def advice(stock: Stock, tier: int, missing: int) -> str:
    """How to come by `missing` more held-out moments of a tier: which walks to hold out, what to record. Pure."""
    ranked = sorted(stock.walks, key=lambda name: (-stock.walks[name].get(tier, 0), name))
    ranked = [name for name in ranked[: max(0, len(stock.walks) - 1)] if stock.walks[name].get(tier, 0)]
    taken: list[str] = []
    found = 0
    while ranked and found < missing:
        taken.append(ranked.pop(0))
        found += stock.walks[taken[-1]].get(tier, 0)
    if not taken:
        return (
            f"record and confirm {missing} more on new walks, of which about one in five is held out by itself "
            f"(or {HOLD_OUT} WALK)"
        )
    names = ", ".join(f"{name} has {stock.walks[name].get(tier, 0)}" for name in taken[:3])
    more = ", …" if len(taken) > 3 else ""
    which = " ".join(taken[:3]) + (" …" if more else "")
    mark = f"mark {_count(len(taken), 'more walk')} as held out ({HOLD_OUT} {which}: {names}{more})"
    if found >= missing:
        return f"{mark}, or record and confirm {missing} more on new walks"
    return f"{mark}, and record and confirm {missing - found} more on new walks"


# --- is it good? ------------------------------------------------------------------------------------------------------


def _recall(cases: Sequence[CaseScore], floors: FloorSettings, settings: GateSettings) -> Rule:
    hits, walks = [case.warned for case in cases], [case.walk for case in cases]
    low, high = resample.share(hits, walks, resamples=settings.bootstrap)
    told = (
        f"warns of {sum(hits)} of {len(hits)} held-out {TIERS[1]}, by the hazard head, at their side "
        f"({_percent(sum(hits) / len(hits))}; 95 % interval {_percent(low)} to {_percent(high)}); the lower end must "
        f"be at least {_percent(floors.tier1_recall)}"
    )
    missed = Counter(case.thing for case in cases if not case.warned)
    good = low >= floors.tier1_recall
    if not good and sum(hits) / len(hits) >= floors.tier1_recall:
        told += f": the share is enough, the number of cases is not. {_more_of(floors.tier1_recall)}"
    elif not good:
        told += f". Most often missed: {_most(missed)}. Record and confirm more of these on walks that teach"
    return _floor(
        "tier-1 recall",
        TIERS[1],
        told,
        good=good,
        bound=floors.tier1_recall,
        interval=(low, high),
        cases=cases,
        figures={"hits": sum(hits), "share": sum(hits) / len(hits)},
    )


def _false_clear(cases: Sequence[CaseScore], stock: Stock, floors: FloorSettings, settings: GateSettings) -> Rule:
    wrong, walks = [case.false_clear for case in cases], [case.walk for case in cases]
    low, high = resample.share(wrong, walks, resamples=settings.bootstrap)
    told = (
        f"names nothing at {sum(wrong)} of {len(wrong)} held-out moments with something there "
        f"({_percent(sum(wrong) / len(wrong))}; 95 % interval {_percent(low)} to {_percent(high)}); the upper end may "
        f"be at most {_percent(floors.false_clear)}"
    )
    good = high <= floors.false_clear
    if not good and sum(wrong) / len(wrong) <= floors.false_clear:
        needed = resample.cases_for(floors.false_clear, z=resample.Z95)
        short = max(1, needed - len(cases))
        told += f": without one error it takes {needed} such moments. {_sentence(advice(stock, 1, short))}"
    elif not good:
        missed = Counter(case.thing for case in cases if case.false_clear)
        told += f". Most often passed over: {_most(missed)}. Record and confirm more of these on walks that teach"
    return _floor(
        "false clear",
        REAL,
        told,
        good=good,
        bound=floors.false_clear,
        interval=(low, high),
        cases=cases,
        figures={"errors": sum(wrong), "share": sum(wrong) / len(wrong)},
    )


def _in_time(evidence: Evidence, floors: FloorSettings, settings: GateSettings) -> Rule:
    """What a wearer would have heard on whole walks, through the policy: the one thing that all of it is for."""
    name, about = "warned of in time", TIERS[1]
    walks = [walk for walk in evidence.candidate.walks if walk.group == REAL and walk.events]
    hits = [flag for walk in walks for flag in walk.events]
    needed = resample.cases_for(1 - floors.tier1_recall, z=resample.Z95)
    if not hits:
        text = (
            f"no whole held-out walk comes upon {TIERS[1]}: without one error it takes {needed} of them on two walks. "
            f"Label a video with some (waycue-server label), or confirm a stretch of moments, and hold it out "
            f"({HOLD_OUT} WALK)"
        )
        return Rule(name, about, "not judged", text, "trial", bound=floors.tier1_recall)
    low, high = resample.share(hits, [walk.walk for walk in walks for _ in walk.events], resamples=settings.bootstrap)
    share = sum(hits) / len(hits)
    told = (
        f"on {_count(len(walks), 'whole held-out walk')} {sum(hits)} of {len(hits)} {TIERS[1]} are warned of in time "
        f"({_percent(share)}; 95 % interval {_percent(low)} to {_percent(high)}); the lower end must be at least "
        f"{_percent(floors.tier1_recall)}"
    )
    good = low >= floors.tier1_recall
    if not good and share >= floors.tier1_recall:
        told += (
            f": the share is enough, the number is not. Without one error it takes {needed} on two walks or more: hold "
            f"out more whole walks ({HOLD_OUT} WALK)"
        )
    elif not good:
        told += ". Record and confirm more stretches that lead up to such things, on walks that teach"
    figures: dict[str, float | int | str] = {"hits": sum(hits), "share": share}
    outcome = _outcome(good, told)
    return Rule(name, about, *outcome, figures, (low, high), floors.tier1_recall, cases=len(hits), walks=len(walks))


def _nothing(name: str, about: str, do: str) -> Rule:
    """A floor of which nothing is known, whatever the settings ask for."""
    return Rule(name, about, "not judged", f"there is no held-out real moment to judge it on: {do}", "trial")


def _walks(evidence: Evidence, floors: FloorSettings, settings: GateSettings) -> Iterator[Rule]:
    walks = [walk for walk in evidence.candidate.walks if walk.group == REAL]
    minutes = sum(walk.minutes for walk in walks)
    if minutes <= 0:
        text = (
            "no held-out walk has moments that follow one another, so that false alarms a minute cannot be counted: "
            f"flag a stretch of a walk, or label a video (waycue-server label) and hold it out ({HOLD_OUT} WALK)"
        )
        yield Rule("false alarms a minute", REAL, "not judged", text, "trial", bound=floors.false_alarms)
        return
    alarms = sum(walk.alarms for walk in walks)
    low, high = resample.rate(
        [walk.alarms for walk in walks], [walk.minutes for walk in walks], resamples=settings.bootstrap
    )
    told = (
        f"{_count(alarms, 'false alarm')} in {minutes:.1f} minutes of {_count(len(walks), 'held-out walk')} "
        f"({alarms / minutes:.2f} a minute; 95 % interval {low:.2f} to {high:.2f}); the upper end may be at most "
        f"{floors.false_alarms:g}"
    )
    good = high <= floors.false_alarms
    if not good and alarms / minutes <= floors.false_alarms:
        needed = resample.byar(0, 1.0)[1] / floors.false_alarms
        told += f". Hold out more: without one alarm it takes {needed:.1f} minutes of two walks ({HOLD_OUT} WALK)"
    elif not good:
        told += ". Confirm as “nothing should be said” more moments of that kind, on walks that teach"
    figures = {"alarms": alarms, "minutes": minutes, "a_minute": alarms / minutes}
    yield Rule(
        "false alarms a minute",
        REAL,
        *_outcome(good, told),
        figures,
        (low, high),
        floors.false_alarms,
        walks=len(walks),
    )
    repeats = sum(walk.repeats for walk in walks)
    text = f"{_count(repeats, 'repeat')} within 10 s on whole held-out walks, at most {floors.repeats} may be"
    outcome = _outcome(repeats <= floors.repeats, text)
    yield Rule("repeats", REAL, *outcome, {"repeats": repeats}, bound=floors.repeats, walks=len(walks))


def _grammar(cases: Sequence[CaseScore], floors: FloorSettings) -> Rule:
    kept = sum(case.grammatical for case in cases)
    told = f"{kept} of {len(cases)} of its sentences may be said, the share must be at least {floors.grammar:g}"
    figures: dict[str, float | int | str] = {"share": kept / len(cases)}
    good = kept / len(cases) >= floors.grammar
    return _floor("grammar", REAL, told, good=good, bound=floors.grammar, interval=None, cases=cases, figures=figures)


def _calibrated(
    cases: Sequence[CaseScore], group: str, bound: float, settings: GateSettings, *, leads_to: LeadsTo
) -> Rule:
    sure, right = [case.confidence for case in cases], [case.right for case in cases]
    found = calibration(sure, right).ece or 0.0
    chance = _chance(sure, resamples=settings.bootstrap // 10)
    over = sum(sure) / len(sure) - sum(right) / len(right)
    told = (
        f"confidence and the share of right sentences are {found:.3f} apart on {len(cases)} {group} moments (mean "
        f"confidence {sum(sure) / len(sure):.2f}, right {sum(right) / len(right):.2f}); at most {bound:g} is allowed, "
        f"and chance alone makes up to {chance:.3f}"
    )
    good = found <= bound or found <= chance
    if not good:
        way = "sure of what is wrong" if over > 0 else "unsure of what is right"
        told += f": it is uncalibrated, {way}. Put a whole walk or two into the golden set ({GOLDEN_ADD} WALK): "
        told += "models are calibrated on those"
    figures = {"error": found, "chance": chance, "overconfidence": over}
    walks = len({case.walk for case in cases})
    return Rule("calibration", group, *_outcome(good, told, leads_to), figures, None, bound, len(cases), walks)


def _fitted(evidence: Evidence, settings: GateSettings) -> Rule:
    """Without enough to fit on, confidence is what the base happened to say."""
    found, least, walks = evidence.calibrated, settings.calibration_cases, settings.calibration_walks
    told = (
        f"calibrated on {_count(found.moments, 'moment')} of {_count(found.walks, 'golden walk')}, {least} of "
        f"{_count(walks, 'walk')} are needed"
    )
    common = ({"moments": found.moments}, None, float(least), found.moments, found.walks)
    if found.moments >= least and found.walks >= walks:
        return Rule("calibrated on", "golden walks", "passed", told, "", *common)
    text = f"only {told}: put whole walks into the golden set ({GOLDEN_ADD} WALK) and confirm their moments"
    return Rule("calibrated on", "golden walks", "not judged", text, "trial", *common)


def _sure(evidence: Evidence) -> Rule:
    if evidence.calibrated.sure:
        text = "from a confidence on its sentences are right in 9 of 10 cases"
        return Rule("sure enough", "golden walks", "passed", text)
    text = (
        "at no confidence are its sentences right in 9 of 10 cases on golden walks, so that what may be spoken cannot "
        "be told: record and confirm more on walks that teach"
    )
    return Rule("sure enough", "golden walks", "failed", text, "trial")


def _chance(sure: Sequence[float], *, resamples: int) -> float:
    """Of perfectly calibrated models, 95 % have at most this error on so few cases (Bröcker & Smith 2007)."""
    rng = np.random.default_rng(1)
    probabilities = np.asarray(sure, float)
    errors = [
        calibration(sure, list(rng.random(len(probabilities)) < probabilities)).ece or 0.0 for _ in range(resamples)
    ]
    return float(np.quantile(errors, 0.95))


def _golden(evidence: Evidence, floors: FloorSettings) -> Rule:
    export = evidence.export
    figures = {"pictures": export.golden, "stops": export.golden_stops}
    told = f"{export.golden_stops} golden pictures of {TIERS[1]} that it has right, {floors.golden_stops} are needed"
    if export.golden_stops >= floors.golden_stops:
        return Rule("golden pictures", TIERS[1], "passed", told, "", figures, bound=floors.golden_stops)
    short = floors.golden_stops - export.golden_stops
    none = "no golden picture" if not export.golden_stops else f"only {_count(export.golden_stops, 'golden picture')}"
    text = (
        f"{none} of {TIERS[1]} that it has right, {floors.golden_stops} are needed: a device could not tell whether it "
        f"sees them there. Add {short} confirmed moments that nobody learns from ({GOLDEN_ADD} ID), or wait until it "
        "has those of the golden set right (waycue-server samples golden list)"
    )
    return Rule("golden pictures", TIERS[1], "not judged", text, "trial", figures, bound=floors.golden_stops)


def _floor(
    name: str,
    about: str,
    told: str,
    *,
    good: bool,
    bound: float,
    interval: tuple[float, float] | None,
    cases: Sequence[CaseScore],
    figures: dict[str, float | int | str],
) -> Rule:
    walks = len({case.walk for case in cases})
    return Rule(name, about, *_outcome(good, told), figures, interval, bound, len(cases), walks)


def _outcome(good: bool, told: str, leads_to: LeadsTo = "trial") -> tuple[Found, str, LeadsTo]:
    """(verdict, sentence, what follows)"""
    return ("passed", told, "") if good else ("failed", told, leads_to)


def _more_of(least: float) -> str:
    needed = resample.cases_for(1 - least, z=resample.Z95)
    return f"Without one error it takes {needed} of them: hold out more walks ({HOLD_OUT} WALK)"


def _most(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common(3))


def _noun(tier: int, count: int) -> str:
    if tier == SILENCE:
        return "moments with nothing to say" if count != 1 else "moment with nothing to say"
    return f"{'moment' if count == 1 else 'moments'} of {TIERS[tier]}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"
