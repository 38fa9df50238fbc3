"""From a trained model to a bundle for devices: float and quantised, both compared with PyTorch."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.onnx import delta
from exporters.onnx.bundle import Exportable, GoldenChunk, Label, export_bundle
from exporters.onnx.look import Seeing
from exporters.onnx.parity import Given, compare
from exporters.onnx.quantise import DECODER_BITS
from server.dataset.sample_row import SampleRow
from server.evaluation import answers as evaluate
from server.evaluation.stages import Stages
from server.eyes.backbone import Backbone
from server.eyes.ssd_mobilenet import PRECISE
from server.gate import golden
from server.gate.judge import MadeBundle, on_walks, recalibrate
from server.learn import base_graphs, bases
from server.learn.bases import Progress
from server.model import eyes_tower
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from server.releases.registry import Registry
from shared import atomic
from shared import bundle as bundles
from shared.clock import Clock, SystemClock
from shared.preprocess import prepare

CALIBRATION_PICTURES = 60
SEES_FROM_ROWS = 5
"""From so many confirmed moments of a thing on, a night's model is one that sees it; its evaluation says how well."""


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """What a bundle is made with, beside the model."""

    label: Label
    chunks: Sequence[GoldenChunk]
    moments: Sequence[Given]
    """What it is compared with PyTorch on."""
    bits: int = DECODER_BITS
    """Of the quantised decoder's weights, 8 or 4."""
    taught: tuple[str, ...] = ()
    """Objects that it was taught beside those of its base."""
    base: Path | None = None
    """The graphs of its base (server.learn.base_graphs), where it shall travel as a difference to them."""


def make_bundles(
    trained: Checkpoint, plan: BundlePlan, work: Path, *, progress: Progress, stages: Stages | None = None
) -> MadeBundle:
    """Export in float32 and quantise; compare both with PyTorch on held-out pictures. Raises: OSError, BundleError."""
    what, full, quantised = with_taught(exportable(trained), plan.taught), work / "float", work / "bundle"
    shares, stages, write = [], stages or Stages(), once(writer(trained))
    for folder in (full, quantised):
        atomic.remove_tree(folder)
        with stages.stage("quantise" if folder is quantised else "export"):
            manifest = export_bundle(
                what,
                plan.label,
                folder,
                golden_chunks=plan.chunks,
                quantised=folder is quantised,
                bits=plan.bits,
                full=full if folder is quantised else None,
                progress=progress,
            )
            if folder is quantised and plan.base is not None and delta.write(plan.base, full, folder, progress):
                manifest = bundles.write_bundle(folder, manifest)
        with stages.stage("parity"):
            shares.append(compare(folder, write, plan.moments).token_share)
        progress(f"{folder.name}: {shares[-1]:.1%} of tokens are PyTorch's, {manifest.size_bytes / 1e6:.1f} MB")
    return MadeBundle(quantised, full, shares[0], shares[1], manifest.size_bytes, len(plan.moments))


def with_taught(what: Exportable, objects: Sequence[str]) -> Exportable:
    """It sees these objects too. Where those of its base are unknown, all are: a list of these alone would deny the
    rest."""
    return replace(what, known=tuple(dict.fromkeys((*what.known, *objects)))) if what.known else what


def objects_taught(rows: Iterable[SampleRow]) -> tuple[str, ...]:
    """Objects that enough confirmed rows name for a model to count as one that sees them."""
    named = Counter(evaluate.named(row.ground_truth) for row in rows)
    return tuple(sorted(name for name, count in named.items() if name and count >= SEES_FROM_ROWS))


def writer(of: Checkpoint) -> Callable[[Given], Sequence[int]]:
    """PyTorch's greedy answer for a moment."""
    guide = Guide(of).eval()

    def seen(picture: NDArray[np.uint8] | None) -> Tensor | None:
        return None if picture is None else guide.features(torch.from_numpy(prepare(picture, of.preprocessing)))

    @torch.no_grad()
    def write(given: Given) -> Sequence[int]:
        features, previous = seen(given.picture), seen(given.previous)
        assert features is not None
        heard = None if given.sound is None or of.ear is None else of.ear(of.ear.features([given.sound]))
        return guide.write(features, end_id=of.end_id, previous=previous, sound=heard)[0]

    return write


def once(write: Callable[[Given], Sequence[int]]) -> Callable[[Given], Sequence[int]]:
    """PyTorch answers each moment once, for all bundles that are compared with it. The moments must outlive this."""
    said: dict[int, Sequence[int]] = {}

    def written(given: Given) -> Sequence[int]:
        if id(given) not in said:
            said[id(given)] = write(given)
        return said[id(given)]

    return written


def exportable(checkpoint: Checkpoint) -> Exportable:
    return Exportable(
        checkpoint.model,
        checkpoint.head,
        checkpoint.tokenizer,
        checkpoint.preprocessing,
        checkpoint.before_ids(),
        checkpoint.after_ids(),
        checkpoint.end_id,
        checkpoint.objects,
        checkpoint.sides,
        checkpoint.ear if checkpoint.ear is not None and checkpoint.ear.taught else None,  # else it would add zeros
        checkpoint.frames,
        checkpoint.between_ids(),
        checkpoint.known,
        None if checkpoint.eyes is None else _seeing(checkpoint, checkpoint.eyes),
    )


def _seeing(checkpoint: Checkpoint, eyes: eyes_tower.Eyes) -> Seeing:
    """Its int8 scales are found on drawn pictures: real ones are no part of waycue."""
    backbone, detector = eyes.backbone, eyes.detector
    return Seeing(
        eyes_tower.Seeing(checkpoint.model.model.vision_model, eyes, checkpoint.head).eval(),
        checkpoint.preprocessing,
        [case.image for case in evaluate.rendered_cases(CALIBRATION_PICTURES, seed=1)],
        names=() if detector is None else detector.names,
        precise=() if detector is None else PRECISE,
        any_backbone=detector is None,
        notice=_notice(backbone),
    )


def _notice(backbone: Backbone) -> str:
    """Of a folder's path only the last part: the rest is this machine's own."""
    name = Path(backbone.name).name if Path(backbone.name).is_absolute() else backbone.name
    return f"Contains weights of {name}. Licence: {backbone.licence or 'none stated by its publisher'}.\n"


def add_starter(home: Path, *, eyes: str = "packaged", progress: Progress = print, clock: Clock | None = None) -> str:
    """Export the starter that ships with waycue and make it the first champion. Returns its version.

    eyes: LearnSettings.eyes
    """
    registry = Registry(home)
    base = bases.starter(eyes, home, progress)
    version = base.name
    if version in {model.version for model in registry.list()}:
        return version
    work = home / "nights" / "starter"
    atomic.remove_tree(work)
    label = Label(version, base.name, "", base.intended_use, dict(base.thresholds), (clock or SystemClock()).utc_s())
    plan = BundlePlan(label, golden.drawn(base), golden.parity_moments(base, home, []))
    made = make_bundles(base, plan, work, progress=progress)
    progress("calibrating on held-out rendered frames")
    answers = evaluate.run(made.folder, evaluate.rendered_cases(300))
    figures, _ = recalibrate(made.folder, answers, on_walks(base, made.folder))
    base_graphs.keep(base, home, plan.bits, made.full, made.folder)
    registry.add(made.folder, parent="", adapter=None, evaluation={"evaluation": figures})
    registry.promote(version, why="the first model")
    shutil.rmtree(work)
    return version
