"""A night with warm caches comes to what a cold one comes to; one that is killed leaves caches that are whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters.onnx import bundle as exporter
from server.dataset import derived
from server.evaluation import answers as evaluate
from server.gate import judge
from server.learn import nightly, replayed
from server.learn.nightly import Night
from server.learn.settings import LearnSettings
from tests.server.learn.crash_driver import exported_once
from tests.server.learn.parts import reviewed_home

pytestmark = [pytest.mark.slow, pytest.mark.soak]
SETTINGS = LearnSettings(steps=4, replay=40, gate_cases=60, threads=1, new_rows_least=5)
TIMES = frozenset({"seconds", "stages", "version"})


@pytest.fixture(scope="module", autouse=True)
def cheaper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs of the same weights are exported once, and the gate looks at fewer drawn walks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "export_graphs", exported_once(tmp_path_factory.mktemp("graphs")))
        patch.setattr(judge, "CALIBRATING", 48)
        patch.setattr(judge, "DRAWN_WALKS", 1)
        yield


@pytest.fixture(scope="module")
def home(starter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Path(shutil.copytree(starter_home, tmp_path_factory.mktemp("cheap") / "home"))
    return reviewed_home(home, walks_of={"w": 6})


def night(home: Path, asked: list[int] | None = None) -> Night:
    """asked: gets how many cases each bundle was asked"""
    run = evaluate.run

    def counting(folder: Path, cases: Any, **options: Any) -> Any:
        if asked is not None:
            asked.append(len(cases))
        return run(folder, cases, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "run", counting)
        return nightly.retrain(home, settings=SETTINGS, progress=lambda text: None, force=True)


def figures(of: Night) -> dict[str, Any]:
    """All that a night came to, without times."""
    return {name: _timeless(getattr(of, name)) for name in Night.__dataclass_fields__ if name not in TIMES}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        times = ("_ms", "_mb")
        kept = {key: _timeless(item) for key, item in value.items() if not key.endswith(times)}
        return {} if kept.get("name") in ("look", "memory") else kept
    return [_timeless(item) for item in value] if isinstance(value, list | tuple) else value


def test_a_warm_night_comes_to_what_a_cold_one_comes_to(home: Path, tmp_path: Path) -> None:
    cold_home, warm_home = (Path(shutil.copytree(home, tmp_path / name)) for name in ("cold", "warm"))
    asked_cold: list[int] = []
    asked_warm: list[int] = []
    cold = night(cold_home, asked_cold)
    for kept in (replayed.folder(cold_home), derived.folder(cold_home)):
        shutil.copytree(kept, warm_home / kept.relative_to(cold_home))
    warm = night(warm_home, asked_warm)
    assert sum(asked_warm) <= sum(asked_cold) - 2 * SETTINGS.gate_cases, "neither bundle is asked a second time"
    assert figures(warm) == figures(cold)
