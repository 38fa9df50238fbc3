"""Graphs of the base itself, exported as a night's are: what a night's bundle is told as a difference to.

    <home>/bases/<key>/float/        in float32
    <home>/bases/<key>/quantised/    as devices have them that had the base as a model

The key names all that they are made from: weights, tokenizer, bits, and the versions of what exports and quantises.
Only the newest stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from exporters.onnx import delta
from exporters.onnx.bundle import Exportable, Label, export_bundle
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.releases.registry import Registry
from shared import atomic

FOLDER = "bases"
MADE_BY = ("torch", "transformers", "onnxruntime", "onnx")
Progress = Callable[[str], None]


def key_of(base: Checkpoint, bits: int) -> str:
    """Of a base as it was loaded, before anything was trained."""
    parts = [checkpoints.fingerprint(base), str(bits), *(version(name) for name in MADE_BY)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def of_night(base: Checkpoint, what: Exportable, registry: Registry, *, bits: int, progress: Progress) -> Path | None:
    """The base's graphs, exported where they are not here yet; None where the base was never a model, so that no device
    has it: a difference would be fetched for nothing.

    what: the base, to be exported
    raises: OSError; whatever an export raises
    """
    if bits != delta.BITS or base.name not in {model.version for model in registry.list()}:
        return None
    folder = registry.home / FOLDER / key_of(base, bits)
    if not folder.is_dir():
        progress("exporting the base itself, once: later nights travel as a difference to it")
        temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
        atomic.remove_tree(temp)
        temp.mkdir(parents=True)
        label = Label(base.name, base.name, "", base.intended_use, dict(base.thresholds), 0.0)
        full, small = temp / delta.FLOAT, temp / delta.QUANTISED
        export_bundle(what, label, full, golden_chunks=[], quantised=False)
        export_bundle(what, label, small, golden_chunks=[], bits=bits, full=full)
        _settle(temp, folder)
    for other in folder.parent.iterdir():
        if other != folder:
            atomic.remove_tree(other)
    return folder


def keep(base: Checkpoint, home: Path, bits: int, full: Path, quantised: Path) -> None:
    """Keep what was just exported of the base. full, quantised: its bundles. Raises: OSError."""
    folder = home / FOLDER / key_of(base, bits)
    temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
    atomic.remove_tree(temp)
    for source, name in ((full, delta.FLOAT), (quantised, delta.QUANTISED)):
        (temp / name).mkdir(parents=True)
        for graph in source.glob("*.onnx"):
            shutil.copyfile(graph, temp / name / graph.name)
    _settle(temp, folder)


def _settle(temp: Path, folder: Path) -> None:
    """Half-written graphs would be a base that nobody has: each file is durable before the folder has its name."""
    for file in temp.glob("*/*.onnx"):
        with open(file, "rb") as written:
            os.fsync(written.fileno())
    atomic.remove_tree(folder)
    atomic.move(temp, folder)
