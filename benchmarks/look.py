"""How long a look and a sentence take: what decides how early a walker is warned.

    make bench NAME=look                            the starter, exported as a night would export it
    .venv/bin/python -m benchmarks.look --model DIR any bundle

Pictures of a drawn walk through the runtime that the device runs, for each number of threads. Figures of the starter
say something about our code around the model, little about a field model, which is many times larger.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks._recorded import HEIGHT_PX, WIDTH_PX
from server import config
from server.releases.registry import Registry
from server.walks import render_frame, walk_from_name
from shared.runtime import GuidanceModel

HOME = Path("build/bench/server")
LOOKS = 100


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    logging.basicConfig(level=logging.WARNING)
    options = argparse.ArgumentParser(prog="python -m benchmarks.look", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--model", type=Path, metavar="DIR", help="bundle folder (default: the starter)")
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to try (default: 1 2)")
    chosen = options.parse_args(argv)
    console = Console()
    folder = chosen.model or starter(console)
    walk = walk_from_name("market")
    pictures = [render_frame(walk, number * 0.5, WIDTH_PX, HEIGHT_PX).image for number in range(LOOKS)]
    title = f"{folder.name if chosen.model else 'starter'}, {LOOKS} pictures of {WIDTH_PX}×{HEIGHT_PX}"
    table = Table("threads", "load (s)", "look p50 (ms)", "look p95", "word p50 (ms)", "word p95", title=title)
    for threads in chosen.threads:
        table.add_row(str(threads), *measure(folder, pictures, threads=threads))
    console.print(table)


def starter(console: Console) -> Path:
    """The starter's bundle, exported once into build/bench."""
    from server.learn.nightly import add_starter

    config.init(HOME)
    version = add_starter(HOME, progress=console.print)
    return Registry(HOME).bundle_folder(version)


def measure(folder: Path, pictures: Sequence[NDArray[np.uint8]], *, threads: int) -> list[str]:
    """Load time, look and word percentiles. The first three looks warm up and do not count."""
    started = time.perf_counter()
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    loaded_s = time.perf_counter() - started
    looks, words = [], []
    for picture in pictures:
        started = time.perf_counter()
        observation = model.look(picture)
        looked = time.perf_counter()
        model.word(observation)
        looks.append((looked - started) * 1e3)
        words.append((time.perf_counter() - looked) * 1e3)
    figures = [np.percentile(times[3:], share) for times in (looks, words) for share in (50, 95)]
    return [f"{loaded_s:.2f}", *(f"{figure:.1f}" for figure in figures)]


if __name__ == "__main__":
    main()
