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
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
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
from server.dataset import Dataset, SampleRow
from server.evaluation import slots
from server.learn import calibrate, evaluate, gate, lineage, lora, rows, sound, tonight, verdict
from server.learn import checkpoint as checkpoints
from server.learn.batches import Example, Layout, drawn
from server.learn.checkpoint import Checkpoint
from server.learn.guide import Guide
from server.learn.settings import LearnSettings
from server.registry import Registry
from shared import atomic, mel, vocabulary
from shared import bundle as bundles
from shared.clock import Clock, SystemClock
from shared.preprocess import prepare
from shared.runtime import check_golden

STARTER_FOLDER = Path(__file__).parent / "starter_model"
PARITY_PICTURES = 50
GOLDEN_STOPS, GOLDEN_OTHERS = 6, 6
REPLAY_OF_WALKS = 0.4
CALIBRATING = 480  # looks of held-out walks: 20 walks of 24 s
GOLDEN_SCORE = 0.9  # a stop that devices insist on must be plain: its score has to stay above any threshold
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Night:
    """What a night did: written to <home>/nights/<version>.json, printed by `waycue-server retrain --json`."""

    outcome: str
    """skipped | promoted | refused"""
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
    put_aside: tuple[str, ...] = ()
    """Files of the dataset that could not be read, one line each: the row, the file, what is wrong."""


def retrain(
    home: Path, *, settings: LearnSettings, progress: Progress = print, force: bool = False, clock: Clock | None = None
) -> Night:
    """Run one night on the dataset under `home`.

    force: train also with fewer new rows than settings.new_rows_least
    raises: Transient where another night is running; ConfigError, DatasetError, BundleError, OSError
    """
    clock = clock or SystemClock()
    with tonight.single_flight(home), tonight.room(home):
        started_s = clock.monotonic_s()
        registry, dataset = Registry(home), Dataset(home / "dataset")
        settled = verdict.settle(home, registry, progress)
        champion = registry.champion() or ""
        version, view = tonight.view_of(dataset)
        teaching = rows.teaching(view)
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
            home, registry, taken, base=base, recipe=recipe, settings=settings, progress=progress, clock=clock,
            started_s=started_s,
        )  # fmt: skip
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
    fresh = rows.examples(
        folder, teaching, layout, variations=recipe.variations, seed=recipe.seed, senses=senses, most=most
    )
    trained = lora.train(base, fresh, replay(base, layout, recipe, progress), recipe, work, progress=progress)

    champion = registry.champion()
    parent = registry.bundle_folder(champion) if champion else None
    chunks = golden_of(parent) if parent else choose_golden(base)
    label = Label(version, base.name, champion or "", base.intended_use, dict(base.thresholds), began_utc)
    made = make_bundles(base, label, work, chunks, bits=settings.decoder_bits, progress=progress)
    cases = _cases(base, folder, view, settings, senses)
    progress(f"judging on {len(cases)} cases")
    ours = evaluate.run(made.folder, cases, threads=settings.threads, progress=progress)
    full = evaluate.run(made.full, cases, threads=settings.threads, progress=progress)
    fitting = [
        *on_walks(base, made.folder, settings.threads),
        *(a for a in ours if not base.known or a.case.group != "known"),
    ]
    figures = recalibrate(made.folder, label, ours, fitting, dataset=lineage.told(teaching))
    candidate = evaluate.scores(
        version, ours, parity=made.parity, size_bytes=made.size_bytes, slot_loss=slot_f1(full) - slot_f1(ours)
    )
    theirs = evaluate.run(parent, cases, threads=settings.threads, progress=progress) if parent else []
    incumbent = _incumbent(parent, theirs)
    decision = _decide(incumbent, candidate, check_golden(made.folder, threads=settings.threads))
    night = Night(
        outcome="promoted" if decision.accepted else "refused", reasons=decision.reasons,
        version=version, champion=champion or "",
        samples=len(teaching), held_out=sum(case.group == "held_out" for case in cases),
        loss_first=trained.loss_first, loss_last=trained.loss_last,
        parity_float=made.parity_float, parity=made.parity,
        evaluation=figures, champion_evaluation=evaluate.summary(theirs) if theirs else {},
    )  # fmt: skip
    seconds = round(clock.monotonic_s() - started_s, 1)
    night = replace(night, seconds=seconds, put_aside=taken.put_aside)
    registry.add(
        made.folder, parent=champion or "", adapter=work / "adapter", evaluation=asdict(night),
        taught=lineage.taught(teaching, dataset=taken.dataset, seconds=seconds),
    )  # fmt: skip
    if night.outcome == verdict.PROMOTED:
        registry.promote(version, why="; ".join(night.reasons))
    atomic.remove_tree(work)
    return night


def _incumbent(bundle: Path | None, answers: Sequence[evaluate.Answer]) -> gate.Scores | None:
    if bundle is None:
        return None
    manifest = bundles.read_manifest(bundle)
    return evaluate.scores(manifest.version, answers, parity=1.0, size_bytes=manifest.size_bytes)


def _decide(incumbent: gate.Scores | None, candidate: gate.Scores, unfit: Sequence[str]) -> gate.Decision:
    """The gate's decision; what the device's self-test would refuse is refused here."""
    decision = gate.decide(incumbent, candidate, gate.GateSettings())
    if not unfit:
        return decision
    against = () if decision.accepted else decision.reasons
    return gate.Decision(False, (*(f"self-test: {text}" for text in unfit), *against))


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
    made = make_bundles(base, label, work, choose_golden(base), progress=progress)
    progress("calibrating on held-out rendered frames")
    answers = evaluate.run(made.folder, evaluate.rendered_cases(300))
    figures = recalibrate(made.folder, label, answers, on_walks(base, made.folder), dataset={})
    registry.add(made.folder, parent="", adapter=None, evaluation={"evaluation": figures})
    registry.promote(version, why="the first model")
    shutil.rmtree(work)
    return version


@dataclass(frozen=True, slots=True)
class Made:
    """A quantised bundle on disk, and how like PyTorch it is."""

    folder: Path
    full: Path
    """The same before quantisation."""
    parity_float: float
    parity: float
    size_bytes: int


def make_bundles(
    trained: Checkpoint,
    label: Label,
    work: Path,
    chunks: Sequence[GoldenChunk],
    *,
    bits: int = DECODER_BITS,
    progress: Progress,
) -> Made:
    """Export in float32 and quantised; compare both with PyTorch on held-out pictures. Raises: OSError, BundleError.

    bits: of the quantised decoder's weights, 8 or 4
    """
    what = exportable(trained)
    moments = parity_moments(trained)
    shares = {}
    for name, quantised in (("float", False), ("bundle", True)):
        atomic.remove_tree(work / name)
        manifest = export_bundle(
            what, label, work / name, golden_chunks=chunks, quantised=quantised, bits=bits, progress=progress
        )
        shares[name] = compare(work / name, writer(trained), moments).token_share
        progress(f"{name}: {shares[name]:.1%} of tokens are PyTorch's, {manifest.size_bytes / 1e6:.1f} MB")
    return Made(work / "bundle", work / "float", shares["float"], shares["bundle"], manifest.size_bytes)


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


def parity_moments(of: Checkpoint) -> list[Given]:
    """Held-out drawn pictures, with all else that the model is given: another picture before, noise of any loudness."""
    pictures = [case.image for case in evaluate.rendered_cases(PARITY_PICTURES, seed=1)]
    rng = np.random.default_rng(1)
    noises = [rng.normal(0, 10 ** rng.uniform(-4, -0.5), mel.FRAMES * mel.HOP).astype(np.float32) for _ in pictures]
    return [
        Given(picture, pictures[at - 1] if of.frames == 2 else None, noises[at] if of.ear is not None else None)
        for at, picture in enumerate(pictures)
    ]


def exportable(checkpoint: Checkpoint) -> Exportable:
    return Exportable(
        checkpoint.model, checkpoint.head, checkpoint.tokenizer, checkpoint.preprocessing, checkpoint.before_ids(),
        checkpoint.after_ids(), checkpoint.end_id, checkpoint.objects, checkpoint.sides,
        checkpoint.ear if checkpoint.ear is not None and checkpoint.ear.taught else None,  # else it would add zeros
        checkpoint.frames, checkpoint.between_ids(),
    )  # fmt: skip


def on_walks(base: Checkpoint, folder: Path, threads: int = 2) -> list[evaluate.Answer]:
    """What a bundle answers to looks of held-out walks, to calibrate it on; a field model has only its dataset."""
    return evaluate.run(folder, evaluate.walk_cases(CALIBRATING), threads=threads) if base.known else []


def recalibrate(
    folder: Path,
    label: Label,
    answers: Sequence[evaluate.Answer],
    fitting: Sequence[evaluate.Answer],
    *,
    dataset: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the manifest anew with calibration, thresholds and figures; the files stay as they are.

    answers: of this bundle, to cases that nobody learnt from: the figures
    fitting: likewise, not yet calibrated: calibration and thresholds
    dataset: what the manifest tells of the rows that taught (server.learn.lineage.told), {} where none did
    returns: the figures
    """
    fitted = calibrate.fit(fitting)
    sure = calibrate.calibrated(fitting, fitted.by)
    errors = {
        "sentences": {"before": fitted.sentences_before, "after": fitted.sentences},
        "hazards": {"before": fitted.hazards_before, "after": fitted.hazards},
    }
    figures = {**evaluate.summary(answers), "slot_f1": slot_f1(answers), "calibration_error": errors}
    manifest = bundles.read_manifest(folder)
    bundles.write_bundle(
        folder,
        version=label.version,
        created_at_utc=label.created_at_utc,
        base=label.base,
        parent=label.parent,
        intended_use=label.intended_use,
        thresholds=evaluate.thresholds(sure),
        model={**manifest.model, "calibration": fitted.by.to_dict()},
        evaluation=figures,
        extra={"lineage": dict(dataset)} if dataset else {},
    )
    return figures


def slot_f1(answers: Sequence[evaluate.Answer]) -> float:
    """Of action, object, side and modifier, against the right sentences; 1 where nothing was to be said or was."""
    found = slots.scores([(answer.text, [answer.case.text]) for answer in answers]).f1 if answers else None
    return 1.0 if found is None else found


def replay(base: Checkpoint, layout: Layout, recipe: lora.Recipe, progress: Progress) -> list[Example]:
    """What the base knew: fresh rendered frames for one trained on rendered walks, nothing for a field model, whose
    past is the dataset itself."""
    if not base.known:
        return []
    progress(f"rendering {recipe.replay} frames to replay")
    rng = np.random.default_rng([recipe.seed, recipe.replay])
    return list(itertools.islice(drawn(rng, base.known, layout, walks_share=REPLAY_OF_WALKS), recipe.replay))


def choose_golden(base: Checkpoint) -> list[GoldenChunk]:
    """Golden chunks for a first version: held-out rendered pictures that the float model has right."""
    guide = Guide(base).eval()
    stops, others = list[GoldenChunk](), list[GoldenChunk]()
    for case in evaluate.rendered_cases(200, seed=2):
        slots = vocabulary.parse(case.text)
        if slots is None or not slots.object or (len(stops) == GOLDEN_STOPS and len(others) == GOLDEN_OTHERS):
            continue
        pixels = torch.from_numpy(prepare(case.image, base.preprocessing))
        with torch.no_grad():
            features = guide.features(pixels)
            ids = guide.write(features, end_id=base.end_id)[0]
            scores = base.head(features)[1][0].sigmoid()
        if vocabulary.parse(str(base.tokenizer.decode(ids))) != slots:
            continue
        stop = vocabulary.tier(slots) == 1
        if stop and scores[base.objects.index(slots.object), base.sides.index(slots.side)] < GOLDEN_SCORE:
            continue
        chosen, most = (stops, GOLDEN_STOPS) if stop else (others, GOLDEN_OTHERS)
        if len(chosen) < most:
            chosen.append(GoldenChunk(case.image, slots.object, slots.side, stop))
    return [*stops, *others]


def golden_of(folder: Path) -> list[GoldenChunk]:
    """The golden chunks of a bundle: later versions are held to the first one's."""
    golden = folder / "golden"
    cases = json.loads((golden / "golden.json").read_text())
    return [
        GoldenChunk(rows.read_picture(golden / case["image"]), case["object"], case["side"], case["must_stop"])
        for case in cases
    ]


def load_base(settings: LearnSettings) -> Checkpoint:
    """What the night starts from, with as many pictures and such an ear as the settings say. Raises: ConfigError."""
    base = checkpoints.load(base_folder(settings.base))
    base.frames = max(base.frames, settings.frames)
    if settings.audio_encoder:
        base.ear = sound.fresh(settings.audio_encoder, base.width)
    return base


def base_folder(base: str) -> str | Path:
    return STARTER_FOLDER if base == "starter" else base


def _cases(
    base: Checkpoint, folder: Path, view: Sequence[SampleRow], settings: LearnSettings, senses: rows.Senses
) -> list[evaluate.Case]:
    rendered = evaluate.rendered_cases(settings.gate_cases, objects=base.known) if base.known else []
    return [*rendered, *rows.cases(folder, view, senses=senses)]
