"""The night's second half: a bundle was made; is it good, and what for?

    answers of candidate and champion to held-out moments → calibration, on moments that are judged on nowhere
    → golden pictures → whole walks through the policy → looks in turns, memory → gate → the manifest says what for

What is judged on, what is calibrated on and what was learnt from are walks of three kinds (server.gate.cases).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.onnx.bundle import Label
from server.dataset import material
from server.dataset.folder import SampleRow
from server.evaluation import answers as evaluate
from server.evaluation import rendered
from server.evaluation.drive import DriveSettings, drive
from server.evaluation.facts import DRAWN, REAL, TAUGHT, Course, Frame
from server.gate import calibrate, cases, cost, decide, golden, scoring
from server.gate.evidence import Calibrated, Decision, Evidence, Export, Scores, WalkScore
from server.gate.settings import Bounds
from server.model.checkpoint import Checkpoint
from server.releases.registry import Registry
from shared import bundle as bundles
from shared.calibration import Calibration
from shared.errors import DatasetError, MediaError
from shared.policy import PolicySettings
from shared.runtime import GuidanceModel, check_golden

CALIBRATING = 480  # looks of held-out walks: 20 walks of 24 s
DRAWN_WALKS, DRAWN_MINUTES, DRAWN_SEED = 6, 0.25, 77
"""Whole drawn walks that a demonstration model is judged on: a minute and a half, on other seeds than any report's."""
Progress = Callable[[str], None]


class Effort(Protocol):
    """How much work a judgement may be: the `[learn]` section of the server's configuration."""

    @property
    def threads(self) -> int:
        """CPU threads."""
        ...

    @property
    def gate_cases(self) -> int:
        """Held-out rendered frames, for a demonstration model."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A quantised bundle on disk, and how like PyTorch it is."""

    folder: Path
    full: Path
    """The same before quantisation."""
    parity_float: float
    parity: float
    size_bytes: int
    parity_pictures: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """What came out; the bundle's manifest says the same."""

    decision: Decision
    figures: dict[str, Any]
    champion_figures: dict[str, Any]
    held_out: int
    """Real cases."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged, and what it may be judged on."""

    base: Checkpoint
    label: Label
    made: Made
    view: Sequence[SampleRow]
    teaching: Sequence[SampleRow]
    extra: dict[str, Any]
    """Of the manifest."""


def judge(
    subject: Subject,
    registry: Registry,
    *,
    settings: Effort,
    bounds: Bounds,
    taught: frozenset[str] = frozenset(),
    progress: Progress,
) -> Judged:
    """Judge a bundle and write into its manifest what it is for: a field model stays `trial` until it is accepted.

    taught: ids of the samples that the champion learnt from
    raises: BundleError, OSError
    """
    base, made, folder = subject.base, subject.made, registry.home / "dataset"
    senses = material.Senses(before=base.frames == 2, sound=base.ear is not None)
    known = cases.learnt(subject.view, subject.teaching)
    chosen = [*_drawn(base, settings), *cases.real(folder, subject.view, subject.teaching, senses, progress=progress)]
    progress(f"judging on {len(chosen)} cases")
    ours = evaluate.run(made.folder, chosen, threads=settings.threads, progress=progress)
    full = evaluate.run(made.full, chosen, threads=settings.threads, progress=progress)
    fitting = _fitting(subject, folder, settings, senses, progress)
    held_out = [answer for answer in ours if answer.case.group != TAUGHT]
    figures, fitted = recalibrate(made.folder, subject.label, held_out, fitting, extra=subject.extra)
    pictures, stops = _keep_golden(base, made.folder, settings.threads)
    restamp(made.folder)
    slot_loss, slot_cases = scoring.quantised(full, ours)
    export = Export(
        parity=made.parity,
        parity_pictures=made.parity_pictures,
        slot_loss=slot_loss,
        slot_cases=slot_cases,
        unfit=tuple(check_golden(made.folder, threads=settings.threads)),
        golden=pictures,
        golden_stops=stops,
    )
    courses = _courses(base, folder, cases.held_out(subject.view, tuple(known)))
    candidate, champion, theirs = _scores(
        subject, registry, chosen, calibrate.calibrated(ours, fitted), courses, settings, progress
    )
    progress("measuring what a look takes")
    evidence = Evidence(
        candidate,
        champion,
        export,
        cost.measure(made.folder, registry, _sights(chosen), threads=settings.threads),
        cases.stock(subject.teaching),
        known,
        _calibrated(calibrate.calibrated(fitting, fitted)),
        cases.known_to(subject.view, taught),
    )
    decision = decide.decide(evidence, bounds)
    figures = {**figures, "whole_walks": {group: whole_walks(candidate, group) for group in _groups(candidate)}}
    use = base.intended_use if base.intended_use == "demo" or decision.accepted else "trial"
    restamp(made.folder, intended_use=use, evaluation=figures)
    summary = evaluate.summary([answer for answer in theirs if answer.case.group != TAUGHT]) if theirs else {}
    return Judged(decision, figures, summary, sum(case.group == REAL for case in chosen))


def recalibrate(
    folder: Path,
    label: Label,
    answers: Sequence[evaluate.Answer],
    fitting: Sequence[evaluate.Answer],
    *,
    extra: dict[str, Any],
) -> tuple[dict[str, Any], Calibration]:
    """Write the manifest anew with calibration, thresholds and figures; the files stay as they are.

    answers: of this bundle, to cases that nobody learnt from: the figures
    fitting: likewise, other cases, not yet calibrated: calibration and thresholds
    extra: of the manifest
    returns: the figures, and what was fitted
    """
    fitted = calibrate.fit(fitting)
    sure = calibrate.calibrated(fitting, fitted.by)
    errors = {
        "sentences": {"before": fitted.sentences_before, "after": fitted.sentences},
        "hazards": {"before": fitted.hazards_before, "after": fitted.hazards},
    }
    figures = {**evaluate.summary(answers), "slot_f1": scoring.slot_f1(answers), "calibration_error": errors}
    manifest = bundles.read_manifest(folder)
    manifest = replace(
        manifest,
        version=label.version,
        created_at_utc=label.created_at_utc,
        base=label.base,
        parent=label.parent,
        intended_use=label.intended_use,
        thresholds=evaluate.thresholds(sure),
        model={**manifest.model, "calibration": fitted.by.to_dict()},
        evaluation=figures,
        extra=extra,
    )
    bundles.write_bundle(folder, manifest)
    return figures, fitted.by


def restamp(folder: Path, *, intended_use: str = "", evaluation: dict[str, Any] | None = None) -> None:
    """Write the manifest anew over the files as they now are. Raises: BundleError, OSError."""
    old = bundles.read_manifest(folder)
    use, figures = intended_use or old.intended_use, old.evaluation if evaluation is None else evaluation
    bundles.write_bundle(folder, replace(old, intended_use=use, evaluation=figures))


def on_walks(base: Checkpoint, folder: Path, threads: int = 2) -> list[evaluate.Answer]:
    """What a demonstration model answers to looks of held-out drawn walks, to calibrate it on; a field model has only
    its dataset."""
    if base.intended_use != "demo" or not base.known:
        return []
    return evaluate.run(folder, evaluate.walk_cases(CALIBRATING), threads=threads)


def walk_scores(
    models: Sequence[GuidanceModel], courses: Sequence[tuple[Course, str]], *, progress: Progress
) -> list[tuple[WalkScore, ...]]:
    """Drive whole walks as a device would, each model over the same pictures; stretches of one walk count as one.

    courses: (course, group); returns the walks of each model
    """
    found: list[dict[tuple[str, str], list[WalkScore]]] = [{} for _ in models]
    for course, group in courses:
        walk, once = course.group if group == REAL else course.name, _drawn_once(course)
        try:
            driven = [drive(model, once, PolicySettings(), DriveSettings(pictures=False)) for model in models]
        except (DatasetError, MediaError) as error:
            progress(f"left out: {error}")
            continue
        for mine, one in zip(found, driven, strict=True):
            mine.setdefault((walk, group), []).append(scoring.walk_score(one))
    return [
        tuple(scoring.joined(some, walk=walk, group=group) for (walk, group), some in mine.items()) for mine in found
    ]


def whole_walks(scores: Scores, group: str) -> dict[str, Any]:
    """Figures of the driven walks of a group."""
    walks = [walk for walk in scores.walks if walk.group == group]
    events = [flag for walk in walks for flag in walk.events]
    minutes = sum(walk.minutes for walk in walks)
    return {
        "walks": len(walks),
        "minutes": round(minutes, 3),
        "false_alarms_per_minute": round(sum(walk.alarms for walk in walks) / minutes, 4) if minutes else None,
        "repeats": sum(walk.repeats for walk in walks),
        "tier1_events": len(events),
        "tier1_recall": round(sum(events) / len(events), 4) if events else None,
    }


def _groups(scores: Scores) -> list[str]:
    return list(dict.fromkeys(walk.group for walk in scores.walks))


def _drawn(base: Checkpoint, settings: Effort) -> list[evaluate.Case]:
    """For the demonstration model only: what it knows of drawn pictures says nothing about real streets."""
    if base.intended_use != "demo" or not base.known:
        return []
    return evaluate.rendered_cases(settings.gate_cases, objects=base.known)


def _fitting(
    subject: Subject, folder: Path, settings: Effort, senses: material.Senses, progress: Progress
) -> list[evaluate.Answer]:
    """Answers to calibrate on: whole golden walks, and drawn ones for the demonstration model. Not single golden
    moments: their walk may teach, or be judged on."""
    base, bundle = subject.base, subject.made.folder
    found, spoiled = cases.to_calibrate(subject.view, subject.teaching)
    for walk in spoiled:
        progress(
            f"the golden walk {walk} holds pictures of walks that teach or are held out: nothing is calibrated on it"
        )
    looked = list(cases.cases(folder, [(row, "golden") for row in found], senses, progress=progress))
    return [*on_walks(base, bundle, settings.threads), *evaluate.run(bundle, looked, threads=settings.threads)]


def _calibrated(fitting: Sequence[evaluate.Answer]) -> Calibrated:
    walks = {answer.case.walk for answer in fitting}
    return Calibrated(len(fitting), len(walks), evaluate.sure_enough(fitting))


def _keep_golden(base: Checkpoint, folder: Path, threads: int) -> tuple[int, int]:
    if base.intended_use != "demo":
        return golden.prune(folder, threads=threads)
    chunks = golden.of_bundle(folder)
    return len(chunks), sum(chunk.must_stop for chunk in chunks)


def _courses(base: Checkpoint, folder: Path, held_out: Sequence[SampleRow]) -> list[tuple[Course, str]]:
    real = [(course, REAL) for course in cases.courses(folder, held_out)]
    if base.intended_use != "demo" or not base.known:
        return real
    drawn = rendered.courses(DRAWN_WALKS, minutes=DRAWN_MINUTES, seed=DRAWN_SEED)
    return [*real, *((course, DRAWN) for course in drawn)]


def _drawn_once(course: Course) -> Course:
    """Its pictures are drawn, or read, once for all models: 60 of 0.9 MB."""
    frames: list[Frame] = []

    def again() -> Iterator[Frame]:
        if not frames:
            frames.extend(course.frames())
        return iter(frames)

    return replace(course, frames=again)


def _scores(
    subject: Subject,
    registry: Registry,
    chosen: Sequence[evaluate.Case],
    ours: Sequence[evaluate.Answer],
    courses: Sequence[tuple[Course, str]],
    settings: Effort,
    progress: Progress,
) -> tuple[Scores, Scores | None, list[evaluate.Answer]]:
    """(candidate, champion, the champion's answers). A champion that is no bar is not run."""
    base, name = subject.base, subject.label.parent or None  # not the champion of this moment: it may have changed
    parent = None if name is None else registry.bundle_folder(name)
    use = "" if parent is None else bundles.read_manifest(parent).intended_use
    bar = parent if base.intended_use == "demo" or use != "demo" else None
    models = [
        GuidanceModel.load(folder, threads=settings.threads, allow_demo=True)
        for folder in (subject.made.folder, *([bar] if bar else []))
    ]
    driven = walk_scores(models, courses, progress=progress)
    scored = scoring.case_scores(ours, models[0].manifest.thresholds)
    candidate = Scores(subject.label.version, base.intended_use, scored, driven[0])
    if name is None or bar is None:
        return candidate, None if name is None else Scores(name, use, ()), []
    theirs = evaluate.run(bar, chosen, threads=settings.threads, progress=progress)
    return candidate, Scores(name, use, scoring.case_scores(theirs, models[1].manifest.thresholds), driven[1]), theirs


def _sights(chosen: Sequence[evaluate.Case]) -> list[NDArray[np.uint8]]:
    """A few pictures to time looks at; what is on them does not matter."""
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    return [case.image for case in chosen[: cost.PICTURES]] or [noise] * cost.PICTURES
