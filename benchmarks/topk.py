"""How often the pictures that a model is shown of a clip hold what is in one of them only: by selection, and evenly.

    make bench NAME=topk [ten minutes on a busy core; writes build/bench/topk.json]
    .venv/bin/python -m benchmarks.topk [--clips N]

Drawn walks, 16 pictures of 2 s and of 8 s each, one of them with a thing 2 to 3.5 m ahead that no other has. `chance`
is k / 16. `features` are those of the starter's tower.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server import walks
from server.learn.bases import STARTER_FOLDER
from server.learn.shown import features
from server.model import checkpoint as checkpoints
from server.model import topk
from server.walks.catalogue import new_thing
from server.walks.paint import render
from server.walks.walk import scene_at
from shared import atomic
from shared.preprocess import fit_tile

OUT = Path("build/bench/topk.json")
THINGS = ("bin", "pole", "person", "bicycle", "cone")
SPANS_S, KS, COUNT = (2.0, 8.0), (2, 4), topk.CANDIDATES


def clip(rng: np.random.Generator, seed: int, span_s: float) -> tuple[list[NDArray[np.uint8]], int]:
    """Pictures [h, w, 3] of a drawn walk, and which of them has the thing."""
    routes = tuple(walks.ROUTES.values())
    walk = walks.walk_along(routes[seed % len(routes)], seed=(1 << 33) + seed, duration_s=30.0, known=walks.KNOWN)
    start_s, at = rng.uniform(3, 26 - span_s), int(rng.integers(COUNT))
    name, pictures = THINGS[int(rng.integers(len(THINGS)))], []
    for number in range(COUNT):
        scene = scene_at(walk, start_s + span_s * number / COUNT)
        if number == at:
            x_m, z_m = scene.pose.x_m + rng.uniform(-0.8, 0.8), scene.pose.z_m + rng.uniform(2.0, 3.5)
            thing = replace(new_thing(name, rng), x_m=float(x_m), z_m=float(z_m))
            scene = replace(scene, things=(*scene.things, thing))
        pictures.append(render(scene, width_px=320, height_px=240).image)
    return pictures, at


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100)
    clips, rng, base = parser.parse_args().clips, np.random.default_rng(5), checkpoints.load(STARTER_FOLDER)
    report = {}
    for span_s in SPANS_S:
        hits: Counter[str] = Counter()
        for seed in range(clips):
            pictures, at = clip(rng, seed, span_s)
            sharp = topk.sharpness(pictures)
            tiles = np.stack([fit_tile(picture, base.preprocessing) for picture in pictures])
            described = {"pixels": topk.pixels(pictures), "features": features(tiles, base)}
            for k in KS:
                hits[f"uniform.{k}"] += at in topk.uniform(COUNT, k)
                hits.update(f"{name}.{k}" for name, of in described.items() if at in topk.newest(of, sharp, k))
        shares = {name: round(count / clips, 3) for name, count in sorted(hits.items())}
        report[f"{span_s:.0f}s"] = shares | {f"chance.{k}": k / COUNT for k in KS}
    atomic.write_json(OUT, {"clips": clips, "found": report})
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
