"""What each step of the runtime is worth, in seconds per instruction, beside transformers and plain onnxruntime.

    make bench NAME=runtime     about six minutes on two cores, 6 GB of memory; writes build/bench/runtime.json

One process, the same threads, the sides in turn round after round, so that a busy moment hits all of them: ratios are
medians over rounds. Two models: SmolVLM2-256M's shape with random weights (256 px tile, 40 prompt tokens around 16
image tokens, answers of 8 tokens) and the starter on its own golden pictures. Beside the times: the peak memory of each
side (in a child process of its own), our own share beside the graphs, and the lower bound of this machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import _runtime_bound as bound
from benchmarks import _runtime_sides as sides
from benchmarks._recorded import HEIGHT_PX, WIDTH_PX
from benchmarks._runtime_sides import Picture, Plain, Runtime, Shape, Timed, Transformers, watched
from server.walks import render_frame, walk_from_name
from shared import atomic

HOME, OUT = Path("build/bench/runtime"), Path("build/bench/runtime.json")
SHAPES = {"smolvlm2-256m-shape": sides.smolvlm_256m, "starter": sides.starter}
TRANSFORMERS, PLAIN = "transformers generate, fp32 eager", "onnxruntime fp32, plain greedy loop"
PREFIX, DRAFTING, QUANTISED = "+ prompt's beginning kept", "+ drafting", "+ int8 vision, 8-bit decoder"
IN_PLACE, NEVER = "+ cache in place, last logits only", "the same, drafting never hits"
FOUR_BIT, CONSTRAINED = "the same, 4-bit decoder", "the same, under the grammar"
OURS = IN_PLACE
BARS = {
    "drafting hits, against transformers": (TRANSFORMERS, OURS, 5.5),
    "drafting hits, against plain onnxruntime": (PLAIN, OURS, 2.8),
    "drafting never hits, against transformers": (TRANSFORMERS, NEVER, 3.5),
}
OVERHEAD_MOST = 0.10
REST_S = 0.05  # threads of the side before still spin for a while, and would take a core from the next
Side = Callable[[Picture], Timed]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    logging.disable(logging.WARNING)
    options = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--threads", type=int, default=2, help="threads of every side (default: 2)")
    options.add_argument("--rounds", type=int, default=7, help="rounds over all sides (default: 7)")
    options.add_argument("--shape", choices=SHAPES, action="append", help="model to measure (default: both)")
    options.add_argument("--peak", nargs=2, metavar=("SHAPE", "SIDE"), help=argparse.SUPPRESS)
    chosen = options.parse_args(argv)
    if chosen.peak:
        print(json.dumps(_peak_here(*chosen.peak, threads=chosen.threads)))
        return
    console = Console()
    machine = bound.rates(threads=chosen.threads)
    found: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "threads": chosen.threads,
                    "int8_operations_per_s": machine.int8_operations_per_s, "bytes_per_s": machine.bytes_per_s},
        "rounds": chosen.rounds, "models": {},
    }  # fmt: skip
    for name in chosen.shape or SHAPES:
        found["models"][name] = measure(SHAPES[name](), machine, console, threads=chosen.threads, rounds=chosen.rounds)
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, found)
    for name, figures in found["models"].items():
        console.print(table(name, figures))
    console.print(f"{OUT} is written.")


def measure(shape: Shape, machine: bound.Rates, console: Console, *, threads: int, rounds: int) -> dict[str, Any]:
    """Everything about one model."""
    with console.status(f"{shape.name}: exporting"):
        folders = sides.bundles(shape, HOME)
    pictures = [render_frame(walk_from_name("market"), n * 0.5, WIDTH_PX, HEIGHT_PX).image for n in range(rounds)]
    made = opened(shape, folders, threads=threads)
    if shape.tokens:
        pictures = pictures[:1] * rounds  # its answers mean nothing: only the same picture is answered the same
    with console.status(f"{shape.name}: {len(made)} sides, {rounds} rounds"):
        times = in_turn(made, pictures)
        share = overhead(made[OURS], pictures)
    whole = {name: [seconds[1] for seconds in of] for name, of in times.items()}
    peaks = {name: _peak_there(shape.name, name, threads=threads) for name in (TRANSFORMERS, PLAIN, OURS)}
    drafted = shape.tokens - 1 if shape.tokens else 6
    return {
        "sides": {name: _figures(of, made[name], whole[TRANSFORMERS], whole[PLAIN]) for name, of in times.items()},
        "bars": {
            text: {"ratio": _ratio(whole[slow], whole[fast]), "at_least": least}
            for text, (slow, fast, least) in BARS.items()
        },
        "overhead": {"share": share, "at_most": OVERHEAD_MOST},
        "peak_memory_mb": peaks,
        "lower_bound": bound.lower_bound(shape, folders["in-place"], machine, drafted=drafted),
        "bundle_mb": {name: _size_mb(folder) for name, folder in folders.items()},
    }  # fmt: skip


def opened(shape: Shape, folders: dict[str, Path], *, threads: int) -> dict[str, Side]:
    """All sides, the slowest first, each of ours with one step more than the one before."""

    full, small, in_place, four_bit = (
        sides.loaded(folders[name], threads=threads) for name in ("float32", "quantised", "in-place", "in-place-4-bit")
    )
    never = Runtime(shape, in_place, hits=False) if shape.tokens else Runtime(shape, in_place, drafted=False)
    return {
        TRANSFORMERS: Transformers(shape, threads=threads),
        PLAIN: Plain(shape, folders["float32"], threads=threads),
        PREFIX: Runtime(shape, full, drafted=False),
        DRAFTING: Runtime(shape, full),
        QUANTISED: Runtime(shape, small),
        IN_PLACE: Runtime(shape, in_place),
        NEVER: never,
        FOUR_BIT: Runtime(shape, four_bit),
        CONSTRAINED: Runtime(shape, in_place, constrained=True),
    }


def in_turn(made: dict[str, Side], pictures: Sequence[Picture]) -> dict[str, list[Timed]]:
    """One warm-up, then every side on every picture, in turn."""
    times: dict[str, list[Timed]] = {name: [] for name in made}
    for side in made.values():
        side(pictures[0])
        side(pictures[0])  # the second finds the first's words among the recent ones
        if isinstance(side, Runtime):
            side.passes.clear()
    for picture in pictures:
        for name, side in made.items():
            time.sleep(REST_S)
            times[name].append(side(picture))
    return times


def overhead(side: Side, pictures: Sequence[Picture]) -> float:
    """What look and word take beside the runs of their graphs, as a share of these."""
    assert isinstance(side, Runtime)
    watches = watched(side.model)
    shares = []
    for picture in [pictures[0], *pictures, *pictures]:
        before = sum(watch.seconds for watch in watches)
        _, whole_s = side(picture)
        inside_s = sum(watch.seconds for watch in watches) - before
        shares.append((whole_s - inside_s) / inside_s)
    return round(statistics.median(shares[1:]), 4)


def _figures(of: Sequence[Timed], side: Side, transformers: Sequence[float], plain: Sequence[float]) -> dict[str, Any]:
    looks, whole = [seconds[0] for seconds in of], [seconds[1] for seconds in of]
    passes = {"decoder_passes": float(np.mean(side.passes))} if isinstance(side, Runtime) else {}
    return {
        "look_s": round(statistics.median(looks), 5), "whole_s": round(statistics.median(whole), 5),
        "whole_best_s": round(min(whole), 5), "against_transformers": _ratio(transformers, whole),
        "against_plain": _ratio(plain, whole), **passes,
    }  # fmt: skip


def _ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times faster: the median over rounds of the ratio within a round."""
    return round(statistics.median(a / b for a, b in zip(slow, fast, strict=True)), 2)


def _size_mb(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 1)


def _peak_there(shape: str, side: str, *, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.runtime", "--threads", str(threads), "--peak", shape, side]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(answer.strip().splitlines()[-1]))


def _peak_here(shape: str, side: str, *, threads: int) -> float:
    """Megabytes that loading one side and one instruction add to this process at most, above its libraries."""
    if side == OURS:  # the device never holds the checkpoint
        folder = HOME / shape / "in-place"
        before = _peak_mb()
        one: Side = sides.said(sides.loaded(folder, threads=threads))
    else:
        before = _peak_mb()
        made = SHAPES[shape]()
        one = Transformers(made, threads=threads) if side == TRANSFORMERS else Plain(
            made, HOME / shape / "float32", threads=threads)  # fmt: skip
    one(render_frame(walk_from_name("market"), 0.0, WIDTH_PX, HEIGHT_PX).image)
    return round(_peak_mb() - before, 1)


def _peak_mb() -> float:
    """Of this program since it began; getrusage would also count what the parent had before."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def table(name: str, figures: dict[str, Any]) -> Table:
    """For the terminal."""
    bars = "; ".join(f"{text} {bar['ratio']}× (bar {bar['at_least']}×)" for text, bar in figures["bars"].items())
    below = figures["lower_bound"]
    caption = (
        f"{bars}\nour own share beside the graphs {figures['overhead']['share']:.1%} (bar {OVERHEAD_MOST:.0%}); lower"
        f" bound {1000 * below['whole_s']:.0f} ms; peak memory (MB) {figures['peak_memory_mb']}"
    )
    shown = Table(
        "", "look (ms)", "whole (ms)", "best", "passes", "× transformers", "× plain", title=name, caption=caption
    )
    for side, one in figures["sides"].items():
        passes = f"{one['decoder_passes']:.1f}" if "decoder_passes" in one else ""
        shown.add_row(
            side, f"{1000 * one['look_s']:.1f}", f"{1000 * one['whole_s']:.1f}", f"{1000 * one['whole_best_s']:.1f}",
            passes, f"{one['against_transformers']}", f"{one['against_plain']}",
        )  # fmt: skip
    return shown


if __name__ == "__main__":
    main()
