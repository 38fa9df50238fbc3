"""What the hazards of each look are worth, picture by picture, whatever was said: recall, precision, AUC, ECE. Pure.

Events count a thing once, however long it was missed before; here each look counts. Where the truth is no more than
what somebody annotated, only objects that are annotated somewhere count: of the others nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.evaluation.facts import Drive, Moment, Thing
from server.evaluation.measures import FEW, Proportion, auc, calibration, ratio
from shared import vocabulary

Scores = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""(score, whether it is there) of every (object, side) of every look"""


def figures(drives: Sequence[Drive]) -> dict[str, Any]:
    """Of some drives together."""
    known = [moment for drive in drives for moment in drive.moments if moment.truth is not None]
    labelled = {name for moment in known for name, _ in _there(moment)}
    scored = [scores for drive in drives if (scores := _scores(drive, labelled)) is not None]
    return {"stops": _stops(known), "hazards": _hazards(scored), "objects": _objects(known, labelled)}


def _there(moment: Moment) -> frozenset[Thing]:
    assert moment.truth is not None
    return moment.truth.there


def _stops(known: Sequence[Moment]) -> dict[str, Any]:
    """Looks at which one should stop. right: a thing to stop for that is there was above the threshold; false: one was,
    of the looks at which none is there."""
    due = [moment for moment in known if _to_stop_for(_there(moment))]
    others = [moment for moment in known if not _to_stop_for(_there(moment))]
    right = sum(bool(_to_stop_for(_there(moment)) & moment.sure) for moment in due)
    return {
        "recall": asdict(Proportion.of(right, len(due))),
        "false": asdict(Proportion.of(sum(bool(_to_stop_for(moment.sure)) for moment in others), len(others))),
    }


def _to_stop_for(things: Iterable[Thing]) -> set[Thing]:
    return {thing for thing in things if vocabulary.tier(vocabulary.Slots("", *thing)) == 1}


def _objects(known: Sequence[Moment], labelled: set[str]) -> dict[str, Any]:
    """Object → how many of its looks show it (recall), and how many of the looks that do are right (precision)."""
    there, seen, both = (Counter[str]() for _ in range(3))
    for moment in known:
        there.update(name for name, _ in _there(moment))
        seen.update(name for name, _ in moment.sure)
        both.update(name for name, _ in _there(moment) & moment.sure)
    return {
        name: {
            "recall": asdict(Proportion.of(both[name], there[name])),
            "precision": asdict(Proportion.of(both[name], seen[name])),
        }
        for name in sorted(labelled | set(seen))
    }


def _scores(drive: Drive, labelled: set[str]) -> Scores | None:
    """None where nothing was scored that is known."""
    columns = [at for at, (name, _) in enumerate(drive.pairs) if drive.course.exact or name in labelled]
    scored = [moment for moment in drive.moments if moment.truth is not None and moment.scores is not None]
    if not columns or not scored:
        return None
    values = np.zeros((len(scored), len(drive.pairs)), np.float32)
    for row, moment in zip(values, scored, strict=True):
        if moment.scores is not None:
            row[: len(moment.scores)] = moment.scores
    values = values[:, columns]
    pairs = [drive.pairs[at] for at in columns]
    there = np.array([[pair in _there(moment) for pair in pairs] for moment in scored])
    unscored = sum(len(_there(moment) - set(drive.pairs)) for moment in scored)
    zeros, missed = np.zeros(unscored, np.float32), np.ones(unscored, np.bool_)
    return np.concatenate([values.ravel(), zeros]), np.concatenate([there.ravel(), missed])


def _stretches(scores: Scores, drives: int) -> Iterable[Scores]:
    """One walk for the interval; of few walks stretches of each, for of one alone there is none."""
    count = 1 if drives >= FEW else 10
    return zip(np.array_split(scores[0], count), np.array_split(scores[1], count), strict=True)


def _hazards(scored: Sequence[Scores]) -> dict[str, Any]:
    """AUC with its interval over walks, and ECE beside that of a model whose every score is 0."""
    scores = np.concatenate([one for one, _ in scored]) if scored else np.zeros(0, np.float32)
    there = np.concatenate([one for _, one in scored]) if scored else np.zeros(0, np.bool_)
    return {
        "pairs": len(scores),
        "there": int(there.sum()),
        "auc": auc([part for one in scored for part in _stretches(one, len(scored))]),
        "ece": calibration(scores, there).ece,
        "ece_of_zero": ratio(float(there.sum()), len(there)),
    }
