"""The formats that Hugging Face `datasets` reads with pictures and sounds. Each function returns what was left out.

    audiofolder  {train,validation,test}/{name}.wav, frames/{name}.jpg below each, and metadata.jsonl {"file_name",
                 "frame_path", "instruction", ...}. source: https://huggingface.co/docs/datasets/audio_dataset
    parquet      data/{split}-00000-of-00001.parquet: `image` and `audio` (bytes and name inside), `instruction`, ...
                 source: https://huggingface.co/docs/hub/datasets-image#parquet-format
    webdataset   data/{split}-00000.tar with 000000.jpg, .json and .wav for each moment; its `name` is in the JSON
                 source: https://github.com/webdataset/webdataset

Splits are named as others name them: train, validation (the golden set), test (walks that are held out). The same rows
give the same bytes.

raises: OSError
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import SPLITS, LeftOut, Row, usable

_GROUP_ROWS = 64
"""Rows of one row group: what is held in memory at once."""


def write_audiofolder(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Sounds with their pictures and words, by split."""
    lines: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    left_out = LeftOut()
    for row in usable(rows, "frame", "audio", left_out=left_out):
        split = SPLITS[row.split]
        folder.place(row.file("audio"), f"{split}/{row.name}.wav")
        folder.place(row.file("frame"), f"{split}/frames/{row.name}.jpg")
        place = {"file_name": f"{row.name}.wav", "frame_path": f"frames/{row.name}.jpg"}
        lines[split].append({**place, "instruction": row.text, **row.fields})
    for split, entries in lines.items():
        folder.write_lines(f"{split}/metadata.jsonl", entries)
    return left_out


def write_parquet(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """One file for each split, pictures and sounds inside."""
    import pyarrow as pa  # heavy, and only this format needs them
    import pyarrow.parquet as pq
    from datasets import Audio, Features, Image, Value

    left_out, names = LeftOut(), tuple[str, ...]()
    waiting: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    writers = dict[str, Any]()
    with ExitStack() as stack:

        def write(split: str) -> None:
            if split not in writers:
                features = Features(
                    {
                        "image": Image(),
                        "audio": Audio(),
                        "name": Value("string"),
                        "instruction": Value("string"),
                        **{name: Value("string") for name in names},
                    }
                )
                path = folder.root / f"data/{split}-00000-of-00001.parquet"
                path.parent.mkdir(exist_ok=True)
                writers[split] = stack.enter_context(pq.ParquetWriter(path, features.arrow_schema))
            table = pa.Table.from_pylist(waiting.pop(split), schema=writers[split].schema)
            writers[split].write_table(table)

        for row in usable(rows, "frame", "audio", left_out=left_out):
            names, split = tuple(row.fields), SPLITS[row.split]
            waiting[split].append(_packed(row))
            if len(waiting[split]) == _GROUP_ROWS:
                write(split)
        for split in list(waiting):
            write(split)
    return left_out


def _packed(row: Row) -> dict[str, Any]:
    image, audio = row.file("frame"), row.file("audio")
    return {
        "image": {"bytes": image.read_bytes(), "path": f"{row.name}.jpg"},
        "audio": {"bytes": audio.read_bytes(), "path": f"{row.name}.wav"},
        "name": row.name,
        "instruction": row.text,
        **row.fields,
    }


def write_webdataset(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """One archive for each split."""
    left_out = LeftOut()
    archives = dict[str, tarfile.TarFile]()
    with ExitStack() as stack:
        for number, row in enumerate(usable(rows, "frame", "audio", left_out=left_out)):
            split = SPLITS[row.split]
            if split not in archives:
                path = folder.root / f"data/{split}-00000.tar"
                path.parent.mkdir(exist_ok=True)
                archives[split] = stack.enter_context(tarfile.open(path, "w"))
            for suffix, data in _members(row):
                _add(archives[split], f"{number:06d}.{suffix}", data)  # a key may have no dot
    return left_out


def _members(row: Row) -> Iterator[tuple[str, bytes]]:
    said = {"name": row.name, "instruction": row.text, **row.fields}
    yield "jpg", row.file("frame").read_bytes()
    yield "json", json.dumps(said, ensure_ascii=False).encode()
    yield "wav", row.file("audio").read_bytes()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no owner and no time: the same rows give the same bytes
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))


def features_of(format_name: str, names: Iterable[str]) -> list[Mapping[str, object]]:
    """What a card says of a format's columns; names: the fields of its rows. [] = the reader finds it out. Pure.

    Of an archive: its sounds are bytes. As an Audio column they could not even be listed without torchcodec.
    """
    if format_name != "webdataset":
        return []
    said = [{"name": name, "dtype": "string"} for name in ("name", "instruction", *names)]
    types = (("__key__", "string"), ("__url__", "string"), ("jpg", "image"), ("wav", "binary"))
    return [{"name": "json", "struct": said}, *({"name": name, "dtype": dtype} for name, dtype in types)]


def is_there(root: Path, entry: Mapping[str, Sequence[str] | str]) -> bool:
    """Whether a split of `files_of` has files: a pattern without any is an error for whoever loads it."""
    return all(any(True for _ in root.glob(pattern)) for pattern in entry["path"])


def files_of(format_name: str, splits: Iterable[str]) -> list[Mapping[str, Sequence[str] | str]]:
    """What a card's configuration says of the files of a format, for the splits that have rows. [] = a format that
    Hugging Face has no reader for. Pure."""
    patterns = {
        "jsonl": {"train": ["metadata.jsonl", "frames/*.jpg"]},
        "imagefolder": {split: [f"{split}/metadata.jsonl", f"{split}/*.jpg"] for split in splits},
        "audiofolder": {split: [f"{split}/metadata.jsonl", f"{split}/*.wav"] for split in splits},
        "parquet": {split: [f"data/{split}-*.parquet"] for split in splits},
        "webdataset": {split: [f"data/{split}-*.tar"] for split in splits},
        "conversations": {"train": ["conversations.json"]},
        "vsr": {"train": ["vsr.jsonl"]},
        "correction": {"train": ["corrections.jsonl"]},
        "samples": {"train": ["training_data/samples.jsonl"]},
        "lerobot": {"train": ["data/*/*.parquet"]},
    }.get(format_name, {})
    order = ("train", "validation", "test")
    return [{"split": split, "path": patterns[split]} for split in order if split in patterns]
