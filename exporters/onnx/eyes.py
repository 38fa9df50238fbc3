"""A detector becomes a bundle without a language model: eyes alone, worded by the table of what may be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporters.onnx.bundle import NOTICE, GoldenChunk, Label, unlisted, write_golden
from exporters.onnx.look import Detector, Pictures, described, quantise_look, write_look
from shared import atomic, vocabulary
from shared import bundle as bundles
from shared.runtime.look import LOOK


def export_eyes(
    what: Detector,
    label: Label,
    folder: Path,
    *,
    golden_chunks: Sequence[GoldenChunk],
    pictures: Pictures,
    notice: str = "",
    measured: Mapping[str, Any] | None = None,
    quantised: bool = True,
) -> bundles.Manifest:
    """Write a bundle without a language model at `folder` (which must not exist). It appears whole or not at all.

    golden_chunks: what a device tests itself on; pictures: what the int8 scales are found on
    notice: whose weights these are and under which licence; travels as NOTICE.txt
    measured: what shared.model_card reads of it; None = it may name all
    raises: OSError, BundleError
    """
    temp = folder.with_name(folder.name + atomic.TEMP_SUFFIX)
    atomic.remove_tree(temp)
    temp.mkdir(parents=True)
    raw = temp / "raw.onnx"
    write_look(what, raw)
    if quantised:
        quantise_look(raw, temp / LOOK, what, pictures)
        raw.unlink()
    else:
        raw.rename(temp / LOOK)
    if notice:
        (temp / NOTICE).write_text(notice)
    write_golden(temp, golden_chunks)
    model = {
        "look": described(what),
        "objects": what.objects,
        "sides": list(vocabulary.SIDES_SEEN),
        **({} if measured is None else {"measured": dict(measured)}),
        "vocabulary": vocabulary.load().version,
        "precision": "look int8" if quantised else "float32",
    }
    manifest = bundles.write_bundle(temp, unlisted(label, model))
    atomic.move(temp, folder)
    return manifest
