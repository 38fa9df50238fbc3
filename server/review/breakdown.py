"""Accuracy by wearer, place, light, walk, source, and who confirmed how much. Pure, but for a light's picture.

Fields that a person or a later tool fills in (`environment`, `lighting`, `weather`, `scenario`) are read where a row
has them; light is otherwise told from the picture's brightness, which `light_of` is given a reader for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from server.dataset import pictures
from server.dataset.blobs import Blobs
from server.dataset.judged import UNKNOWN as UNKNOWN
from server.dataset.judged import field_of as field_of
from server.dataset.sample_row import SampleRow
from server.review import stats
from server.review.stats import Group, ReviewedShare
from shared.errors import DatasetError

COVERAGE = ("environment", "lighting", "weather", "scenario")
_DARK, _DIM = 50.0, 95.0  # mean grey of a picture, 0..255: street at night, dusk or indoors


@dataclass(frozen=True, slots=True)
class Contributor:
    """What one person has decided."""

    name: str
    confirmed: int
    rejected: int
    corrections: int
    """Spoken ones of a wearer."""


Key = Callable[[SampleRow], str]


def keys(light: Key) -> dict[str, Key]:
    """Name of a breakdown → what a row counts under. light: as `light_of` makes it"""
    return {
        "by_wearer": lambda row: row.speaker_id or UNKNOWN,
        "by_place": lambda row: row.context or UNKNOWN,
        "by_walk": lambda row: row.walk_id,
        "by_light": light,
        "by_environment": lambda row: field_of(row, "environment"),
        "by_weather": lambda row: field_of(row, "weather"),
        "by_source": lambda row: row.source,
    }


def groups(rows: Sequence[SampleRow], light: Key) -> dict[str, tuple[Group, ...]]:
    """Every breakdown of the judged rows; the most judged first. One of which nothing is known is left out."""
    judged = list(filter(stats.is_judged, rows))
    out = {}
    for name, key in keys(light).items():
        found = sorted(stats.grouped(judged, key), key=lambda group: (-group.all.judged, group.name))
        if any(group.name != UNKNOWN for group in found):
            out[name] = tuple(found[: stats.MOST])
    return out


def by_light(rows: Iterable[SampleRow], light: Key) -> tuple[Group, ...]:
    """The one breakdown that needs pictures, with flat memory; none where nothing is known."""
    judged, right = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for row in filter(stats.is_judged, rows):
        key = light(row), stats.in_audit(row)
        judged[key] += 1
        right[key] += bool(row.was_correct)
    found = [_light_group(name, judged, right) for name in dict.fromkeys(name for name, _ in judged)]
    known = any(group.name != UNKNOWN for group in found)
    return tuple(sorted(found, key=lambda group: (-group.all.judged, group.name)))[: stats.MOST] if known else ()


def _light_group(name: str, judged: Counter[tuple[str, bool]], right: Counter[tuple[str, bool]]) -> Group:
    """judged, right: (light, whether of the audit stream) → moments"""
    audit, other = (name, True), (name, False)
    everything = ReviewedShare(right[audit] + right[other], judged[audit] + judged[other])
    return Group(name, everything, ReviewedShare(right[audit], judged[audit]))


def light_of(blobs: Blobs) -> Key:
    """The light of a row: its field, else as bright as its picture is. Each picture is read once. blobs: the
    dataset's."""
    known: dict[str, str] = {}

    def light(row: SampleRow) -> str:
        told = field_of(row, "lighting")
        if told != UNKNOWN:
            return told
        if row.frame_path not in known:
            try:
                known[row.frame_path] = light_in(float(np.mean(pictures.read(blobs.local(row.frame_path), of=""))))
            except (DatasetError, OSError):
                known[row.frame_path] = UNKNOWN
        return known[row.frame_path]

    return light


def light_in(grey: float) -> str:
    """What a picture's mean grey says, 0..255."""
    return "dark" if grey < _DARK else "dim" if grey < _DIM else "bright"


def contributors(rows: Iterable[SampleRow]) -> tuple[Contributor, ...]:
    """Who confirmed, rejected and corrected how much; the most active first."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.state != "pending" and row.author:
            counts[row.author][row.state] += 1
        if row.correction_id:
            counts[row.speaker_id or UNKNOWN]["corrections"] += 1
    people = [Contributor(name, own["reviewed"], own["rejected"], own["corrections"]) for name, own in counts.items()]
    return tuple(sorted(people, key=lambda one: (-one.confirmed - one.rejected, -one.corrections, one.name)))
