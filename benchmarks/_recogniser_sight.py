"""What a bundle's hazard head sees on drawn pictures of the things that corrections are about.

Pictures of things that are not drawn show others: the head then says nothing of the thing itself. The heads of the
repository learnt on the same drawings, so that they see better here than on a street.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from server.speech.requests import SeenThings
from server.speech.sight import seen_by
from server.walks import DRAWN, random_frame
from shared import bundle as bundles
from shared.runtime import GuidanceModel

_SEED = 7


def pictured(bundle: Path, things: Sequence[str]) -> list[SeenThings]:
    """For each thing, what is seen on a picture of it; "" = on one of anything."""
    model = GuidanceModel.load(bundle, threads=1, allow=bundles.FOR_JUDGING)
    found = []
    for number, thing in enumerate(things):
        rng = np.random.default_rng([_SEED, number])
        want = thing if thing in DRAWN else None
        frame = random_frame(rng, objects=tuple(DRAWN), want=want, width_px=320, height_px=240)
        found.append(seen_by(model, frame.image))
    return found
