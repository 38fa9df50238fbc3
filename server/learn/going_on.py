"""Whether a night goes on from the last one's model, which costs a quarter of a night, or begins from the base.

It goes on where nothing but new rows has come since: the last night was promoted and leads; base, recipe and vocabulary
are the same; every row that taught it, or a night that it went on from, still teaches as it did; and few rows are new.
A row that was erased, withdrawn, corrected or moved to a walk that is held out therefore always means the base.

What a version is gone on from by is written beside its adapter, with a hash of each file:

    going_on.json   base, recipe, nights in a row that went on, versions of the programs, files
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from server.dataset.sample_row import SampleRow
from server.learn import lineage
from server.learn.recipe import Recipe
from server.releases.registry import Registry
from shared import atomic
from shared.errors import BundleError

FILE = "going_on.json"
NEW_MOST = 0.25
"""Share of the rows that is new, at most: with more a night from the base costs hardly more."""
STEPS_LEAST = 0.25
"""Share of the steps of a night from the base, at least."""
RATE = 0.5
"""Of the rates: what is taught already is to be changed, not found."""
_OF_ONE_NIGHT = ("steps", "views_most", "threads", "device", "precision")
"""What of a recipe may differ: how long, and on what."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The version that a night may go on from."""

    version: str
    adapter: Path
    nights: int
    """Nights in a row that went on, up to this one; 0 = it began from the base."""
    base: str
    """Fingerprint of the base, its hazard head included."""
    recipe: Mapping[str, Any]
    rows: frozenset[str]
    """Identities of all rows that taught it, or a night that it went on from."""


@dataclass(frozen=True, slots=True)
class NightCourse:
    """From where a night goes, and how far."""

    recipe: Recipe
    """Tonight's."""
    whole: Recipe
    """Of a night from the base."""
    base: str
    """Fingerprint of the base."""
    origin: Origin | None = None
    """None = it begins from the base."""
    why: str = ""
    """Where there was a choice, what was chosen, in words."""

    @property
    def version(self) -> str:
        """That it goes on from; "" = it begins from the base."""
        return "" if self.origin is None else self.origin.version

    @property
    def nights(self) -> int:
        return 0 if self.origin is None else self.origin.nights + 1

    @property
    def key(self) -> str:
        """Of what it goes on from; "" = the base."""
        return "" if self.origin is None else atomic.sha256_file(self.origin.adapter / FILE)

    def known(self, row: SampleRow) -> bool:
        """Whether a row taught before this night."""
        return self.origin is not None and lineage.identity(row) in self.origin.rows

    def learnt(self, teaching: Sequence[SampleRow], tonight: Sequence[SampleRow]) -> list[SampleRow]:
        """Of the rows that may teach, all that the night's model then has learnt from."""
        now = {row.row_id for row in tonight}
        return [row for row in teaching if row.row_id in now or self.known(row)]


def last_night(registry: Registry) -> Origin | None:
    """The champion, where the newest night made it with these versions of the programs, and what it is gone on from by
    is whole. Raises: OSError."""
    nights = [model for model in registry.list() if model.evaluation.get("outcome")]
    if not nights or nights[-1].version != registry.champion():
        return None
    version, adapter = nights[-1].version, nights[-1].folder / "adapter"
    try:
        kept = json.loads((adapter / FILE).read_bytes())
        whole = all(atomic.sha256_file(adapter / name) == digest for name, digest in kept["files"].items())
        whole &= kept["code"] == lineage.code()
        rows = frozenset(registry.taught_by(version))
        found = Origin(version, adapter, int(kept["nights"]), str(kept["base"]), dict(kept["recipe"]), rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BundleError):
        return None
    return found if whole else None


def course(origin: Origin | None, recipe: Recipe, base: str, rows: Sequence[SampleRow], *, nights: int) -> NightCourse:
    """From where a night goes, and how far. Pure.

    recipe: of a night from the base; base: its fingerprint; rows: all that may teach; nights: learn.continue_nights
    """
    whole = NightCourse(recipe, recipe, base)
    if origin is None or not nights:
        return whole
    now = set(lineage.identities(rows))
    new = len(now - origin.rows)
    why = _obstacle(origin, whole, now, nights)
    if why:
        return replace(whole, why=f", from which it begins: {why}")
    share = max(STEPS_LEAST, min(1.0, 2 * new / len(now)))
    rates = {name: getattr(recipe, name) * RATE for name in ("rate", "connector_rate", "head_rate", "ear_rate")}
    short = replace(recipe, steps=math.ceil(recipe.steps * share), **rates)
    return replace(
        whole, recipe=short, origin=origin, why=f"; goes on from {origin.version}: {new} of {len(now)} are new"
    )


def _obstacle(origin: Origin, whole: NightCourse, now: Collection[str], nights: int) -> str:
    """Why a night cannot go on; "" where it can."""
    gone = len(origin.rows - set(now))
    found = {
        "it is another one, or knows other things": origin.base != whole.base,
        "the recipe is another one": origin.recipe != _lasting(whole.recipe),
        f"{gone} of the rows that taught {origin.version} are gone or changed": gone > 0,
        f"{origin.nights} nights in a row went on (learn.continue_nights)": origin.nights >= nights,
        "more than a quarter of the rows are new": len(set(now) - origin.rows) > NEW_MOST * len(now),
    }
    return next((why for why, holds in found.items() if holds), "")


def write(adapter: Path, of: NightCourse) -> None:
    """Beside the adapter that a night made. Raises: OSError."""
    files = {file.name: atomic.sha256_file(file) for file in sorted(adapter.glob("*.safetensors"))}
    value = {"base": of.base, "recipe": _lasting(of.whole), "nights": of.nights, "code": lineage.code(), "files": files}
    atomic.write_json(adapter / FILE, value)


def _lasting(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe may not differ, as JSON gives it back."""
    kept: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return {name: value for name, value in kept.items() if name not in _OF_ONE_NIGHT}
