"""A stroll as moments: rendered, looked at by the model of that day, kept by a device's own rules, sent as it would.

Of a worn walk the middle picture of each chunk is worded by the bundle through the device's runtime; the device's rules
(device.moments.flags) choose what is kept. The wearer presses at some of what was wrong. Of a film every chunk is kept
and no model has said anything, as when a labelled folder is imported.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from device.config import FlagsSection
from device.moments import flags
from device.moments.flags import FlagState, SelectedChunk
from scripts.loop.plan import Stroll
from server.dataset.wording import means_the_same
from server.walks import render_frame
from shared import vocabulary
from shared.chunk_format import CHUNK_S, SAMPLE_RATE_HZ
from shared.jpeg import encode_jpeg
from shared.messages import ChunkRecord, Part
from shared.runtime import GuidanceModel
from shared.wav import encode_wav

SIZE = (320, 240)
PRESSES = 0.3
"""Share of what the device got wrong at which the wearer presses."""
BEGAN_UTC_S = 1_750_000_000.0
DAY_S = 86_400.0
SILENCE = encode_wav(np.zeros(round(CHUNK_S * SAMPLE_RATE_HZ), np.int16))


@dataclass(frozen=True, slots=True)
class Taken:
    """One chunk of a stroll."""

    record: ChunkRecord
    files: dict[str, bytes]
    truth: str
    """What should be said; "" = nothing."""
    right: bool | None
    """Whether the device's words meant that; None where no model spoke."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What became of a stroll."""

    kept: tuple[Taken, ...]
    chunks: int
    right: int
    """Chunks at which the device was right, kept or not: what an audit is to estimate."""


def walked(stroll: Stroll, model: GuidanceModel | None, *, day: int) -> Walked:
    """model: None = a film. Raises: ConfigError, BundleError."""
    walk = stroll.walk()
    taken = []
    for number in range(int(walk.duration_s / CHUNK_S)):
        shot = render_frame(walk, (number + 0.5) * CHUNK_S, *SIZE)
        taken.append(_taken(stroll, number, shot.image, shot.instruction, model, day=day))
    if model is None:
        return Walked(tuple(taken), len(taken), 0)
    chosen = selected(taken, float(model.manifest.thresholds["flag_below"]))
    kept = [_flagged(taken[one.sequence], one.flags) for one in chosen]
    return Walked(tuple(kept), len(taken), sum(bool(one.right) for one in taken))


def _taken(
    stroll: Stroll, number: int, image: Any, instruction: str, model: GuidanceModel | None, *, day: int
) -> Taken:
    truth = "" if instruction == vocabulary.CLEAR else instruction
    files = {"frame": encode_jpeg(image), "audio": SILENCE}
    said: dict[str, Any] = {"raw_output": "", "spoken": "", "confidence": 0.0, "model_version": ""}
    right = None
    if model is not None:
        words = model.word(model.look(image))
        loud = words.confidence >= float(model.manifest.thresholds["speak_above"])
        said = {
            "raw_output": words.text,
            "spoken": words.text if loud else "",
            "confidence": words.confidence,
            "model_version": model.manifest.version,
        }
        right = means_the_same(words.text, truth)
    boot = hashlib.sha256(stroll.walk_id.encode()).hexdigest()[:8]
    record = ChunkRecord(
        chunk_id=f"{stroll.wearer.device}-{boot}-{number:06d}",
        device=stroll.wearer.device,
        boot_id=boot,
        sequence=number,
        walk_id=stroll.walk_id,
        started_at_s=number * CHUNK_S,
        duration_s=CHUNK_S,
        captured_at_utc=BEGAN_UTC_S + day * DAY_S + stroll.seed % 1000 * 100 + number * CHUNK_S,
        clock_synced=True,
        flags=(),
        parts=tuple(_part(kind, data) for kind, data in files.items()),
        wearer=stroll.wearer.name,
        context=stroll.wearer.settings[0],
        **said,
    )
    return Taken(record, files, truth, right)


def _part(kind: str, data: bytes) -> Part:
    name = {"frame": "frame.jpg", "audio": "audio.wav"}[kind]
    return Part(kind=kind, name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def selected(taken: Sequence[Taken], flag_below: float, settings: FlagsSection | None = None) -> list[SelectedChunk]:
    """What the device keeps of a walk, in order, by its own rules. Pure."""
    settings, state, chosen = settings or FlagsSection(), FlagState(), list[SelectedChunk]()

    def name_of(sequence: int) -> str:
        return taken[sequence].record.chunk_id

    for sequence, one in enumerate(taken):
        marks = ["low_confidence"] if one.record.confidence < flag_below else []
        marks += ["wearer"] if not one.right and _presses(name_of(sequence)) else []
        for mark in marks:
            state, more = flags.mark(state, sequence, mark, settings)
            chosen += more
        state, more = flags.close(state, sequence, name_of, settings)
        chosen += more
    state, more = flags.finish(state, name_of, settings)
    return sorted([*chosen, *more], key=lambda one: one.sequence)


def _presses(name: str) -> bool:
    return random.Random(f"press {name}").random() < PRESSES


def _flagged(one: Taken, kept_for: tuple[str, ...]) -> Taken:
    return replace(one, record=replace(one.record, flags=kept_for))
