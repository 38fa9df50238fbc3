"""The formats of an export that need nothing but the rows. Each function returns what was left out; raises: OSError.

    jsonl          frames/{walk}_chunk{NNNN}.jpg, audio/{walk}_chunk{NNNN}.wav, and metadata.jsonl with {"frame_path",
                   "audio_path", "instruction", "file_name", ...}: the layout that waycue itself learns from
    imagefolder    train/, validation/ (the golden set) and test/ (held-out walks) with pictures and metadata.jsonl
                   {"file_name", "text", "audio_path", ...}, as `load_dataset("imagefolder", data_dir=...)` reads
                   them; a split without rows has no folder. source: https://huggingface.co/docs/datasets/image_dataset#imagefolder
    vsr            videos/{walk}_chunk{NNNN}.mp4 and vsr.jsonl {"video", "text", "duration", "fps"}, in seconds and
                   pictures a second; a moment whose clip never came has no video
    samples        training_data/videos/training_{milliseconds}.avi and training_data/samples.jsonl, as
                   exporters.datasets.collection has them
    sqlite         the same with the table training_samples in training_data/samples.sqlite
    correction     corrections.jsonl {"input", "output", "context"}: what was worded → what should have been said

`exporters.datasets.conversations` writes conversations, `exporters.datasets.hub` those with everything inside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from exporters.datasets import avi, collection
from exporters.datasets.collection import CollectedSample
from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import SPLITS, LeftOut, Row, missing, usable
from shared.errors import MediaError


def write_jsonl(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Pictures, sounds and instructions."""
    lines, left_out = [], LeftOut()
    for row in usable(rows, "frame", "audio", left_out=left_out):
        frame_path = folder.place(row.file("frame"), f"frames/{row.name}.jpg")
        audio_path = folder.place(row.file("audio"), f"audio/{row.name}.wav")
        said = {"frame_path": frame_path, "audio_path": audio_path, "instruction": row.text, "file_name": frame_path}
        lines.append({**said, **row.fields})
    folder.write_lines("metadata.jsonl", lines)
    return left_out


def write_imagefolder(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Pictures with their text, by split."""
    lines: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    left_out = LeftOut()
    for row in usable(rows, "frame", left_out=left_out):
        split = SPLITS[row.split]
        folder.place(row.file("frame"), f"{split}/{row.name}.jpg")
        said = {"file_name": f"{row.name}.jpg", "text": row.text, "audio_path": ""}
        if not missing(row, "audio"):
            said["audio_path"] = folder.place(row.file("audio"), f"{split}/audio/{row.name}.wav")
            said["audio_path"] = said["audio_path"].removeprefix(f"{split}/")
        lines[split].append({**said, **row.fields})
    for split, entries in lines.items():
        folder.write_lines(f"{split}/metadata.jsonl", entries)
    return left_out


def write_vsr(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Clips with their text."""
    lines, left_out = [], LeftOut()
    for row in usable(rows, "clip", left_out=left_out):
        video = folder.place(row.file("clip"), f"videos/{row.name}{row.file('clip').suffix}")
        lines.append({"video": video, "text": row.text, "duration": round(row.duration_s, 3), "fps": _rate(row.fps)})
    folder.write_lines("vsr.jsonl", lines)
    return left_out


def write_samples(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Films and samples.jsonl of the collection layout."""
    samples, left_out = _collected(rows, folder)
    folder.write_lines(f"{collection.FOLDER}/{collection.JSONL_NAME}", map(collection.to_dict, samples))
    return left_out


def write_sqlite(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Films and the table of the collection layout."""
    samples, left_out = _collected(rows, folder)
    collection.write_table(folder.path(f"{collection.FOLDER}/{collection.SQLITE_NAME}"), samples)
    return left_out


def _collected(rows: Iterable[Row], folder: ExportFolder) -> tuple[list[CollectedSample], LeftOut]:
    """Writes the films."""
    left_out = LeftOut()
    pairs = [(row, row.sample) for row in usable(rows, "frame", left_out=left_out) if row.sample is not None]
    pairs.sort(key=lambda pair: (pair[1].timestamp, pair[1].id))
    samples = []
    for (row, sample), name in zip(pairs, collection.named_videos(sample for _, sample in pairs), strict=True):
        video = f"{collection.FOLDER}/videos/{name}"
        try:
            avi.write(folder.path(video), frame=row.file("frame"), audio=row.audio, clip=row.clip)
        except MediaError:
            left_out["its picture can not be decoded"] += 1
            continue
        samples.append(replace(sample, video_path=video))
    return samples, left_out


def write_correction(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Text pairs for a model that corrects wordings."""
    lines, left_out = [], LeftOut()
    for row in rows:
        if row.raw:
            lines.append({"input": row.raw, "output": row.text, "context": row.context})
        else:
            left_out["the model worded nothing"] += 1
    folder.write_lines("corrections.jsonl", lines)
    return left_out


def _rate(fps: float) -> float | int:
    return round(fps) if abs(fps - round(fps)) < 0.005 else round(fps, 3)
