"""What bundles answered when they were judged, kept: the champion of many nights answers each case once.

    <home>/cache/moments/answers/<key of a bundle>.json     {"sha256": of "kept", "kept": {"answers": …, "walks": …}}

A bundle is known by its graphs, tokenizer and what the runtime reads of its manifest; a case by its pictures and sound;
a walk by all that is driven over; both by the source of the runtime and the policy too. An answer of a model without a
look network is kept as its uncalibrated bundle gives it, and calibrated when it is asked for, kept or not: calibration
changes no word, and so the answers of a candidate are those of the champion that it becomes. Where there is a look
network, thresholds and calibration may change the words, and belong to the key.

A file appears whole or not at all; one that is damaged counts as none. It holds what was asked for in the last night
that asked, so that nothing of an erased moment outlives the next one; BUNDLES are kept, those used last. Erasing a
moment deletes all of it (server.dataset.derived).

Cases are answered one at a time: the int8 graphs scale their activations by all that is in a batch, so that a case
would be answered otherwise beside others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from server.dataset import derived
from server.evaluation import answers as evaluate
from server.evaluation import source
from server.evaluation.answers import Answer, Case
from server.evaluation.facts import Course
from server.gate import calibrate
from server.gate.evidence import WalkScore
from shared import atomic
from shared import bundle as bundles
from shared.calibration import Calibration
from shared.runtime.look import LOOK

BUNDLES = 6
"""Files that are kept: champion, previous and some candidates, of some 200 kB each."""
SOURCE = ("shared", "shared/vocabulary.toml", "server/evaluation", "server/gate/scoring.py")
"""All that decides what a bundle answers, and how a walk is scored."""
Progress = Callable[[str], None]


@dataclass(slots=True)
class _Held:
    """Of one bundle: what its file held, and what was asked for since."""

    answers: dict[str, list[Any]]
    walks: dict[str, dict[str, Any]]
    asked_answers: dict[str, list[Any]] = field(default_factory=dict)
    asked_walks: dict[str, dict[str, Any]] = field(default_factory=dict)


class Kept:
    """The kept answers of a home, for one judgement: `close` writes them down."""

    def __init__(self, home: Path, *, threads: int) -> None:
        self._folder = derived.folder(home) / "answers"
        self._threads = threads
        self._held: dict[str, _Held] = {}
        atomic.make_dirs(self._folder)
        self._began = self._folder.stat().st_ino
        self.reused = 0
        """Cases and walks that were not computed again."""

    def answers(self, bundle: Path, cases: Sequence[Case], *, progress: Progress) -> list[Answer]:
        """A bundle's answers to cases, calibrated as its manifest says. Raises: BundleError, OSError."""
        raw = not (bundle / LOOK).is_file()
        held, keys = self._of(bundle), [case_key(case) for case in cases]
        unknown = {key: case for key, case in zip(keys, cases, strict=True) if key not in held.answers}
        if unknown:
            found = evaluate.run(
                bundle, list(unknown.values()), threads=self._threads, progress=progress, calibrated=not raw
            )
            held.answers.update(zip(unknown, map(_to_list, found), strict=True))
        self.reused += len(set(keys)) - len(unknown)
        held.asked_answers.update((key, held.answers[key]) for key in keys)
        given = [_to_answer(case, held.answers[key]) for key, case in zip(keys, cases, strict=True)]
        if not raw:
            return given
        model = bundles.read_manifest(bundle).model
        return calibrate.calibrated(given, Calibration.from_dict(model.get("calibration", {})))

    def walks(self, bundle: Path) -> KeptWalks:
        """What a bundle made of walks. Raises: BundleError, OSError."""
        return KeptWalks(self, bundle, self._of(bundle))

    def close(self) -> None:
        """Write down what was asked for; a full disk only means that it is computed again. Nothing is written where
        moments were erased meanwhile: the answers to them must not come back."""
        try:
            if self._folder.stat().st_ino != self._began:
                return
            for key, held in self._held.items():
                kept = {"answers": held.asked_answers, "walks": held.asked_walks}
                atomic.write_json(self._folder / f"{key}.json", {"sha256": _digest(kept), "kept": kept})
            self._evict()
        except OSError:
            return

    def _evict(self) -> None:
        atomic.remove_leftovers(self._folder)
        files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
        for file in files[:-BUNDLES]:
            file.unlink(missing_ok=True)

    def _of(self, bundle: Path) -> _Held:
        key = bundle_key(bundle, threads=self._threads)
        if key not in self._held:
            self._held[key] = _read(self._folder / f"{key}.json")
        return self._held[key]


@dataclass(frozen=True, slots=True)
class KeptWalks:
    """The kept walks of one bundle."""

    kept: Kept
    bundle: Path
    held: _Held

    def score(self, course: Course, compute: Callable[[], WalkScore]) -> WalkScore:
        """What it made of a course: kept, or computed now. Raises: DatasetError, MediaError, BundleError."""
        key = course_key(course, self.bundle)
        known = self.held.walks.get(key)
        if known is None:
            known = asdict(compute())
        else:
            self.kept.reused += 1
        self.held.walks[key] = self.held.asked_walks[key] = known
        return WalkScore(**{**known, "clean": tuple(known["clean"]), "events": tuple(known["events"])})


def bundle_key(folder: Path, *, threads: int) -> str:
    """Names what a bundle answers. Raises: BundleError, OSError."""
    manifest = bundles.read_manifest(folder)
    files = [(entry.path, entry.sha256) for entry in manifest.files if entry.path.endswith((".onnx", ".json"))]
    model, thresholds = dict(manifest.model), dict(manifest.thresholds)
    if not (folder / LOOK).is_file():
        model.pop("calibration", None)
        model.pop("measured", None)
        thresholds = {}
    files = [file for file in files if "/" not in file[0]]
    said = [files, model, thresholds, version("onnxruntime"), threads, os.uname().machine, source.digest(*SOURCE)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def case_key(case: Case) -> str:
    """Names what a model is given: picture, the one before it, sound."""
    digest = hashlib.sha256()
    for part in (case.image, case.previous, case.sound):
        digest.update(b"none" if part is None else f"{part.shape} {part.dtype}".encode())
        if part is not None:
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def course_key(course: Course, bundle: Path) -> str:
    """Names all that is driven over, and what of the bundle's manifest a drive reads beside what answers do.

    raises: DatasetError, MediaError where its pictures cannot be read; BundleError
    """
    manifest = bundles.read_manifest(bundle)
    said = [course.name, course.group, course.duration_s, repr(course.events), course.chunk_s, course.stills]
    read = [dict(manifest.model), dict(manifest.thresholds), manifest.intended_use]
    digest = hashlib.sha256(json.dumps([*said, course.exact, *read], sort_keys=True).encode())
    for frame in course.frames():
        there = sorted(frame.truth.there) if frame.truth is not None else None
        references = frame.truth.references if frame.truth is not None else None
        digest.update(repr((frame.t_s, frame.sampled, references, there, frame.image.shape)).encode())
        digest.update(np.ascontiguousarray(frame.image).data)
    if course.sound is not None:
        digest.update(np.ascontiguousarray(course.sound()).data)
    return digest.hexdigest()


def _read(file: Path) -> _Held:
    """What it holds; nothing where it is missing or damaged."""
    try:
        value = json.loads(file.read_bytes())
        kept = value["kept"]
        if value["sha256"] != _digest(kept):
            return _Held({}, {})
        return _Held(dict(kept["answers"]), dict(kept["walks"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _Held({}, {})


def _digest(kept: Any) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _to_list(answer: Answer) -> list[Any]:
    times, scores = (answer.look_ms, answer.word_ms), [list(score) for score in answer.scores]
    return [answer.text, float(answer.confidence), scores, *times, answer.grammatical]


def _to_answer(case: Case, kept: Sequence[Any]) -> Answer:
    text, confidence, scores, look_ms, word_ms, grammatical = kept
    return Answer(case, text, confidence, tuple((o, s, float(v)) for o, s, v in scores), look_ms, word_ms, grammatical)
