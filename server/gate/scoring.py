"""Answers and drives → what the gate compares (server.gate.evidence). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from server.evaluation import slots, speech
from server.evaluation.answers import Answer, named
from server.evaluation.facts import TAUGHT, Drive
from server.gate.evidence import SILENCE, UNKNOWN, CaseScore, WalkScore
from shared import vocabulary
from shared.policy import PolicySettings, calibrated, criteria
from shared.runtime import Hazard


def case_scores(answers: Iterable[Answer], thresholds: Mapping[str, float]) -> tuple[CaseScore, ...]:
    """Each answer as a case.

    answers: calibrated, as the bundle gives them
    thresholds: of the same bundle
    """
    settings = calibrated(PolicySettings(), thresholds)
    return tuple(_case(answer, settings) for answer in answers)


def tier_of(text: str) -> int:
    """1 to 3 of what a sentence names, SILENCE, or UNKNOWN where it names nothing without being silence."""
    if text in ("", vocabulary.CLEAR):
        return SILENCE
    named = vocabulary.parse(text)
    return vocabulary.tier(named) if named is not None and named.object else UNKNOWN


def slot_f1(answers: Sequence[Answer]) -> float:
    """Of action, object, side and modifier, against the right sentences; 1 where nothing was to be said or was."""
    f1 = slots.scores([(answer.text, [answer.case.text]) for answer in answers]).f1 if answers else None
    return 1.0 if f1 is None else f1


def quantised(exact: Sequence[Answer], ours: Sequence[Answer]) -> tuple[float, int]:
    """(slot F1 that quantisation costs, on how many cases): of what is held out, for of what taught it all is easy.

    exact: the answers before it
    """
    before, after = ([answer for answer in some if answer.case.group != TAUGHT] for some in (exact, ours))
    return slot_f1(before) - slot_f1(after), len(after)


def walk_score(drive: Drive) -> WalkScore:
    """A driven course as the gate compares it."""
    alarms = [alarm.utterance.t_s for alarm in speech.false_alarms(drive)]
    again = [second.t_s for _, second in speech.repeats(drive)]
    stops = [answered for answered in speech.event_results(drive) if answered.event.tier == 1]
    step = drive.course.chunk_s
    chunks = max(1, round(drive.course.duration_s / step))
    spoilt = {min(chunks - 1, int(t_s / step)) for t_s in (*alarms, *again)}
    return WalkScore(
        walk=drive.course.group,
        group="",
        minutes=speech.Near(drive).known_s / 60,
        alarms=len(alarms),
        repeats=len(again),
        clean=tuple(chunk not in spoilt for chunk in range(chunks)),
        events=tuple(stop.by is not None or stop.covered for stop in stops),
    )


def joined(scores: Sequence[WalkScore], *, walk: str, group: str) -> WalkScore:
    """The stretches of one walk as one."""
    return WalkScore(
        walk,
        group,
        sum(score.minutes for score in scores),
        sum(score.alarms for score in scores),
        sum(score.repeats for score in scores),
        tuple(flag for score in scores for flag in score.clean),
        tuple(flag for score in scores for flag in score.events),
    )


def _case(answer: Answer, settings: PolicySettings) -> CaseScore:
    case, tier = answer.case, tier_of(answer.case.text)
    return CaseScore(
        case_id=case.case_id,
        group=case.group,
        walk=case.unit,
        tier=tier,
        right=answer.right,
        warned=_warned(answer, settings),
        false_clear=tier > 0 and not slots.read(answer.text),
        grammatical=not vocabulary.problems(answer.text),
        confidence=answer.confidence,
        thing=named(case.text),
    )


def _warned(answer: Answer, settings: PolicySettings) -> bool:
    """Would the wearer be warned of the thing at its side?

    Of a thing to stop for the policy warns by the hazard head alone, in words of its own: the decoder's count nothing.
    Of other things the decoder's words must name it at its side, and ask for about as much care.
    """
    due = vocabulary.parse(answer.case.text)
    if due is not None and due.object:
        key = (due.object, criteria.place_of(due.side))
        if criteria.tier_of(key) == 1:
            return key in criteria.seen_of([Hazard(*scored) for scored in answer.scores], settings)
    spoken, wanted = slots.read(answer.text), slots.read(answer.case.text)
    same = bool(wanted) and all(spoken.get(name) == wanted.get(name) for name in ("object", "side"))
    return same and slots.cost(answer.text, [answer.case.text]) <= 1
