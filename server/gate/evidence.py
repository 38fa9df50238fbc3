"""What the gate is given, and what each of its rules gives back. Plain frozen data, no imports of learning.

Cases belong to one of three groups:

    real     confirmed moments of walks that are held out: nobody learnt from them
    drawn    rendered frames and walks on seeds that training never draws from (for the demonstration model)
    taught   confirmed corrections of walks that teach: they serve one rule, that none is forgotten
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

SILENCE, UNKNOWN = 0, -1
"""Tiers of moments at which nothing should be said, and of which nobody knows what is there ("Turn right.")."""
TIERS = {1: "things to stop for", 2: "obstacles", 3: "landmarks", SILENCE: "moments with nothing to say"}
PLAUSIBLE = 0.05, 200.0
"""A look on a device ÷ the same here, on one core: from an accelerator twenty times as fast to a microcontroller."""


class Verdict(StrEnum):
    """What becomes of a candidate."""

    PROMOTED = "promoted"
    TRIAL = "trial"
    REFUSED = "refused"


class RuleVerdict(StrEnum):
    """How one rule was judged."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One moment under one model."""

    case_id: str
    group: str
    walk: str
    """The unit of resampling; a single drawn frame is a walk of its own."""
    tier: int
    """1 to 3, SILENCE or UNKNOWN."""
    right: bool
    """The whole instruction."""
    warned: bool = False
    """The wearer would hear of the thing at its side, and be asked for as much care as is due."""
    false_clear: bool = False
    """It names nothing although something is there."""
    grammatical: bool = True
    """What is spoken may be said."""
    confidence: float = 1.0
    thing: str = ""
    """The object that is there."""

    @property
    def key(self) -> str:
        return self.case_id


@dataclass(frozen=True, slots=True)
class WalkScore:
    """One whole walk, driven with the policy, under one model."""

    walk: str
    group: str
    minutes: float
    alarms: int
    """Words of kinds 1 and 2 about what is not there."""
    repeats: int
    clean: tuple[bool, ...]
    """Chunk by chunk: without a false alarm and without a repeat."""
    events: tuple[bool, ...]
    """Things to stop for, in order of time: warned of in time?"""

    @property
    def key(self) -> str:
        return self.walk


@dataclass(frozen=True, slots=True)
class Scores:
    """One model on all cases and walks."""

    version: str
    use: str
    """demo | trial | field: what it is made for."""
    cases: tuple[CaseScore, ...]
    walks: tuple[WalkScore, ...] = ()
    names: tuple[str, ...] = ()
    """What it may name on real walks, by shared.model_card; () = that is not known."""


@dataclass(frozen=True, slots=True)
class Export:
    """What became of the candidate on its way into the bundle."""

    parity: float = 1.0
    """Share of tokens in common with PyTorch, on `parity_pictures`."""
    parity_pictures: int = 0
    slot_loss: float = 0.0
    """Slot F1 before quantisation, less that after, on `slot_cases`."""
    slot_cases: int = 0
    unfit: tuple[str, ...] = ()
    """What the device's self-test would say."""
    golden: int = 0
    """Golden pictures in the bundle."""
    golden_stops: int = 0
    """Those of things to stop for."""


@dataclass(frozen=True, slots=True)
class CalibrationBasis:
    """What the candidate's calibration and thresholds were fitted on."""

    moments: int = 0
    walks: int = 0
    sure: bool = False
    """Whether there is a confidence from which on its sentences are right often enough to be spoken."""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What devices of a kind say of a model that could be measured here too."""

    kind: str
    devices: int
    version: str
    look_p95_ms: float
    """The slowest device's."""
    ratio: float
    """Time of a look of the candidate ÷ that of this version, measured here in turns."""

    def plausible(self, here_ms: float) -> bool:
        """Whether a device may be so much faster or slower than this machine. here_ms: a look of the candidate here"""
        return here_ms <= 0 or PLAUSIBLE[0] <= self.look_p95_ms * self.ratio / here_ms <= PLAUSIBLE[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """What the candidate takes."""

    look_p95_ms: float = 0.0
    """Of processor time on this machine, on one core."""
    memory_mb: float = 0.0
    """Peak of a process that runs nothing else; 0 = could not be measured."""
    bundle_mb: float = 0.0
    reported: tuple[DeviceReport, ...] = ()
    ignored: tuple[DeviceReport, ...] = ()
    """Reports that cannot be: a look of the candidate would take less or more than any device can."""
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kind of device → versions that it reports on and that cannot be measured here."""

    @property
    def implausible(self) -> tuple[DeviceReport, ...]:
        """All reports that cannot be."""
        return (*self.ignored, *(report for report in self.reported if not report.plausible(self.look_p95_ms)))


@dataclass(frozen=True, slots=True)
class TeachingStock:
    """What could be held out: walks that teach."""

    walks: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Walk → tier → confirmed moments."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the gate decides from."""

    candidate: Scores
    champion: Scores | None = None
    export: Export = field(default_factory=Export)
    cost: Cost = field(default_factory=Cost)
    stock: TeachingStock = field(default_factory=TeachingStock)
    learnt: Mapping[str, int] = field(default_factory=dict)
    """Walk that is held out → its moments whose very pictures also taught the candidate; they are no cases."""
    calibrated: CalibrationBasis = field(default_factory=CalibrationBasis)
    known_to_champion: tuple[str, ...] = ()
    """Walks that are held out but once taught the champion: no cases of a comparison with it."""

    @property
    def untested(self) -> Verdict:
        """What follows where there is nothing to test on."""
        return Verdict.REFUSED if self.candidate.use == "demo" else Verdict.TRIAL


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the gate, and how it was judged."""

    name: str
    about: str
    """What it was judged on: a group and tier, a kind of device."""
    verdict: RuleVerdict = RuleVerdict.NOT_JUDGED
    sentence: str = ""
    """For a person; where it did not pass, with what to do."""
    leads_to: Verdict | None = None
    """What follows for the candidate."""
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    bound: float | None = None
    cases: int = 0
    walks: int = 0

    def passed(self, sentence: str) -> Rule:
        return replace(self, verdict=RuleVerdict.PASSED, sentence=sentence)

    def failed(self, sentence: str, leads_to: Verdict) -> Rule:
        return replace(self, verdict=RuleVerdict.FAILED, sentence=sentence, leads_to=leads_to)

    def not_judged(self, sentence: str, leads_to: Verdict | None = None) -> Rule:
        return replace(self, sentence=sentence, leads_to=leads_to)


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What the gate says."""

    verdict: Verdict
    rules: tuple[Rule, ...]

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.PROMOTED

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was not promoted; for a promoted one, what speaks for it."""
        worst = [rule.sentence for to in (Verdict.REFUSED, Verdict.TRIAL) for rule in self.rules if rule.leads_to is to]
        return tuple(worst) or tuple(rule.sentence for rule in self.rules if rule.verdict is RuleVerdict.PASSED)[:1]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: no infinities, lists instead of tuples, "" where a rule leads to nothing."""
        rules = [{**asdict(rule), "leads_to": rule.leads_to or ""} for rule in self.rules]
        return {"format": 1, "verdict": self.verdict, "rules": [_plain(rule) for rule in rules]}


def of_dict(value: Mapping[str, Any]) -> GateDecision:
    """Read `to_dict` back; unknown fields are left out. Raises: KeyError, TypeError, ValueError."""
    names = Rule.__dataclass_fields__
    rules = []
    for entry in value["rules"]:
        known = {name: part for name, part in entry.items() if name in names}
        known["verdict"] = RuleVerdict(known["verdict"])
        known["leads_to"] = Verdict(known["leads_to"]) if known.get("leads_to") else None
        if known.get("interval") is not None:
            low, high = known["interval"]
            known["interval"] = (-math.inf if low is None else low, math.inf if high is None else high)
        rules.append(Rule(**known))
    return GateDecision(Verdict(value["verdict"]), tuple(rules))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
