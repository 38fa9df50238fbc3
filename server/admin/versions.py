"""The registered models as an admin chooses between them: when each was made, what the gate said, how good it is, and
why it has its role. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.dataset.judged import wording as judged_words
from server.dataset.sample_row import SampleRow
from server.releases.registry import CHAMPION, PREVIOUS, AliasChange, RegisteredModel, Registry, unjudged, verdict_of
from server.review.stats import ReviewedShare
from shared.errors import BundleError

CONTRADICTS_FROM = 0.5


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version."""

    version: str
    role: str
    """champion | previous | "" """
    state: str
    """registered | trial"""
    never_judged: bool
    """Made for the field, and no gate of this server passed it."""
    parent: str
    base: str
    created_at_utc: float
    verdict: str
    """What the gate said: promoted | trial | refused; "" = it was not asked."""
    reasons: tuple[str, ...]
    """Of the verdict."""
    score: ReviewedShare | None
    """Whole sentences that were right on moments that taught it nothing; None = not measured here."""
    why: str
    """Why it has its role: what a person gave as `--why`, or a night's reasons; "" without a role."""
    role_since_utc: float | None
    trouble: str = ""
    """Why its files cannot be read."""


def listed(registry: Registry) -> tuple[VersionLine, ...]:
    """Every version of a registry, oldest first."""
    roles = {registry.alias(name) or "": name for name in (PREVIOUS, CHAMPION)}
    return lines(registry.list(), roles, registry.log())


def lines(
    models: Iterable[RegisteredModel], roles: Mapping[str, str], log: Sequence[AliasChange]
) -> tuple[VersionLine, ...]:
    """In the order of `models`. roles: version → role; log: every change of an alias, oldest first"""
    newest = {(change.new, change.name): change for change in log}
    found = []
    for model in models:
        role = roles.get(model.version, "")
        found.append(_line(model, role, newest.get((model.version, role))))
    return tuple(found)


def _line(model: RegisteredModel, role: str, held: AliasChange | None) -> VersionLine:
    evaluation, trouble = model.evaluation, ""
    try:
        never_judged = unjudged(model)
    except BundleError as error:
        never_judged, trouble = False, str(error)
    return VersionLine(
        version=model.version,
        role=role,
        state=model.state,
        never_judged=never_judged,
        parent=model.parent,
        base=model.base,
        created_at_utc=model.created_at_utc,
        verdict=str(verdict_of(model) or ""),
        reasons=tuple(map(str, evaluation.get("reasons") or ())),
        score=score_of(evaluation),
        why="" if held is None else held.why,
        role_since_utc=None if held is None else held.at_utc,
        trouble=trouble,
    )


def score_of(evaluation: Mapping[str, Any]) -> ReviewedShare | None:
    """Right sentences of those judged, from what was registered with a version."""
    figures = evaluation.get("evaluation")
    if not isinstance(figures, Mapping):
        return None
    judged, right = figures.get("frames"), figures.get("instruction_right")
    if not isinstance(judged, int) or not isinstance(right, int | float) or judged <= 0:
        return None
    return ReviewedShare(round(judged * min(1.0, max(0.0, right))), judged)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step of a lineage."""

    version: str
    registered: bool
    """It is still here."""


def lineage(version: str, models: Iterable[RegisteredModel]) -> tuple[Ancestor, ...]:
    """What a version was judged against and made after, the nearest first, down to its base."""
    parents = {model.version: model.parent for model in models}
    found: list[Ancestor] = []
    name = parents.get(version, "")
    while name and all(step.version != name for step in found):
        found.append(Ancestor(name, name in parents))
        name = parents.get(name, "")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """What a version in the shadow answered to moments that devices sent."""

    answered: int
    contradicted: int
    """At which it was sure that the device was wrong."""
    confirmed: ReviewedShare
    """Of those that a person confirmed: at which it would have said what was right."""


def shadow(rows: Iterable[SampleRow], version: str) -> ShadowResult | None:
    """None = it never was in the shadow. rows: the newest of each moment"""
    answered = sure = judged = right = 0
    for row in rows:
        if row.teacher != f"shadow {version}":
            continue
        answered, sure = answered + 1, sure + (row.teacher_disagreement >= CONTRADICTS_FROM)
        if row.reviewed:
            judged, right = judged + 1, right + (judged_words(row.teacher_wording) == judged_words(row.ground_truth))
    return ShadowResult(answered, sure, ReviewedShare(right, judged)) if answered else None
