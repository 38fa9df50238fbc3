"""A night's verdict, carried out to its end: registered, promoted where it was accepted, written down.

    registry.add        the bundle with its verdict and the rows that taught: from here on they count as seen
    registry.promote    where it was accepted
    nights/<version>.json

`settle` does what a kill left undone of it, at the start of the next night; each step may be repeated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.releases.registry import CHAMPION, PROMOTED, RegisteredModel, Registry
from shared import atomic
from shared.errors import BundleError, Refused

BEGUN = "night.json"
KEPT_S = 7 * 24 * 3600.0
"""Work of a night that was cut off and that no later one went on with."""
_WORK = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Settled:
    """A night that an earlier run left unfinished."""

    version: str
    evaluation: Mapping[str, Any]
    """What was registered with it: a Night as plain values."""


def report(home: Path, version: str) -> Path:
    """Where a night is written down."""
    return home / "nights" / f"{version}.json"


def settle(
    home: Path, registry: Registry, progress: Callable[[str], None], *, now_s: float | None = None
) -> Settled | None:
    """Finish what an earlier night came to and did not carry out. Returns the newest of such nights.

    A version that was accepted is promoted only where the champion is still the one that it was judged against.
    now_s: UTC; with it, the work of nights that nobody went on with for KEPT_S is deleted
    raises: OSError
    """
    registry.recover()
    _sweep(home / "nights", {model.version for model in registry.list()}, now_s)
    ever = {change.new for change in registry.log() if change.name == CHAMPION}
    newest = None
    for model in registry.list():
        if not _is_night(model) or report(home, model.version).exists():
            continue
        if model.evaluation["outcome"] == PROMOTED and model.version not in ever:
            _promote(registry, model, progress)
        atomic.write_json(report(home, model.version), dict(model.evaluation))
        progress(f"{model.version}: the night that made it was interrupted after its verdict and is finished now")
        newest = Settled(model.version, model.evaluation)
    return newest


def carry_out(registry: Registry, version: str, evaluation: Mapping[str, Any]) -> None:
    """Promote what was accepted, where the champion is still the one that it was judged against.

    raises: Refused where that or the registry's rules forbid it, BundleError where its files are damaged
    """
    why = "; ".join(map(str, evaluation.get("reasons", ())))
    registry.promote(version, why=why, instead_of=str(evaluation.get("champion", "")))


def clear(home: Path, *, keep: str) -> None:
    """Delete what unfinished nights of other data, bases or recipes left: they will not be gone on with. keep: a key"""
    folder = home / "nights"
    if folder.is_dir():
        atomic.remove_leftovers(folder)
        atomic.remove_trees(path for path in folder.iterdir() if _WORK.fullmatch(path.name) and path.name != keep)


def _sweep(nights: Path, registered: set[str], now_s: float | None) -> None:
    """Delete the work of nights that were registered, or abandoned: there is nothing to go on with."""
    if not nights.is_dir():
        return
    atomic.remove_leftovers(nights)
    works = [work for work in nights.iterdir() if _WORK.fullmatch(work.name)]
    atomic.remove_trees(work for work in works if _done(work, registered, now_s))


def _done(work: Path, registered: set[str], now_s: float | None) -> bool:
    """By what tonight.begin wrote down; a folder without it is as old as its file system says."""
    try:
        begun = json.loads((work / BEGUN).read_bytes())
        version, began_s = str(begun["version"]), float(begun.get("began_utc_s", work.stat().st_mtime))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        version, began_s = "", work.stat().st_mtime
    return version in registered or (now_s is not None and now_s - began_s > KEPT_S)


def _promote(registry: Registry, model: RegisteredModel, progress: Callable[[str], None]) -> None:
    try:
        carry_out(registry, model.version, model.evaluation)
    except BundleError as error:
        progress(f"{model.version} was accepted, but its files were damaged since: {error}")
    except Refused as error:  # said, and written down as done: it must not end every later night
        progress(str(error))


def _is_night(model: RegisteredModel) -> bool:
    return model.evaluation.get("version") == model.version and "outcome" in model.evaluation
