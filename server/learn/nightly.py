"""One night, told from top to bottom.

    lock → what an earlier night left undone → view → enough new rows? → damaged files put aside
         → examples + replay → LoRA → adapter → export → quantise → parity → recalibrate
         → gate against the champion → register → promote (or keep the champion and say why)

Single-flight: a second retrain waits for nobody, it says that one is running. Every stage's output is named by what it
was made from, the base's weights and tokenizer included, so a night that a power cut ended goes on where it stopped:
training from its last save, features from their file. Registered with its verdict, it is carried out by the next run
(server.learn.verdict). Nothing is offered to a device here: the running server offers the champion.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.onnx.bundle import Exportable, GoldenChunk, Label, export_bundle
from exporters.onnx.parity import Given, compare
from exporters.onnx.quantise import DECODER_BITS
from server.dataset.folder import Dataset
from server.dataset.teaching import training_rows
from server.evaluation import answers as evaluate
from server.gate import golden
from server.gate.judge import Made, Subject, judge, on_walks, recalibrate
from server.gate.settings import Bounds
from server.learn import examples, lineage, lora, tonight, verdict
from server.learn.batches import Example, Layout, drawn
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model import sound
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from server.releases.registry import PROMOTED, Overtaken, Registry
from shared import atomic
from shared.clock import Clock, SystemClock
from shared.preprocess import prepare

STARTER_FOLDER = Path(__file__).parent / "starter_model"
REPLAY_OF_WALKS = 0.4
OVERTAKEN = "overtaken"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Night:
    """What a night did: written to <home>/nights/<version>.json, printed by `waycue-server retrain --json`."""

    outcome: str
    """skipped | promoted | trial | refused, or overtaken: accepted, but the champion was changed meanwhile"""
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
    """Every rule as it was judged (server.gate.evidence.Decision)."""
    put_aside: tuple[str, ...] = ()
    """Files of the dataset that could not be read, one line each: the row, the file, what is wrong."""


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
    with tonight.single_flight(home), tonight.room(home), tonight.stoppable(progress) as progress:
        started_s = clock.monotonic_s()
        registry, dataset = Registry(home), Dataset(home / "dataset")
        settled = verdict.settle(home, registry, progress)
        champion = registry.champion() or ""
        version, view = tonight.view_of(dataset)
        teaching = training_rows(view)
        seen, unread = lineage.seen(registry)
        for name in unread:
            progress(f"{name}: the list of what taught it cannot be read; its rows count as new")
        new = [row for row in teaching if lineage.identity(row) not in seen]
        why = tonight.too_few(teaching, len(new), settings, force=force)
        if why:
            return _finished(settled) or Night("skipped", (why,), champion=champion)
        base = load_base(settings)
        recipe = lora.Recipe(rank=settings.rank, steps=settings.steps, replay=settings.replay, threads=settings.threads)
        taken = tonight.take(dataset.folder, view, teaching, new, base=base, recipe=recipe, dataset=version)
        for line in taken.put_aside:
            progress(line)
        kept = {row.row_id for row in taken.view}
        why = tonight.too_few(taken.teaching, sum(row.row_id in kept for row in new), settings, force=force)
        if why:
            return Night("skipped", (why,), champion=champion, put_aside=taken.put_aside)
        night = _train_and_judge(
            home,
            registry,
            taken,
            base=base,
            recipe=recipe,
            settings=settings,
            bounds=bounds or Bounds(),
            progress=progress,
            clock=clock,
            started_s=started_s,
        )
        atomic.write_json(verdict.report(home, night.version), asdict(night))
        return night


def _finished(settled: verdict.Settled | None) -> Night | None:
    if settled is None:
        return None
    known = {item.name for item in fields(Night)}
    values: dict[str, Any] = {name: value for name, value in settled.evaluation.items() if name in known}
    lists = {name: tuple(values.get(name, ())) for name in ("reasons", "put_aside")}
    return Night(**{**values, **lists})


def _train_and_judge(
    home: Path,
    registry: Registry,
    taken: tonight.Rows,
    *,
    base: Checkpoint,
    recipe: lora.Recipe,
    settings: LearnSettings,
    bounds: Bounds,
    progress: Progress,
    clock: Clock,
    started_s: float,
) -> Night:
    folder, view, teaching = home / "dataset", taken.view, taken.teaching
    senses, layout = tonight.senses_of(base), Layout.of(base)
    key = tonight.key_of(base, teaching, recipe, settings.decoder_bits)
    work = home / "nights" / key
    verdict.clear(home, keep=key)
    version, began_utc = tonight.begin(work, f"n{len(registry.list()) + 1}-{key[:8]}", registry, clock)
    progress(f"{len(teaching)} verified rows teach; base {base.name}")
    most = recipe.draws(replay=bool(base.known))
    fresh = examples.examples(
        folder, teaching, layout, variations=recipe.variations, seed=recipe.seed, senses=senses, most=most
    )
    trained = lora.train(base, fresh, replay(base, layout, recipe, progress), recipe, work, progress=progress)

    champion = registry.champion()
    parent = registry.bundle_folder(champion) if champion else None
    chunks = golden.choose(base, parent, folder, view, progress=progress)
    moments = golden.parity_moments(base, folder, view, progress=progress)
    use = base.intended_use if base.intended_use == "demo" else "trial"  # until the gate accepted it
    label = Label(version, base.name, champion or "", use, dict(base.thresholds), began_utc)
    made = make_bundles(base, label, work, chunks, moments=moments, bits=settings.decoder_bits, progress=progress)
    judged = judge(
        Subject(base, label, made, view, training_rows(view), {"lineage": lineage.told(teaching)}),
        registry,
        settings=settings,
        bounds=bounds,
        taught=lineage.samples(registry, champion),
        progress=progress,
    )
    night = Night(
        outcome=judged.decision.verdict,
        reasons=judged.decision.reasons,
        version=version,
        champion=champion or "",
        samples=len(teaching),
        held_out=judged.held_out,
        loss_first=trained.loss_first,
        loss_last=trained.loss_last,
        parity_float=made.parity_float,
        parity=made.parity,
        evaluation=judged.figures,
        champion_evaluation=judged.champion_figures,
        gate=judged.decision.to_dict(),
    )
    seconds = round(clock.monotonic_s() - started_s, 1)
    night = replace(night, seconds=seconds, put_aside=taken.put_aside)
    registry.add(
        made.folder,
        parent=champion or "",
        adapter=work / "adapter",
        evaluation=asdict(night),
        taught=lineage.taught(teaching, dataset=taken.dataset, seconds=seconds),
    )
    if night.outcome == PROMOTED:
        try:
            verdict.carry_out(registry, version, asdict(night))
        except Overtaken as error:  # by a person, or by a rollout that was finished meanwhile
            progress(str(error))
            night = replace(night, outcome=OVERTAKEN, reasons=(str(error), *night.reasons))
    atomic.remove_tree(work)
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
    figures, _ = recalibrate(made.folder, label, answers, on_walks(base, made.folder), extra={})
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
    )


def replay(base: Checkpoint, layout: Layout, recipe: lora.Recipe, progress: Progress) -> list[Example]:
    """What the base knew: fresh rendered frames for one trained on rendered walks, nothing for a field model, whose
    past is the dataset itself."""
    if not base.known:
        return []
    progress(f"rendering {recipe.replay} frames to replay")
    rng = np.random.default_rng([recipe.seed, recipe.replay])
    return list(itertools.islice(drawn(rng, base.known, layout, walks_share=REPLAY_OF_WALKS), recipe.replay))


def load_base(settings: LearnSettings) -> Checkpoint:
    """What the night starts from: with a hazard row for every object of the vocabulary, and as many pictures and such
    an ear as the settings say. Raises: ConfigError."""
    base = checkpoints.load(base_folder(settings.base))
    checkpoints.grow(base)
    base.frames = max(base.frames, settings.frames)
    if settings.audio_encoder:
        base.ear = sound.fresh(settings.audio_encoder, base.width)
    return base


def base_folder(base: str) -> str | Path:
    return STARTER_FOLDER if base == "starter" else base
