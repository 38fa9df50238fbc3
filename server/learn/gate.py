"""May the candidate replace the champion? Pure: scores in, a decision with its reasons out.

Both were scored on the same cases, as the quantised bundle through the device's own runtime. Refused where

1. it is worse than the champion: the lower end of the paired bootstrap interval of (candidate - champion) lies below
   -margin, for all cases together and for each hazard tier with enough cases;
2. it forgot a correction that a person had verified and the champion had right;
3. it says "path is clear" before a hazard more often;
4. its answers differ from the PyTorch model's, or are worse than before quantisation (the export broke it);
5. it is much slower, or much larger, than the champion;
6. there were no cases to judge it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What the gate insists on."""

    margin: float = 0.03
    """How much worse, at the lower end of the interval, a candidate may be: over 600 cases two equal models differ by
    0.02 in chance alone."""
    margin_tier: float = 0.06
    """The same for each tier alone: fewer cases, wider intervals."""
    least_cases: int = 30
    """A tier with fewer cases is not judged alone."""
    parity_least: float = 0.95
    """Share of tokens that the quantised bundle must have in common with PyTorch."""
    slot_loss_most: float = 0.01
    """How much slot F1 quantisation may cost …"""
    slot_loss_cases: int = 100
    """… judged on at least so many cases: on fewer, one answer is more than that."""
    slower_most: float = 1.5
    """A look may take this many times the champion's p95 …"""
    slower_least_ms: float = 25.0
    """… and a difference smaller than this is the noise of a shared machine."""
    larger_most: float = 1.5
    """A bundle may be this many times the champion's size."""
    false_clear_most: float = 0.02
    """How much the false-clear rate may rise."""
    bootstrap: int = 2000
    """Resamples."""


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One case under one model."""

    case_id: str
    group: str
    """known | correction (a verified correction, never forgotten) | held_out"""
    tier: int
    right: bool
    false_clear: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """One model on all cases."""

    version: str
    cases: tuple[CaseScore, ...]
    look_p95_ms: float
    parity: float
    size_bytes: int
    slot_loss: float = 0.0
    """Slot F1 before quantisation, less that after."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says."""

    accepted: bool
    reasons: tuple[str, ...]
    """Why it was refused, or what speaks for it."""


def decide(champion: Scores | None, candidate: Scores, settings: GateSettings) -> Decision:
    """Compare case by case. Without a champion only the absolute rules hold."""
    against = [
        reason
        for reason in (
            "" if candidate.cases else "there were no cases to judge it on",
            _parity(candidate, settings),
            _quantised(candidate, settings),
            *(_worse(champion, candidate, settings) if champion else []),
            *(_forgot(champion, candidate) if champion else []),
            _clear(champion, candidate, settings) if champion else "",
            _slow(champion, candidate, settings) if champion else "",
            _large(champion, candidate, settings) if champion else "",
        )
        if reason
    ]
    if against:
        return Decision(False, tuple(against))
    return Decision(True, (_praise(champion, candidate),))


def share_right(scores: Scores, group: str = "", tier: int = 0) -> float:
    """Share of right answers, of one group and tier or of all; 0 where there are no such cases."""
    chosen = [c.right for c in scores.cases if (not group or c.group == group) and (not tier or c.tier == tier)]
    return sum(chosen) / len(chosen) if chosen else 0.0


def paired_interval(old: Sequence[bool], new: Sequence[bool], *, resamples: int, seed: int = 1) -> tuple[float, float]:
    """90 % bootstrap interval of mean(new) - mean(old) over the same cases."""
    difference = np.asarray(new, np.float64) - np.asarray(old, np.float64)
    rng = np.random.default_rng(seed)
    means = difference[rng.integers(0, len(difference), (resamples, len(difference)))].mean(1)
    low, high = np.quantile(means, [0.05, 0.95])
    return float(low), float(high)


def _pairs(champion: Scores, candidate: Scores, *, tier: int = 0) -> tuple[list[bool], list[bool]]:
    new = {case.case_id: case for case in candidate.cases}
    both = [
        (c.right, new[c.case_id].right) for c in champion.cases if c.case_id in new and (not tier or c.tier == tier)
    ]
    return [old for old, _ in both], [fresh for _, fresh in both]


def _worse(champion: Scores, candidate: Scores, settings: GateSettings) -> list[str]:
    found = []
    for tier, margin in (
        (0, settings.margin),
        (1, settings.margin_tier),
        (2, settings.margin_tier),
        (3, settings.margin_tier),
    ):
        old, new = _pairs(champion, candidate, tier=tier)
        if not old or (tier and len(old) < settings.least_cases):
            continue
        low, high = paired_interval(old, new, resamples=settings.bootstrap)
        if low < -margin:
            name = f"tier {tier}" if tier else "all cases"
            found.append(
                f"{name}: {sum(new)} of {len(new)} right, the champion has {sum(old)}; "
                f"the difference may be {low:+.3f} to {high:+.3f}, at worst {-margin:+.3f} is allowed"
            )
    return found


def _forgot(champion: Scores, candidate: Scores) -> list[str]:
    old = {case.case_id: case.right for case in champion.cases if case.group == "correction"}
    lost = [c.case_id for c in candidate.cases if c.group == "correction" and not c.right and old.get(c.case_id)]
    return [f"forgot the verified correction {case_id}" for case_id in lost]


def _clear(champion: Scores, candidate: Scores, settings: GateSettings) -> str:
    old, new = (sum(c.false_clear for c in s.cases) / max(1, len(s.cases)) for s in (champion, candidate))
    if new <= old + settings.false_clear_most:
        return ""
    return f'says "path is clear" before a hazard in {new:.1%} of the cases, the champion in {old:.1%}'


def _parity(candidate: Scores, settings: GateSettings) -> str:
    if candidate.parity >= settings.parity_least:
        return ""
    return f"only {candidate.parity:.1%} of its tokens are PyTorch's, at least {settings.parity_least:.0%} are needed"


def _quantised(candidate: Scores, settings: GateSettings) -> str:
    if candidate.slot_loss <= settings.slot_loss_most or len(candidate.cases) < settings.slot_loss_cases:
        return ""
    return f"quantisation costs {candidate.slot_loss:.3f} of its slot F1, at most {settings.slot_loss_most} is allowed"


def _slow(champion: Scores, candidate: Scores, settings: GateSettings) -> str:
    allowed_ms = max(settings.slower_most * champion.look_p95_ms, champion.look_p95_ms + settings.slower_least_ms)
    if candidate.look_p95_ms <= allowed_ms:
        return ""
    return f"a look takes {candidate.look_p95_ms:.0f} ms (p95), the champion's {champion.look_p95_ms:.0f} ms"


def _large(champion: Scores, candidate: Scores, settings: GateSettings) -> str:
    if candidate.size_bytes <= settings.larger_most * champion.size_bytes:
        return ""
    return f"it has {candidate.size_bytes / 1e6:.1f} MB, the champion {champion.size_bytes / 1e6:.1f} MB"


def _praise(champion: Scores | None, candidate: Scores) -> str:
    if champion is None:
        return "the first model: there is no champion to compare it with"
    old, new = _pairs(champion, candidate)
    return f"{sum(new)} of {len(new)} cases right, the champion had {sum(old)}"
