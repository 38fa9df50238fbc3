"""Pictures with known answers: those that devices test a model on, and those on which an export is compared.

A demonstration model has drawn ones, chosen for the first version and kept. A model for the field has those of its own
dataset's golden set, chosen anew every night: a person may have added some or taken some out. Only pictures that the
quantised bundle has right travel, for they test the device, not the model; how many those are is the gate's to judge.
What travels is decoded, scaled and encoded again: no metadata, no name, no id of the moment comes along.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from exporters.onnx.bundle import GoldenChunk, write_golden
from exporters.onnx.parity import Given
from server.dataset import material, pictures
from server.dataset.folder import SampleRow
from server.evaluation import answers
from server.gate import cases
from server.model.checkpoint import Checkpoint
from server.model.guide import Guide
from shared import bundle as bundles
from shared import media, mel, vocabulary
from shared.errors import DatasetError
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


def drawn(base: Checkpoint) -> list[GoldenChunk]:
    """For a first demonstration model: held-out rendered pictures that the float model has right."""
    guide = Guide(base).eval()
    stops, others = list[GoldenChunk](), list[GoldenChunk]()
    for case in answers.rendered_cases(200, seed=2):
        slots = vocabulary.parse(case.text)
        if slots is None or not slots.object or (len(stops) == STOPS and len(others) == OTHERS):
            continue
        pixels = torch.from_numpy(prepare(case.image, base.preprocessing))
        with torch.no_grad():
            features = guide.features(pixels)
            ids = guide.write(features, end_id=base.end_id)[0]
            scores = base.head(features)[1][0].sigmoid()
        if vocabulary.parse(str(base.tokenizer.decode(ids))) != slots:
            continue
        stop = vocabulary.tier(slots) == 1
        if stop and scores[base.objects.index(slots.object), base.sides.index(slots.side)] < SCORE:
            continue
        chosen, most = (stops, STOPS) if stop else (others, OTHERS)
        if len(chosen) < most:
            chosen.append(GoldenChunk(case.image, slots.object, slots.side, stop))
    return [*stops, *others]


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
    stops, others = list[GoldenChunk](), list[GoldenChunk]()
    for row in _in_turns(chosen):
        slots = vocabulary.parse(row.ground_truth)
        if slots is None or not slots.object:
            continue
        stop = vocabulary.tier(slots) == 1
        kept, most = (stops, STOPS * CANDIDATES) if stop else (others, OTHERS * CANDIDATES)
        if len(kept) == most:
            continue
        try:
            kept.append(GoldenChunk(_scaled(material.picture(folder, row)), slots.object, slots.side, stop))
        except DatasetError as error:
            progress(f"left out: {error}")
    return [*stops, *others]


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
    chunks = of_bundle(folder)
    model = GuidanceModel.load(folder, threads=threads, allow_demo=True)
    stops, others = list[GoldenChunk](), list[GoldenChunk]()
    for chunk in chunks:
        kept, most = (stops, STOPS) if chunk.must_stop else (others, OTHERS)
        if len(kept) < most and _has_right(model, chunk):
            kept.append(chunk)
    shutil.rmtree(folder / "golden")
    write_golden(folder, [*stops, *others])
    return len(stops) + len(others), len(stops)


def parity_moments(
    of: Checkpoint, folder: Path, view: Sequence[SampleRow], *, progress: Progress = lambda text: None
) -> list[Given]:
    """Pictures that taught nothing, with all else that the model is given: another picture before, noise of any
    loudness. Of the golden set, then of walks that are held out; drawn ones for a demonstration model."""
    if of.intended_use == "demo":
        pictures = [case.image for case in answers.rendered_cases(PARITY_PICTURES, seed=1)]
    else:
        chosen = [*cases.golden(view), *cases.held_out(view)][:PARITY_PICTURES]
        found = cases.cases(folder, [(row, "parity") for row in chosen], material.Senses(), progress=progress)
        pictures = [case.image for case in found]
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
    decoded = media.decode_picture(media.encode_jpeg(image))
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
    place: dict[str, int] = {}
    ranked = []
    for row in chosen:
        ranked.append((place.setdefault(row.walk_id, 0), row))
        place[row.walk_id] += 1
    return [row for _, row in sorted(ranked, key=lambda one: one[0])]
