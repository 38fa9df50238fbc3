"""What the loop is judged by: hazards warned of on the golden set, the audit beside the truth, the queue's gain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from server.dataset import material
from server.dataset.sample_row import SampleRow
from server.evaluation import answers as evaluate
from server.evaluation.measures import wilson
from server.gate import cases, scoring
from server.review import stats
from shared import bundle as bundles

FIRST = 50
"""Moments of the queue that are looked at."""
SURE = 0.99
"""Confidence of the interval that the truth must lie in: a run has one audit, and must not fail by chance."""


def golden_recall(folder: Path, dataset: Path, rows: Sequence[SampleRow], *, threads: int) -> tuple[int, int]:
    """(warned of, there are): things to stop for on confirmed moments of the golden set, as the gate counts a warning.

    folder: of a bundle. raises: BundleError
    """
    stops = [row for row in cases.golden(rows) if scoring.tier_of(row.ground_truth) == 1]
    chosen = list(cases.cases(dataset, [(row, "golden") for row in stops], material.Senses(), progress=print))
    answers = evaluate.run(folder, chosen, threads=threads)
    scored = scoring.case_scores(answers, bundles.read_manifest(folder).thresholds)
    return sum(score.warned for score in scored), len(scored)


def bound(hits: int, count: int) -> float:
    """What the next model in use must reach: the lower end of the 95 % interval of this one's recall. Pure."""
    return round(wilson(hits, count)[0], 4)


def audit(rows: Sequence[SampleRow], *, right: int, chunks: int) -> dict[str, Any]:
    """Accuracy as the audit stream tells it, beside that of all chunks that the devices ever saw. Pure."""
    said = stats.summary(rows).audit
    truth = right / chunks if chunks else None
    low, high = wilson(said.right, said.judged, SURE) if said.judged else (0.0, 1.0)
    return {
        "right": said.right,
        "judged": said.judged,
        "estimate": None if said.rate is None else round(said.rate, 4),
        "interval": [round(low, 4), round(high, 4)],
        "confidence": SURE,
        "truth": None if truth is None else round(truth, 4),
        "chunks": chunks,
        "holds": truth is not None and said.judged > 0 and low <= truth <= high,
    }


def queue_gain(listed: Sequence[str], wrong: Collection[str], *, of: int) -> dict[str, Any]:
    """Mistakes among the first FIRST of a queue, beside how many as many moments drawn at random would hold: a queue
    that is shorter is not the better for it. Pure.

    listed: moments in the queue's order; wrong: those of `of` moments that hold a mistake
    """
    found, mistakes = sum(name in wrong for name in listed[:FIRST]), len(wrong)
    random = mistakes * min(FIRST, of) / of if of else 0.0
    return {
        "first": FIRST,
        "waiting": len(listed),
        "found": found,
        "mistakes": mistakes,
        "of": of,
        "random": round(random, 2),
        "gain": round(found / random, 2) if random else None,
        "best_possible": round(min(FIRST, mistakes) / random, 2) if random else None,
        "precision": round(found / len(listed[:FIRST]), 3) if listed else None,
        "recall": round(found / mistakes, 3) if mistakes else None,
    }


def judged_rules(gate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparisons with the champion, as short as a table needs them. Pure."""
    names = ("name", "about", "verdict", "interval", "bound", "cases", "figures")
    return [{name: rule[name] for name in names} for rule in gate.get("rules", ()) if rule.get("figures")]
