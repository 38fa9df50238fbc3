"""In which order a person should look at what waits: active learning. Pure but for `descriptor_of`.

What a wearer asked for stays first: corrections, stopped words, presses. Then come labels that are doubted, the most
doubtful first: a wrong one teaches every night. All others are ordered by how likely the model was wrong there, and how
much is learnt by saying so:

    uncertainty     1 - the calibrated confidence that the moment carries
    disagreement    how sure a teacher, or another run of the champion, is that the device was wrong
    neighbours      share of errors among the confirmed moments that look most like it
    novelty         distance to all that was confirmed
    diversity       of near-duplicates, and of one walk, only some come before the others of their tier

Every twelfth place belongs to the audit stream, and moments of it come nowhere else, in an order that nothing about
them decides: brought forward for what they show, they would be no uniform draw of what is seen on a walk any more, and
accuracy could not be told from them. Of those, what a wearer asked for still comes first; statistics count it where it
was drawn, and all of what was drawn is looked at in the end.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

Descriptor = NDArray[np.float32]
ASKED_FOR = 1
"""Priorities up to this are a wearer's own, and keep their order."""
_GRID = 12
_COLOURS = 4


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """Weights and caps."""

    uncertainty: float = 1.0
    disagreement: float = 1.5
    neighbours: float = 1.0
    novelty: float = 0.4
    nearest: int = 7
    """Confirmed moments that a moment is compared with."""
    alike: float = 0.9
    """Cosine from which two pictures of one walk are near-duplicates."""
    cluster_most: int = 2
    """Near-duplicates that come before their others."""
    walk_most: int = 10
    """The same, of one walk."""
    audit_every: int = 12
    """Every so many-th place is the audit stream's: 8 % of what is looked at."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A moment that waits."""

    sample_id: str
    walk_id: str
    timestamp: float
    priority: int
    """As server.dataset.row_log.priority says."""
    confidence: float
    disagreement: float = 0.0
    audit: bool = False
    descriptor: Descriptor | None = field(default=None, compare=False)
    """Of length 1; None = its picture could not be read."""
    doubt: float = 0.0
    """Above 0: a person labelled it already, and the label is doubted so much."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What people have judged: float32 [n, d] descriptors of length 1, bool [n] where the device was wrong."""

    descriptors: NDArray[np.float32]
    wrong: NDArray[np.bool_]


NOTHING_CONFIRMED = Confirmed(np.zeros((0, 0), np.float32), np.zeros(0, bool))


def order(
    waiting: Sequence[Candidate], confirmed: Confirmed = NOTHING_CONFIRMED, settings: SelectionSettings | None = None
) -> list[str]:
    """Ids of all that waits, the one to look at first first. The same whatever order they are given in."""
    chosen = settings or SelectionSettings()
    newest = sorted(waiting, key=lambda one: (-one.timestamp, one.sample_id))
    first, others = _first(newest)
    ranked = list(_ranked([one for one in others if not one.audit], confirmed, chosen))
    audit = sorted((one.sample_id for one in others if one.audit), key=_lot)
    return [*(one.sample_id for one in first), *_with_audit(ranked, audit, chosen.audit_every)]


def _lot(sample_id: str) -> bytes:
    """The place of a moment among those drawn: by its name alone."""
    return hashlib.sha256(f"audit {sample_id}".encode()).digest()


def _first(newest: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """(what wearers asked for, then labels that are doubted; all others, in the order given)"""
    doubted = sorted((one for one in newest if one.doubt > 0), key=lambda one: -one.doubt)
    undecided = [one for one in newest if one.doubt <= 0]
    asked = sorted((one for one in undecided if one.priority <= ASKED_FOR), key=lambda one: one.priority)
    return [*asked, *doubted], [one for one in undecided if one.priority > ASKED_FOR]


def _doubted(one: Candidate) -> bool:
    return one.doubt > 0


def _asked(one: Candidate) -> bool:
    """A wearer asked for it."""
    return one.priority <= ASKED_FOR and not _doubted(one)


def worth(candidate: Candidate, confirmed: Confirmed, settings: SelectionSettings) -> float:
    """How much is learnt from a moment by itself, 0 or more."""
    wrong, new = _compared(candidate.descriptor, confirmed, settings.nearest)
    return (
        settings.uncertainty * (1.0 - candidate.confidence)
        + settings.disagreement * candidate.disagreement
        + settings.neighbours * wrong
        + settings.novelty * new
    )


def _compared(own: Descriptor | None, confirmed: Confirmed, nearest: int) -> tuple[float, float]:
    """(share of errors among the nearest, drawn towards a half by two moments; distance to the nearest, 0..1)."""
    if own is None or not len(confirmed.wrong) or confirmed.descriptors.shape[1] != len(own):
        return 0.5, 1.0
    cosines = confirmed.descriptors @ own
    few = np.argsort(-cosines, kind="stable")[:nearest]
    wrong = float(confirmed.wrong[few].sum())
    return (wrong + 1.0) / (len(few) + 2.0), float(np.clip(1.0 - cosines[few[0]], 0.0, 1.0))


def _ranked(some: Sequence[Candidate], confirmed: Confirmed, settings: SelectionSettings) -> Iterator[str]:
    """Greedy, by a heap whose keys only grow as walks and clusters fill up: a key that is out of date goes back in."""
    clusters = cluster(some, alike=settings.alike)
    of_walk, of_cluster = Counter[str](), Counter[int]()

    def key(place: int) -> tuple[int, float]:
        walk, own = of_walk[some[place].walk_id], of_cluster[clusters[place]]
        return max(walk // settings.walk_most, own // settings.cluster_most), -worths[place] * 0.5**own

    worths = [worth(one, confirmed, settings) for one in some]
    heap = [(key(place), place) for place in range(len(some))]
    heapq.heapify(heap)
    while heap:
        known, place = heapq.heappop(heap)
        now = key(place)
        if now != known:
            heapq.heappush(heap, (now, place))
            continue
        of_walk[some[place].walk_id] += 1
        of_cluster[clusters[place]] += 1
        yield some[place].sample_id


def cluster(some: Sequence[Candidate], *, alike: float) -> list[int]:
    """The near-duplicate cluster of each: a moment joins the first of its walk whose leader looks like it."""
    leaders: dict[str, list[tuple[int, Descriptor]]] = {}
    out = list(range(len(some)))
    for place in sorted(range(len(some)), key=lambda place: (some[place].timestamp, some[place].sample_id)):
        own = some[place].descriptor
        if own is None:
            continue
        known = leaders.setdefault(some[place].walk_id, [])
        found = next((number for number, leader in known if float(leader @ own) >= alike), None)
        if found is None:
            known.append((place, own))
        else:
            out[place] = found
    return out


def _with_audit(ranked: Sequence[str], audit: Sequence[str], every: int) -> list[str]:
    """Every so many-th place is the next of the audit stream; what is left of either comes last."""
    out, drawn = list[str](), iter(audit)
    for sample_id in ranked:
        if (len(out) + 1) % every == 0:
            out += islice(drawn, 1)
        out.append(sample_id)
    return [*out, *drawn]


def descriptor_of(image: NDArray[np.uint8]) -> Descriptor:
    """What a picture looks like as float32 [d] of length 1: where it is lighter than its mean, and its colours.

    image: uint8 [h, w, 3] RGB
    """
    small = cv2.resize(image, (_GRID, _GRID), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    grey = small.mean(axis=2)
    shape = (grey - grey.mean()) / (grey.std() + 0.02)
    patches = cv2.resize(small, (_COLOURS, _COLOURS), interpolation=cv2.INTER_AREA)
    colours = (patches - patches.mean(axis=2, keepdims=True)) * 10
    whole = np.concatenate([shape.ravel(), colours.ravel()]).astype(np.float32)
    return np.asarray(whole / max(float(np.linalg.norm(whole)), 1e-6), np.float32)


def gain(first: Sequence[bool], share: float) -> float:
    """The queue's own measure: share of errors among its first ÷ share among all that waits, which a random order has.

    first: whether each was an error. share: above 0
    """
    return (sum(first) / len(first)) / share if first else 0.0
