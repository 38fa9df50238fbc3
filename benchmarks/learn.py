"""What a night's training costs: beside a plain script, by number of rows, and on a second night.

    make bench NAME=learn                                  writes build/bench/learn.json
    .venv/bin/python -m benchmarks.learn --only rows --rows 100

ratio.{starter,smolvlm256m}    samples a second, ours ÷ Trainer + peft without a cache: same base, rows, order, steps
                               and seed; `first` with an empty cache, `later` with a full one, as on later nights
rows.{100,1000,10000}          seconds by stage, peak memory and disk; of 10,000 rows the tower is a stub that gives
                               random features of the right size, which the report says
second_night_share             seconds of the night after 20 more rows, which goes on from the first one's model, ÷ of
                               the first with 1,000, steps included; `second_night_features_share`: without the steps;
                               `second_night_from_base_share`: of one that begins from the base again
teach_now_s.{starter,…}        `waycue-server teach now cone` after 20 confirmed moments, and, with what the first
                               one kept, after 20 more; the bar is for the second

Each measurement is a process of its own. Processor seconds stand beside those of the clock: on a busy machine only
these can be compared. The shape of SmolVLM2-256M has random weights: its losses say only that both are the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, Trainer

from benchmarks._memory import peak_mb
from benchmarks._retrained import TEXT, VISION
from server import config, walks
from server.dataset import feature_cache
from server.dataset.sample_row import SampleRow
from server.learn import bundles, devices, features, going_on, lineage, lora, presets
from server.learn.bases import STARTER_FOLDER
from server.learn.batches import Layout
from server.learn.features import TrainingSet, cache_of
from server.learn.going_on import NightCourse
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.learn.views import Labels, Rows, ViewPlan
from server.learn.watching import Losses
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint, fingerprint
from server.model.guide import Guide, LossWeights
from shared import atomic
from shared.preprocess import Preprocessing, normalise
from tests.server.learn.parts import reviewed_home

OUT = Path("build/bench/learn.json")
PICTURES = 400
"""Distinct drawn pictures; rows beyond use them again, under other names and with other views."""
RATIO = {"starter": (200, 60), "smolvlm256m": (24, 6)}
"""Base: (rows, steps)."""
KINDS = ("ratio", "rows", "second", "teach_now_s")
BARS = {"starter": 3.0, "smolvlm256m": 2.0}
SECOND_SHARE, NEW_ROWS = 0.25, 20
TEACH_S = {"starter": 60.0, "smolvlm256m": 600.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    logging.disable(logging.INFO)
    options = argparse.ArgumentParser(prog="python -m benchmarks.learn", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--only", choices=KINDS, nargs="+", help="default: all")
    options.add_argument("--rows", type=int, nargs="+", default=[100, 1000, 10_000])
    options.add_argument("--bases", choices=tuple(RATIO), nargs="+", default=list(RATIO))
    options.add_argument("--one", help=argparse.SUPPRESS)
    chosen = options.parse_args(argv)
    if chosen.one:
        kind, _, what = chosen.one.partition(":")
        print(json.dumps(MEASURED[kind](what)))
        return
    only = chosen.only or KINDS
    measured: dict[str, Any] = json.loads(OUT.read_bytes()) if OUT.exists() else {}
    for kind, each in zip(KINDS, (chosen.bases, chosen.rows, [1000], chosen.bases), strict=True):
        for what in each if kind in only else ():
            found = _apart(kind, str(what))
            print(kind, what, json.dumps(found), flush=True)
            measured |= found if kind == "second" else {kind: {**measured.get(kind, {}), str(what): found}}
            atomic.make_dirs(OUT.parent)
            atomic.write_json(OUT, measured | {"bars": bars(measured)})
    for name, bar in bars(measured).items():
        print(f"{name}: {bar}")


def bars(measured: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, and what is reached; null where it was not measured."""
    ratio = measured.get("ratio", {})
    return {
        **{f"ratio.{name}": {"value": ratio.get(name, {}).get("later"), "at_least": BARS[name]} for name in BARS},
        **{f"loss.{name}": {"value": ratio.get(name, {}).get("loss_share"), "at_most": 0.01} for name in BARS},
        "second_night_share": {"value": measured.get("second_night_share"), "at_most": SECOND_SHARE},
        **{
            f"teach_now_s.{name}": {"value": measured.get("teach_now_s", {}).get(name, {}).get("later"), "at_most": bar}
            for name, bar in TEACH_S.items()
        },
    }


def _apart(kind: str, what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.learn", "--one", f"{kind}:{what}"]
    # As the commands have it: threads that wait for a busy core would count as work, fifteen times the work itself.
    quiet = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=quiet).stdout
    found: dict[str, Any] = json.loads(answer.strip().splitlines()[-1])
    return found


# --- what is measured ---


def ratio(name: str) -> dict[str, Any]:
    """Ours and the plain script, each from the same base."""
    count, steps = RATIO[name]
    with tempfile.TemporaryDirectory(prefix="waycue-bench-") as place:
        folder = Path(place)
        rows = moments(folder / "dataset", count)
        recipe = replace(_recipe(name, count), steps=steps)
        _ours(_base(name), rows[:8], folder, replace(recipe, steps=1, batch=4), "warm")  # loads libraries
        ours, first_loss = _ours(_base(name), rows, folder, recipe, "first")
        later, later_loss = _ours(_base(name), rows, folder, recipe, "later")
        plain, plain_loss = _plain(_base(name), rows, folder, recipe)
    drawn = steps * recipe.rows_a_step
    return {
        "rows": count,
        "steps": steps,
        "rows_a_step": recipe.rows_a_step,
        "samples_per_cpu_s": {key: round(drawn / spent["cpu_s"], 2) for key, spent in _named(ours, later, plain)},
        "samples_per_s": {key: round(drawn / spent["seconds"], 2) for key, spent in _named(ours, later, plain)},
        "first": round(plain["cpu_s"] / ours["cpu_s"], 2),
        "later": round(plain["cpu_s"] / later["cpu_s"], 2),
        "losses": {"first": first_loss, "later": later_loss, "plain": plain_loss},
        "loss_share": round(abs(later_loss - plain_loss) / plain_loss, 5),
    }


def rows(count: str) -> dict[str, Any]:
    """A night of the starter with so many rows and an empty cache, without replay and export."""
    number = int(count)
    if stubbed := number >= 10_000:
        features._seer = _stub
    with tempfile.TemporaryDirectory(prefix="waycue-bench-") as place:
        folder = Path(place)
        taught = moments(folder / "dataset", number)
        before = peak_mb()
        spent, _ = _ours(_base("starter"), taught, folder, _recipe("starter", number), "night")
        disk = feature_cache.size_bytes(folder / "features") + _size(folder / "night")
    budget_mb = LearnSettings().features_gb * 1e3
    return {
        **spent,
        "towers": "stubbed by random features" if stubbed else "real",
        "peak_mb": round(peak_mb(), 1),
        "peak_before_mb": round(before, 1),
        "disk_mb": round(disk / 1e6, 1),
        "disk_budget_mb": budget_mb,
    }


def second(count: str) -> dict[str, Any]:
    """The night after NEW_ROWS more rows, which goes on from the first, and one that begins from the base again."""
    number = int(count)
    with tempfile.TemporaryDirectory(prefix="waycue-bench-") as place:
        folder = Path(place)
        every = moments(folder / "dataset", number + NEW_ROWS)
        recipe, of = _recipe("starter", number), fingerprint(_base("starter"))
        one, _ = _ours(_base("starter"), every[:number], folder, recipe, "one")
        adapter = folder / "one" / "adapter"
        going_on.write(adapter, NightCourse(recipe, recipe, of))
        rows = frozenset(lineage.identities(every[:number]))
        kept = json.loads((adapter / going_on.FILE).read_bytes())
        origin = going_on.Origin("one", adapter, 0, of, kept["recipe"], rows)
        course = going_on.course(origin, recipe, of, every, nights=1)
        two, _ = _ours(_base("starter"), every, folder, recipe, "two", course=course)
        again, _ = _ours(_base("starter"), every, folder, recipe, "again")
    return {
        "second_night": {"first": one, "second": two, "from_base": again, "rows": number, "new": NEW_ROWS},
        "second_night_share": round(two["cpu_s"] / one["cpu_s"], 3),
        "second_night_features_share": round(two["features_cpu_s"] / one["features_cpu_s"], 3),
        "second_night_from_base_share": round(again["cpu_s"] / one["cpu_s"], 3),
    }


def teach_now(name: str) -> dict[str, Any]:
    """Both lessons, each by the command itself, in seconds of the clock and of the processor."""
    with tempfile.TemporaryDirectory(prefix="waycue-bench-") as place:
        home = Path(place) / "home"
        bundles.add_starter(home, eyes="none", progress=lambda text: None)
        settings = 'eyes = "none"'
        if name != "starter":
            checkpoints.save(_base(name), Path(place) / "SmolVLM2-256M")
            settings += f'\nbase = "{place}/SmolVLM2-256M"'
        (home / config.FILE).write_text(f"[learn]\n{settings}\n")
        lessons = [_lesson(home, first) for first in (0, NEW_ROWS)]
    return {"first": lessons[0]["seconds"], "later": lessons[1]["seconds"], "lessons": lessons}


def _lesson(home: Path, first: int) -> dict[str, Any]:
    """After NEW_ROWS more moments, of four walks."""
    reviewed_home(home, walks_of={f"w{first + walk}": NEW_ROWS // 4 for walk in range(4)}, first=first)
    command = [sys.executable, "-m", "server", "--home", str(home), "teach", "now", "cone", "--json"]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    night = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(cpu_s, 1),
        "outcome": night["outcome"],
        "stages": night["stages"],
    }


MEASURED: dict[str, Callable[[str], dict[str, Any]]] = {
    "ratio": ratio,
    "rows": rows,
    "second": second,
    "teach_now_s": teach_now,
}


# --- both sides ---


def _ours(
    base: Checkpoint,
    taught: Sequence[SampleRow],
    folder: Path,
    recipe: Recipe,
    name: str,
    *,
    course: NightCourse | None = None,
) -> tuple[dict[str, float], float]:
    """(seconds of the clock and the processor, of the features alone too; loss at the end)"""
    origin, recipe, whole = (None, recipe, recipe) if course is None else (course.origin, course.recipe, course.whole)
    known = [course is not None and course.known(row) for row in taught]
    views = _views(base, [row for row, was in zip(taught, known, strict=True) if not was], folder, recipe)
    older = _views(base, [row for row, was in zip(taught, known, strict=True) if was], folder, whole)
    cache = cache_of(base, folder / "features", most_bytes=round(LearnSettings().features_gb * 1e9))
    began, began_cpu, marks = time.perf_counter(), time.process_time(), list[tuple[float, float]]()

    def progress(text: str) -> None:
        if text.startswith("tower features") or not marks:
            marks[:] = [(time.perf_counter() - began, time.process_time() - began_cpu)]

    around = lora.Surroundings(cache=cache, goes_on_from=None if origin is None else origin.adapter)
    trained = lora.train(base, views, [], recipe, folder / name, older=older, around=around, progress=progress)
    spent = {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(time.process_time() - began_cpu, 1),
        "features_s": round(marks[0][0], 1),
        "features_cpu_s": round(marks[0][1], 2),
        "steps": trained.steps,
        "drawn": trained.drawn,
    }
    return spent, trained.loss_last


def _plain(
    base: Checkpoint, taught: Sequence[SampleRow], folder: Path, recipe: Recipe
) -> tuple[dict[str, float], float]:
    """Trainer + peft: each picture is decoded, varied and looked at by the tower at every step that draws it."""
    views = _views(base, taught, folder, recipe)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    began, began_cpu = time.perf_counter(), time.process_time()
    lora.adapt(base, recipe)
    guide = Guide(base, LossWeights(language=1.0, patch=0.3, hazard=0.15))
    rows_ = _Plain(base, views, lora._order(len(views), 0, recipe))
    losses = Losses(recipe.steps, lambda text: None)
    optimiser = torch.optim.AdamW(lora._groups(guide, recipe), weight_decay=0.01, fused=True)
    trainer = Trainer(
        model=guide,
        args=lora._arguments(folder / "plain", recipe, devices.CPU),
        train_dataset=rows_,
        data_collator=rows_.collate,
        optimizers=(optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lora._schedule(recipe.steps))),
        callbacks=[losses],
    )
    lora._silence(trainer)
    trainer.train()
    spent = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - began_cpu}
    shutil.rmtree(folder / "plain", ignore_errors=True)
    return spent, losses.mean(first=False)


class _Plain(TrainingSet):
    """Pictures instead of their features."""

    def __init__(self, base: Checkpoint, views: Rows, order: NDArray[np.int64]) -> None:
        places = sorted(set(order.tolist()))
        labels: dict[int, Labels] = dict(zip(places, views.labels(places), strict=True))
        super().__init__(base, features.Prepared(None, {}, labels, {}, {}), order)  # type: ignore[arg-type]
        self._views, self._preprocessing = views, base.preprocessing

    def tensors(self, places: Sequence[int]) -> Any:
        batch: Any = super().tensors(places)
        del batch["features"]
        tiles = np.stack([self._views.tiles(place, frames=1)[0] for place in places])
        return {**batch, "pixel_values": torch.from_numpy(normalise(tiles, self._preprocessing))}

    def _features(self, places: Sequence[int]) -> torch.Tensor:
        return torch.empty(len(places), 1, 0, 0)


# --- what both are given ---


def moments(folder: Path, count: int) -> list[SampleRow]:
    """Rows with drawn pictures. Every file has bytes of its own: rows that show the same are different moments."""
    (folder / "frames").mkdir(parents=True)
    drawn, found = list[tuple[bytes, str]](), list[SampleRow]()
    for number in range(min(count, PICTURES)):
        shot = walks.random_frame(np.random.default_rng([71, number]), objects=walks.DRAWN)
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(shot.image, cv2.COLOR_RGB2BGR))
        drawn.append((jpeg.tobytes(), shot.instruction))
    for number in range(count):
        data, text = drawn[number % len(drawn)]
        (folder / "frames" / f"{number}.jpg").write_bytes(data + number.to_bytes(8, "big"))  # behind the picture's end
        found.append(_row(number, text))
    return found


def _row(number: int, text: str) -> SampleRow:
    name = f"s{number:06d}"
    return SampleRow(
        row_id=f"{name}#1",
        sample_id=name,
        frame_path=f"frames/{number}.jpg",
        audio_path="audio/none.wav",
        instruction=text,
        timestamp=float(number),
        device="bench",
        walk_id=f"w{number // 20}",
        reviewed=True,
        ground_truth=text,
    )


def _views(base: Checkpoint, taught: Sequence[SampleRow], folder: Path, recipe: Recipe) -> Rows:
    plan = ViewPlan(recipe.variations, recipe.seed, most=recipe.draws(replay=False))
    return Rows(folder / "dataset", taught, Layout.of(base), plan)


def _recipe(name: str, count: int) -> Recipe:
    """As a night has it, but without replay; a share of 0.3 of its draws, as many as the dataset gets beside replay."""
    base = "starter" if name == "starter" else "smolvlm2-256m"
    values = presets.recipe_values(LearnSettings(base=base), rows=count, replay=name == "starter")
    batch = {"batch": 8, "accumulate": 1} if name != "starter" else {}
    return Recipe(**{**values, **batch, "replay": 0})


def _base(name: str) -> Checkpoint:
    starter = checkpoints.load(STARTER_FOLDER)
    checkpoints.grow(starter)
    if name == "starter":
        return starter
    torch.manual_seed(1)
    config = SmolVLMConfig(
        image_token_id=starter.model.config.image_token_id,
        tie_word_embeddings=False,
        scale_factor=4,
        vision_config=VISION,
        text_config=TEXT | {"eos_token_id": starter.end_id},
    )
    model = SmolVLMForConditionalGeneration(config)
    preprocessing = Preprocessing(size_px=checkpoints.FIELD_TILE_PX, fit="pad")
    head = checkpoints.new_head(model, preprocessing, starter.objects)
    return Checkpoint(model, starter.tokenizer, head, preprocessing, "SmolVLM2-256M (random)", "demo", starter.objects)


def _stub(guide: Guide, base: Checkpoint, device: torch.device) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    del guide, device
    rng = np.random.default_rng(1)
    width = int(base.model.config.vision_config.hidden_size)
    return lambda pixels: rng.standard_normal((len(pixels), base.patches, width), np.float32)


def _named(*spent: dict[str, float]) -> Sequence[tuple[str, dict[str, float]]]:
    return list(zip(("first", "later", "plain"), spent, strict=True))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
