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

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.onnx.bundle import Exportable, GoldenChunk, Label, export_bundle
from exporters.onnx.look import Seeing
from exporters.onnx.parity import Given, compare
from exporters.onnx.quantise import DECODER_BITS
from server.consent import register as consent
from server.dataset import alike, feature_cache
from server.dataset.feature_cache import FeatureCache
from server.dataset.folder import Dataset
from server.dataset.masks import MaskFolder
from server.dataset.sample_row import SampleRow
from server.evaluation import answers as evaluate
from server.evaluation.stages import Stages
from server.eyes import by_name, packaged, ssd_tokens
from server.eyes.backbone import Backbone
from server.eyes.ssd_mobilenet import PRECISE
from server.gate import golden
from server.gate.judge import Bench, Judgement, MadeBundle, Subject, judge, on_walks, recalibrate, senses_of
from server.gate.kept import Kept
from server.gate.settings import Bounds
from server.learn import (
    examples,
    lineage,
    lora,
    masked,
    presets,
    replayed,
    run_card,
    tasks,
    tonight,
    validation,
    verdict,
)  # fmt: skip
from server.learn.batches import Example, Layout
from server.learn.features import boxes_of, cache_of
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.learn.weak import BoxLabels
from server.model import checkpoint as checkpoints
from server.model import eyes_tower, sound
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from server.releases.registry import Overtaken, Registry
from shared import atomic
from shared.clock import Clock, SystemClock
from shared.preprocess import prepare

STARTER_FOLDER = Path(__file__).parent / "starter_model"
EYES_STARTER_FOLDER = Path(__file__).parent / "starter_on_eyes"
REPLAY_OF_WALKS = 0.4
CALIBRATION_PICTURES = 60
OVERTAKEN = "overtaken"
TENSORBOARD = "tensorboard"
SEES_FROM_ROWS = 5
"""From so many confirmed moments of a thing on, a night's model is one that sees it; its evaluation says how well."""
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
    """Every rule as it was judged (server.gate.evidence.GateDecision)."""
    put_aside: tuple[str, ...] = ()
    """Files of the dataset that could not be read, one line each: the row, the file, what is wrong."""
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage → {"seconds", "cpu_seconds"} of this run; of a night that was gone on with only what was left to do."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A night that is worth running: what it works on, and with what."""

    registry: Registry
    rows: tonight.NightRows
    base: Checkpoint
    recipe: Recipe
    settings: LearnSettings
    bounds: Bounds
    progress: Progress
    clock: Clock
    started_s: float
    masks: Sequence[MaskFolder]
    """What teaches the ground; of a base without a ground head nothing does."""
    cache: FeatureCache
    stages: Stages

    @property
    def home(self) -> Path:
        return self.registry.home


def retrain(
    home: Path,
    *,
    settings: LearnSettings,
    bounds: Bounds | None = None,
    progress: Progress = print,
    force: bool = False,
    stages: Stages | None = None,
) -> Night:
    """Run one night on the dataset under `home`.

    bounds: what its model is held to
    stages: measures it by their clock, the night's own, and may tell what it is at
    force: train also with fewer new rows than settings.new_rows_least
    raises: Transient where another night is running; ConfigError, DatasetError, BundleError, OSError
    """
    stages = stages or Stages()
    clock = stages.clock
    with tonight.single_flight(home), tonight.room(home), tonight.stoppable(progress) as progress:
        started_s = clock.monotonic_s()
        registry = Registry(home)
        settled = verdict.settle(home, registry, progress, now_s=clock.utc_s())
        champion = registry.champion() or ""
        agreed = consent.read(registry.store).teaches_others
        view = tonight.view_of(Dataset(home / "dataset"), blurred=settings.blurred, allowed=agreed)
        new = _new_rows(view, registry, progress)
        why = tonight.too_few(view.teaching, len(new), settings, force=force)
        if why is not None:
            return _finished(settled) if settled is not None else Night("skipped", (why,), champion=champion)
        with stages.stage("base"):
            base = load_base(settings, home, progress)
        masks = _masks(base, settings, progress)
        cache = _cache(home, view, base, settings, progress)
        values = presets.recipe_values(settings, rows=len(view.teaching), replay=bool(base.known), fits=cache.capacity)
        recipe = Recipe(**{**values, "masks": settings.masks if masks else ""})
        with stages.stage("rows"):
            rows = tonight.take(view, new, base=base, recipe=recipe)
        for line in rows.put_aside:
            progress(line)
        kept = {row.row_id for row in rows.view.rows}
        why = tonight.too_few(rows.teaching, sum(row.row_id in kept for row in new), settings, force=force)
        if why is not None:
            return Night("skipped", (why,), champion=champion, put_aside=rows.put_aside)
        job = _Job(
            registry, rows, base, recipe, settings, bounds or Bounds(), progress, clock, started_s, masks, cache, stages
        )
        night = _train_and_judge(job)
        atomic.write_json(verdict.report(home, night.version), asdict(night))
        return night


def _cache(
    home: Path, view: tonight.DatasetView, base: Checkpoint, settings: LearnSettings, progress: Progress
) -> FeatureCache:
    """What earlier nights computed, without pictures that are no longer in the dataset. Raises: OSError."""
    folder = home / feature_cache.FOLDER
    feature_cache.keep_only(folder, {Path(row.frame_path).stem for row in view.rows})
    return cache_of(base, folder, most_bytes=round(settings.features_gb * 1e9), progress=progress)


def _masks(base: Checkpoint, settings: LearnSettings, progress: Progress) -> Sequence[MaskFolder]:
    """Raises: ConfigError, DatasetError."""
    if base.eyes is None:
        if settings.masks:
            progress(f"{base.name} has no ground head: learn.masks teaches it nothing")
        return ()
    folders = masked.opened(settings.masks, settings.mask_classes)
    for folder in folders:
        progress(f"masks of {len(folder)} pictures of {folder.layout} teach the ground. {folder.licence}.")
    return folders


def _new_rows(view: tonight.DatasetView, registry: Registry, progress: Progress) -> list[SampleRow]:
    """Rows that teach and that no registered version has seen."""
    seen, unread = lineage.seen(registry)
    for name in unread:
        progress(f"{name}: the list of what taught it cannot be read; its rows count as new")
    return [row for row in view.teaching if lineage.identity(row) not in seen]


def _finished(settled: verdict.Settled) -> Night:
    known = {item.name for item in fields(Night)}
    values: dict[str, Any] = {name: value for name, value in settled.evaluation.items() if name in known}
    lists = {name: tuple(values.get(name, ())) for name in ("reasons", "put_aside")}
    return Night(**{**values, **lists})


def _train_and_judge(job: _Job) -> Night:
    base, rows, registry, settings = job.base, job.rows, job.registry, job.settings
    key = tonight.key_of(base, rows.teaching, job.recipe, settings.decoder_bits)
    work = job.home / "nights" / key
    verdict.clear(job.home, keep=key)
    version, began_utc_s = tonight.begin(work, f"n{len(registry.list()) + 1}-{key[:8]}", registry, job.clock)
    job.progress(f"{len(rows.teaching)} verified rows teach; base {base.name}")
    trained = _train(job, work)
    champion = registry.champion() or ""
    made, label = _export(job, work, champion=champion, version=version, began_utc_s=began_utc_s)
    extra: dict[str, Any] = {"lineage": lineage.manifest_entry(rows.teaching)}
    learnt = lineage.samples(registry, champion)
    if job.masks:
        extra["masks"] = [{"layout": folder.layout, "licence": folder.licence} for folder in job.masks]
    kept = Kept(job.home, threads=settings.threads)
    judged = judge(
        Subject(base, label, made, rows.view.rows, rows.view.teaching, extra, learnt),
        Bench(registry, job.bounds, settings.threads, settings.gate_cases, job.progress, job.stages, kept),
    )
    kept.close()
    seconds = round(job.clock.monotonic_s() - job.started_s, 1)
    night = Night(
        outcome=judged.decision.verdict,
        reasons=judged.decision.reasons,
        version=version,
        champion=champion,
        samples=len(rows.teaching),
        held_out=judged.held_out,
        seconds=seconds,
        loss_first=trained.loss_first,
        loss_last=trained.loss_last,
        parity_float=made.parity_float,
        parity=made.parity,
        evaluation=judged.figures,
        champion_evaluation=judged.champion_figures,
        gate=judged.decision.to_dict(),
        put_aside=rows.put_aside,
        stages=job.stages.to_dict(),
    )
    run_card.write(work / "adapter", _card(job, version, trained, judged))
    registry.add(
        made.folder,
        parent=champion,
        adapter=work / "adapter",
        evaluation=asdict(night),
        taught=lineage.taught(rows.teaching, dataset=rows.view.version, seconds=seconds),
    )
    if judged.decision.accepted:
        try:
            verdict.carry_out(registry, version, asdict(night))
        except Overtaken as error:  # by a person, or by a rollout that was finished meanwhile
            job.progress(str(error))
            night = replace(night, outcome=OVERTAKEN, reasons=(str(error), *night.reasons))
    atomic.remove_tree(work)
    return night


def _card(job: _Job, version: str, trained: lora.Trained, judged: Judgement) -> run_card.RunCard:
    preset = presets.chosen(job.settings)
    return run_card.RunCard(
        version,
        job.base.name,
        None if preset is None else preset.licence,
        job.rows.view.version,
        job.rows.teaching,
        trained,
        judged.decision.verdict,
        judged.decision.reasons,
        judged.figures,
        [folder.licence for folder in job.masks],
    )


def _train(job: _Job, work: Path) -> lora.Trained:
    base, recipe, layout = job.base, job.recipe, Layout.of(job.base)
    detector = None if base.eyes is None else base.eyes.detector
    plan = examples.ViewPlan(
        variations=recipe.variations,
        seed=recipe.seed,
        senses=senses_of(base),
        most=recipe.draws(replay=bool(base.known)),
        boxes=None if detector is None else BoxLabels(detector.network, detector.names, layout),
        found=None if detector is None else boxes_of(base, job.home / feature_cache.FOLDER, progress=job.progress),
    )
    folder = job.rows.view.folder
    with job.stages.stage("views"):
        teaching, held = validation.split(job.rows.teaching, recipe.held_share)
        clusters = alike.clusters_of(job.home, teaching, within=recipe.alike_bits)
        fresh = examples.examples(folder, teaching, layout, replace(plan, clusters=clusters))
        judged = examples.examples(folder, held, layout, replace(plan, variations=1, most=None))
        picked = masked.chosen(job.masks, recipe.mask_pictures, recipe.seed)
        ground = masked.examples(picked, layout, seed=recipe.seed, progress=job.progress)
    with job.stages.stage("replay"):
        known = replay(base, layout, recipe, job.progress, cache=replayed.folder(job.home))
    logs = job.home / "nights" / TENSORBOARD / work.name
    around = lora.Surroundings(job.cache, logs, job.settings.hours_most * 3600, job.clock, job.stages)
    return lora.train(
        base, fresh, known, recipe, work, masked=ground, held=judged, around=around, progress=job.progress
    )


def _export(job: _Job, work: Path, *, champion: str, version: str, began_utc_s: float) -> tuple[MadeBundle, Label]:
    base, folder, view = job.base, job.rows.view.folder, job.rows.view.rows
    parent = job.registry.bundle_folder(champion) if champion else None
    use = base.intended_use if base.intended_use == "demo" else "trial"  # until the gate accepted it
    plan = BundlePlan(
        Label(version, base.name, champion, use, dict(base.thresholds), began_utc_s),
        golden.choose(base, parent, folder, view, progress=job.progress),
        golden.parity_moments(base, folder, view, progress=job.progress),
        job.settings.decoder_bits,
        objects_taught(job.rows.teaching),
    )
    return make_bundles(base, plan, work, progress=job.progress, stages=job.stages), plan.label


def add_starter(home: Path, *, eyes: str = "packaged", progress: Progress = print, clock: Clock | None = None) -> str:
    """Export the starter that ships with waycue and make it the first champion. Returns its version.

    eyes: LearnSettings.eyes
    """
    registry = Registry(home)
    base = starter(eyes, home, progress)
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
    registry.add(made.folder, parent="", adapter=None, evaluation={"evaluation": figures})
    registry.promote(version, why="the first model")
    shutil.rmtree(work)
    return version


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


def replay(base: Checkpoint, layout: Layout, recipe: Recipe, progress: Progress, *, cache: Path) -> list[Example]:
    """What the base knew: fresh rendered frames for one trained on rendered walks, nothing for a field model, whose
    past is the dataset itself.

    cache: where they are kept from night to night (server.learn.replayed)
    """
    if not base.known:
        return []
    drawing = replayed.ReplayDrawing(tuple(base.known), layout, REPLAY_OF_WALKS, recipe.seed)
    return replayed.frames(cache, drawing, recipe.replay, progress=progress)


def load_base(settings: LearnSettings, home: Path, progress: Progress = print) -> Checkpoint:
    """What the night starts from: with a hazard row for every object of the vocabulary, and as many pictures and such
    an ear as the settings say. Raises: ConfigError; BundleError where the eyes that are kept are damaged."""
    tasks.refuse_other(settings.base)
    base = starter(settings.eyes, home, progress) if settings.base == "starter" else checkpoints.load(settings.base)
    checkpoints.grow(base)
    base.frames = max(base.frames, settings.frames)
    if settings.audio_encoder:
        base.ear = sound.fresh(settings.audio_encoder, base.width)
    return base


def starter(eyes: str, home: Path, progress: Progress) -> Checkpoint:
    """The model that ships with waycue: over pretrained eyes where these are kept, else the one with a tower that has
    only ever seen drawings; or the one that was trained on a named backbone.

    eyes: LearnSettings.eyes
    raises: ConfigError where a named backbone was not added or is another; BundleError where the eyes are damaged
    """
    if eyes not in ("packaged", "none"):
        backbone, folder = by_name.opened(home, eyes)
        return checkpoints.load(folder, eyes=backbone)
    if eyes == "none":
        return checkpoints.load(STARTER_FOLDER)
    if packaged.kept(home) is None:
        progress("no pretrained eyes are kept here, so the starter has only ever seen drawings: models add eyes")
        return checkpoints.load(STARTER_FOLDER)
    return checkpoints.load(EYES_STARTER_FOLDER, eyes=ssd_tokens.kept(home))
