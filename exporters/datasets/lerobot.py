"""Clips as LeRobotDataset v3.0 has them: each moment is an episode, its task is what should be said.

    data/chunk-000/file-000.parquet                                  a line for each picture: timestamp, indices
    videos/observation.images.camera/chunk-{n:03d}/file-{n:03d}.mp4  the clip of each episode, as the device made it
    meta/info.json, stats.json, tasks.parquet, episodes/chunk-000/file-000.parquet

Nobody acts here, so there is no `action` and no `observation.state`: it is for models that see and speak. A dataset has
one size and one rate: clips of another than most are left out. A clip whose pictures cannot be counted is left out too.

source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3
raises: OSError
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import av

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import SPLITS, LeftOut, Row, usable

CAMERA = "observation.images.camera"
_CHUNK = 1000
"""Files of one folder, at most."""


@dataclass(frozen=True, slots=True)
class ClipShape:
    """What all clips of a dataset share."""

    width: int
    height: int
    fps: float
    codec: str


@dataclass(frozen=True, slots=True)
class Episode:
    """One moment with its clip."""

    row: Row
    pictures: int
    shape: ClipShape


def write(rows: Iterable[Row], folder: ExportFolder) -> LeftOut:
    """Returns what was left out."""
    left_out, found = LeftOut(), list[Episode]()
    for row in usable(rows, "clip", left_out=left_out):
        episode = _episode(row)
        if episode is None:
            left_out["the pictures of its clip cannot be counted"] += 1
        else:
            found.append(episode)
    if not found:
        return left_out
    (shape, _), *_others = Counter(episode.shape for episode in found).most_common(1)
    episodes = sorted((one for one in found if one.shape == shape), key=lambda one: list(SPLITS).index(one.row.split))
    if len(episodes) < len(found):
        left_out["its clip has another size or rate than most"] += len(found) - len(episodes)
    for number, episode in enumerate(episodes):
        folder.place(episode.row.file("clip"), video_path(number))
    tasks = list(dict.fromkeys(episode.row.text for episode in episodes))
    _write_tables(folder, episodes, tasks)
    folder.write_json("meta/info.json", info(episodes, len(tasks)))
    folder.write_json("meta/stats.json", {})  # of numbers that a policy would scale: there are none
    return left_out


def video_path(number: int) -> str:
    """Where the clip of an episode lies."""
    return f"videos/{CAMERA}/chunk-{number // _CHUNK:03d}/file-{number % _CHUNK:03d}.mp4"


def _episode(row: Row) -> Episode | None:
    try:
        with av.open(row.file("clip")) as container:
            stream = container.streams.video[0]
            pictures = sum(bool(packet.size) for packet in container.demux(stream))
            rate = float(stream.average_rate or 0)
            shape = ClipShape(stream.width, stream.height, round(rate, 3), stream.codec_context.name)
    except (av.FFmpegError, IndexError, ValueError):
        return None
    return Episode(row, pictures, shape) if pictures and rate else None


def _write_tables(folder: ExportFolder, episodes: Sequence[Episode], tasks: Sequence[str]) -> None:
    import pandas as pd  # heavy, and only this format needs them: the tasks are a table with an index of its own
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = {
        "data/chunk-000/file-000.parquet": pa.Table.from_pylist(
            list(_pictures(episodes, tasks)),
            schema=pa.schema([("timestamp", pa.float32()), *((name, pa.int64()) for name in _INDICES)]),
        ),
        "meta/episodes/chunk-000/file-000.parquet": pa.Table.from_pylist(list(_about(episodes))),
    }
    for path, table in tables.items():
        (folder.root / path).parent.mkdir(parents=True)
        pq.write_table(table, folder.root / path)
    index = pd.Index(tasks, name="task")
    pd.DataFrame({"task_index": range(len(tasks))}, index=index).to_parquet(folder.root / "meta/tasks.parquet")


_INDICES = ("frame_index", "episode_index", "index", "task_index")


def _pictures(episodes: Sequence[Episode], tasks: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    index = 0
    for number, episode in enumerate(episodes):
        task = tasks.index(episode.row.text)
        for frame in range(episode.pictures):
            values = (frame, number, index, task)
            yield {"timestamp": frame / episode.shape.fps, **dict(zip(_INDICES, values, strict=True))}
            index += 1


def _about(episodes: Sequence[Episode]) -> Iterator[Mapping[str, Any]]:
    start = 0
    for number, episode in enumerate(episodes):
        yield {
            "episode_index": number,
            "tasks": [episode.row.text],
            "length": episode.pictures,
            "dataset_from_index": start,
            "dataset_to_index": start + episode.pictures,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            f"videos/{CAMERA}/chunk_index": number // _CHUNK,
            f"videos/{CAMERA}/file_index": number % _CHUNK,
            f"videos/{CAMERA}/from_timestamp": 0.0,
            f"videos/{CAMERA}/to_timestamp": episode.pictures / episode.shape.fps,
            "name": episode.row.name,
            **episode.row.fields,
        }
        start += episode.pictures


def info(episodes: Sequence[Episode], tasks: int) -> dict[str, Any]:
    """meta/info.json. Pure."""
    shape = episodes[0].shape
    one = {name: {"dtype": "int64", "shape": [1], "names": None} for name in _INDICES}
    video = {
        "video.height": shape.height,
        "video.width": shape.width,
        "video.codec": shape.codec,
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": shape.fps,
        "video.channels": 3,
        "has_audio": False,
    }
    camera = {"shape": [shape.height, shape.width, 3], "names": ["height", "width", "channels"]}
    return {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": sum(episode.pictures for episode in episodes),
        "total_tasks": tasks,
        "chunks_size": _CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(shape.fps) if shape.fps.is_integer() else shape.fps,
        "splits": _splits(episodes),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            CAMERA: {"dtype": "video", **camera, "info": video},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **one,
        },
    }


def _splits(episodes: Sequence[Episode]) -> dict[str, str]:
    """Split → its episodes, "from:to": they stand in the order of the splits."""
    counts = Counter(SPLITS[episode.row.split] for episode in episodes)
    out, start = {}, 0
    for name in SPLITS.values():
        if counts[name]:
            out[name] = f"{start}:{start + counts[name]}"
            start += counts[name]
    return out
