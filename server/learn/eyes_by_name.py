"""`models add eyes --backbone`: a model is trained on a backbone that was named, as the shipped starter was.

The work lies in the home until it is done, eyes/training/<key>/, so that Ctrl-C or a power cut loses little; it begins
anew where the backbone or the plan is another. What was added before stays until the new model is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from server.eyes import by_name, packaged
from server.eyes.backbone import Backbone
from server.eyes.by_name import BackboneRecord
from server.learn import starter_eyes
from server.learn.starter_eyes import Plan
from server.model import checkpoint as checkpoints
from shared import atomic, strict
from shared.errors import BundleError, Transient

TRAINING = by_name.FOLDER / "training"
_BESIDE_BYTES = 500_000_000  # the model's saves while it is trained


def add(
    home: Path, name: str, *, steps: int, size_px: int | None, threads: int, progress: Callable[[str], None]
) -> tuple[BackboneRecord, bool]:
    """Train what stands on a backbone and keep it, unless it is there already.

    name: on the hub, or a folder; size_px: side of its pictures, by default what it says
    returns: what is kept, and whether it is new
    raises: ConfigError where the backbone cannot be had or does not fit; Transient for a full disk or
        another who adds; OSError
    """
    name = by_name.resolved(name)
    folder = by_name.place(home, name)
    with packaged.alone(home, needs="several GB"):
        backbone = by_name.load(name, size_px=size_px)
        size = backbone.preprocessing.size_px
        record = BackboneRecord(name, backbone.licence, by_name.fingerprint(backbone), size, steps)
        progress(_told(backbone))
        old = _kept(folder, progress)
        if old and replace(record, licence=old.licence) == old:  # a card that cannot be reached states nothing
            return old, False
        plan = Plan.of(backbone, steps)
        work = _work(home, folder, record, plan)
        _check_room(work, plan, backbone)
        progress(f"{plan.shards * plan.frames} frames are drawn and seen, {plan.size_bytes(backbone) / 1e9:.1f} GB")
        torch.set_num_threads(threads)
        seer = partial(by_name.load, name, size_px=size)
        base = starter_eyes.train(seer, work, plan, progress=progress)
        base.name = f"starter-on-{by_name.short(name)}-{checkpoints.fingerprint(base)[:8]}"
        done = work / "done"
        checkpoints.save(base, done / by_name.MODEL_FOLDER, dtype=torch.float16)
        atomic.write_json(done / by_name.RECORD_FILE, strict.plain(record))
        atomic.remove_tree(folder)
        atomic.move(done, folder)
        atomic.remove_tree(work)
        return record, True


def _kept(folder: Path, progress: Callable[[str], None]) -> BackboneRecord | None:
    try:
        return by_name.kept(folder)
    except BundleError as error:
        progress(f"training anew: {error.args[0]}")
        return None


def _told(backbone: Backbone) -> str:
    size, grid = backbone.preprocessing.size_px, backbone.grid
    licence = f"its model card states the licence {backbone.licence}" if backbone.licence else "no licence stated"
    return f"{backbone.name}: {licence}; {grid} × {grid} tokens of {backbone.dim} numbers, pictures of {size} px"


def _work(home: Path, folder: Path, record: BackboneRecord, plan: Plan) -> Path:
    """The folder of this very training; what an earlier one of another plan left for this name is removed."""
    key = hashlib.sha256(json.dumps([strict.plain(record), asdict(plan)]).encode()).hexdigest()[:8]
    work = home / TRAINING / f"{folder.name}-{key}"
    atomic.make_dirs(work)
    atomic.remove_trees(old for old in work.parent.glob(f"{folder.name}-*") if old != work)
    return work


def _check_room(work: Path, plan: Plan, backbone: Backbone) -> None:
    """Raises: Transient where the disk has too little room left, before hours of work."""
    there = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
    needed = plan.size_bytes(backbone) + _BESIDE_BYTES - there
    if (free := shutil.disk_usage(work).free) < needed:
        raise Transient(
            f"The training needs {needed / 1e9:.1f} GB on the disk of {work}, {free / 1e9:.1f} GB are free.",
            hint="Free some, or take fewer --steps, which take fewer frames.",
        )
