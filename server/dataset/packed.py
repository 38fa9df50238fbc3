"""Moments out of files that hold pictures, sounds and words together: Parquet and WebDataset, as `export` writes them
and as others do.

A row of a Parquet file has `image` and `audio` (each {"bytes", "path"}, or the bytes), `instruction` or `text`, and
perhaps `name`. A sample of an archive is all members of one key: .jpg or .jpeg, .wav, and .json with the same fields.
The split is the beginning of the file's name: train, validation or test.
"""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from server.dataset import incoming, pictures
from server.dataset.incoming import SPLITS, Incoming
from server.dataset.sample_row import Split
from server.labelling import lines
from server.labelling.folder import named

_PICTURES, _SOUNDS = ("jpg", "jpeg", "image"), ("wav", "audio")
_BATCH_ROWS = 16


def from_parquet(file: Path) -> Iterator[Incoming]:
    """Every row, a few in memory at once. Raises: OSError."""
    import pyarrow as pa  # heavy, and only this layout needs it
    import pyarrow.parquet as pq

    number = 0
    try:
        table = pq.ParquetFile(file)
        for batch in table.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield _moment(file, f"row {number}", row, order=number - 1, captured_at_utc=file.stat().st_mtime)
    except pa.ArrowException as error:
        yield Incoming(
            key=str(file), where=f"{file}, after row {number}", fault=f"it is no Parquet file ({error!s:.200})"
        )


def from_tar(file: Path) -> Iterator[Incoming]:
    """Every sample, one in memory at once. Raises: OSError."""
    number, mtime = 0, file.stat().st_mtime
    try:
        with tarfile.open(file, "r|") as archive:  # as a stream: nothing is unpacked to the disk
            for key, members in itertools.groupby(_members(archive), key=lambda member: member[0]):
                files = {suffix: data for _, suffix, data in members}
                yield _sample(file, key, files, order=number, captured_at_utc=mtime)
                number += 1
    except (tarfile.TarError, EOFError) as error:
        yield Incoming(key=str(file), where=f"{file}, after sample {number}", fault=f"it is no whole archive ({error})")


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """(key of its sample, ending, bytes) of each file; what is no file, or is larger than any picture, is empty."""
    for member in archive:
        name = PurePosixPath(member.name)
        stem, _, suffix = name.name.partition(".")
        if not stem or member.isdir():
            continue
        data = archive.extractfile(member) if member.isfile() and member.size <= pictures.MOST_BYTES else None
        yield str(name.with_name(stem)), suffix.lower(), data.read() if data else b""


def _sample(file: Path, key: str, members: Mapping[str, bytes], *, order: int, captured_at_utc: float) -> Incoming:
    try:
        said = lines.parsed(members.get("json", b"{}"))
    except ValueError as error:
        return Incoming(key=f"{file}:{key}", where=f"{file}, {key}", fault=str(error))
    media = {name: data for name, data in members.items() if name in (*_PICTURES, *_SOUNDS)}
    return _moment(file, key, {"name": key, **said, **media}, order=order, captured_at_utc=captured_at_utc)


def _moment(file: Path, place: str, row: Mapping[str, Any], *, order: int, captured_at_utc: float) -> Incoming:
    where = f"{file}, {place}"
    name = row.get("name") if isinstance(row.get("name"), str) else ""
    video, number = named(name or "", folder=file.parent, order=order)
    at = Incoming(key=name or where, where=where, video=video, number=number, split=_split_of(file))
    said = {field: value for field, value in row.items() if field not in ("name", *_PICTURES, *_SOUNDS)}
    try:
        frame, audio = _bytes(row, _PICTURES, "picture"), _bytes(row, _SOUNDS, "sound")
        return incoming.checked(at, said, frame=frame, audio=audio, captured_at_utc=captured_at_utc)
    except ValueError as error:
        return Incoming(key=where, where=where, fault=str(error))


def _bytes(row: Mapping[str, Any], names: tuple[str, ...], called: str) -> bytes:
    """Raises: ValueError where the row has none of these inside."""
    for name in names:
        value = row.get(name)
        data = value.get("bytes") if isinstance(value, Mapping) else value
        if isinstance(data, bytes) and len(data) <= pictures.MOST_BYTES:
            return data
    raise ValueError(f"it has no {called} inside")


def _split_of(file: Path) -> Split | None:
    return next((split for name, split in SPLITS.items() if file.name.startswith((f"{name}-", f"{name}."))), None)
