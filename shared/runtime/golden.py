"""Golden chunks: pictures with known answers that travel in a bundle, run before a device trusts it.

    golden/golden.json   [{"image": "000.jpg", "object": "curb", "side": "ahead", "must_stop": true}, …]
    golden/000.jpg …

Kernels differ between processors, so words are not compared letter by letter: a `must_stop` picture must score its
hazard above the bundle's threshold and be worded with the right thing at the right side; of the others most must be.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from shared import bundle, vocabulary
from shared.jpeg import Image, decode_picture
from shared.runtime.execution import Execution
from shared.runtime.model import GuidanceModel
from shared.runtime.seen import Observation

FOLDER = "golden"
LIST = "golden.json"
LOOK_LIMIT_S = 1.5  # a walker goes 1.65 m in it; a look slower than this is no guidance
SHARE_RIGHT = 0.6


def check_golden(folder: Path, *, threads: int = 2, execution: Execution | None = None) -> list[str]:
    """Load the bundle in `folder` and run its golden pictures. Returns what is wrong; empty = fit for use.

    execution: as GuidanceModel.load takes it
    raises: BundleError where the bundle does not load, ConfigError
    """
    model = GuidanceModel.load(folder, threads=threads, allow=bundle.FOR_JUDGING, execution=execution)
    listed = folder / FOLDER / LIST
    cases = json.loads(listed.read_text()) if listed.is_file() else []
    if not cases:
        return ["it has no golden chunks to test itself on"]
    wrong, right, slowest_s = [], 0, 0.0
    for case in cases:
        picture = _picture(folder / FOLDER / case["image"])
        if picture is None:
            return [f"its golden picture {case['image']} cannot be read"]
        started = time.monotonic()
        observation = model.look(picture)
        slowest_s = max(slowest_s, time.monotonic() - started)
        ok = _says(model, observation, case["object"], case["side"])
        right += ok
        if case["must_stop"] and not (ok and _scored(model, observation, case["object"], case["side"])):
            wrong.append(f"{case['image']}: {case['object']} {case['side']} was not seen")
    if right < SHARE_RIGHT * len(cases):
        wrong.append(f"only {right} of {len(cases)} golden pictures were worded right")
    if slowest_s > LOOK_LIMIT_S:
        wrong.append(f"a look took {slowest_s:.1f} s, at most {LOOK_LIMIT_S} s are allowed")
    return wrong


def _picture(file: Path) -> Image | None:
    """uint8 [h, w, 3] RGB; None where it is missing or no picture."""
    return decode_picture(file.read_bytes()) if file.is_file() else None


def _says(model: GuidanceModel, observation: Observation, name: str, side: str) -> bool:
    slots = vocabulary.parse(model.word(observation).text)
    return slots is not None and (slots.object, slots.side) == (name, side)


def _scored(model: GuidanceModel, observation: Observation, name: str, side: str) -> bool:
    threshold = model.manifest.thresholds.get("hazard_above", 0.5)
    return any(h.score >= threshold for h in observation.hazards if (h.object, h.side) == (name, side))
