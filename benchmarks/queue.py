"""The review queue: how many of a model's errors stand among its first, by how many a random order would have there.

    make bench NAME=queue        the starter on drawn walks; writes build/bench/queue.json
    .venv/bin/python -m benchmarks.queue --model DIR     any bundle

The model words the middle of every chunk of drawn walks, in several surroundings, whose truth is known. A third of the
walks counts as reviewed; the moments of the others wait, flagged as a device would (unsure, or an audit of one in ten).
Three orders are compared: random (share 1 by definition), the present one (by flags, then the newest), and
`server.review.selection`. The measure is the share of errors among the first N ÷ the share among all that waits, with
the 95 % interval of a bootstrap over walks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.look import starter
from server.dataset.wording import means_the_same
from server.review import selection
from server.review.selection import Candidate, Confirmed
from server.walks import plan_walk, render_frame
from shared import atomic
from shared.chunk_format import CHUNK_S
from shared.runtime import GuidanceModel

OUT = Path("build/bench/queue.json")
FIRST = 50
BAR = 2.0
UNSURE_BELOW = 0.5
WHERE = (("day", "fair"), ("dusk", "fair"), ("day", "rain"))
SIZE = (320, 240)
RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Judged:
    """A moment whose truth is known."""

    candidate: Candidate
    wrong: bool


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--model", type=Path, metavar="DIR", help="bundle folder (default: the starter)")
    options.add_argument("--walks", type=int, default=18, help="of a minute each (default: 18)")
    options.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default: {OUT}")
    chosen = options.parse_args(argv)
    logging.disable(logging.INFO)
    console = Console()
    model = GuidanceModel.load(chosen.model or starter(console), allow_demo=True)
    walks = [walked(model, number, console) for number in range(chosen.walks)]
    measured = figures(walks[: chosen.walks // 3], walks[chosen.walks // 3 :])
    atomic.write_json(chosen.out, measured)
    console.print_json(json.dumps(measured))


def walked(model: GuidanceModel, number: int, console: Console) -> list[Judged]:
    """The moments of one drawn walk."""
    light, weather = WHERE[number % len(WHERE)]
    walk = plan_walk(7000 + number, light_name=light, weather_name=weather)
    rng = np.random.default_rng(number)
    out = []
    for chunk in range(int(walk.duration_s / CHUNK_S)):
        shot = render_frame(walk, (chunk + 0.5) * CHUNK_S, *SIZE)
        words = model.word(model.look(shot.image))
        audit = bool(rng.random() < 0.1)
        own = Candidate(
            sample_id=f"w{number:02d}-{chunk:03d}",
            walk_id=f"w{number:02d}",
            timestamp=number * 1000.0 + chunk,
            priority=3 if words.confidence < UNSURE_BELOW else 4,
            confidence=words.confidence,
            audit=audit,
            descriptor=selection.descriptor_of(shot.image),
        )
        out.append(Judged(own, not means_the_same(words.text, shot.instruction or "")))
    console.print(f"walk {number}: {sum(one.wrong for one in out)} of {len(out)} wrong")
    return out


def figures(reviewed: Sequence[list[Judged]], waiting: Sequence[list[Judged]]) -> dict[str, Any]:
    """All shares and gains. Pure."""
    confirmed = confirmed_of([one for walk in reviewed for one in walk])
    orders: dict[str, Callable[[Sequence[Candidate]], list[str]]] = {
        "present": present,
        "selection": lambda some: selection.order(some, confirmed),
        "selection_nothing_confirmed": selection.order,
    }
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(waiting), len(waiting)) for _ in range(RESAMPLES)]
    share = float(np.mean([one.wrong for one in itertools.chain(*waiting)]))
    out: dict[str, Any] = {
        "moments": sum(map(len, waiting)),
        "reviewed": len(confirmed.wrong),
        "first": FIRST,
        "share": share,
    }
    out["random"], out["bar"] = 1.0, BAR
    out["best_possible"] = min(1.0, share * out["moments"] / FIRST) / share if share else None
    for name, order in orders.items():
        value = gain(list(waiting), order)
        spread = [gain([renamed(waiting[at], place) for place, at in enumerate(draw)], order) for draw in draws]
        low, high = np.percentile(spread, (2.5, 97.5))
        out[name] = {"gain": value, "low": float(low), "high": float(high)}
    return out


def confirmed_of(known: Sequence[Judged]) -> Confirmed:
    """What was reviewed, as the selection takes it. Pure."""
    pairs = [(own, one.wrong) for one in known if (own := one.candidate.descriptor) is not None]
    return Confirmed(np.stack([own for own, _ in pairs]), np.array([wrong for _, wrong in pairs]))


def gain(walks: Sequence[list[Judged]], order: Callable[[Sequence[Candidate]], list[str]]) -> float:
    """The measure of one order. Pure."""
    wrong = {one.candidate.sample_id: one.wrong for walk in walks for one in walk}
    found = order([one.candidate for walk in walks for one in walk])
    share = sum(wrong.values()) / len(wrong)
    return selection.gain([wrong[name] for name in found[:FIRST]], share) if share else 0.0


def renamed(walk: Sequence[Judged], place: int) -> list[Judged]:
    """A walk drawn once more is another one."""
    return [Judged(_as(one.candidate, place), one.wrong) for one in walk]


def _as(own: Candidate, place: int) -> Candidate:
    return replace(own, sample_id=f"{place}-{own.sample_id}", walk_id=f"{place}-{own.walk_id}")


def present(some: Sequence[Candidate]) -> list[str]:
    """By flags, then the newest: the order without selection. Pure."""
    return [one.sample_id for one in sorted(some, key=lambda one: (one.priority, -one.timestamp, one.sample_id))]


if __name__ == "__main__":
    main()
