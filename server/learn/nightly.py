"""One night, told from top to bottom.

    lock → view → enough new rows? → examples + replay → LoRA → adapter → export → quantise → parity → recalibrate
         → gate against the champion → register → promote (or keep the champion and say why)

Single-flight: a second retrain waits for nobody, it says that one is running. Every stage's output is named by what it
was made from, so a night that a power cut ended goes on where it stopped: training from its last save, features from
their file. Nothing is offered to a device here: the running server offers the champion.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.onnx.bundle import Exportable, GoldenChunk, Label, export_bundle
from exporters.onnx.parity import Given, compare
from exporters.onnx.quantise import DECODER_BITS
from server import walks
from server.dataset import Dataset, SampleRow
from server.learn import checkpoint as checkpoints
from server.learn import evaluate, golden, lora, rows, sound
from server.learn.batches import Example, Layout, drawn
from server.learn.checkpoint import Checkpoint
from server.learn.guide import Guide
from server.learn.judge import Made, Subject, judge, on_walks, recalibrate
from server.learn.settings import Bounds, LearnSettings
from server.registry import Registry
from shared import atomic
from shared import bundle as bundles
from shared.clock import Clock, SystemClock
from shared.errors import Transient
from shared.preprocess import prepare

STARTER_FOLDER = Path(__file__).parent / "starter_model"
REPLAY_OF_WALKS = 0.4
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Night:
    """What a night did: written to <home>/nights/<version>.json, printed by `waycue-server retrain --json`."""

    outcome: str
    """skipped | promoted | trial | refused"""
    reasons: tuple[str, ...]
    version: str = ""
    champion: str = ""
    samples: int = 0
    """Rows of the dataset that taught."""
    held_out: int = 0
    seconds: float = 0.0
    loss_first: float = 0.0
    loss_last: float = 0.0
    parity_float: float = 0.0
    """Share of tokens equal to PyTorch's before quantisation."""
    parity: float = 0.0
    """The same after quantisation."""
    evaluation: dict[str, Any] = field(default_factory=dict)
    champion_evaluation: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    """Every rule as it was judged (server.learn.evidence.Decision)."""


def retrain(
    home: Path,
    *,
    settings: LearnSettings,
    bounds: Bounds | None = None,
    progress: Progress = print,
    force: bool = False,
    clock: Clock | None = None,
) -> Night:
    """Run one night on the dataset under `home`.

    bounds: what its model is held to
    force: train also with fewer new rows than settings.new_rows_least
    raises: Transient where another night is running; ConfigError, DatasetError, BundleError, OSError
    """
    clock = clock or SystemClock()
    with _single_flight(home):
        started = clock.monotonic_s()
        registry, dataset = Registry(home), Dataset(home / "dataset")
        view = dataset.rows()
        teaching = rows.teaching(view)
        new = _new_rows(registry, teaching)
        if not teaching or (len(new) < settings.new_rows_least and not force):
            why = f"{len(new)} verified rows are new, {settings.new_rows_least} are needed"
            return Night("skipped", (why,), champion=registry.champion() or "")
        night = _train_and_judge(
            home, registry, view, teaching, settings=settings, bounds=bounds or Bounds(), progress=progress, clock=clock
        )
        night = _with_seconds(night, clock.monotonic_s() - started)
        atomic.write_json(home / "nights" / f"{night.version}.json", asdict(night))
        return night


def _train_and_judge(
    home: Path,
    registry: Registry,
    view: Sequence[SampleRow],
    teaching: Sequence[SampleRow],
    *,
    settings: LearnSettings,
    bounds: Bounds,
    progress: Progress,
    clock: Clock,
) -> Night:
    folder = home / "dataset"
    base = load_base(settings)
    senses = rows.Senses(before=base.frames == 2, sound=base.ear is not None)
    recipe = lora.Recipe(rank=settings.rank, steps=settings.steps, replay=settings.replay, threads=settings.threads)
    key = _key(base, teaching, recipe, settings.decoder_bits)
    version = f"n{len(registry.list()) + 1}-{key[:8]}"
    work = home / "nights" / key
    layout = Layout.of(base)
    progress(f"{len(teaching)} verified rows teach; base {base.name}")
    fresh = rows.examples(folder, teaching, layout, variations=recipe.variations, seed=recipe.seed, senses=senses)
    trained = lora.train(base, fresh, replay(base, layout, recipe, progress), recipe, work, progress=progress)

    champion = registry.champion()
    parent = registry.bundle_folder(champion) if champion else None
    chunks = golden.choose(base, parent, folder, view, progress=progress)
    moments = golden.parity_moments(base, folder, view, progress=progress)
    label = Label(version, base.name, champion or "", base.intended_use, dict(base.thresholds), clock.utc_s())
    made = make_bundles(base, label, work, chunks, moments=moments, bits=settings.decoder_bits, progress=progress)
    judged = judge(
        Subject(base, label, made, view, teaching, {"taught_by": list(_identity(teaching))}), registry,
        settings=settings, bounds=bounds, taught=_samples_of(registry, champion), progress=progress,
    )  # fmt: skip
    night = Night(
        outcome=judged.decision.verdict, reasons=judged.decision.reasons,
        version=version, champion=champion or "",
        samples=len(teaching), held_out=judged.held_out,
        loss_first=trained.loss_first, loss_last=trained.loss_last,
        parity_float=made.parity_float, parity=made.parity,
        evaluation=judged.figures, champion_evaluation=judged.champion_figures, gate=judged.decision.to_dict(),
    )  # fmt: skip
    registry.add(made.folder, parent=champion or "", adapter=work / "adapter", evaluation=asdict(night))
    if judged.decision.accepted:
        registry.promote(version, why="; ".join(judged.decision.reasons))
    shutil.rmtree(work)
    return night


def add_starter(home: Path, *, progress: Progress = print, clock: Clock | None = None) -> str:
    """Export the starter that ships with waycue and make it the first champion. Returns its version."""
    registry = Registry(home)
    base = checkpoints.load(STARTER_FOLDER)
    version = base.name
    if version in {model.version for model in registry.list()}:
        return version
    work = home / "nights" / "starter"
    atomic.remove_tree(work)
    label = Label(version, base.name, "", base.intended_use, dict(base.thresholds), (clock or SystemClock()).utc_s())
    moments = golden.parity_moments(base, home, [])
    made = make_bundles(base, label, work, golden.drawn(base), moments=moments, progress=progress)
    progress("calibrating on held-out rendered frames")
    answers = evaluate.run(made.folder, evaluate.rendered_cases(300))
    figures, _ = recalibrate(made.folder, label, answers, on_walks(base, made.folder), extra={"taught_by": []})
    registry.add(made.folder, parent="", adapter=None, evaluation={"evaluation": figures})
    registry.promote(version, why="the first model")
    shutil.rmtree(work)
    return version


def make_bundles(
    trained: Checkpoint,
    label: Label,
    work: Path,
    chunks: Sequence[GoldenChunk],
    *,
    moments: Sequence[Given],
    bits: int = DECODER_BITS,
    progress: Progress,
) -> Made:
    """Export in float32 and quantised; compare both with PyTorch on held-out pictures. Raises: OSError, BundleError.

    moments: what to compare on
    bits: of the quantised decoder's weights, 8 or 4
    """
    what = exportable(trained)
    shares = {}
    for name, quantised in (("float", False), ("bundle", True)):
        atomic.remove_tree(work / name)
        manifest = export_bundle(
            what, label, work / name, golden_chunks=chunks, quantised=quantised, bits=bits, progress=progress
        )
        shares[name] = compare(work / name, writer(trained), moments).token_share
        progress(f"{name}: {shares[name]:.1%} of tokens are PyTorch's, {manifest.size_bytes / 1e6:.1f} MB")
    return Made(work / "bundle", work / "float", shares["float"], shares["bundle"], manifest.size_bytes, len(moments))


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


def exportable(checkpoint: Checkpoint) -> Exportable:
    return Exportable(
        checkpoint.model, checkpoint.head, checkpoint.tokenizer, checkpoint.preprocessing, checkpoint.before_ids(),
        checkpoint.after_ids(), checkpoint.end_id, checkpoint.objects, checkpoint.sides,
        checkpoint.ear if checkpoint.ear is not None and checkpoint.ear.taught else None,  # else it would add zeros
        checkpoint.frames, checkpoint.between_ids(),
    )  # fmt: skip


def replay(base: Checkpoint, layout: Layout, recipe: lora.Recipe, progress: Progress) -> list[Example]:
    """What the base knew: fresh rendered frames for one trained on rendered walks, nothing for a field model, whose
    past is the dataset itself."""
    if not base.known:
        return []
    progress(f"rendering {recipe.replay} frames to replay")
    rng = np.random.default_rng([recipe.seed, recipe.replay])
    return list(itertools.islice(drawn(rng, base.known, layout, walks_share=REPLAY_OF_WALKS), recipe.replay))


def load_base(settings: LearnSettings) -> Checkpoint:
    """What the night starts from, with as many pictures and such an ear as the settings say. Raises: ConfigError."""
    base = checkpoints.load(base_folder(settings.base))
    base.frames = max(base.frames, settings.frames)
    if settings.audio_encoder:
        base.ear = sound.fresh(settings.audio_encoder, base.width)
    return base


def base_folder(base: str) -> str | Path:
    return STARTER_FOLDER if base == "starter" else base


def _identity(teaching: Sequence[SampleRow]) -> Iterator[str]:
    """row_id names a row and its revision, the frame's file name is its content hash."""
    return (f"{row.row_id}:{Path(row.frame_path).stem[:16]}" for row in sorted(teaching, key=lambda row: row.row_id))


def _key(base: Checkpoint, teaching: Sequence[SampleRow], recipe: lora.Recipe, bits: int) -> str:
    ear = base.ear.config.name_or_path if base.ear is not None else ""
    text = json.dumps([base.name, base.frames, ear, walks.KNOWN, list(_identity(teaching)), asdict(recipe), bits])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _new_rows(registry: Registry, teaching: Sequence[SampleRow]) -> list[str]:
    """Rows that the newest trained version did not see."""
    seen: set[str] = set()
    for model in registry.list():
        seen.update(bundles.read_manifest(registry.bundle_folder(model.version)).extra.get("taught_by", ()))
    return [identity for identity in _identity(teaching) if identity not in seen]


def _samples_of(registry: Registry, version: str | None) -> frozenset[str]:
    """Ids of the samples that a version learnt from."""
    if version is None:
        return frozenset()
    taught_by = bundles.read_manifest(registry.bundle_folder(version)).extra.get("taught_by", ())
    return frozenset(str(one).partition("#")[0] for one in taught_by)


def _with_seconds(night: Night, seconds: float) -> Night:
    return Night(**{**asdict(night), "reasons": night.reasons, "seconds": round(seconds, 1)})


@contextmanager
def _single_flight(home: Path) -> Iterator[None]:
    file = home / "nightly.lock"
    with open(file, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Transient("Another retrain is running on this server.", hint="Wait until it has ended.") from None
        yield
