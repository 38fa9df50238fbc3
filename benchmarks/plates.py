"""How many number plates are found: drawn plates of three kinds, pasted into real streets in several sizes and angles.

    make bench NAME=plates
    .venv/bin/python -m benchmarks.plates [--home DIR] [--data DIR] [--pictures N]

A plate counts as found where a region covers nine tenths of what is written on it. What is found in pictures as they
are is counted as false: the streets' own plates are of 10 to 25 pixels. The pictures (../shared/data/streets/train,
CamVid) are no part of waycue, and the finders' weights are fetched (waycue-server consent plates): where one is absent,
this says so and ends well. A plate that lies anywhere, not on a car, is harder for what learnt from cars.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from server.privacy import packaged_weights
from server.privacy.faces import FaceDetector
from server.privacy.plates import PlateNetwork, WritingFinder
from shared import atomic
from shared.veil import Image, Region

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "streets" / "train"
HOME = ROOT / "build" / "bench" / "server"
OUT = ROOT / "build" / "bench" / "plates.json"
KINDS = {
    "european": ((520, 110), (245, 245, 240), (15, 15, 15)),
    "american": ((320, 160), (235, 240, 245), (30, 40, 120)),
    "chinese": ((440, 140), (20, 60, 170), (240, 240, 240)),
}
WIDTHS_PX, ANGLES = (30, 45, 70, 110), (0, 30, 50)
FINE = 4  # a plate is drawn so much larger, and made smaller as a lens does


def drawn(kind: str, chance: random.Random) -> tuple[Image, Region]:
    """A plate, seen from the front, and where it is written on."""
    (wide, tall), ground, ink = KINDS[kind]
    plate = np.full((tall, wide, 3), ground, np.uint8)
    letters, digits = (
        chance.choices(signs, k=count) for signs, count in (("ABCDEFGHKLMNPRSTUVWXYZ", 3), ("0123456789", 4))
    )
    text, scale = f"{''.join(letters)} {''.join(digits)}", tall / 42
    (long, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, int(scale * 4))
    scale *= min(1.0, wide * 0.86 / long)
    (long, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, int(scale * 4))
    at = (wide - long) // 2, (tall + high) // 2
    cv2.putText(plate, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, int(scale * 4), cv2.LINE_AA)
    cv2.rectangle(plate, (2, 2), (wide - 3, tall - 3), (30, 30, 30), 3)
    return plate, (at[0], at[1] - high, at[0] + long, at[1])


def pasted(
    image: Image, front: tuple[Image, Region], width_px: int, angle: int, chance: random.Random
) -> tuple[Image, Region]:
    """The picture with the plate turned by so many degrees, as bright as its place, and where its writing lies."""
    plate, written = front
    turned, tall = np.radians(angle), width_px * plate.shape[0] / plate.shape[1]
    wide, skew = width_px * np.cos(turned), width_px * np.sin(turned) * 0.25
    height, width = image.shape[:2]
    left, top = (
        chance.uniform(width * 0.1, width * 0.9 - wide),
        chance.uniform(height * 0.45, height * 0.9 - tall - skew),
    )
    region = int(left), int(top), int(left + wide) + 2, int(top + tall + skew) + 2
    far = tall * (1 - 0.12 * np.sin(turned))
    corners = [[left, top], [left + wide, top + skew], [left + wide, top + skew + far], [left, top + tall]]
    cut = (np.array(corners, np.float32) - np.array(region[:2], np.float32)) * FINE
    right, below = plate.shape[1], plate.shape[0]
    edges = np.array([[0, 0], [right, 0], [right, below], [0, below]], np.float32)
    change = cv2.getPerspectiveTransform(edges, np.asarray(cut, np.float32))
    size = region[2] - region[0], region[3] - region[1]
    fine = size[0] * FINE, size[1] * FINE
    layer = cv2.resize(cv2.warpPerspective(plate, change, fine), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    whole = np.full(plate.shape[:2], 255, np.uint8)
    share = cv2.resize(cv2.warpPerspective(whole, change, fine), size, interpolation=cv2.INTER_AREA)[..., None] / 255
    out = image.astype(np.float32)
    place = out[region[1] : region[3], region[0] : region[2]]
    place[:] = place * (1 - share) + layer * float(np.clip(place.mean() / 140, 0.45, 1.1)) * share
    noisy = cv2.GaussianBlur(out, (0, 0), 0.6) + np.random.default_rng(1).normal(0, 3, out.shape)
    _, data = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
    picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    signs = cv2.perspectiveTransform(np.array([[written[:2], written[2:]]], np.float32), change)[0] / FINE
    place_px = [round(float(value + region[axis % 2])) for axis, value in enumerate(signs.ravel())]
    return picture, (place_px[0], place_px[1], place_px[2], place_px[3])


def covered(regions: Sequence[Region], plate: Region) -> float:
    """How much of a plate one of the regions covers at most."""
    area = (plate[2] - plate[0]) * (plate[3] - plate[1])
    shares = [
        max(0, min(right, plate[2]) - max(left, plate[0])) * max(0, min(bottom, plate[3]) - max(top, plate[1])) / area
        for left, top, right, bottom in regions
    ]
    return max(shares, default=0.0)


def measured(finders: Mapping[str, FaceDetector], images: Sequence[Image]) -> dict[str, object]:
    """What build/bench/plates.json holds."""
    chance, hits = random.Random(3), defaultdict[str, list[float]](list)
    began_s, false = time.process_time(), defaultdict[str, int](int)
    for image in images:
        for name, finder in finders.items():
            false[name] += len(finder.find(image))
    cost_s = (time.process_time() - began_s) / len(images)
    for width_px in WIDTHS_PX:
        for number, image in enumerate(images):
            kind = list(KINDS)[number % len(KINDS)]
            angle = ANGLES[number // len(KINDS) % len(ANGLES)]
            picture, region = pasted(image, drawn(kind, chance), width_px, angle, chance)
            found = {name: covered(finder.find(picture), region) > 0.9 for name, finder in finders.items()}
            for name, is_found in {**found, "both": any(found.values())}.items():
                hits[f"{name}, {width_px} px, {kind}"].append(is_found)
                hits[f"{name}, {width_px} px"].append(is_found)
    return {
        "pictures": len(images),
        "found": {name: round(float(np.mean(values)), 3) for name, values in sorted(hits.items())},
        "false_a_picture": {name: round(count / len(images), 3) for name, count in false.items()},
        "cpu_s_a_picture": round(cost_s, 3),
    }


def main() -> int:
    """Measure, print and write; 0 also where there is nothing to measure with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=HOME, help="whose eyes/plates are used")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pictures", type=int, default=36)
    options = parser.parse_args()
    writing, plates = (member.there(options.home) for member in (packaged_weights.WRITING, packaged_weights.PLATES))
    files = sorted(path for ending in ("jpg", "png") for path in options.data.rglob(f"*.{ending}"))
    if writing is None or plates is None or not files:
        print("Nothing to measure with: fetch the weights (waycue-server consent plates), and see --data.")
        return 0
    random.Random(1).shuffle(files)
    cv2.setNumThreads(1)
    images = [np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1].copy() for path in files[: options.pictures]]
    found = measured({"writing": WritingFinder.load(writing), "plates": PlateNetwork.load(plates)}, images)
    print(json.dumps(found, indent=2))
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
