"""A night that was stopped goes on where it was, and never with another base."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from server import config as server_settings
from server.learn import nightly, tonight
from server.learn.settings import LearnSettings
from shared.errors import Transient
from tests.paths import ROOT
from tests.server.learn.parts import reviewed_home, save_field_checkpoint


def test_another_base_is_not_gone_on_with(tmp_path: Path, base: Path) -> None:
    """A kill after training, and other weights under the same name when the night begins again."""
    folder = save_field_checkpoint(tmp_path / "small")
    home = reviewed_home(tmp_path / "home", walks_of={"w": 2})
    stop_at(home, folder, "LoRA step 4/4")
    (first,) = (path.name for path in (home / "nights").iterdir() if path.name != "tensorboard")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        for weight in model.model.vision_model.parameters():
            weight.mul_(1.01)
    model.save_pretrained(folder)
    said = stop_at(home, folder, "LoRA step 2/4")
    assert any(text.startswith("tower features") for text in said)
    assert any(text.startswith("LoRA step 1/4") for text in said)
    (second,) = (path.name for path in (home / "nights").iterdir() if path.name != "tensorboard")
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
    second: list[str] = []

    def progress(text: str) -> None:
        second.append(text)
        if text.startswith("exporting three graphs"):
            raise Stopped

    with pytest.raises(Stopped):
        nightly.retrain(home, settings=server_settings.load(home).learn, progress=progress)
    assert not any(text.startswith("tower features") for text in second)
    steps = [text for text in second if text.startswith("LoRA step")]
    assert steps[0].startswith("LoRA step 3/4"), "the save of step 2 was whole when Ctrl-C came during step 3"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("Failed to serialize proto"),
    ],
)
def test_too_little_memory_is_said_as_such_whichever_library_met_it(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(Transient, match=r"ran out of memory.*\n?.*learn\.batch"), tonight.room(tmp_path):
        raise error


@pytest.mark.soak
@pytest.mark.parametrize("most_mb", [200, 500, 800])
def test_a_night_that_needs_more_memory_than_it_may_take_ends_with_a_word(
    tmp_path: Path, base: Path, most_mb: int
) -> None:
    home = reviewed_home(tmp_path / "home", walks_of={"w": 2})
    settings = f'[learn]\nbase = "{base}"\nsteps = 4\nnew_rows_least = 2\nthreads = 1\nmemory_mb = {most_mb}\n'
    (home / server_settings.FILE).write_text(settings)
    command = [sys.executable, "-m", "server", "--home", str(home), "retrain"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The night ran out of memory." in done.stderr
    assert "Traceback" not in done.stderr


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
