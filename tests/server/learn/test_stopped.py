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
from server.learn.memory import HeldMemory
from server.learn.settings import LearnSettings
from shared.errors import ConfigError, Transient
from tests.paths import ROOT
from tests.server.learn.parts import reviewed_home, save_field_checkpoint

FILLED = """
import resource
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from server.admin import nights
from server.database.store import open_store
from server.learn.memory import HeldMemory
from shared.clock import SystemClock
from shared.errors import Transient

def fill(kept):
    for size in (1 << 20, 1 << 12, 64):
        try:
            while True:
                kept.append(bytearray(size))
        except MemoryError:
            pass
    raise MemoryError

kept, before = [], resource.getrlimit(resource.RLIMIT_DATA)
with TemporaryDirectory() as folder:
    home, used = Path(folder), int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize() >> 20
    try:
        with closing(open_store(home)) as store, nights.recorded(home, store, SystemClock()), HeldMemory(used + 32):
            fill(kept)
    except Transient as error:
        assert kept and resource.getrlimit(resource.RLIMIT_DATA) == before
    with closing(open_store(home)) as store:
        (run,) = nights.runs(home, store)
    assert run.outcome == nights.FAILED
    print(run.reasons[0].partition(" Halve")[0])
"""


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


def came_of(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("Failed to serialize proto"),
        came_of(ConfigError("The base model could not be loaded"), OSError(12, "Cannot allocate memory")),
        came_of(KeyError("graph"), MemoryError()),
    ],
)
def test_too_little_memory_is_said_as_such_whichever_library_met_it(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(Transient, match=r"ran out of memory.*\n?.*learn\.batch"), tonight.room(tmp_path):
        raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded")])
def test_a_full_disk_is_said_as_one_by_what_an_error_came_of(tmp_path: Path, error: OSError) -> None:
    for met in (error, came_of(ConfigError("The base model could not be loaded"), error)):
        full = pytest.raises(Transient, match=r"(?s)The disk of .* is full .* goes on where it stopped")
        with full, tonight.room(tmp_path):
            raise met


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("The base model '/models/out of memory' could not be loaded"),
        came_of(ConfigError("It could not be loaded"), OSError(2, "No such file or directory")),
        Transient("Another retrain is running on this server."),
    ],
)
def test_nothing_else_is_said_as_want_of_memory_or_room(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as met, tonight.room(tmp_path):
        raise error
    assert met.value is error


def test_where_memory_is_bound_an_error_of_python_itself_is_for_want_of_it() -> None:
    """CPython 3.11 so fails where it finds no room for a frame."""
    error = SystemError("<function f> returned NULL without setting an exception")
    with pytest.raises(Transient, match="ran out of memory"), HeldMemory(1_000_000):
        raise error
    with pytest.raises(SystemError), HeldMemory(0):
        raise error


def test_what_comes_of_an_error_has_as_much_memory_as_there_is() -> None:
    """In a process that has used up all that it may have, to the last small object."""
    done = subprocess.run([sys.executable, "-c", FILLED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "The night ran out of memory.\n", done.stderr
    assert done.returncode == 0


@pytest.mark.soak
@pytest.mark.parametrize("most_mb", [200, 500, 800])
def test_a_night_that_needs_more_memory_than_it_may_take_ends_with_a_word(
    tmp_path: Path, base: Path, most_mb: int
) -> None:
    home = reviewed_home(tmp_path / "home", walks_of={"w": 2})
    settings = f'[learn]\nbase = "{base}"\nsteps = 4\nnew_rows_least = 2\nthreads = 1\nmemory_mb = {most_mb}\n'
    with open(home / server_settings.FILE, "a", encoding="utf-8") as file:  # it may name a database
        file.write(settings)
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
