"""How good is a bundle? Always the quantised bundle, through the runtime that the device runs.

A case is one picture with what should be said. Cases come from rendered frames on seeds that training never draws from,
from held-out rows of the dataset, and from every correction that a person verified.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server import walks
from server.learn.gate import CaseScore, Scores
from shared import vocabulary
from shared.runtime import GuidanceModel

# Training seeds its generator with [SEED + step, worker]; these never meet it.
HELD_OUT_SEED = 9_000_000_000
SIZE = (320, 240)


@dataclass(frozen=True, slots=True)
class Case:
    """One picture and the sentence that is right for it."""

    case_id: str
    group: str
    image: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    text: str
    """The right sentence; vocabulary.CLEAR where nothing should be said."""


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

    @property
    def right(self) -> bool:
        """The whole instruction: same action, object and side."""
        return vocabulary.parse(self.text) == vocabulary.parse(self.case.text)

    @property
    def object_right(self) -> bool:
        return named(self.text) == named(self.case.text)


def named(text: str) -> str:
    """The object a sentence names, "" where it names none."""
    slots = vocabulary.parse(text)
    return slots.object if slots else ""


def rendered_cases(count: int, *, objects: Sequence[str] = walks.KNOWN, want: str = "", seed: int = 0) -> list[Case]:
    """Held-out rendered frames. With `want` every picture's instruction names that object."""
    cases = []
    for index in range(count):
        rng = np.random.default_rng([HELD_OUT_SEED, seed, index])
        shot = walks.random_frame(rng, objects=objects, width_px=SIZE[0], height_px=SIZE[1], want=want or None)
        cases.append(Case(f"rendered-{seed}-{index}", "known", shot.image, shot.instruction or vocabulary.CLEAR))
    return cases


def run(
    folder: Path, cases: Sequence[Case], *, threads: int = 2, progress: Callable[[str], None] = lambda text: None
) -> list[Answer]:
    """Look at and word every case with the bundle in `folder`. Raises: BundleError."""
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    answers = []
    for index, case in enumerate(cases):
        started = time.perf_counter()
        observation = model.look(case.image)
        looked = time.perf_counter()
        instruction = model.word(observation)
        worded = time.perf_counter()
        best = tuple((h.object, h.side, round(h.score, 4)) for h in observation.hazards[:8])
        answers.append(
            Answer(
                case, instruction.text, instruction.confidence, best, (looked - started) * 1e3, (worded - looked) * 1e3
            )
        )
        if index % 100 == 99:
            progress(f"evaluated {index + 1}/{len(cases)}")
    return answers


def scores(version: str, answers: Sequence[Answer], *, parity: float, size_bytes: int) -> Scores:
    """What the gate compares."""
    cases = tuple(
        CaseScore(
            answer.case.case_id,
            answer.case.group,
            _tier(answer.case.text),
            answer.right,
            answer.text == vocabulary.CLEAR and answer.case.text != vocabulary.CLEAR,
        )
        for answer in answers
    )
    return Scores(version, cases, percentile([a.look_ms for a in answers], 95), parity, size_bytes)


def thresholds(answers: Sequence[Answer]) -> dict[str, float]:
    """Recalibrate what travels in the bundle, from answers to cases that training never saw.

    hazard_above: the score that separates best (highest F1) hazards that are there from those that are not
    speak_above: a sentence less sure than this is kept to oneself: 0.5
    flag_below: sentences less sure than this are worth a person's look: the lower quarter of the right ones
    """
    truth = [(named(a.case.text), _side(a.case.text)) for a in answers]
    grid = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    best = max(grid, key=lambda level: _f1(answers, truth, level)) if answers else 0.5
    right = [a.confidence for a in answers if a.right]
    return {
        "hazard_above": best,
        "speak_above": 0.5,
        "flag_below": round(min(0.9, max(0.5, percentile(right, 25))) if right else 0.5, 3),
    }


def summary(answers: Sequence[Answer]) -> dict[str, object]:
    """The figures of a model card, as plain JSON."""
    hazards = [a for a in answers if a.case.text != vocabulary.CLEAR]
    clear = [a for a in answers if a.case.text == vocabulary.CLEAR]
    by_tier = {}
    for tier in (1, 2, 3):
        some = [a for a in hazards if _tier(a.case.text) == tier]
        hit = sum(a.object_right for a in some)
        by_tier[str(tier)] = {"cases": len(some), "recall": _share(hit, len(some)), "wilson": wilson(hit, len(some))}
    return {
        "frames": len(answers),
        "instruction_right": _share(sum(a.right for a in answers), len(answers)),
        "object_right": _share(sum(a.object_right for a in hazards), len(hazards)),
        "silence_right": _share(sum(a.object_right for a in clear), len(clear)),
        "false_clear": _share(sum(a.text == vocabulary.CLEAR for a in hazards), len(hazards)),
        "grammar": _share(sum(not vocabulary.problems(a.text) for a in answers), len(answers)),
        "recall_by_tier": by_tier,
        "look_ms": {
            "p50": percentile([a.look_ms for a in answers], 50),
            "p95": percentile([a.look_ms for a in answers], 95),
        },
        "word_ms": {
            "p50": percentile([a.word_ms for a in answers], 50),
            "p95": percentile([a.word_ms for a in answers], 95),
        },
    }


def confusion(answers: Sequence[Answer]) -> dict[str, Counter[str]]:
    """true object → how often each object was named; "(clear)" = none."""
    table: dict[str, Counter[str]] = {}
    for answer in answers:
        table.setdefault(named(answer.case.text) or "(clear)", Counter())[named(answer.text) or "(clear)"] += 1
    return table


def wilson(hits: int, count: int, *, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) where nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, square = hits / count, z * z / count
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return round(centre - half, 4), round(centre + half, 4)


def percentile(values: Sequence[float], q: float) -> float:
    return round(float(np.percentile(np.asarray(values), q)), 3) if len(values) else 0.0


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _tier(text: str) -> int:
    slots = vocabulary.parse(text)
    return vocabulary.tier(slots) if slots else 3


def _side(text: str) -> str:
    slots = vocabulary.parse(text)
    return slots.side if slots else ""


def _f1(answers: Sequence[Answer], truth: Sequence[tuple[str, str]], level: float) -> float:
    """Of the most certain hazard per picture: is it the one the sentence names?"""
    hit = false = missed = 0
    for answer, there in zip(answers, truth, strict=True):
        name, side, score = answer.scores[0]
        if score >= level:
            hit, false = (hit + 1, false) if (name, side) == there else (hit, false + 1)
            missed += bool(there[0]) and (name, side) != there
        else:
            missed += bool(there[0])
    return 2 * hit / max(1, 2 * hit + false + missed)
