"""Hugging Face `datasets` reads what is written as it lies: no builder named, no network."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from exporters.datasets import captions, card, conversations, formats, hub
from exporters.datasets.card import DatasetCard
from exporters.datasets.folder import ExportFolder, building
from exporters.datasets.rows import SPLITS, LeftOut, Row, evened
from server.labelling import folder as label
from server.labelling.footage import Chunk
from tests.exporters.datasets.rows import row
from tests.server.dataset.moments import picture, sound

WORDS = ("Stop, curb ahead.", "Caution, pole ahead.", "Stop, stairs down.", "Continue straight, path is clear.")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two that teach, one golden, one held out; one has a field that the others lack."""
    splits = ("train", "train", "golden", "held_out")
    made = [row(tmp_path / "media", n, text=WORDS[n], split=split, with_clip=True) for n, split in enumerate(splits)]
    return evened([*made[:-1], row(tmp_path / "media", 3, text=WORDS[3], split="held_out", fields={"light": "dusk"})])


def written(tmp_path: Path, name: str, write: Callable[..., LeftOut], rows: list[Row]) -> Path:
    out = tmp_path / name
    with building(out) as folder:
        assert write(rows, folder) == {}
        files = hub.files_of(name, {SPLITS[row.split] for row in rows})
        about = DatasetCard(title=name, data_files=files, features=hub.features_of(name, rows[0].fields))
        folder.write_file(card.NAME, card.text(about))
    return out


def words(loaded: Any, column: str) -> dict[str, list[str]]:
    return {split: list(table[column]) for split, table in loaded.items()}


SPLIT = {"train": list(WORDS[:2]), "validation": [WORDS[2]], "test": [WORDS[3]]}


def test_a_label_folder_is_a_dataset_of_pictures(tmp_path: Path) -> None:
    with label.opened(tmp_path / "labels") as opened:
        for n, text in enumerate(WORDS):
            opened.show("walk", n, Chunk(picture(n), sound(n)))
            opened.save("walk", n, text)
    loaded = datasets.load_dataset(str(tmp_path / "labels"), split="train")
    assert list(loaded["instruction"]) == list(WORDS)
    assert np.array_equal(np.asarray(loaded[1]["image"]), np.asarray(Image.open(io.BytesIO(picture(1)))))
    assert loaded[1]["frame_path"] == "frames/walk_chunk0001.jpg"


def test_jsonl_is_a_dataset_of_pictures(tmp_path: Path, rows: list[Row]) -> None:
    loaded = datasets.load_dataset(str(written(tmp_path, "jsonl", formats.write_jsonl, rows)))
    assert words(loaded, "instruction") == {"train": list(WORDS)}
    assert loaded["train"][0]["image"].size == (480, 270)
    assert list(loaded["train"]["light"]) == ["", "", "", "dusk"]


def test_imagefolder_has_pictures_by_split(tmp_path: Path, rows: list[Row]) -> None:
    loaded = datasets.load_dataset(str(written(tmp_path, "imagefolder", formats.write_imagefolder, rows)))
    assert words(loaded, "text") == SPLIT
    assert loaded["test"][0]["image"].size == (480, 270)


@pytest.mark.parametrize(
    ("name", "write", "column"), [("parquet", hub.write_parquet, "audio"), ("webdataset", hub.write_webdataset, "wav")]
)
def test_pictures_and_sounds_are_inside(
    name: str, write: Callable[..., LeftOut], column: str, tmp_path: Path, rows: list[Row]
) -> None:
    loaded = datasets.load_dataset(str(written(tmp_path, name, write, rows)))
    if name == "parquet":
        loaded = loaded.cast_column(column, datasets.Audio(decode=False))
    said = {split: [entry.get("json", entry) for entry in table] for split, table in loaded.items()}
    assert {split: [entry["instruction"] for entry in table] for split, table in said.items()} == SPLIT
    assert said["test"][0]["light"] == "dusk"
    heard = loaded["train"][1][column]
    assert (heard["bytes"] if name == "parquet" else heard) == sound(1)
    assert loaded["train"][1]["image" if name == "parquet" else "jpg"].size == (480, 270)


def test_audiofolder_names_its_sounds(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(tmp_path, "audiofolder", hub.write_audiofolder, rows)
    if not datasets.config.TORCHCODEC_AVAILABLE:  # it is imported where a path is put into a column, and not used
        monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
        encoders = ModuleType("torchcodec.encoders")
        vars(encoders)["AudioEncoder"] = None
        monkeypatch.setitem(sys.modules, "torchcodec.encoders", encoders)
    loaded = datasets.load_dataset(str(out)).cast_column("audio", datasets.Audio(decode=False))
    assert words(loaded, "instruction") == SPLIT
    assert Path(loaded["train"][1]["audio"]["path"]).read_bytes() == sound(1)


@pytest.mark.parametrize(
    ("name", "write", "count"),
    [
        ("conversations", conversations.write, 4),
        ("vsr", formats.write_vsr, 3),
        ("correction", formats.write_correction, 4),
    ],
)
def test_tables_of_text_load_too(
    name: str, write: Callable[..., LeftOut], count: int, tmp_path: Path, rows: list[Row]
) -> None:
    usable = rows if name != "vsr" else rows[:3]
    loaded = datasets.load_dataset(str(written(tmp_path, name, write, usable)))
    assert len(loaded["train"]) == count


def test_parquet_of_many_rows_is_written_in_groups_and_whole(tmp_path: Path) -> None:
    one = row(tmp_path / "media", 0)
    many = [Row(name=f"walk_chunk{n:04d}", text=f"{n}", frame=one.frame, audio=one.audio) for n in range(150)]
    out = written(tmp_path, "parquet", hub.write_parquet, many)
    loaded = datasets.load_dataset(str(out), split="train").remove_columns(["image", "audio"])
    assert list(loaded["instruction"]) == [str(n) for n in range(150)]


@pytest.mark.parametrize("write", [hub.write_parquet, hub.write_webdataset])
def test_the_same_rows_give_the_same_bytes(
    write: Callable[[list[Row], ExportFolder], LeftOut], tmp_path: Path, rows: list[Row]
) -> None:
    for name in ("one", "two"):
        with building(tmp_path / name) as folder:
            write(rows, folder)
    one, two = (sorted((tmp_path / name).rglob("*-*")) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert len(one) == 3


def test_coco_captions_name_each_picture_with_its_size(tmp_path: Path, rows: list[Row]) -> None:
    with building(tmp_path / "coco") as folder:
        captions.write_coco(rows, folder)
    made = json.loads((tmp_path / "coco" / "captions.json").read_text(encoding="utf-8"))
    sizes = {image["id"]: (image["width"], image["height"], image["file_name"]) for image in made["images"]}
    assert sizes[1] == (480, 270, "walk-1_chunk0000.jpg")
    assert [(entry["image_id"], entry["caption"]) for entry in made["annotations"]] == list(enumerate(WORDS, start=1))
    assert (tmp_path / "coco" / "images" / "walk-1_chunk0003.jpg").read_bytes() == picture(3)
