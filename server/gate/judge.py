"""The night's second half: a bundle was made; is it good, and what for?

    answers of candidate and champion to held-out moments → calibration, on moments that are judged on nowhere
    → golden pictures → whole walks through the policy → looks in turns, memory → gate → the manifest says what for

What is judged on, what is calibrated on and what was learnt from are walks of three kinds (server.gate.cases).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.onnx.bundle import Label
from server.dataset import material
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.evaluation import answers as evaluate
from server.evaluation import rendered
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import DRAWN, REAL, TAUGHT, Course
from server.evaluation.measures import ratio
from server.evaluation.stages import Stages
from server.gate import calibrate, cases, cost, decide, golden, scoring
from server.gate.evidence import CalibrationBasis, Evidence, Export, GateDecision, Scores, WalkScore
from server.gate.kept import Kept, KeptWalks
from server.gate.settings import Bounds
from server.model.checkpoint import Checkpoint
from server.releases.registry import Registry
from shared import bundle as bundles
from shared import model_card
from shared.calibration import Calibration
from shared.errors import DatasetError, MediaError
from shared.policy import PolicySettings
from shared.runtime import GuidanceModel, check_golden

CALIBRATING = 480  # looks of held-out walks: 20 walks of 24 s
DRAWN_WALKS, DRAWN_MINUTES, DRAWN_SEED = 6, 0.25, 77
"""Whole drawn walks that a demonstration model is judged on: a minute and a half, on other seeds than any report's."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MadeBundle:
    """A quantised bundle on disk, and how like PyTorch it is."""

    folder: Path
    full: Path
    """The same before quantisation."""
    parity_float: float
    """Share of tokens in common with PyTorch's answers before quantisation …"""
    parity: float
    """… and after it."""
    size_bytes: int
    parity_pictures: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged, and what it may be judged on."""

    base: Checkpoint
    label: Label
    made: MadeBundle
    view: Sequence[SampleRow]
    teaching: Sequence[SampleRow]
    extra: Mapping[str, Any]
    """Of the manifest."""
    taught_champion: frozenset[str] = frozenset()
    """Ids of the samples that the champion learnt from."""

    @property
    def senses(self) -> material.Senses:
        return senses_of(self.base)

    @property
    def draws(self) -> bool:
        """Whether it is judged on drawn pictures: what a field model knows of them says nothing about real streets."""
        return self.base.intended_use == "demo" and bool(self.base.known)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a bundle is judged, and how much work that may be."""

    registry: Registry
    bounds: Bounds
    threads: int
    gate_cases: int
    """Held-out rendered frames, for a demonstration model."""
    progress: Progress
    stages: Stages = field(default_factory=Stages)
    kept: Kept | None = None
    """Where answers are kept from night to night; None = nowhere."""

    @property
    def dataset(self) -> Path:
        """Where the files of its rows lie."""
        return Dataset(self.registry.home / "dataset").blobs.gathered(())

    def answers(self, folder: Path, chosen: Sequence[evaluate.Case]) -> list[evaluate.Answer]:
        """Of a bundle that is judged again as champion: kept."""
        if self.kept is None:
            return evaluate.run(folder, chosen, threads=self.threads, progress=self.progress)
        return self.kept.answers(folder, chosen, progress=self.progress)


@dataclass(frozen=True, slots=True)
class _Champion:
    version: str
    folder: Path
    use: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came out; the bundle's manifest says the same."""

    decision: GateDecision
    figures: dict[str, Any]
    champion_figures: dict[str, Any]
    held_out: int
    """Real cases."""


def judge(subject: Subject, bench: Bench) -> Judgement:
    """Judge a bundle and write into its manifest what it is for: a field model stays `trial` until it is accepted.

    raises: BundleError, OSError
    """
    base, made, view = subject.base, subject.made, subject.view
    learnt = cases.learnt(view, subject.teaching)
    with bench.stages.stage("cases"):
        drawn = evaluate.rendered_cases(bench.gate_cases, objects=base.known) if subject.draws else []
    real = cases.real(bench.dataset, view, subject.teaching, subject.senses, progress=bench.progress)
    chosen = [*drawn, *real]
    bench.progress(f"judging on {len(chosen)} cases")
    with bench.stages.stage("answers"):
        ours = bench.answers(made.folder, chosen)
    with bench.stages.stage("answers before quantisation"):
        full = evaluate.run(made.full, chosen, threads=bench.threads, progress=bench.progress)
    with bench.stages.stage("calibration"):
        fitting = _fitting(subject, bench)
    figures, fitted = recalibrate(made.folder, _held_out(ours), fitting, extra=subject.extra)
    if base.intended_use != "demo":
        _tell_measured(made.folder, calibrate.calibrated([a for a in ours if a.case.group == REAL], fitted))
    pictures, stops = _keep_golden(base, made.folder, bench.threads)
    restamp(made.folder)
    slot_loss, slot_cases = scoring.quantised(full, ours)
    export = Export(
        parity=made.parity,
        parity_pictures=made.parity_pictures,
        slot_loss=slot_loss,
        slot_cases=slot_cases,
        unfit=tuple(check_golden(made.folder, threads=bench.threads)),
        golden=pictures,
        golden_stops=stops,
    )
    candidate, champion, theirs = _scores(subject, bench, calibrate.calibrated(ours, fitted), tuple(learnt))
    bench.progress("measuring what a look takes")
    with bench.stages.stage("cost"):
        costs = cost.measure(made.folder, bench.registry, _sights(chosen), threads=bench.threads)
    evidence = Evidence(
        candidate,
        champion,
        export,
        costs,
        cases.stock(subject.teaching),
        learnt,
        _basis(calibrate.calibrated(fitting, fitted)),
        cases.known_to(view, subject.taught_champion),
    )
    decision = decide.decide(evidence, bench.bounds)
    groups = dict.fromkeys(walk.group for walk in candidate.walks)
    figures = {**figures, "whole_walks": {group: whole_walks(candidate, group) for group in groups}}
    use = base.intended_use if base.intended_use == "demo" or decision.accepted else "trial"
    restamp(made.folder, intended_use=use, evaluation=figures)
    summary = evaluate.summary(_held_out(theirs)) if theirs else {}
    return Judgement(decision, figures, summary, sum(case.group == REAL for case in real))


def senses_of(base: Checkpoint) -> material.Senses:
    """What a checkpoint is given beside the newest picture."""
    return material.Senses(before=base.frames == 2, sound=base.ear is not None)


def _held_out(answers: Sequence[evaluate.Answer]) -> list[evaluate.Answer]:
    return [answer for answer in answers if answer.case.group != TAUGHT]


def recalibrate(
    folder: Path,
    answers: Sequence[evaluate.Answer],
    fitting: Sequence[evaluate.Answer],
    *,
    extra: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Calibration]:
    """Write the manifest anew with calibration, thresholds and figures; the files stay as they are.

    answers: of this bundle, to cases that nobody learnt from: the figures
    fitting: likewise, other cases, not yet calibrated: calibration and thresholds
    extra: of the manifest
    returns: the figures, and what was fitted
    """
    fitted = calibrate.fit(fitting)
    errors = {
        "sentences": {"before": fitted.sentences_before, "after": fitted.sentences},
        "hazards": {"before": fitted.hazards_before, "after": fitted.hazards},
    }
    figures = {**evaluate.summary(answers), "slot_f1": scoring.slot_f1(answers), "calibration_error": errors}
    restamp(
        folder,
        thresholds=evaluate.thresholds(calibrate.calibrated(fitting, fitted.by)),
        model={**bundles.read_manifest(folder).model, "calibration": fitted.by.to_dict()},
        evaluation=figures,
        extra=dict(extra or {}),
    )
    return figures, fitted.by


def _tell_measured(folder: Path, real: Sequence[evaluate.Answer]) -> None:
    """Which classes may be named on real pictures: those of which this bundle showed how often it is right."""
    manifest = bundles.read_manifest(folder)
    told = evaluate.measured(real, above=float(manifest.thresholds["hazard_above"]))
    restamp(folder, model={**manifest.model, "measured": told})


def restamp(folder: Path, **changes: Any) -> None:
    """Write the manifest anew over the files as they now are, with other fields. Raises: BundleError, OSError."""
    bundles.write_bundle(folder, replace(bundles.read_manifest(folder), **changes))


def on_walks(base: Checkpoint, folder: Path, threads: int = 2) -> list[evaluate.Answer]:
    """What a demonstration model answers to looks of held-out drawn walks, to calibrate it on; a field model has only
    its dataset."""
    if base.intended_use != "demo" or not base.known:
        return []
    return evaluate.run(folder, evaluate.walk_cases(CALIBRATING), threads=threads)


def walk_scores(
    models: Sequence[GuidanceModel],
    courses: Sequence[tuple[Course, str]],
    *,
    progress: Progress,
    kept: Sequence[KeptWalks] = (),
) -> list[tuple[WalkScore, ...]]:
    """Drive whole walks as a device would, each model over the same pictures; stretches of one walk count as one.

    courses: (course, group); returns the walks of each model
    kept: of each model what it made of walks before, where that is kept
    """
    scored: list[dict[tuple[str, str], list[WalkScore]]] = [{} for _ in models]
    known: Sequence[KeptWalks | None] = kept or [None] * len(models)
    for course, group in courses:
        walk, once = course.group if group == REAL else course.name, _read_once(course)
        try:
            driven = [_driven(model, once, before) for model, before in zip(models, known, strict=True)]
        except (DatasetError, MediaError) as error:
            progress(f"left out: {error}")
            continue
        for walks, score in zip(scored, driven, strict=True):
            walks.setdefault((walk, group), []).append(score)
    return [
        tuple(scoring.joined(parts, walk=walk, group=group) for (walk, group), parts in walks.items())
        for walks in scored
    ]


def _driven(model: GuidanceModel, course: Course, before: KeptWalks | None) -> WalkScore:
    """Raises: DatasetError, MediaError."""

    def score() -> WalkScore:
        return scoring.walk_score(drive(model, course, PolicySettings(), DriveSettings(pictures=False)))

    return score() if before is None else before.score(course, score)


def whole_walks(scores: Scores, group: str) -> dict[str, Any]:
    """Figures of the driven walks of a group."""
    walks = [walk for walk in scores.walks if walk.group == group]
    events = [flag for walk in walks for flag in walk.events]
    minutes = sum(walk.minutes for walk in walks)
    return {
        "walks": len(walks),
        "minutes": round(minutes, 3),
        "false_alarms_per_minute": ratio(sum(walk.alarms for walk in walks), minutes),
        "repeats": sum(walk.repeats for walk in walks),
        "tier1_events": len(events),
        "tier1_recall": ratio(sum(events), len(events)),
    }


def _fitting(subject: Subject, bench: Bench) -> list[evaluate.Answer]:
    """Answers to calibrate on: whole golden walks, and drawn ones for the demonstration model. Not single golden
    moments: their walk may teach, or be judged on."""
    rows, spoiled = cases.to_calibrate(subject.view, subject.teaching)
    for walk in spoiled:
        bench.progress(
            f"the golden walk {walk} holds pictures of walks that teach or are held out: nothing is calibrated on it"
        )
    chosen = [(row, "golden") for row in rows]
    looked = list(cases.cases(bench.dataset, chosen, subject.senses, progress=bench.progress))
    folder = subject.made.folder
    drawn = on_walks(subject.base, folder, bench.threads)
    return [*drawn, *evaluate.run(folder, looked, threads=bench.threads)]


def _basis(fitting: Sequence[evaluate.Answer]) -> CalibrationBasis:
    walks = {answer.case.walk for answer in fitting}
    return CalibrationBasis(len(fitting), len(walks), evaluate.sure_enough(fitting))


def _keep_golden(base: Checkpoint, folder: Path, threads: int) -> tuple[int, int]:
    if base.intended_use != "demo":
        return golden.prune(folder, threads=threads)
    chunks = golden.of_bundle(folder)
    return len(chunks), sum(chunk.must_stop for chunk in chunks)


def _read_once(course: Course) -> Course:
    """Its pictures are drawn, or read, once for all models: 60 of 0.9 MB."""
    read = cache(lambda: tuple(course.frames()))
    return replace(course, frames=lambda: iter(read()))


def _scores(
    subject: Subject, bench: Bench, ours: Sequence[evaluate.Answer], learnt: Sequence[str]
) -> tuple[Scores, Scores | None, list[evaluate.Answer]]:
    """(candidate, champion, the champion's answers). A champion that is no bar is not run.

    learnt: walks that are held out but taught the candidate
    """
    use, champion = subject.base.intended_use, _champion(subject, bench.registry)
    bar = champion if champion is not None and (use == "demo" or champion.use != "demo") else None
    folders = [subject.made.folder] if bar is None else [subject.made.folder, bar.folder]
    models = [GuidanceModel.load(folder, threads=bench.threads, allow_demo=True) for folder in folders]
    kept = list(map(bench.kept.walks, folders)) if bench.kept is not None else []
    with bench.stages.stage("walks"):
        driven = walk_scores(models, _courses(subject, bench, learnt), progress=bench.progress, kept=kept)
    scored = scoring.case_scores(ours, models[0].manifest.thresholds)
    candidate = Scores(subject.label.version, use, scored, driven[0], _named(models[0]))
    if champion is None:
        return candidate, None, []
    if bar is None:
        return candidate, Scores(champion.version, champion.use, ()), []
    with bench.stages.stage("champion's answers"):
        theirs = bench.answers(bar.folder, [answer.case for answer in ours])
    scored = scoring.case_scores(theirs, models[1].manifest.thresholds)
    return candidate, Scores(bar.version, bar.use, scored, driven[1], _named(models[1])), theirs


def _named(model: GuidanceModel) -> tuple[str, ...]:
    return model_card.card_of(model.manifest.model).sees


def _champion(subject: Subject, registry: Registry) -> _Champion | None:
    """The champion that the candidate was made to replace, not that of this moment. Raises: Refused, BundleError."""
    version = subject.label.parent
    if not version:
        return None
    folder = registry.bundle_folder(version)
    return _Champion(version, folder, bundles.read_manifest(folder).intended_use)


def _courses(subject: Subject, bench: Bench, learnt: Sequence[str]) -> list[tuple[Course, str]]:
    """Whole walks to drive, with their groups."""
    held_out = cases.held_out(subject.view, learnt)
    courses = [(course, REAL) for course in cases.courses(bench.dataset, held_out)]
    if subject.draws:
        drawn = rendered.courses(DRAWN_WALKS, minutes=DRAWN_MINUTES, seed=DRAWN_SEED)
        courses += [(course, DRAWN) for course in drawn]
    return courses


def _sights(chosen: Sequence[evaluate.Case]) -> list[NDArray[np.uint8]]:
    """A few pictures to time looks at; what is on them does not matter."""
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    return [case.image for case in chosen[: cost.PICTURES]] or [noise] * cost.PICTURES
