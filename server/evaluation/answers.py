"""How good is a bundle? Always the quantised bundle, through the runtime that the device runs.

A case is one picture with what should be said. Cases come from rendered frames on seeds that training never draws from,
from held-out rows of the dataset, and from every correction that a person verified.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server import walks
from server.evaluation.facts import DRAWN, seen_side
from server.evaluation.measures import Proportion, percentile, wilson
from shared import vocabulary
from shared.runtime import Execution, GuidanceModel

# Training seeds its generator with [SEED + step, worker] and its walks below 2**32; these never meet it.
HELD_OUT_SEED = 9_000_000_000
CALIBRATION_SEED = 8_000_000_000
CALIBRATION_WALK_S = 24.0
SIZE = (320, 240)
RIGHT_LEAST = 0.9
FLAGGED = 0.1
HAZARD_GRID = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
PRECISION = 4.0
"""How much a hazard that is not there weighs against one that is missed: what one look misses, the next one sees."""
SPEAK_GRID = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


@dataclass(frozen=True, slots=True)
class Case:
    """One picture and the sentence that is right for it."""

    case_id: str
    group: str
    image: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    text: str
    """The right sentence; vocabulary.CLEAR where nothing should be said."""
    previous: NDArray[np.uint8] | None = None
    """[h, w, 3] RGB, the picture one look before, for models that are given two"""
    sound: NDArray[np.float32] | None = None
    """[samples] at 16 kHz, for models that hear"""
    there: frozenset[tuple[str, str]] | None = None
    """All (object, side) within reach; None where only the one that the sentence names is known"""
    walk: str = ""
    """The walk it is of; moments of one walk are alike"""

    @property
    def unit(self) -> str:
        """The unit of resampling: its walk; a single drawn frame is a walk of its own."""
        return self.walk or self.case_id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bundle said to a case."""

    case: Case
    text: str
    confidence: float
    scores: tuple[tuple[str, str, float], ...]
    """(object, side, score) of the hazard head, best first, the first eight"""
    look_ms: float
    word_ms: float
    grammatical: bool = True
    """Whether the decoder kept to the grammar by itself."""

    @property
    def right(self) -> bool:
        """The whole instruction: same action, object and side."""
        return vocabulary.parse(self.text) == vocabulary.parse(self.case.text)

    @property
    def silence_due(self) -> bool:
        return self.case.text == vocabulary.CLEAR

    @property
    def object_right(self) -> bool:
        return named(self.text) == named(self.case.text)


def named(text: str) -> str:
    """The object a sentence names, "" where it names none."""
    return _slots(text).object


def rendered_cases(count: int, *, objects: Sequence[str] = walks.KNOWN, want: str = "", seed: int = 0) -> list[Case]:
    """Held-out rendered frames. With `want` every picture's instruction names that object."""
    cases = []
    for index in range(count):
        rng = np.random.default_rng([HELD_OUT_SEED, seed, index])
        shot = walks.random_frame(rng, objects=objects, width_px=SIZE[0], height_px=SIZE[1], want=want or None)
        cases.append(_rendered_case(f"rendered-{seed}-{index}", shot, walk=f"rendered-{seed}-{index}"))
    return cases


def walk_cases(count: int, *, seed: int = 0) -> list[Case]:
    """Looks of held-out walks, a second apart: what to calibrate on, for a model is less right among things at all
    distances than on frames that each show one thing within reach."""
    cases: list[Case] = []
    for number, route in enumerate(itertools.cycle(walks.ROUTES.values())):
        walk = walks.walk_along(route, seed=CALIBRATION_SEED + seed * 10_000 + number, duration_s=CALIBRATION_WALK_S)
        for t_s in np.arange(0.5, CALIBRATION_WALK_S):
            if len(cases) == count:
                return cases
            shot = walks.render_frame(walk, float(t_s), *SIZE)
            cases.append(_rendered_case(f"walk-{seed}-{len(cases)}", shot, walk=f"walk-{seed}-{number}"))
    raise AssertionError("routes without end")


def _rendered_case(case_id: str, shot: walks.Rendered, *, walk: str) -> Case:
    there = frozenset((seen.object, seen.side) for seen in shot.seen)
    return Case(case_id, DRAWN, shot.image, shot.instruction or vocabulary.CLEAR, there=there, walk=walk)


def run(
    folder: Path,
    cases: Sequence[Case],
    *,
    threads: int = 2,
    progress: Callable[[str], None] = lambda text: None,
    calibrated: bool = True,
) -> list[Answer]:
    """Look at and word every case with the bundle in `folder`. Raises: BundleError.

    calibrated: False = as it would answer with a manifest without calibration
    """
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    if not calibrated:
        bare = {name: value for name, value in model.manifest.model.items() if name != "calibration"}
        model = GuidanceModel(folder, replace(model.manifest, model=bare), execution=Execution(threads))
    answers = []
    for index, case in enumerate(cases):
        before = None if case.previous is None else model.look(case.previous)
        started = time.perf_counter()
        observation = model.look(case.image, case.sound, before=before)
        looked = time.perf_counter()
        instruction = model.word(observation)
        worded = time.perf_counter()
        best = tuple((h.object, h.side, round(h.score, 4)) for h in observation.hazards[:8])
        look_ms, word_ms = (looked - started) * 1e3, (worded - looked) * 1e3
        answers.append(
            Answer(case, instruction.text, instruction.confidence, best, look_ms, word_ms, instruction.grammatical)
        )
        if index % 100 == 99:
            progress(f"evaluated {index + 1}/{len(cases)}")
    return answers


def thresholds(answers: Sequence[Answer]) -> dict[str, float]:
    """Recalibrate what travels in the bundle, from answers to cases that training never saw.

    answers: with calibrated confidence
    hazard_above: the score that separates best (highest F0.5) hazards that are there from those that are not
    speak_above: a sentence less sure than this is kept to oneself. From it on at least RIGHT_LEAST of them are right
    flag_below: a sentence less sure than this is worth a person's look: all that are kept to oneself, or the least sure
    FLAGGED of them if that is more
    """
    known = [pair for answer in answers for pair in known_hazards(answer)]
    best = max(HAZARD_GRID, key=lambda level: (_f_half(known, level), -abs(level - 0.5)))
    speak = next((level for level in SPEAK_GRID if _right_from(answers, level) >= RIGHT_LEAST), SPEAK_GRID[-1])
    least_sure = percentile([a.confidence for a in answers], 100 * FLAGGED)
    return {"hazard_above": best, "speak_above": speak, "flag_below": round(min(0.95, max(speak, least_sure)), 3)}


def known_hazards(answer: Answer) -> Iterator[tuple[float, bool]]:
    """(score, whether it is there) of each scored (object, side) of which that is known, as it was when training.

    Where only a sentence is known: its own object at each side; all of them where a person confirmed silence; none
    where it names no object ("Turn right."), for it says nothing of things.
    """
    for _, score, there in known_pairs(answer):
        yield score, there


def known_pairs(answer: Answer) -> Iterator[tuple[str, float, bool]]:
    """The same with the object before it."""
    case = answer.case
    name, side = named(case.text), seen_side(_slots(case.text).side)
    scored = {(other, at): score for other, at, score in answer.scores}
    there = case.there if case.there is not None else {(name, side)} if name else frozenset()
    for missed, _ in there - scored.keys():
        yield missed, 0.0, True
    for pair, score in scored.items():
        if case.there is not None or case.text == vocabulary.CLEAR or pair[0] == name:
            yield pair[0], score, pair in there


def measured(answers: Sequence[Answer], *, above: float) -> dict[str, dict[str, float]]:
    """Object → how often it is there when it counts as seen, of how many pictures: the manifest's `measured`.

    answers: to real pictures that taught nothing; above: the score from which a hazard counts as seen
    """
    seen, right = Counter[str](), Counter[str]()
    for answer in answers:
        pairs = [(name, there) for name, score, there in known_pairs(answer) if score >= above]
        seen.update({name for name, _ in pairs})
        right.update({name for name, there in pairs if there})
    return {name: {"precision": round(right[name] / of, 4), "of": of} for name, of in sorted(seen.items())}


def sure_enough(answers: Sequence[Answer]) -> bool:
    """Whether at some level there are sentences, and at least RIGHT_LEAST of them right."""
    return any(
        any(a.confidence >= level for a in answers) and _right_from(answers, level) >= RIGHT_LEAST
        for level in SPEAK_GRID
    )


def _right_from(answers: Sequence[Answer], level: float) -> float:
    """Share of right ones among the answers of at least that confidence; 1 where there are none."""
    said = [a.right for a in answers if a.confidence >= level]
    return sum(said) / len(said) if said else 1.0


def summary(answers: Sequence[Answer]) -> dict[str, object]:
    """The figures of a model card, as plain JSON."""
    hazards = [a for a in answers if not a.silence_due]
    return {
        "frames": len(answers),
        "instruction_right": _mean([a.right for a in answers]),
        "object_right": _mean([a.object_right for a in hazards]),
        "silence_right": _mean([a.object_right for a in answers if a.silence_due]),
        "false_clear": _mean([a.text == vocabulary.CLEAR for a in hazards]),
        "grammar": _mean([a.grammatical and not vocabulary.problems(a.text) for a in answers]),
        "recall_by_tier": _recall_by_tier(hazards),
        "objects": by_object(answers),
        **_times(answers),
    }


def by_object(answers: Sequence[Answer]) -> dict[str, object]:
    """Object → of the cases about it, those at which it was named (recall), and the other way round (precision)."""
    pairs = [(named(answer.case.text), named(answer.text)) for answer in answers]
    due, said = Counter(due for due, _ in pairs), Counter(said for _, said in pairs)
    right = Counter(due for due, said in pairs if due == said)
    return {
        name: {
            "recall": asdict(Proportion.of(right[name], due[name])),
            "precision": asdict(Proportion.of(right[name], said[name])),
        }
        for name in sorted((set(due) | set(said)) - {""})
    }


def _recall_by_tier(hazards: Sequence[Answer]) -> dict[str, object]:
    return {
        str(tier): _recall([a for a in hazards if vocabulary.tier(_slots(a.case.text)) == tier]) for tier in (1, 2, 3)
    }


def _recall(answers: Sequence[Answer]) -> dict[str, object]:
    hits = sum(answer.object_right for answer in answers)
    interval = tuple(round(end, 4) for end in wilson(hits, len(answers)))
    return {"cases": len(answers), "recall": _mean([a.object_right for a in answers]), "wilson": interval}


def _times(answers: Sequence[Answer]) -> dict[str, object]:
    return {
        "look_ms": _half_and_95([a.look_ms for a in answers]),
        "word_ms": _half_and_95([a.word_ms for a in answers]),
    }


def _half_and_95(values: Sequence[float]) -> dict[str, float]:
    return {"p50": percentile(values, 50), "p95": percentile(values, 95)}


def _mean(hits: Sequence[bool]) -> float:
    return round(sum(hits) / len(hits), 4) if hits else 0.0


def confusion(answers: Sequence[Answer]) -> dict[str, Counter[str]]:
    """true object → how often each object was named; "(clear)" = none."""
    table: dict[str, Counter[str]] = {}
    for answer in answers:
        table.setdefault(named(answer.case.text) or "(clear)", Counter())[named(answer.text) or "(clear)"] += 1
    return table


def _slots(text: str) -> vocabulary.Slots:
    """What a sentence says; empty slots where it cannot be read."""
    return vocabulary.parse(text) or vocabulary.Slots("")


def _f_half(known: Sequence[tuple[float, bool]], level: float) -> float:
    """F0.5 of taking every hazard of at least that score for there (van Rijsbergen 1979)."""
    hit = sum(there for score, there in known if score >= level)
    false = sum(not there for score, there in known if score >= level)
    missed = sum(there for score, there in known if score < level)
    weighed = (1 + 1 / PRECISION) * hit
    return weighed / max(1.0, weighed + false + missed / PRECISION)
