"""Nothing blocks a night: kills, Ctrl-C, full disks, damaged files, datasets that teach nearly nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from server.dataset.folder import Dataset
from server.learn import nightly
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.releases.registry import Registry
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.errors import Transient
from tests.faults import disk
from tests.faults.disk import SmallDisk
from tests.paths import ROOT
from tests.server.dataset.moments import House, Moment, moment, part, picture, sound
from tests.server.learn.parts import reviewed_home, save_field_checkpoint

KINDS = (
    "fsync in seal", "replace in remove_trees < on_save", "replace in move < save_adapter",
    "replace in writing < write_bytes < write_bundle < re", "before _insert", "after _insert",
    "replace in writing < write_bytes < write_json < retrain",
)  # fmt: skip
"""Of the kinds of steps that the driver finds, what is tried in every run of the tests; `make soak` tries all."""


def night(home: Path, base: Path, *, said: list[str] | None = None) -> nightly.Night:
    settings = LearnSettings(base=str(base), steps=4, new_rows_least=2, threads=1)
    return nightly.retrain(home, settings=settings, progress=(said if said is not None else []).append)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_field_checkpoint(tmp_path_factory.mktemp("base") / "small")


def silent_home(home: Path, pictures: list[bytes], *, text: str = "") -> Path:
    """A server's folder with one confirmed moment for each picture."""
    house = House(home)
    for number, jpeg in enumerate(pictures):
        payloads = {"frame": jpeg, "audio": sound(0)}
        parts = tuple(part(kind, data) for kind, data in payloads.items())
        house.send(Moment(moment(number, walk_id="w", parts=parts).record, payloads))
    for row in house.dataset.rows():
        action = "edit" if text else "nothing"
        decisions.review(house.store, house.dataset, row.sample_id, ReviewDecision(action, "Eve", text), now_s=1.0)
    house.close()
    return home


def test_a_dataset_that_is_empty_or_wholly_damaged_is_skipped_and_said(tmp_path: Path, base: Path) -> None:
    (tmp_path / "none").mkdir()
    found = night(tmp_path / "none", base)
    assert (found.outcome, found.reasons) == ("skipped", ("0 verified rows are new, 2 are needed",))
    home = silent_home(tmp_path / "home", [picture(n) for n in range(3)])
    rows = Dataset(home / "dataset").rows()
    for row in rows:
        (home / "dataset" / row.frame_path).write_bytes(b"")
    said: list[str] = []
    found = night(home, base, said=said)
    assert (found.outcome, found.reasons) == ("skipped", ("0 verified rows are new, 2 are needed",))
    assert found.put_aside == tuple(f"put aside: sample {r.sample_id}, {r.frame_path}: it is empty" for r in rows)
    assert list(found.put_aside) == said


@pytest.mark.slow
def test_damaged_pictures_are_put_aside_and_the_others_teach_even_if_only_silence(tmp_path: Path, base: Path) -> None:
    home = silent_home(tmp_path / "home", [picture(n) for n in range(7)])
    folder, rows = home / "dataset", Dataset(home / "dataset").rows()
    half = (folder / rows[0].frame_path).read_bytes()
    (folder / rows[0].frame_path).write_bytes(half[: len(half) // 2])
    (folder / rows[1].frame_path).unlink()
    (folder / rows[2].frame_path).unlink()
    (folder / rows[2].frame_path).mkdir()
    found = night(home, base)
    assert found.outcome in ("refused", "trial", "promoted")
    registry = Registry(home)
    taught = {line.partition("#")[0] for line in registry.taught_by(found.version)}
    bad = {row.sample_id for row in rows[:3]}
    assert taught == {row.sample_id for row in rows[3:] if row.split == "train"}
    assert len(found.put_aside) == len(bad)
    report = json.loads((home / "nights" / f"{found.version}.json").read_text())
    for row in rows[:3]:
        assert any(row.sample_id in line and row.frame_path in line for line in report["put_aside"])
    again = night(home, base)
    assert again.outcome == "skipped"
    (folder / rows[0].frame_path).write_bytes(half)
    assert "1 verified rows are new" in night(home, base).reasons[0], "restored, it is new"
    registry.close()


@pytest.mark.slow
def test_rows_that_are_all_alike_train_on_a_base_that_was_saved_in_bf16(tmp_path: Path) -> None:
    folder = save_field_checkpoint(tmp_path / "base")
    AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    loaded = checkpoints.load(folder)
    assert {value.dtype for value in loaded.model.state_dict().values()} == {torch.float32}, "no bf16 is needed"
    home = silent_home(tmp_path / "home", [picture(1)] * 4, text="Caution, cone ahead.")
    found = night(home, folder)
    assert found.outcome in ("refused", "trial", "promoted")
    assert found.samples == 4
    assert np.isfinite([found.loss_first, found.loss_last]).all()


def test_another_base_is_not_gone_on_with(tmp_path: Path, base: Path) -> None:
    """A kill after training, and other weights under the same name when the night begins again."""
    folder = save_field_checkpoint(tmp_path / "small")
    home = reviewed_home(tmp_path / "home", walks_of={"w": 2})
    stop_at(home, folder, "LoRA step 4/4")
    (first,) = (path.name for path in (home / "nights").iterdir())
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        for weight in model.model.vision_model.parameters():
            weight.mul_(1.01)
    model.save_pretrained(folder)
    said = stop_at(home, folder, "LoRA step 2/4")
    assert any(text.startswith("tower features") for text in said)
    assert any(text.startswith("LoRA step 1/4") for text in said)
    (second,) = (path.name for path in (home / "nights").iterdir())
    assert first != second, "and what the first one left is cleared away"


class Stopped(Exception):
    pass


def stop_at(home: Path, base: Path, begins: str) -> list[str]:
    said: list[str] = []

    def progress(text: str) -> None:
        said.append(text)
        if text.startswith(begins):
            raise Stopped

    settings = LearnSettings(base=str(base), steps=4, new_rows_least=2, threads=1)
    with pytest.raises(Stopped):
        nightly.retrain(home, settings=settings, progress=progress)
    return said


@pytest.mark.slow
def test_ctrl_c_ends_the_command_cleanly_and_the_next_one_goes_on(tmp_path: Path, base: Path) -> None:
    home = reviewed_home(tmp_path / "home", walks_of={"w": 2})
    command = [sys.executable, "-m", "server", "--home", str(home)]
    subprocess.run([*command, "init"], cwd=ROOT, check=True, capture_output=True)
    config = home / "waycue.toml"
    config.write_text(f'[learn]\nbase = "{base}"\nsteps = 4\nnew_rows_least = 2\nthreads = 1\n')
    first = interrupted(command, at="LoRA step 3/4")
    assert any(text.startswith("tower features") for text in first)
    second = interrupted(command, at="exporting three graphs")
    assert not any(text.startswith("tower features") for text in second)
    steps = [text for text in second if text.startswith("LoRA step")]
    assert steps[0].startswith("LoRA step 3/4"), "the save of step 2 was whole when Ctrl-C came during step 3"


def interrupted(command: list[str], *, at: str) -> list[str]:
    """What `retrain` said until Ctrl-C."""
    said: list[str] = []
    with subprocess.Popen(
        [*command, "retrain"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as night:
        assert night.stdout is not None
        for line in night.stdout:
            said.append(line.rstrip())
            if line.startswith(at):
                night.send_signal(signal.SIGINT)
                break
        _, errors = night.communicate(timeout=120)
    assert night.returncode == 130, errors
    assert "stopped; nothing is lost, run it again to go on." in errors
    assert "Traceback" not in errors
    return said


@pytest.fixture
def small(memory_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(memory_path, size_bytes=64 * 1024 * 1024) as made:
        yield made


@pytest.mark.skipif(bool(disk.why_not()), reason=disk.why_not() or "it can")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_full_disk_is_said_as_one_and_the_night_goes_on_with_room(small: SmallDisk, base: Path) -> None:
    home = reviewed_home(small.path / "home", walks_of={"w": 2})
    said: list[str] = []
    for leave_bytes in (16_000, 64_000, 256_000, 1_000_000, 2_000_000, 3_500_000, 5_000_000):
        small.fill(leave_bytes=leave_bytes)
        with pytest.raises(Transient, match=r"(?s)The disk of .*home is full .* goes on where it stopped"):
            night(home, base, said=said)
        small.empty()
    assert "exporting three graphs" in said, "it came as far as the graphs, a little further each time"
    found = night(home, base)
    assert found.outcome in ("refused", "trial", "promoted")
    assert night(home, base).outcome == "skipped"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_night_killed_at_any_kind_of_step_comes_to_the_same_version_and_bytes(tmp_path: Path) -> None:
    run_driver(tmp_path, *KINDS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_night_killed_at_every_kind_of_step_comes_to_the_same_version_and_bytes(tmp_path: Path) -> None:
    run_driver(tmp_path)


def run_driver(place: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "tests.server.learn.crash_driver", str(place), *kinds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, *tries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert first["kinds"] >= 40
    assert len(tries) >= (len(kinds) or 20)
    assert [one for one in tries if one["problems"]] == []
