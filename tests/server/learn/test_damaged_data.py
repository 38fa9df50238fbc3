"""Data that is damaged, alike or not there blocks no night."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from exporters.onnx import bundle as exporter
from server.dataset.folder import Dataset
from server.model import checkpoint as checkpoints
from server.releases.registry import Registry
from tests.server.dataset.moments import picture
from tests.server.learn.crash_driver import exported_once
from tests.server.learn.parts import confirmed_home, save_field_checkpoint, small_night


@pytest.fixture(scope="module", autouse=True)
def cheaper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What these nights' models say is not asked."""
    with pytest.MonkeyPatch.context() as patch:
        graphs = tmp_path_factory.mktemp("graphs")
        patch.setattr(exporter, "export_graphs", exported_once(graphs, any_weights=True))
        yield


def test_a_dataset_that_is_empty_or_wholly_damaged_is_skipped_and_said(tmp_path: Path, base: Path) -> None:
    (tmp_path / "none").mkdir()
    found = small_night(tmp_path / "none", base)
    assert (found.outcome, found.reasons) == ("skipped", ("0 verified rows are new, 2 are needed",))
    home = confirmed_home(tmp_path / "home", [(picture(n), "") for n in range(3)])
    rows = Dataset(home / "dataset").rows()
    for row in rows:
        (home / "dataset" / row.frame_path).write_bytes(b"")
    said: list[str] = []
    found = small_night(home, base, said=said)
    assert (found.outcome, found.reasons) == ("skipped", ("0 verified rows are new, 2 are needed",))
    assert found.put_aside == tuple(f"put aside: sample {r.sample_id}, {r.frame_path}: it is empty" for r in rows)
    assert list(found.put_aside) == said


@pytest.mark.slow
def test_damaged_pictures_are_put_aside_and_the_others_teach_even_if_only_silence(tmp_path: Path, base: Path) -> None:
    home = confirmed_home(tmp_path / "home", [(picture(n), "") for n in range(7)])
    folder, rows = home / "dataset", Dataset(home / "dataset").rows()
    half = (folder / rows[0].frame_path).read_bytes()
    (folder / rows[0].frame_path).write_bytes(half[: len(half) // 2])
    (folder / rows[1].frame_path).unlink()
    (folder / rows[2].frame_path).unlink()
    (folder / rows[2].frame_path).mkdir()
    found = small_night(home, base)
    assert found.outcome in ("refused", "trial", "promoted")
    registry = Registry(home)
    taught = {line.partition("#")[0] for line in registry.taught_by(found.version)}
    bad = {row.sample_id for row in rows[:3]}
    assert taught == {row.sample_id for row in rows[3:] if row.split == "train"}
    assert len(found.put_aside) == len(bad)
    report = json.loads((home / "nights" / f"{found.version}.json").read_text())
    for row in rows[:3]:
        assert any(row.sample_id in line and row.frame_path in line for line in report["put_aside"])
    again = small_night(home, base)
    assert again.outcome == "skipped"
    (folder / rows[0].frame_path).write_bytes(half)
    assert "1 verified rows are new" in small_night(home, base).reasons[0], "restored, it is new"
    registry.close()


@pytest.mark.slow
def test_rows_that_are_all_alike_train_on_a_base_that_was_saved_in_bf16(tmp_path: Path) -> None:
    folder = save_field_checkpoint(tmp_path / "base")
    AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    loaded = checkpoints.load(folder)
    assert {value.dtype for value in loaded.model.state_dict().values()} == {torch.float32}, "no bf16 is needed"
    home = confirmed_home(tmp_path / "home", [(picture(1), "Caution, cone ahead.")] * 4)
    found = small_night(home, folder)
    assert found.outcome in ("refused", "trial", "promoted")
    assert found.samples == 4
    assert np.isfinite([found.loss_first, found.loss_last]).all()
