"""Which moments of the dataset a night is judged on, and what each of them is good for.

    walks that are held out     real cases and whole walks: nobody learns from them, nothing is fitted on them
    walks of the golden set     calibration, parity, golden pictures: nobody learns from them, nothing is judged on them
    single golden moments       golden pictures and parity; their walk may teach
    walks that teach            their confirmed corrections serve one rule, that none is forgotten

A picture that cannot be read is left out, and said.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from server.dataset import material, teaching, worth
from server.dataset.sample_row import SampleRow
from server.evaluation import annotated
from server.evaluation.answers import Case
from server.evaluation.facts import REAL, TAUGHT, Course
from server.gate.evidence import TeachingStock
from server.gate.scoring import tier_of
from shared import vocabulary
from shared.errors import DatasetError

TOGETHER_S = 2.5
"""Moments at most so far apart follow one another: a chunk is 2 s."""
STRETCH = 3
"""A stretch of fewer moments shows nothing of false alarms and repeats."""
Progress = Callable[[str], None]


def confirmed(view: Sequence[SampleRow], split: str) -> list[SampleRow]:
    """Confirmed rows of the walks of a split."""
    return [row for row in view if row.reviewed and row.split == split and teaching.may_teach(row.ground_truth)]


def golden(view: Sequence[SampleRow]) -> list[SampleRow]:
    """Confirmed rows of the golden set: those of its walks, and those that a person put in, without those taken out."""
    kept = [row for row in view if row.reviewed and teaching.may_teach(row.ground_truth)]
    return [row for row in kept if worth.is_golden(row)]


def held_out(view: Sequence[SampleRow], learnt: Sequence[str] = ()) -> list[SampleRow]:
    """Confirmed rows of walks that are held out, without the walks named."""
    return [row for row in confirmed(view, "held_out") if row.walk_id not in learnt]


def learnt(view: Sequence[SampleRow], teaching: Sequence[SampleRow]) -> dict[str, int]:
    """Walk that is held out → its moments whose very pictures also teach: it was brought in under two names."""
    pictures = {row.frame_path for row in teaching}
    return dict(Counter(row.walk_id for row in confirmed(view, "held_out") if row.frame_path in pictures))


def to_calibrate(view: Sequence[SampleRow], teaching: Sequence[SampleRow]) -> tuple[list[SampleRow], tuple[str, ...]]:
    """(confirmed rows of golden walks, walks left out): a golden walk of which any picture also teaches, or is judged
    on, under the name of another walk, is calibrated on nowhere."""
    known = {row.frame_path for row in (*teaching, *confirmed(view, "held_out"))}
    golden_rows = confirmed(view, "golden")
    spoiled = tuple(dict.fromkeys(row.walk_id for row in golden_rows if row.frame_path in known))
    return [row for row in golden_rows if row.walk_id not in spoiled], spoiled


def known_to(view: Sequence[SampleRow], taught: frozenset[str]) -> tuple[str, ...]:
    """Walks that are held out now, of which a model with these samples once learnt."""
    return tuple(dict.fromkeys(row.walk_id for row in view if row.split == "held_out" and row.sample_id in taught))


def stock(teaching: Sequence[SampleRow]) -> TeachingStock:
    """What could be held out: confirmed moments of the walks that teach, by tier."""
    counts: dict[str, Counter[int]] = {}
    for row in teaching:
        counts.setdefault(row.walk_id, Counter())[tier_of(row.ground_truth)] += 1
    return TeachingStock({walk: dict(tiers) for walk, tiers in counts.items()})


def real(
    folder: Path,
    view: Sequence[SampleRow],
    teaching: Sequence[SampleRow],
    senses: material.Senses,
    *,
    progress: Progress,
) -> list[Case]:
    """The held-out moments, and the corrections that teach."""
    spoiled = learnt(view, teaching)
    corrections = [row for row in teaching if row.correction_id]
    chosen = [*((row, REAL) for row in held_out(view, tuple(spoiled))), *((row, TAUGHT) for row in corrections)]
    return list(cases(folder, chosen, senses, progress=progress))


def cases(
    folder: Path, chosen: Sequence[tuple[SampleRow, str]], senses: material.Senses, *, progress: Progress
) -> Iterator[Case]:
    """(row, group) → case, with all that the model is given."""
    for row, group in chosen:
        try:
            image = material.picture(folder, row)
        except DatasetError as error:
            progress(f"left out: {error}")
            continue
        heard = material.sound(folder, row) if senses.sound else None
        earlier = material.before(folder, row) if senses.before else None
        text = row.ground_truth or vocabulary.CLEAR
        yield Case(row.sample_id, group, image, text, earlier, heard, walk=row.walk_id)


def courses(folder: Path, chosen: Sequence[SampleRow]) -> list[Course]:
    """Stretches of the walks of these rows, in order of time; a course's group is its walk."""
    out = []
    for walk in dict.fromkeys(row.walk_id for row in chosen):
        mine = sorted((row for row in chosen if row.walk_id == walk), key=lambda row: row.timestamp)
        for number, stretch in enumerate(_stretches(mine)):
            steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(stretch)]
            moments = [(folder / row.frame_path, row.ground_truth) for row in stretch]
            out.append(annotated.moments(f"{walk} {number}", walk, moments, steps=[*steps, annotated.STILL_S]))
    return out


def _stretches(ordered: Sequence[SampleRow]) -> Iterator[list[SampleRow]]:
    run: list[SampleRow] = []
    for row in ordered:
        if run and not 0 < row.timestamp - run[-1].timestamp <= TOGETHER_S:
            if len(run) >= STRETCH:
                yield run
            run = []
        run.append(row)
    if len(run) >= STRETCH:
        yield run
