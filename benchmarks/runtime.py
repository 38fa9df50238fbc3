"""What each step of the runtime is worth, in seconds per instruction, beside transformers and plain onnxruntime.

    make bench NAME=runtime     about six minutes on two cores, 6 GB of memory; writes build/bench/runtime.json

One process, the same threads, the sides in turn round after round, so that a busy moment hits all of them: ratios are
medians over rounds. Two models: SmolVLM2-256M's shape with random weights (256 px tile, 40 prompt tokens around 16
image tokens, answers of 8 tokens) and the starter on drawn pictures. Beside the times: the peak memory of each
side (in a child process of its own), our own share beside the graphs, and the lower bound of this machine. The first is
also measured with llama.cpp's decoder in place of ours, where it is installed (benchmarks._runtime_llama).

On the random weights a draft is right or wrong by construction. How often it is right on walks is measured with the
starter (benchmarks._runtime_hits), and `at_measured_rate` says what the two rows give at that rate.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
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
from benchmarks import _runtime_hits as hits
from benchmarks import _runtime_llama as llama
from benchmarks import _runtime_sides as sides
from benchmarks._memory import peak_mb
from benchmarks._recorded import HEIGHT_PX, WIDTH_PX
from benchmarks._runtime_llama import Llama
from benchmarks._runtime_sides import Picture, Plain, Runtime, Shape, Timed, Transformers, watched
from server.walks import render_frame, walk_from_name
from shared import atomic

HOME, OUT = Path("build/bench/runtime"), Path("build/bench/runtime.json")
SHAPES = {"smolvlm2-256m-shape": sides.smolvlm_256m, "starter": sides.starter}
TRANSFORMERS, PLAIN = "transformers generate, fp32 eager", "onnxruntime fp32, plain greedy loop"
PREFIX, DRAFTING, QUANTISED = "+ prompt's beginning kept", "+ drafting", "+ int8 vision, 8-bit decoder"
IN_PLACE, NEVER = "+ cache in place, last logits only", "the same, no draft ever hits"
NAIVE = "naive loop on our own int8 graphs"
FOUR_BIT, CONSTRAINED = "the same, 4-bit decoder", "the same, under the grammar"
FOUR_BIT_NEVER = "the same, 4-bit decoder, drafting never hits"
LLAMA = {
    bits: (f"our look, llama.cpp {kind}, drafting hits", f"our look, llama.cpp {kind}, token by token")
    for bits, kind in llama.KINDS.items()
}
OURS = IN_PLACE
BARS = {
    "drafting hits, against transformers": (TRANSFORMERS, OURS, 5.5),
    "drafting hits, against plain onnxruntime": (PLAIN, OURS, 2.8),
    "drafting hits, against a naive loop on the same graphs": (NAIVE, OURS, 1.5),
    "drafting never hits, against transformers": (TRANSFORMERS, NEVER, 3.5),
    "drafting never hits, against a naive loop on the same graphs": (NAIVE, NEVER, 1.0),
}
DECODER_BARS = {  # of what comes after the look
    "decoder against llama.cpp, 8 bit, drafting hits": (LLAMA[8][0], OURS, 1.0),
    "decoder against llama.cpp, 8 bit, drafting never hits": (LLAMA[8][1], NEVER, 1.0),
    "decoder against llama.cpp, 4 bit, drafting hits": (LLAMA[4][0], FOUR_BIT, 1.0),
    "decoder against llama.cpp, 4 bit, drafting never hits": (LLAMA[4][1], FOUR_BIT_NEVER, 1.0),
}
AGAINST = {"× transformers": "against_transformers", "× plain": "against_plain", "× naive": "against_naive"}
OVERHEAD_MOST = 0.10
REST_S = 0.05  # threads of the side before still spin for a while, and would take a core from the next
Side = Callable[[Picture], Timed]
Counted = Runtime | Llama
"""Sides that count the decoder's passes."""


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
    with console.status("how often a draft is right"):
        folders = sides.bundles(sides.starter(), HOME)
        drafting = hits.rates(sides.loaded(folders["in-place"], threads=1))
    measured: dict[str, Any] = {
        "machine": {
            "processor": platform.machine(),
            "threads": chosen.threads,
            "load": os.getloadavg()[0],
            "int8_operations_per_s": machine.int8_operations_per_s,
            "bytes_per_s": machine.bytes_per_s,
        },
        "rounds": chosen.rounds,
        "drafting": drafting,
        "models": {},
    }
    atomic.make_dirs(OUT.parent)
    for name in chosen.shape or SHAPES:
        shape = SHAPES[name]()
        figures = measure(shape, machine, console, threads=chosen.threads, rounds=chosen.rounds)
        measured["models"][name] = figures | {"at_measured_rate": at_rate(figures["sides"], drafting)}
        atomic.write_json(OUT, measured)  # what was measured stays where the next is interrupted
    for name, figures in measured["models"].items():
        console.print(table(name, figures))
    for kind, of in drafting.items():
        console.print(f"drafts on {kind} walks: {of.get('missing') or _hit_rates(of)}")
    console.print(f"{OUT} is written.")


def measure(shape: Shape, machine: bound.Rates, console: Console, *, threads: int, rounds: int) -> dict[str, Any]:
    """Everything about one model."""
    with console.status(f"{shape.name}: exporting"):
        folders = sides.bundles(shape, HOME)
    pictures = [render_frame(walk_from_name("market"), n * 0.5, WIDTH_PX, HEIGHT_PX).image for n in range(rounds)]
    with console.status(f"{shape.name}: opening"):
        made = opened(shape, folders, pictures[0], threads=threads)
    if shape.tokens:
        pictures = pictures[:1] * rounds  # its answers mean nothing: only the same picture is answered the same
    with console.status(f"{shape.name}: {len(made)} sides, {rounds} rounds"):
        times = in_turn(made, pictures)
        share = overhead(made[OURS], pictures)
    if shape.tokens:
        check_passes(made, shape.tokens)
    peaks = {name: _peak_there(shape.name, name, threads=threads) for name in (TRANSFORMERS, PLAIN, OURS)}
    drafted = shape.tokens - 1 if shape.tokens else 6
    return {
        "sides": _all_figures(times, made, rival=bool(shape.tokens)),
        "bars": bars(times, rival=bool(shape.tokens)),
        "overhead": {"share": share, "at_most": OVERHEAD_MOST},
        "peak_memory_mb": peaks,
        "lower_bound": bound.lower_bound(shape, folders["in-place"], machine, drafted=drafted),
        "bundle_mb": {name: _size_mb(folder) for name, folder in folders.items()},
    }


def opened(shape: Shape, folders: dict[str, Path], picture: Picture, *, threads: int) -> dict[str, Side]:
    """All sides, the slowest first, each of ours with one step more than the one before; then llama.cpp's."""
    full, small, in_place, four_bit = (
        sides.loaded(folders[name], threads=threads) for name in ("float32", "quantised", "in-place", "in-place-4-bit")
    )
    never = {"hits": False} if shape.tokens else {"drafted": False}
    made: dict[str, Side] = {
        TRANSFORMERS: Transformers(shape, threads=threads),
        PLAIN: Plain(shape, folders["float32"], threads=threads),
        NAIVE: Plain(shape, folders["in-place"], threads=threads),
        PREFIX: Runtime(shape, full, drafted=False),
        DRAFTING: Runtime(shape, full),
        QUANTISED: Runtime(shape, small),
        IN_PLACE: Runtime(shape, in_place),
        NEVER: Runtime(shape, in_place, **never),
        FOUR_BIT: Runtime(shape, four_bit),
        FOUR_BIT_NEVER: Runtime(shape, four_bit, **never),
        CONSTRAINED: Runtime(shape, in_place, constrained=True),
    }
    if shape.tokens and llama.installed():
        for bits, names in LLAMA.items():
            ours = in_place if bits == 8 else four_bit
            both = llama.opened(shape, ours, HOME / shape.name, picture, bits=bits, threads=threads)
            made |= dict(zip(names, both, strict=True))
    return made


def in_turn(made: dict[str, Side], pictures: Sequence[Picture]) -> dict[str, list[Timed]]:
    """One warm-up, then every side on every picture, in turn."""
    times: dict[str, list[Timed]] = {name: [] for name in made}
    for side in made.values():
        side(pictures[0])
        side(pictures[0])  # the second finds the first's words among the recent ones
        if isinstance(side, Counted):
            side.passes.clear()
    for picture in pictures:
        for name, side in made.items():
            time.sleep(REST_S)
            times[name].append(side(picture))
    return times


def check_passes(made: dict[str, Side], tokens: int) -> None:
    """Raises: ValueError where a side did less or more than its name says: one pass, or one for each token."""
    expected = {OURS: 1, FOUR_BIT: 1, NEVER: tokens, FOUR_BIT_NEVER: tokens}
    expected |= {name: passes for hits, never in LLAMA.values() for name, passes in ((hits, 1), (never, tokens))}
    for name, side in made.items():
        if name in expected and isinstance(side, Counted) and set(side.passes) != {expected[name]}:
            raise ValueError(f"{name!r} took {side.passes} passes of the decoder, not {expected[name]} each time.")


def bars(times: dict[str, list[Timed]], *, rival: bool) -> dict[str, Any]:
    """The ratio that each bar asks for; None where the slower side is not installed. rival: llama.cpp is asked for."""
    whole = {name: [each.whole_s for each in of] for name, of in times.items()}
    decoder = {name: [each.whole_s - each.look_s for each in of] for name, of in times.items()}
    ratios: dict[str, dict[str, float | None]] = {}
    for text, (slow, fast, least) in BARS.items():
        ratios[text] = {"ratio": _ratio(whole[slow], whole[fast]), "at_least": least}
    for text, (slow, fast, least) in DECODER_BARS.items() if rival else ():
        ratios[text] = {"ratio": _ratio(decoder[slow], decoder[fast]) if slow in decoder else None, "at_least": least}
    return ratios


def overhead(side: Side, pictures: Sequence[Picture]) -> float:
    """What look and word take beside the runs of their graphs, as a share of these."""
    assert isinstance(side, Runtime)
    watches = watched(side.model)
    shares = []
    for picture in [pictures[0], *pictures, *pictures]:
        before = sum(watch.seconds for watch in watches)
        whole_s = side(picture).whole_s
        inside_s = sum(watch.seconds for watch in watches) - before
        shares.append((whole_s - inside_s) / inside_s)
    return round(statistics.median(shares[1:]), 4)


def _all_figures(times: dict[str, list[Timed]], made: dict[str, Side], *, rival: bool) -> dict[str, Any]:
    """The figures of each side; of llama.cpp's, where they are asked for and not installed, how to install it."""
    figures = {name: _figures(of, made[name], times) for name, of in times.items()}
    rivals = [name for names in LLAMA.values() for name in names] if rival else []
    return figures | {name: {"missing": llama.INSTALL} for name in rivals if name not in made}


def at_rate(figures: dict[str, Any], drafting: dict[str, Any]) -> dict[str, dict[str, float]]:
    """How many times faster answers are than each of the slower sides, where such a share is drafted right as was
    measured on walks at every look, and of the rest nothing at all: an answer that is half right counts as wrong."""
    found = {}
    for kind, of in drafting.items():
        if "missing" in of:
            continue
        share = of[hits.EVERY_LOOK]["one_pass"]["share"]
        for unit in ("whole_s", "whole_cpu_s"):
            ours_s = share * figures[OURS][unit] + (1 - share) * figures[NEVER][unit]
            slower = {name: round(figures[name][unit] / ours_s, 2) for name in (TRANSFORMERS, PLAIN, NAIVE)}
            found[f"{kind}, {unit}"] = slower
    return found


def _hit_rates(of: dict[str, Any]) -> str:
    """For the terminal."""
    shares = (
        f"{name} {of[name]['one_pass']['share']:.0%} of {of[name]['one_pass']['count']} right at once,"
        f" {of[name]['passes']} passes"
        for name in hits.STRIDES
    )
    return f"{'; '.join(shares)}; {of['tokens']} tokens an answer"


def _figures(of: Sequence[Timed], side: Side, times: dict[str, list[Timed]]) -> dict[str, Any]:
    """of: what the side took, round by round; times: the same of all."""
    looks, whole = [each.look_s for each in of], [each.whole_s for each in of]
    transformers, plain, naive = ([each.whole_s for each in times[name]] for name in (TRANSFORMERS, PLAIN, NAIVE))
    more: dict[str, Any] = {"decoder_passes": float(np.mean(side.passes))} if isinstance(side, Counted) else {}
    if isinstance(side, Llama):
        more |= {"logits_cosine_to_torch": round(side.alike, 6), "built": side.built}
    return {
        "look_s": round(statistics.median(looks), 5),
        "whole_s": round(statistics.median(whole), 5),
        "whole_cpu_s": round(statistics.median(each.cpu_s for each in of), 5),
        "decoder_s": round(statistics.median(each.whole_s - each.look_s for each in of), 5),
        "whole_best_s": round(min(whole), 5),
        "against_transformers": _ratio(transformers, whole),
        "against_plain": _ratio(plain, whole),
        "against_naive": _ratio(naive, whole),
        **more,
    }


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
        before = peak_mb()
        run: Side = sides.said(sides.loaded(folder, threads=threads))
    else:
        before = peak_mb()
        made = SHAPES[shape]()
        run = (
            Transformers(made, threads=threads)
            if side == TRANSFORMERS
            else Plain(made, HOME / shape / "float32", threads=threads)
        )
    run(render_frame(walk_from_name("market"), 0.0, WIDTH_PX, HEIGHT_PX).image)
    return round(peak_mb() - before, 1)


def table(name: str, figures: dict[str, Any]) -> Table:
    """For the terminal."""
    reached = "\n".join(
        f"{text}: {'not measured' if bar['ratio'] is None else bar['ratio']} (bar {bar['at_least']})"
        for text, bar in figures["bars"].items()
    )
    caption = (
        f"{reached}\nour own share beside the graphs: {figures['overhead']['share']:.1%} (bar {OVERHEAD_MOST:.0%})\n"
        f"lower bound: {1000 * figures['lower_bound']['whole_s']:.0f} ms; peak memory (MB): {figures['peak_memory_mb']}"
        f"\nat the measured rate of right drafts, times as fast as: {figures['at_measured_rate']}"
    )
    heads = ("", "look (ms)", "decoder (ms)", "whole (ms)", "best", "cpu (ms)", "passes", *AGAINST)
    shown = Table(*heads, title=name, caption=caption)
    for side, of in figures["sides"].items():
        if "missing" in of:
            shown.add_row(f"{side}: {of['missing']}")
            continue
        times = [f"{1000 * of[key]:.1f}" for key in ("look_s", "decoder_s", "whole_s", "whole_best_s", "whole_cpu_s")]
        passes = f"{of['decoder_passes']:.1f}" if "decoder_passes" in of else ""
        shown.add_row(side, *times, passes, *(str(of[key]) for key in AGAINST.values()))
    return shown


if __name__ == "__main__":
    main()
