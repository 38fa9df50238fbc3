"""One night, told from top to bottom.

    lock → what an earlier night left undone → view → enough new rows? → damaged files put aside
         → on from the last night, or from the base → examples + replay → LoRA → adapter
         → export → quantise → told as a difference to the base → parity → recalibrate
         → gate against the champion → register → promote (or keep the champion and say why)

Single-flight: a second retrain waits for nobody, it says that one is running. Every stage's output is named by what it
was made from, the base's weights and tokenizer included, so a night that a power cut ended goes on where it stopped:
training from its last save, features from their file. Registered with its verdict, it is carried out by the next run
(server.learn.verdict). Nothing is offered to a device here: the running server offers the champion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from exporters.onnx.bundle import Label
from server.consent import register as consent
from server.dataset import alike, feature_cache
from server.dataset.feature_cache import FeatureCache
from server.dataset.folder import Dataset
from server.dataset.masks import MaskFolder
from server.dataset.packed_rows import PackedRows
from server.dataset.sample_row import SampleRow
from server.evaluation.stages import Stages
from server.gate import golden
from server.gate.judge import Bench, Judgement, Subject, judge, senses_of
from server.gate.kept import Kept
from server.gate.settings import Bounds
from server.learn import (
    base_graphs,
    bases,
    bundles,
    examples,
    going_on,
    lineage,
    lora,
    masked,
    presets,
    replayed,
    run_card,
    tonight,
    validation,
    verdict,
)  # fmt: skip
from server.learn.batches import Layout
from server.learn.features import boxes_of, cache_of
from server.learn.going_on import NightCourse
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.learn.weak import BoxLabels
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.releases.registry import Overtaken, Registry
from shared import atomic
from shared.clock import Clock

OVERTAKEN = "overtaken"
TENSORBOARD = "tensorboard"
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
    went_on_from: str = ""
    """The version that it went on from; "" = it began from the base."""
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
    course: NightCourse
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
    force: train also with fewer new rows than settings.new_rows_least, and from the base
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
            base = bases.load_base(settings, home, progress)
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
        course = _course(registry, rows, base, recipe, nights=0 if force else settings.continue_nights)
        progress(f"{len(rows.teaching)} verified rows teach; base {base.name}{course.why}")
        job = _Job(
            registry, rows, base, course, settings, bounds or Bounds(), progress, clock, started_s, masks, cache, stages
        )
        night = _train_and_judge(job)
        atomic.write_json(verdict.report(home, night.version), asdict(night))
        return night


def _cache(
    home: Path, view: tonight.DatasetView, base: Checkpoint, settings: LearnSettings, progress: Progress
) -> FeatureCache:
    """What earlier nights computed, without pictures that are no longer in the dataset. Raises: OSError."""
    folder = home / feature_cache.FOLDER
    feature_cache.keep_only(folder, view.pictures)
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


def _course(
    registry: Registry, rows: tonight.NightRows, base: Checkpoint, recipe: Recipe, *, nights: int
) -> NightCourse:
    """Raises: OSError."""
    origin = going_on.last_night(registry) if nights else None
    return going_on.course(origin, recipe, checkpoints.fingerprint(base), rows.view.teaching, nights=nights)


def _new_rows(view: tonight.DatasetView, registry: Registry, progress: Progress) -> PackedRows:
    """Rows that teach and that no registered version has seen."""
    seen, unread = lineage.seen(registry)
    for name in unread:
        progress(f"{name}: the list of what taught it cannot be read; its rows count as new")
    return view.teaching.only(lambda row: lineage.identity(row) not in seen)


def _finished(settled: verdict.Settled) -> Night:
    known = {item.name for item in fields(Night)}
    values: dict[str, Any] = {name: value for name, value in settled.evaluation.items() if name in known}
    lists = {name: tuple(values.get(name, ())) for name in ("reasons", "put_aside")}
    return Night(**{**values, **lists})


def _train_and_judge(job: _Job) -> Night:
    base, rows, registry, settings = job.base, job.rows, job.registry, job.settings
    key = tonight.key_of(base, rows.teaching, job.course.recipe, settings.decoder_bits, after=job.course.key)
    work = job.home / "nights" / key
    verdict.clear(job.home, keep=key)
    version, began_utc_s = tonight.begin(work, f"n{len(registry.list()) + 1}-{key[:8]}", registry, job.clock)
    learnt_from = job.course.learnt(rows.view.teaching, rows.teaching)
    graphs = _base_graphs(job)
    trained = _train(job, work)
    champion = registry.champion() or ""
    plan = replace(_plan(job, champion=champion, version=version, began_utc_s=began_utc_s), base=graphs)
    made = bundles.make_bundles(base, plan, work, progress=job.progress, stages=job.stages)
    extra: dict[str, Any] = {"lineage": lineage.manifest_entry(learnt_from)}
    learnt = lineage.samples(registry, champion)
    if job.masks:
        extra["masks"] = [{"layout": folder.layout, "licence": folder.licence} for folder in job.masks]
    kept = Kept(job.home, threads=settings.threads)
    judged = judge(
        Subject(base, plan.label, made, rows.view.rows, rows.view.teaching, extra, learnt),
        Bench(registry, job.bounds, settings.threads, settings.gate_cases, job.progress, job.stages, kept),
    )
    kept.close()
    seconds = round(job.clock.monotonic_s() - job.started_s, 1)
    night = Night(
        outcome=judged.decision.verdict,
        reasons=judged.decision.reasons,
        version=version,
        champion=champion,
        samples=len(learnt_from),
        went_on_from=job.course.version,
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
    going_on.write(work / "adapter", job.course)
    run_card.write(work / "adapter", replace(_card(job, version, trained, judged), taught=learnt_from))
    registry.add(
        made.folder,
        parent=champion,
        adapter=work / "adapter",
        evaluation=asdict(night),
        taught=lineage.taught(learnt_from, dataset=rows.view.version, seconds=seconds),
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
    base, recipe, layout = job.base, job.course.recipe, Layout.of(job.base)
    detector = None if base.eyes is None else base.eyes.detector
    plan = examples.ViewPlan(
        variations=recipe.variations,
        seed=recipe.seed,
        senses=senses_of(base),
        boxes=None if detector is None else BoxLabels(detector.network, detector.names, layout),
        found=None if detector is None else boxes_of(base, job.home / feature_cache.FOLDER, progress=job.progress),
    )
    with job.stages.stage("views"):
        teaching, held = validation.split(job.rows.teaching, recipe.held_share)
        fresh, older = _new_and_older(job, teaching, plan)
        judged = examples.examples(job.rows.view.folder, held, layout, replace(plan, variations=1))
        picked = masked.chosen(job.masks, recipe.mask_pictures, recipe.seed)
        ground = masked.examples(picked, layout, seed=recipe.seed, progress=job.progress)
    with job.stages.stage("replay"):
        known = bases.replay(base, layout, recipe, job.progress, cache=replayed.folder(job.home))
    origin = job.course.origin
    around = lora.Surroundings(
        cache=job.cache,
        logs=job.home / "nights" / TENSORBOARD / work.name,
        goes_on_from=None if origin is None else origin.adapter,
        seconds_most=job.settings.hours_most * 3600,
        clock=job.clock,
        stages=job.stages,
    )
    return lora.train(
        base, fresh, known, recipe, work, older=older, masked=ground, held=judged, around=around, progress=job.progress
    )


def _new_and_older(job: _Job, teaching: Sequence[SampleRow], plan: examples.ViewPlan) -> Sequence[examples.Rows]:
    """Views of the rows that are new since the night that this one goes on from, all of a night from the base, and of
    the others: of each of these as many as a whole night takes, whose features are kept."""
    course, replays = job.course, bool(job.base.known)
    clusters = alike.clusters_of(job.home, job.rows.view.folder, teaching, within=course.recipe.alike_bits)
    known = [course.known(row) for row in teaching]
    if all(known):  # what is new is all held back
        known = [False] * len(teaching)

    def lot(*, older: bool) -> examples.Rows:
        at = [place for place, was in enumerate(known) if was == older]
        most = (course.whole if older else course.recipe).draws(replay=replays)
        own = replace(plan, most=most, clusters=[clusters[place] for place in at])
        return examples.examples(job.rows.view.folder, [teaching[place] for place in at], Layout.of(job.base), own)

    return lot(older=False), lot(older=True)


def _base_graphs(job: _Job) -> Path | None:
    """Before the base is trained, which happens in place."""
    with job.stages.stage("export"):
        what, bits = bundles.exportable(job.base), job.settings.decoder_bits
        return base_graphs.of_night(job.base, what, job.registry, bits=bits, progress=job.progress)


def _plan(job: _Job, *, champion: str, version: str, began_utc_s: float) -> bundles.BundlePlan:
    base, folder, view = job.base, job.rows.view.folder, job.rows.view.rows
    parent = job.registry.bundle_folder(champion) if champion else None
    use = base.intended_use if base.intended_use == "demo" else "trial"  # until the gate accepted it
    return bundles.BundlePlan(
        Label(version, base.name, champion, use, dict(base.thresholds), began_utc_s),
        golden.choose(base, parent, folder, view, progress=job.progress),
        golden.parity_moments(base, folder, view, progress=job.progress),
        job.settings.decoder_bits,
        bundles.objects_taught(job.course.learnt(job.rows.view.teaching, job.rows.teaching)),
    )
