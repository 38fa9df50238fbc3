"""What was taught, measured: the bundles through the device's own runtime on rendered frames that nothing has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server import walks
from server.evaluation import answers as evaluate

FRAMES = 150
KNOWN_FRAMES = 600
SEED = 4  # other held-out frames than the gate's and the golden chunks'


@dataclass(frozen=True, slots=True)
class Taught:
    """The report's `taught` section, and the answers for its pictures."""

    object: str
    held_out_frames: int
    known_frames: int
    right_before: float
    right_after: float
    known_objects_before: float
    known_objects_after: float
    before: tuple[evaluate.Answer, ...]
    after: tuple[evaluate.Answer, ...]


def taught(name: str, before: Path, after: Path, *, progress: Callable[[str], None]) -> Taught:
    """Whole instructions right (action, object, side) before and after, on the new object and on the known ones."""
    new = evaluate.rendered_cases(FRAMES, objects=(*walks.KNOWN, name), want=name, seed=SEED)
    known = evaluate.rendered_cases(KNOWN_FRAMES, seed=SEED)
    answers, shares = list[tuple[evaluate.Answer, ...]](), list[float]()
    for when, folder in (("before", before), ("after", after)):
        progress(f"measuring {name} and the known objects {when} the night")
        answers.append(tuple(evaluate.run(folder, new)))
        shares += [_right(answers[-1]), _right(evaluate.run(folder, known))]
    return Taught(name, len(new), len(known), shares[0], shares[2], shares[1], shares[3], answers[0], answers[1])


def _right(answers: Sequence[evaluate.Answer]) -> float:
    return round(sum(answer.right for answer in answers) / len(answers), 4)
