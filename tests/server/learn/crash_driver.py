"""Kill a night at every kind of durable step, run it again, and compare with the one that nobody disturbed.

Run as a program: `python -m tests.server.learn.crash_driver FOLDER [--going-on] [PART OF A KIND …]`; --going-on: the
night is the second one, which goes on from the first. Each try is a forked child that
kills itself (SIGKILL) before an os.fsync, os.replace, os.unlink or os.mkdir, or before or after a transaction of the
registry. Which there are, an undisturbed night tells; a kind is a call with the functions that lead to it, and is tried
at its last occurrence. With parts of names, the first kind that holds each is tried; else every kind but fsync and
unlink, before which the disk hardly holds anything that it did not after the rename before. Then the night is run again
on what the disk holds. One JSON line per try.

Graphs are exported once per set of weights and copied from then on: torch.export takes nine tenths of such a night,
and what a kill leaves of it is a folder that the next run removes.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, wraps
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from exporters.onnx import bundle as exporter
from exporters.onnx import graphs
from server.evaluation import answers
from server.evaluation.stages import Stages
from server.gate import footprint
from server.learn import nightly
from server.learn.settings import LearnSettings
from server.releases.registry import CHAMPION, Registry
from shared.clock import ManualClock
from tests.server.learn.parts import reviewed_home, save_field_checkpoint

PATCHED = ("fsync", "replace", "unlink", "mkdir")
OURS = ("/server/", "/shared/", "/exporters/", "/transformers/trainer")
ROWS, NEW_ROWS = 3, 2
storing: list[Path] = []
"""The graphs that are being stored or copied now."""


class Killer:
    """Notes the steps of a night, and dies at one of them."""

    def __init__(self, at: int, note: Path) -> None:
        self._at, self._note, self._count = at, note, 0
        note.write_text("")

    def step(self, call: str) -> None:
        if storing:
            return  # exporting, or this driver's own store of graphs: a copy has not the same steps
        with open(self._note, "a", encoding="utf-8") as note:
            note.write(f"{call} in {_callers()}\n")
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1

    def install(self) -> None:
        for name in PATCHED:
            setattr(os, name, self._before(name, getattr(os, name)))
        for name in ("_insert", "promote"):
            setattr(Registry, name, self._around(name, getattr(Registry, name)))

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def wrapped(*args: Any, **more: Any) -> Any:
            self.step(name)
            return call(*args, **more)

        return wrapped

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            self.step(f"before {name}")
            result = call(*args, **more)
            self.step(f"after {name}")
            return result

        return wrapped


def _callers() -> str:
    """The nearest four functions of ours that lead to a call."""
    frame: FrameType | None = sys._getframe(2)
    found: list[str] = []
    while frame is not None and len(found) < 4:
        file = frame.f_code.co_filename
        if "/tests/" not in file and any(place in file for place in OURS):
            found.append(frame.f_code.co_name)
        frame = frame.f_back
    return " < ".join(found)


def exported_once(folder: Path, *, any_weights: bool = False) -> Callable[..., None]:
    """Exports the graphs of a set of weights the first time, and copies them afterwards.

    any_weights: those of other weights of the same shapes will do, where nobody asks what the model says
    """
    export = graphs.export_graphs

    def cached(model: Any, head: Any, target: Path, **options: Any) -> None:
        digest = hashlib.sha256()
        for part in (model, head):
            for name, value in part.state_dict().items():
                digest.update(f"{name} {tuple(value.shape)}".encode())
                digest.update(b"" if any_weights else value.contiguous().numpy().tobytes())
        kept = folder / digest.hexdigest()
        storing.append(kept)
        if kept.exists():
            shutil.copytree(kept, target, dirs_exist_ok=True)
        else:
            export(model, head, target, **options)
            shutil.copytree(target, folder / "half", dirs_exist_ok=True)
            (folder / "half").rename(kept)
        storing.remove(kept)

    return cached


def night(place: Path, base: Path) -> nightly.Night:
    settings = LearnSettings(base=str(base), steps=4, new_rows_least=2, threads=1)
    return nightly.retrain(
        place, settings=settings, progress=lambda text: None, stages=Stages(ManualClock(epoch_s=1e9))
    )


def left(home: Path) -> dict[str, Any]:
    """What counts of a home after its night: all but times."""
    registry = Registry(home)
    found: dict[str, Any] = {"champion": registry.champion()}
    for model in registry.list():
        files = {
            str(file.relative_to(model.folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(model.folder.rglob("*"))
            if file.is_file() and file.name not in ("manifest.json", "lineage.json")
        }
        manifest = json.loads((model.bundle_folder / "manifest.json").read_bytes())
        kept = {name: manifest[name] for name in ("created_at_utc", "model", "files", "lineage")}
        names = ("outcome", "loss_first", "loss_last", "samples", "parity", "went_on_from")
        figures = {name: model.evaluation[name] for name in names}
        found[model.version] = {"files": files, "manifest": kept, "figures": figures}
    registry.close()
    found["nights"] = sorted(path.name for path in (home / "nights").iterdir())
    return found


def child(work: Callable[[], None]) -> int:
    """Run `work` in a fork; its wait status."""
    pid = os.fork()
    if pid == 0:
        gc.freeze()  # a training collects again and again, and would go through all that it inherits
        try:
            work()
        except BaseException:  # noqa: BLE001 (a fork must never return into the parent's code)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def killed(home: Path, base: Path, at: int, note: Path) -> int:
    def body() -> None:
        killer = Killer(at, note)
        killer.install()
        night(home, base)

    return child(body)


def resumed(home: Path, base: Path, wanted: dict[str, Any]) -> list[str]:
    """What is not as it would have been, after the next run."""

    def body() -> None:
        again = night(home, base)
        if again.outcome == "skipped":  # killed after all was done
            assert again.reasons == ("0 verified rows are new, 2 are needed",), again.reasons
        last = night(home, base)
        assert last.reasons == ("0 verified rows are new, 2 are needed",), last.reasons
        (home / "left.json").write_text(json.dumps(left(home)))

    if child(body) != 0:
        return ["the next night did not come to its end"]
    found = json.loads((home / "left.json").read_text())
    other = [key for key in wanted.keys() | found.keys() if found.get(key) != wanted.get(key)]
    return [f"{key} is {found.get(key)!r:.300}, not {wanted.get(key)!r:.300}" for key in sorted(other)]


def before_going_on(home: Path, base: Path) -> None:
    """The first night of a home, leading, and few new rows since."""
    assert child(lambda: print(night(home, base).outcome)) == 0
    with closing(Registry(home)) as registry:
        registry.point(CHAMPION, registry.list()[-1].version, why="as if the gate had passed it")
    reviewed_home(home, walks_of={"w": NEW_ROWS}, first=4 * ROWS)


def unmeasured(bundle: Path, *, threads: int) -> float:
    """Else a process of its own for each night, that writes nothing."""
    return 0.0


def main(place: Path, parts: Sequence[str]) -> None:
    torch.set_num_threads(1)
    answers.rendered_cases = cache(answers.rendered_cases)  # pure, and inherited by forks
    footprint.peak_mb = unmeasured
    base = save_field_checkpoint(place / "base")
    goes_on = "--going-on" in parts
    parts = [part for part in parts if part != "--going-on"]
    template = reviewed_home(place / "template", walks_of={"w": 4 * ROWS if goes_on else ROWS})
    (place / "graphs").mkdir()
    exporter.export_graphs = exported_once(place / "graphs")  # type: ignore[attr-defined]  # the same, sooner
    if goes_on:
        before_going_on(template, base)
    note, whole = place / "note", place / "whole"
    shutil.copytree(template, whole)
    assert killed(whole, base, -1, note) == 0, "the undisturbed night"
    steps = note.read_text().splitlines()

    def look() -> None:
        (place / "wanted.json").write_text(json.dumps(left(whole)))

    assert child(look) == 0
    wanted = json.loads((place / "wanted.json").read_text())
    assert goes_on == any(one["figures"]["went_on_from"] for one in wanted.values() if isinstance(one, dict))
    last = {label: at for at, label in enumerate(steps)}
    (place / "kinds").write_text("\n".join(last))
    telling = (at for label, at in last.items() if not label.startswith(("fsync", "unlink")))
    chosen = sorted({next(at for label, at in last.items() if part in label) for part in parts} or telling)
    print(json.dumps({"steps": len(steps), "kinds": len(last)}), flush=True)
    for at in chosen:
        home = place / f"home-{at}"
        shutil.copytree(template, home)
        status = killed(home, base, at, note)
        problems = [] if os.WIFSIGNALED(status) else [f"it was not killed: {status}"]
        problems += resumed(home, base, wanted)
        print(json.dumps({"step": at, "at": steps[at], "problems": problems}), flush=True)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
