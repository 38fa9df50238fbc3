"""Teach now: what may be taught, how far it is, and that one that was killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.access.person import Person, Role
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.evaluation.stages import Stages
from server.learn import lesson, lineage
from server.learn.settings import LearnSettings
from server.releases.registry import Registry
from server.review import teaching
from server.review.teaching import INTERRUPTED, RUNNING, Lessons, Teachable, TeachState
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError, Refused, Transient
from tests.paths import ROOT
from tests.server.learn.parts import reviewed_home, save_field_checkpoint

HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(lock: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield
        other.communicate()


def row(n: int, truth: str, **changes: Any) -> SampleRow:
    values: dict[str, Any] = {
        "row_id": f"pi-1-b-{n:06d}#2",
        "sample_id": f"pi-1-b-{n:06d}",
        "frame_path": f"frames/{n:064x}.jpg",
        "audio_path": "a",
        "instruction": truth,
        "raw_output": "",
        "ground_truth": truth,
        "timestamp": 1000.0 + n,
        "device": "pi-1",
        "was_correct": False,
        "walk_id": "w",
        "reviewed": True,
        "model_version": "v1",
        "split": "train",
    }
    return SampleRow(**{**values, **changes})


def test_things_are_counted_that_people_confirmed_and_no_model_has_learnt() -> None:
    cones = [row(n, "Caution, cone ahead.") for n in range(6)]
    others = [row(10 + n, "Stop, curb ahead.") for n in range(2)]
    unsaid = [row(20, ""), row(21, "Turn right."), row(22, "Caution, cone ahead.", reviewed=False)]
    taught = lineage.identities(cones[:2])
    found = teaching.teachable([*cones, *others, *unsaid], taught, least=4)
    assert found == [Teachable("cone", 4, 4), Teachable("curb", 2, 4)]
    assert [item.enough for item in found] == [True, False]


def test_moments_of_a_walk_that_is_held_out_count_with_those_beside_them() -> None:
    old = [row(n, "Caution, cone ahead.", split="held_out") for n in range(3)]
    new = [row(10 + n, "Caution, cone ahead.", split="held_out" if n % 5 == 0 else "train") for n in range(1, 11)]
    assert teaching.teachable([*old, *new], (), least=10) == [Teachable("cone", 10, 10)]
    assert teaching.teachable([*old, *new], lineage.identities(new), least=10) == [], "all that teach have taught"


@pytest.mark.parametrize(("thing", "error"), [("curb", Refused), ("bollard", Refused), ("unicorn", ConfigError)])
def test_what_has_too_few_moments_or_is_no_thing_is_refused(thing: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        teaching.check(thing, [Teachable("curb", 3, 4)], least=4)


def test_a_lesson_is_smaller_than_a_night_and_smaller_still_for_a_large_base() -> None:
    small = lesson.sized(LearnSettings())
    assert (small.steps, small.replay) == (120, 2000)
    field = LearnSettings(base="HuggingFaceTB/SmolVLM2-256M-Video-Instruct")
    assert lesson.sized(field).steps == 48, "20 moments are then drawn some 80 times, in eight views each"
    assert lesson.sized(replace(field, teach_steps=200)).steps == 200, "what somebody set is kept"


def test_how_far_a_lesson_is_never_goes_back_and_the_rest_scales_with_what_it_took() -> None:
    expected = {"first": 10.0, "second": 30.0, "third": 60.0}
    assert lesson.remaining(expected, "first", inside=0.0, took_s=1.0) == (0.0, None)
    assert lesson.remaining(expected, "second", inside=0.5, took_s=50.0) == (0.25, 150.0)
    assert lesson.remaining(expected, "third", inside=1.0, took_s=99.0) == (0.99, 1.0)
    assert lesson.remaining(expected, "nobody knows", inside=1.0, took_s=5.0) == (0.0, None)


def test_the_stages_told_are_those_of_a_night() -> None:
    """A stage that the table does not know would send the bar back to its beginning."""
    import re

    sources = "".join(
        (ROOT / "server" / name).read_text() for name in ("learn/nightly.py", "learn/bundles.py", "learn/lora.py")
    )
    judged = (ROOT / "server/gate/judge.py").read_text()
    named = re.findall(r'stage\("([^"]+)"', sources + judged)
    named += re.findall(r'stage\("([^"]+)" if \w+ is \w+ else "([^"]+)"', sources)[0]
    assert set(named) == set(lesson.EXPECTED)


def test_a_lesson_that_nobody_teaches_any_more_is_interrupted(tmp_path: Path) -> None:
    assert teaching.state_of(tmp_path) == TeachState()
    teaching.write(tmp_path, TeachState(RUNNING, "cone", "train", 0.5, 20.0))
    assert teaching.state_of(tmp_path).phase == INTERRUPTED
    with held(tmp_path / "teach.lock"):
        assert teaching.state_of(tmp_path) == TeachState(RUNNING, "cone", "train", 0.5, 20.0)
    (tmp_path / "teach.json").write_text("[1]")
    assert teaching.state_of(tmp_path) == TeachState()


@pytest.mark.parametrize("lock", ["teach.lock", "nightly.lock"])
def test_one_lesson_or_night_at_a_time(tmp_path: Path, lock: str) -> None:
    with held(tmp_path / lock), pytest.raises(Transient):
        teaching.start(tmp_path, "cone", ManualClock())
    assert not (tmp_path / "teach.json").exists()


def test_stages_add_up_to_the_whole_and_inner_ones_count_for_themselves() -> None:
    clock, used = ManualClock(), [0.0]
    begun: list[str] = []
    stages = Stages(clock, lambda: used[0], begun.append)

    def work(seconds: float) -> None:
        clock.sleep(seconds)
        used[0] += 2 * seconds

    with stages.stage("outer"):
        work(1)
        with stages.stage("inner"):
            work(3)
        work(1)
    with stages.stage("inner"):
        work(4)
    assert stages.to_dict() == {
        "inner": {"seconds": 7.0, "cpu_seconds": 14.0},
        "outer": {"seconds": 2.0, "cpu_seconds": 4.0},
    }
    assert begun == ["outer", "inner", "inner"]


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server whose base is small, with six confirmed cones and the page's settings."""
    place = tmp_path_factory.mktemp("lesson")
    base = save_field_checkpoint(place / "base")
    home = place / "home"
    command = [sys.executable, "-m", "server", "--home", str(home), "init"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    path = home / "waycue.toml"
    learn = f'[learn]\nbase = "{base}"\nteach_steps = 4\nteach_least = 4\nthreads = 1\n'
    path.write_text(path.read_text("utf-8").replace("[learn]\n", learn), "utf-8")
    return reviewed_home(home, walks_of={"w": 6})


ANA = Person("Ana", Role.ADMIN, None)


def lessons_of(home: Path) -> Lessons:
    def things(_person: Person) -> list[Teachable]:
        with closing(Registry(home)) as registry:
            return teaching.teachable(Dataset(home / "dataset").rows(), teaching.learnt(registry), least=4)

    return Lessons(home, things, SystemClock(), least=4)


@pytest.mark.slow
@pytest.mark.soak
def test_a_lesson_asked_for_from_the_page_ends_is_killed_and_goes_on(small_home: Path) -> None:
    """The real child with the real night; killed while it trains, it is told as interrupted, and goes on when asked."""
    lessons = lessons_of(small_home)
    lessons.start("cone", ANA)
    with pytest.raises(Transient):
        lessons_of(small_home).start("cone", ANA)
    wait(small_home, lambda state: state.stage in ("train", "export"))
    child = lessons._child
    assert child is not None
    assert os.getpriority(os.PRIO_PROCESS, child.pid) >= lesson.NICE
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert lessons.state().phase == INTERRUPTED
    lessons.start("cone", ANA)
    state = wait(small_home, lambda state: state.phase != RUNNING)
    assert state.phase == "ended", state
    assert state.outcome in ("promoted", "trial", "refused")
    assert json.loads((small_home / "nights" / f"{state.version}.json").read_text())["stages"]
    with pytest.raises(Refused):
        lessons.start("cone", ANA)


def wait(home: Path, until: Any) -> TeachState:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        state = teaching.state_of(home)
        if until(state):
            return state
        threading.Event().wait(0.2)
    raise AssertionError(f"still {teaching.state_of(home)}")
