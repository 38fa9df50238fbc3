"""A trained model becomes a bundle: graphs, tokenizer, golden chunks, manifest.

With `quantised=False` the graphs stay float32: parity is measured between both bundles.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from exporters.onnx.graphs import export_ear, export_graphs
from exporters.onnx.look import Seeing, described, quantise_any, quantise_look, write_look
from exporters.onnx.quantise import DECODER_BITS, quantise_decoder, quantise_vision
from shared import atomic, mel, vocabulary
from shared import bundle as bundles
from shared.jpeg import encode_jpeg
from shared.preprocess import Preprocessing
from shared.runtime import golden
from shared.runtime.language import DECODER, EMBED, TOKENIZER, VISION
from shared.runtime.look import LOOK


@dataclass(frozen=True, slots=True)
class Exportable:
    """All that a bundle is made from."""

    model: PreTrainedModel
    head: nn.Module
    tokenizer: PreTrainedTokenizerBase
    preprocessing: Preprocessing
    before_ids: Sequence[int]
    after_ids: Sequence[int]
    end_id: int
    objects: Sequence[str]
    sides: Sequence[str]
    ear: nn.Module | None = None
    """What it hears with (exporters.onnx.graphs.export_ear), where it does."""
    frames: int = 1
    """2: the previous picture comes first, `between_ids` after it."""
    between_ids: Sequence[int] = ()
    known: Sequence[str] = ()
    """Objects that it was trained to see; empty = unknown."""
    seeing: Seeing | None = None
    """The look network whose features its tower takes, where it stands on pretrained eyes."""


@dataclass(frozen=True, slots=True)
class GoldenChunk:
    """A picture with its known answer."""

    image: NDArray[np.uint8]
    """[h, w, 3] RGB"""
    object: str
    side: str
    must_stop: bool


@dataclass(frozen=True, slots=True)
class Label:
    """What the manifest says about a version, beside its files."""

    version: str
    base: str
    parent: str
    intended_use: str
    thresholds: Mapping[str, float]
    created_at_utc: float


def export_bundle(
    what: Exportable,
    label: Label,
    folder: Path,
    *,
    golden_chunks: Sequence[GoldenChunk],
    quantised: bool = True,
    bits: int = DECODER_BITS,
    full: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> bundles.Manifest:
    """Write a bundle at `folder` (which must not exist). With quantised=False the graphs stay float32.

    bits: of the decoder's weights, 8 or 4
    full: the float32 bundle of the same model: its graphs are taken instead of being exported again

    The folder appears whole or not at all.
    raises: OSError, BundleError
    """
    temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
    atomic.remove_tree(temp)
    raw = temp / "raw"
    raw.mkdir(parents=True)
    if full is None:
        _export(what, raw, progress)
    else:
        for graph in _graphs(what):
            shutil.copyfile(full / graph, raw / graph)
    precision = "float32"
    if quantised:
        progress(f"quantising (vision int8, decoder {bits}-bit)")
        precision = _quantise(what, raw, temp, bits, progress)
    for left in raw.iterdir():
        left.rename(temp / left.name)
    shutil.rmtree(raw)
    what.tokenizer.backend_tokenizer.save(str(temp / TOKENIZER))
    write_golden(temp, golden_chunks)
    if what.seeing is not None and what.seeing.notice:
        (temp / NOTICE).write_text(what.seeing.notice)
    model = describe(what, precision=precision)
    manifest = bundles.write_bundle(temp, unlisted(label, model))
    atomic.move(temp, folder)
    return manifest


def unlisted(label: Label, model: Mapping[str, Any]) -> bundles.Manifest:
    """The manifest of a bundle before its files are listed. model: what shared.runtime reads"""
    return bundles.Manifest(
        format=bundles.FORMAT,
        version=label.version,
        created_at_utc=label.created_at_utc,
        base=label.base,
        parent=label.parent,
        intended_use=label.intended_use,
        files=(),
        thresholds=label.thresholds,
        model=model,
    )


NOTICE = "NOTICE.txt"
_NUMBERS = {3: "three", 4: "four", 5: "five"}


def _graphs(what: Exportable) -> list[str]:
    heard, seen = [mel.ENCODER] if what.ear is not None else [], [LOOK] if what.seeing is not None else []
    return [VISION, EMBED, DECODER, *heard, *seen]


def _export(what: Exportable, raw: Path, progress: Callable[[str], None]) -> None:
    progress(f"exporting {_NUMBERS[len(_graphs(what))]} graphs")
    seeing = what.seeing
    export_graphs(what.model, what.head, raw, size_px=what.preprocessing.size_px, of_features=seeing is not None)
    if what.ear is not None:
        export_ear(what.ear, raw)
    if seeing is not None:
        write_look(seeing, raw / LOOK)


def _quantise(what: Exportable, raw: Path, target: Path, bits: int, progress: Callable[[str], None]) -> str:
    """The graphs in `raw` that run faster so go to `target`; the others stay where they are. Returns what they are."""
    for name in (VISION, mel.ENCODER):
        if (raw / name).exists():
            quantise_vision(raw / name, target / name)
            (raw / name).unlink()
    quantise_decoder(raw / DECODER, target / DECODER, bits=bits)
    (raw / DECODER).unlink()
    why = ""
    if what.seeing is not None:
        if what.seeing.any_backbone:
            why = quantise_any(raw / LOOK, target / LOOK, what.seeing)
        else:
            quantise_look(raw / LOOK, target / LOOK, what.seeing, what.seeing.pictures)
        (raw / LOOK).unlink()
    if why:
        progress(f"the look network stays in float32: {why}")
    return f"vision int8, decoder {bits}-bit{', look float32' if why else ''}"


def describe(what: Exportable, *, precision: str) -> dict[str, Any]:
    """The manifest's `model` section: what shared.runtime reads."""
    two = {"frames": what.frames, "between_ids": list(what.between_ids)} if what.frames > 1 else {}
    looks = {} if what.seeing is None else {"look": described(what.seeing)}
    known = {"known": list(what.known)} if what.known else {}
    return {
        **two,
        **looks,
        **known,
        "preprocessing": what.preprocessing.to_dict(),
        "before_ids": list(what.before_ids),
        "after_ids": list(what.after_ids),
        "end_id": what.end_id,
        "objects": list(what.objects),
        "sides": list(what.sides),
        "vocabulary": vocabulary.load().version,
        "precision": precision,
    }


def write_golden(folder: Path, chunks: Sequence[GoldenChunk]) -> None:
    """golden/000.jpg … and golden/golden.json."""
    target = folder / golden.FOLDER
    target.mkdir()
    cases = []
    for index, chunk in enumerate(chunks):
        name = f"{index:03d}.jpg"
        (target / name).write_bytes(encode_jpeg(chunk.image))
        cases.append({"image": name, "object": chunk.object, "side": chunk.side, "must_stop": chunk.must_stop})
    (target / golden.LIST).write_text(json.dumps(cases, indent=1))
