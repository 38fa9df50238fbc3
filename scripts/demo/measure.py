"""What was taught, measured: the bundles through the device's own runtime on rendered frames that nothing has seen."""

from __future__ import annotations

from collections.abc import Callable
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
    shares, answers = {}, {}
    for label, folder in (("before", before), ("after", after)):
        progress(f"measuring {name} and the known objects {label} the night")
        answers[label] = evaluate.run(folder, new)
        shares[label] = (_right(answers[label]), _right(evaluate.run(folder, known)))
    return Taught(
        name,
        len(new),
        len(known),
        shares["before"][0],
        shares["after"][0],
        shares["before"][1],
        shares["after"][1],
        tuple(answers["before"]),
        tuple(answers["after"]),
    )


def _right(answers: list[evaluate.Answer]) -> float:
    return round(sum(answer.right for answer in answers) / len(answers), 4)
