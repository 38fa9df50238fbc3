"""Pictures with known answers: those that devices test a model on, and those on which an export is compared.

A demonstration model has drawn ones, chosen for the first version and kept. A model for the field has those of its own
dataset's golden set, chosen anew every night: a person may have added some or taken some out. Only pictures that the
quantised bundle has right travel, for they test the device, not the model; how many those are is the gate's to judge.
What travels is decoded, scaled and encoded again: no metadata, no name, no id of the moment comes along.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from exporters.onnx.bundle import GoldenChunk, write_golden
from exporters.onnx.parity import Given
from server.dataset import material, pictures
from server.dataset.sample_row import SampleRow
from server.evaluation import answers
from server.gate import cases
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from shared import bundle as bundles
from shared import mel, vocabulary
from shared.errors import DatasetError
from shared.jpeg import decode_picture, encode_jpeg
from shared.preprocess import prepare
from shared.runtime import GuidanceModel

STOPS, OTHERS = 6, 6
CANDIDATES = 4
"""So many times as many are tried."""
SCORE = 0.9  # a stop that devices insist on must be plain: its score has to stay above any threshold
ABOVE = 0.1
"""How far above the bundle's own threshold a real one must be scored: another processor rounds differently."""
PARITY_PICTURES = 50
WIDTH_PX = 640
Progress = Callable[[str], None]


class _Picked:
    """Golden chunks so far: things to stop for, and others, of each at most so many times what travels."""

    def __init__(self, times: int = 1) -> None:
        self.stops, self.others, self._times = list[GoldenChunk](), list[GoldenChunk](), times

    def wants(self, *, stop: bool) -> bool:
        return len(self.stops) < STOPS * self._times if stop else len(self.others) < OTHERS * self._times

    def add(self, chunk: GoldenChunk) -> None:
        (self.stops if chunk.must_stop else self.others).append(chunk)

    @property
    def chunks(self) -> list[GoldenChunk]:
        return [*self.stops, *self.others]


def drawn(base: Checkpoint) -> list[GoldenChunk]:
    """For a first demonstration model: held-out rendered pictures that the float model has right."""
    guide, picked = Guide(base).eval(), _Picked()
    for case in answers.rendered_cases(200, seed=2):
        slots = vocabulary.parse(case.text)
        if slots is None or not slots.object or not picked.wants(stop=vocabulary.tier(slots) == 1):
            continue
        with torch.no_grad():
            features = guide.features(torch.from_numpy(prepare(case.image, base.preprocessing)))
            ids = guide.write(features, end_id=base.end_id)[0]
            scores = base.head(features)[1][0].sigmoid()
        stop = vocabulary.tier(slots) == 1
        plain = not stop or scores[base.objects.index(slots.object), base.sides.index(slots.side)] >= SCORE
        if plain and vocabulary.parse(str(base.tokenizer.decode(ids))) == slots:
            picked.add(GoldenChunk(case.image, slots.object, slots.side, stop))
    return picked.chunks


def of_bundle(folder: Path) -> list[GoldenChunk]:
    """The golden chunks of a bundle: later demonstration models are held to the first one's."""
    golden = folder / "golden"
    listed = json.loads((golden / "golden.json").read_text())
    return [
        GoldenChunk(pictures.read(golden / case["image"]), case["object"], case["side"], case["must_stop"])
        for case in listed
    ]


def of_rows(folder: Path, chosen: Sequence[SampleRow], *, progress: Progress) -> list[GoldenChunk]:
    """Golden moments of a dataset that name a thing, walk by walk in turns; more than travel (see `prune`)."""
    picked = _Picked(CANDIDATES)
    for row in _in_turns(chosen):
        slots = vocabulary.parse(row.ground_truth)
        if slots is None or not slots.object or not picked.wants(stop=vocabulary.tier(slots) == 1):
            continue
        try:
            image = _scaled(material.picture(folder, row))
        except DatasetError as error:
            progress(f"left out: {error}")
            continue
        picked.add(GoldenChunk(image, slots.object, slots.side, vocabulary.tier(slots) == 1))
    return picked.chunks


def choose(
    base: Checkpoint, parent: Path | None, folder: Path, view: Sequence[SampleRow], *, progress: Progress
) -> list[GoldenChunk]:
    """For the candidate of a night. parent: the champion's bundle."""
    if base.intended_use != "demo":
        return of_rows(folder, cases.golden(view), progress=progress)
    if parent is not None and bundles.read_manifest(parent).intended_use == "demo":
        return of_bundle(parent)
    return drawn(base)


def prune(folder: Path, *, threads: int) -> tuple[int, int]:
    """Leave in a bundle the golden pictures that it has right with some distance. The manifest must be written anew.

    returns: how many are left, and how many of them are things to stop for
    """
    model, picked = GuidanceModel.load(folder, threads=threads, allow_demo=True), _Picked()
    for chunk in of_bundle(folder):
        if picked.wants(stop=chunk.must_stop) and _has_right(model, chunk):
            picked.add(chunk)
    shutil.rmtree(folder / "golden")
    write_golden(folder, picked.chunks)
    return len(picked.chunks), len(picked.stops)


def parity_moments(
    of: Checkpoint, folder: Path, view: Sequence[SampleRow], *, progress: Progress = lambda text: None
) -> list[Given]:
    """Pictures that taught nothing, with all else that the model is given: another picture before, noise of any
    loudness. Of the golden set, then of walks that are held out; drawn ones for a demonstration model."""
    if of.intended_use == "demo":
        pictures = [case.image for case in answers.rendered_cases(PARITY_PICTURES, seed=1)]
    else:
        chosen = [*cases.golden(view), *cases.held_out(view)][:PARITY_PICTURES]
        held_out = cases.cases(folder, [(row, "parity") for row in chosen], material.Senses(), progress=progress)
        pictures = [case.image for case in held_out]
    rng = np.random.default_rng(1)
    noises = [rng.normal(0, 10 ** rng.uniform(-4, -0.5), mel.FRAMES * mel.HOP).astype(np.float32) for _ in pictures]
    return [
        Given(picture, pictures[at - 1] if of.frames == 2 else None, noises[at] if of.ear is not None else None)
        for at, picture in enumerate(pictures)
    ]


def _has_right(model: GuidanceModel, chunk: GoldenChunk) -> bool:
    observation = model.look(_as_written(chunk.image))
    slots = vocabulary.parse(model.word(observation).text)
    if slots is None or (slots.object, slots.side) != (chunk.object, chunk.side):
        return False
    least = model.manifest.thresholds.get("hazard_above", 0.5) + ABOVE
    scored = any(h.score >= least for h in observation.hazards if (h.object, h.side) == (chunk.object, chunk.side))
    return scored or not chunk.must_stop


def _as_written(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As a device reads it: through the JPEG that `write_golden` writes."""
    decoded = decode_picture(encode_jpeg(image))
    assert decoded is not None  # it was encoded just now
    return decoded


def _scaled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= WIDTH_PX:
        return image
    size = (WIDTH_PX, round(height * WIDTH_PX / width))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]  # uint8 as given


def _in_turns(chosen: Sequence[SampleRow]) -> list[SampleRow]:
    """One of each walk, then the next of each: moments of one walk are alike."""
    seen: Counter[str] = Counter()
    place: dict[str, int] = {}
    for row in chosen:
        place[row.row_id], seen[row.walk_id] = seen[row.walk_id], seen[row.walk_id] + 1
    return sorted(chosen, key=lambda row: place[row.row_id])
