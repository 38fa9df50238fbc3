"""`python looks.py WALK.mp4 BUNDLE`: what a model makes of a picture of each second, as JSON lines; for scripts/arm64.

    looks.py WALK.mp4 BUNDLE            a line for each second: what it would word, how sure it is, what it sees
    looks.py --compare ONE OTHER        1 unless both say the same words, with scores that differ by at most 0.1

It asks the model alone: no clock is in it, so that a machine of any speed must say the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MOST_SURE = 40  # hazards of a look, the most certain first: whatever is told of lies among them
SURE = 0.5  # below it nothing is worded, and the most likely words may change places
SCORES_DIFFER = 0.1  # kernels round differently; a model's thresholds are farther apart than that


def show(walk: Path, bundle: Path) -> None:
    import av
    import numpy as np

    from shared.bundle import FOR_JUDGING
    from shared.runtime import GuidanceModel

    model = GuidanceModel.load(bundle, allow=FOR_JUDGING)
    next_s = 0.0
    with av.open(str(walk)) as film:
        for frame in film.decode(video=0):
            if frame.time >= next_s:
                next_s += 1.0
                seen = model.look(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                hazards = {f"{one.object} {one.side}": round(float(one.score), 3) for one in seen.hazards[:MOST_SURE]}
                said = model.word(seen)
                worded = {"text": said.text, "confidence": round(float(said.confidence), 3)}
                print(json.dumps({"t_s": round(frame.time, 2), **worded, "hazards": hazards}), flush=True)


def differences(one: list[dict[str, object]], other: list[dict[str, object]]) -> list[str]:
    """What differs by more than rounding. Pure."""
    if len(one) != len(other):
        return [f"{len(one)} looks, {len(other)} looks"]
    return [text for a, b in zip(one, other, strict=True) for text in _differs(a, b)]


def _differs(a: dict[str, object], b: dict[str, object]) -> list[str]:
    scores, others = _scores(a), _scores(b)
    surest = max(scores["words"], others["words"])
    same = a["text"] == b["text"] or surest < SURE
    found = [] if same else [f"{a['t_s']} s: {a['text']!r}, {b['text']!r}"]
    for name in sorted(scores.keys() | others.keys()):
        if abs(scores.get(name, 0.0) - others.get(name, 0.0)) > SCORES_DIFFER:
            found.append(f"{a['t_s']} s: {name} {scores.get(name)}, {others.get(name)}")
    return found


def _scores(look: dict[str, object]) -> dict[str, float]:
    hazards = look["hazards"]
    assert isinstance(hazards, dict)
    return {"words": float(str(look["confidence"])), **{str(name): float(score) for name, score in hazards.items()}}


def main(words: list[str]) -> int:
    if words[0] != "--compare":
        show(Path(words[0]), Path(words[1]))
        return 0
    one, other = ([json.loads(line) for line in Path(name).read_text().splitlines()] for name in words[1:3])
    found = differences(one, other)
    print(*found, sep="\n")
    print(f"{len(one)} looks, {len(found)} differences")
    return int(bool(found) or not one)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
