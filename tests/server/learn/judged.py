"""Evidence made of moments with known truth and a model that is a plain function: real scoring, real statistics."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from server.evaluation import annotated
from server.evaluation.answers import Answer, Case
from server.evaluation.facts import DRAWN, REAL, TAUGHT, Drive, Moment, Truth, Utterance, Words, seen_side
from server.gate import scoring
from server.gate.evidence import CalibrationBasis, Cost, Evidence, Export, Scores, WalkScore
from shared import vocabulary
from shared.policy import criteria

NOWHERE, IN_VIEW_S = Path("nowhere.jpg"), 12.0
PICTURE = np.zeros((2, 2, 3), np.uint8)
STOPS = ("Stop, curb ahead.", "Stop, vehicle ahead.", "Stop, stairs down ahead.")
OBSTACLES = ("Caution, pole on the left.", "Caution, pole on the right.", "Caution, person on the left.")
LANDMARKS = ("Continue straight, door on the right.", "Continue straight, crosswalk ahead.")


@dataclass(frozen=True, slots=True)
class Seen:
    """A moment whose truth is known."""

    number: int
    walk: str
    due: str
    group: str = REAL


Said = Callable[[Seen], tuple[str, float]]
"""A model: what it says to a moment, and how sure it is."""
Head = Callable[[Seen], tuple[tuple[str, str, float], ...]]
"""Its hazard head: (object, side, score)."""
THRESHOLDS = {"hazard_above": 0.5, "speak_above": 0.5, "flag_below": 0.5}


def held_out(walks: int = 16, each: int = 30, group: str = REAL) -> list[Seen]:
    """Of three moments one is to stop for; a sixth asks for silence."""
    due = (STOPS[0], OBSTACLES[0], STOPS[1], OBSTACLES[1], vocabulary.CLEAR, LANDMARKS[0], STOPS[2], OBSTACLES[2])
    return [
        Seen(n, f"{group}-{walk}", due[(n + walk) % len(due)], group)
        for walk in range(walks)
        for n in range(walk * each, (walk + 1) * each)
    ]


def corrections(count: int = 200) -> list[Seen]:
    """Confirmed corrections of one walk that teaches."""
    return [Seen(10_000 + n, "teaching", STOPS[n % 3], TAUGHT) for n in range(count)]


def right(seen: Seen) -> tuple[str, float]:
    """Knows everything, and knows it."""
    return seen.due, 0.99


def mostly(share: float, *, seed: int = 1, wrong: str = "Caution, pole ahead.") -> Said:
    """Right in that share of the moments, and as sure as that. What it says else is never silence."""

    def said(seen: Seen) -> tuple[str, float]:
        lucky = random.Random(f"{seed} {seen.group} {seen.number}").random() < share
        return (seen.due if lucky else wrong), share

    return said


def of_words(said: Said) -> Head:
    """A head that sees what the words name, and is as sure of it."""

    def scored(seen: Seen) -> tuple[tuple[str, str, float], ...]:
        text, confidence = said(seen)
        slots = vocabulary.parse(text)
        if slots is None or not slots.object or text == vocabulary.CLEAR:
            return ()
        return ((slots.object, seen_side(slots.side), confidence),)

    return scored


def scores(
    version: str, said: Said, moments: Iterable[Seen], *, use: str = "field", head: Head | None = None
) -> Scores:
    """A model on moments, and on the walks that the real ones make up. No head: one that sees what its words name."""
    head = head or of_words(said)
    listed = list(moments)
    answers = []
    for seen in listed:
        text, confidence = said(seen)
        case = Case(f"{seen.group}-{seen.number}", seen.group, PICTURE, seen.due, walk=seen.walk)
        answers.append(Answer(case, text, confidence, head(seen), 5.0, 2.0))
    walks = tuple(
        walk_of(walk, group, said, head, [seen for seen in listed if seen.walk == walk])
        for walk, group in dict.fromkeys((seen.walk, seen.group) for seen in listed if seen.group in (REAL, DRAWN))
        if sum(seen.walk == walk for seen in listed) > 2
    )
    return Scores(version, use, scoring.case_scores(answers, THRESHOLDS), walks)


def walk_of(walk: str, group: str, said: Said, head: Head, moments: list[Seen]) -> WalkScore:
    """The walk as if everything were spoken, things to stop for by the head and the rest by the words: each moment
    stays in view for 12 s, so that words may come again."""
    course = annotated.moments(walk, walk, [(NOWHERE, seen.due) for seen in moments], steps=[IN_VIEW_S] * len(moments))
    utterances, looked = [], []
    for n, seen in enumerate(moments):
        text, confidence = said(seen)
        t_s = n * IN_VIEW_S
        looked.append(Moment(t_s, truth(seen.due), True, (), Words(text, confidence, 1.0), 1.0, n))
        slots = vocabulary.parse(text)
        end_s, word_s = t_s + 2.5, t_s + 1.0
        stops = [found for found in head(seen) if found[2] >= 0.5 and criteria.tier_of(found[:2]) == 1]
        for thing, side, score in stops[:1]:
            words = vocabulary.instruct(thing, side)
            utterances.append(Utterance(t_s + 0.5, end_s, words, 1, "hazard", score, 1.0, word_s))
        if not stops and text != vocabulary.CLEAR and slots is not None and vocabulary.tier(slots) > 1:
            tier = vocabulary.tier(slots)
            utterances.append(Utterance(t_s + 0.5, end_s, text, tier, "worded", confidence, 1.0, word_s))
    return scoring.joined([scoring.walk_score(Drive(course, tuple(looked), tuple(utterances)))], walk=walk, group=group)


def evidence(candidate: Scores, champion: Scores | None = None, **changes: Any) -> Evidence:
    """With an export and a cost that nobody can object to."""
    export = Export(1.0, 50, 0.0, len(candidate.cases), (), 12, 6)
    cost = Cost(look_p95_ms=80.0, memory_mb=300.0, bundle_mb=6.0)
    fitted = CalibrationBasis(120, 4, sure=True)
    return replace(Evidence(candidate, champion, export, cost, calibrated=fitted), **changes)


def truth(due: str) -> Truth:
    slots = vocabulary.parse(due)
    if slots is None or not slots.object or due == vocabulary.CLEAR:
        return Truth((due,))
    return Truth((due,), frozenset([(slots.object, seen_side(slots.side))]))
