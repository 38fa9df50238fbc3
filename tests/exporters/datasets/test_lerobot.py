"""LeRobotDataset v3.0: each clip is an episode whose task is what should be said."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pyarrow.parquet as pq

from exporters.datasets import lerobot
from exporters.datasets.folder import building
from tests.exporters.datasets.rows import row
from tests.server.dataset.moments import clip

WORDS = ("Stop, curb ahead.", "Stop, stairs down.", "Stop, curb ahead.")


def test_episodes_tasks_and_videos_name_each_other(tmp_path: Path) -> None:
    splits = ("train", "held_out", "train")
    rows = [row(tmp_path / "media", n, text=WORDS[n], split=splits[n], with_clip=True) for n in range(3)]
    out = tmp_path / "out"
    with building(out) as folder:
        assert lerobot.write([*rows, row(tmp_path / "media", 3)], folder) == {"no clip": 1}
    info = json.loads((out / "meta/info.json").read_text(encoding="utf-8"))
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"], info["fps"]) == (3, 60, 2, 10)
    assert info["splits"] == {"train": "0:2", "test": "2:3"}
    episodes = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [episode["name"][-1] for episode in episodes] == ["0", "2", "1"]
    frames = pq.read_table(out / info["data_path"].format(chunk_index=0, file_index=0)).to_pylist()
    tasks = {line["task_index"]: line["task"] for line in pq.read_table(out / "meta/tasks.parquet").to_pylist()}
    for episode in episodes:
        own = frames[episode["dataset_from_index"] : episode["dataset_to_index"]]
        assert {frame["episode_index"] for frame in own} == {episode["episode_index"]}
        assert {tasks[frame["task_index"]] for frame in own} == set(episode["tasks"])
        place = {part: episode[f"videos/{lerobot.CAMERA}/{part}"] for part in ("chunk_index", "file_index")}
        video = out / info["video_path"].format(video_key=lerobot.CAMERA, **place)
        assert video.read_bytes() == clip(int(episode["name"][-1]))
        with av.open(video) as container:
            shown = [picture.time for picture in container.decode(video=0)]
        assert [round(frame["timestamp"], 3) for frame in own] == [round(at or 0.0, 3) for at in shown]
    assert [frame["index"] for frame in frames] == list(range(60))


def test_a_clip_of_another_length_stays_and_one_of_another_shape_or_none_is_left_out(tmp_path: Path) -> None:
    rows = [row(tmp_path / "media", n, with_clip=True) for n in range(4)]
    rows[1].file("clip").write_bytes(clip(1, frames=7))
    rows[2].file("clip").write_bytes(b"no film")
    rows[3].file("clip").write_bytes(b"")
    with building(tmp_path / "out") as folder:
        left_out = lerobot.write(rows, folder)
    assert left_out == {"the pictures of its clip cannot be counted": 2}
    info = json.loads((tmp_path / "out/meta/info.json").read_text(encoding="utf-8"))
    assert info["total_frames"] == 27
