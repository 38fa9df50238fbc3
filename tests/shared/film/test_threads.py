"""A film is read by as many threads at its end as at its beginning, and none is started for a picture."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from device.capture.recorder import Recorder
from device.capture.source import VideoFrame
from device.capture.video_file import Pictures
from tests.device.capture import films
from tests.paths import ROOT

PICTURES = 60
ALONE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
"""In a process namespace of its own a new thread's number counts the threads that this process started."""
Picture = Callable[[av.VideoFrame], NDArray[np.uint8]]


def newest_number() -> int:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert thread.native_id is not None
    return thread.native_id


def started(film: Path, picture: Picture | None = None) -> tuple[int, int]:
    """(how many threads were started for the film, by how much their number went up from its first picture on)"""
    pictures, recorder, before = Pictures.find(film, max_side_px=1920), Recorder(), newest_number()
    assert pictures is not None
    alive = []
    while pictures.head is not None:
        t_s, frame = pictures.head_t_s or 0.0, pictures.take()
        recorder.feed(VideoFrame((picture or pictures.picture)(frame), t_s))
        alive.append(len(list(Path("/proc/self/task").iterdir())))
    count = newest_number() - before
    pictures.close()
    return count, max(alive) - alive[0]


def _in_a_new_context(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """As pictures were once made: a context, with its threads, for each."""
    return frame.reformat(format="rgb24", threads=4).to_ndarray().astype(np.uint8, copy=False)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    film = films.make(tmp_path_factory.mktemp("film") / "walk.mp4", seconds=PICTURES / 15, fps=15.0, size=(640, 480))
    command = [*ALONE, sys.executable, "-m", "tests.shared.film.test_threads", str(film)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip(f"no process namespace can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return {name: (count, grown) for name, (count, grown) in json.loads(done.stdout).items()}


def test_no_thread_is_started_for_a_picture(counts: dict[str, tuple[int, int]]) -> None:
    started_for_film, grown = counts["now"]
    assert started_for_film <= 8
    assert grown <= 1


def test_a_context_for_each_picture_would_be_noticed(counts: dict[str, tuple[int, int]]) -> None:
    assert counts["as it was"][0] >= 2 * PICTURES


if __name__ == "__main__":
    started(Path(sys.argv[1]))  # what is started once for good
    print(json.dumps({"now": started(Path(sys.argv[1])), "as it was": started(Path(sys.argv[1]), _in_a_new_context)}))
