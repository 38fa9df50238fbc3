"""The sections `[gate]` and `[budget]` of the server's configuration; bounds that are no settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from server.evaluation import bars


@dataclass(frozen=True, slots=True)
class FloorSettings:
    """What a model for the field needs, on held-out real moments of its own dataset, before it is offered to everybody.
    Until then it is on trial. Beyond the range of a setting, its floor would be none."""

    tier1_cases: Annotated[int, Meta(ge=20, le=1_000_000)] = 50
    """Held-out moments of things to stop for."""
    tier2_cases: Annotated[int, Meta(ge=10, le=1_000_000)] = 30
    """Held-out moments of obstacles."""
    tier3_cases: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    """Held-out moments of landmarks."""
    quiet_cases: Annotated[int, Meta(ge=10, le=1_000_000)] = 30
    """Held-out moments at which nothing should be said."""
    walks: Annotated[int, Meta(ge=5, le=1_000_000)] = 5
    """Held-out walks with confirmed moments: moments of one walk are alike."""
    golden_stops: Annotated[int, Meta(ge=1, le=1_000_000)] = 3
    """Golden pictures of things to stop for, which every device tests a model on."""
    tier1_recall: Annotated[float, Meta(ge=0.5, le=1)] = bars.TIER1_RECALL
    """Share of things to stop for that it must see at their side, and warn of in time on whole walks …"""
    false_clear: Annotated[float, Meta(ge=0, le=0.2)] = bars.FALSE_CLEAR
    """Most moments with something there at which it names nothing …"""
    false_alarms: Annotated[float, Meta(ge=0, le=10)] = bars.FALSE_ALARMS_A_MINUTE
    """Most false alarms a minute on whole held-out walks. Of all three, the end of the interval that is against it."""
    grammar: Annotated[float, Meta(ge=0.95, le=1)] = bars.GRAMMAR
    """Share of its sentences that may be said."""
    repeats: Annotated[int, Meta(ge=0, le=10)] = bars.REPEATS
    """Most repeats within 10 s on all held-out walks together."""
    calibration_error: Annotated[float, Meta(ge=0, le=0.2)] = bars.CALIBRATION_ERROR
    """Most that confidence and the share of right sentences may be apart, beyond what chance explains."""


def softened(floors: FloorSettings) -> dict[str, tuple[float, float]]:
    """Settings that ask for less than the defaults → (this, the default). Pure."""
    usual, softer = FloorSettings(), {}
    for name in FloorSettings.__dataclass_fields__:
        ours, theirs = getattr(floors, name), getattr(usual, name)
        if ours > theirs if name in _MOST else ours < theirs:
            softer[name] = (ours, theirs)
    return softer


_MOST = ("false_clear", "false_alarms", "repeats", "calibration_error")
"""Of the others more is harder."""


@dataclass(frozen=True, slots=True)
class DeviceBudget:
    """What a model may take on a kind of device. Left out: as for every device."""

    look_ms: Annotated[float, Meta(ge=1, le=1_000_000)] | None = None
    """95th percentile of one look."""
    memory_mb: Annotated[float, Meta(ge=1, le=1_000_000)] | None = None
    """Peak memory of a process that runs the model."""
    bundle_mb: Annotated[float, Meta(ge=1, le=1_000_000)] | None = None
    """Size of the bundle."""


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What a model may take on a device."""

    look_ms: Annotated[float, Meta(ge=1, le=1_000_000)] = 500.0
    """95th percentile of one look: at 500 ms a walker goes half a metre between two."""
    memory_mb: Annotated[float, Meta(ge=1, le=1_000_000)] = 2000.0
    """Peak memory of a process that runs the model."""
    bundle_mb: Annotated[float, Meta(ge=1, le=1_000_000)] = 1000.0
    """Size of the bundle, which goes over the devices' link."""
    kinds: Mapping[str, DeviceBudget] = field(default_factory=dict)
    """Other figures for a kind of device: [budget.kinds.raspberry-pi-5]."""

    def of(self, kind: str) -> tuple[float, float, float]:
        """(look_ms, memory_mb, bundle_mb) for a kind of device."""
        own = self.kinds.get(kind, DeviceBudget())
        return (
            self.look_ms if own.look_ms is None else own.look_ms,
            self.memory_mb if own.memory_mb is None else own.memory_mb,
            self.bundle_mb if own.bundle_mb is None else own.bundle_mb,
        )


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Bounds of the comparison with the champion. No section: whoever could widen them would not need a gate."""

    margin: float = 0.03
    """How much worse, at the lower end of the interval, a candidate may be on drawn frames: over 600 of them two equal
    models differ by 0.02 in chance alone."""
    margin_tier: float = 0.06
    """The same for each tier alone: fewer cases, wider intervals."""
    margin_real: float = 0.05
    """The same on real moments, of which there are fewer still …"""
    margin_real_tier: float = 0.1
    """… and for each tier of them; the floors hold besides."""
    margin_clear: float = 0.03
    """How much more often it may name nothing although something is there."""
    margin_walks: float = 0.15
    """The same for chunks with a false alarm, and for events, on whole walks."""
    walks_least: int = 5
    """With fewer walks no interval is believed."""
    unlikely: float = 0.02
    """Where there is too little for an interval: refused if an equal model would lose so many less often than this."""
    calibration_drawn: float = 0.15
    """Calibration error on drawn frames, for the demonstration model."""
    calibration_cases: int = 50
    """Moments of golden walks that a field model is calibrated on …"""
    calibration_walks: int = 2
    """… of so many walks."""
    parity_pictures: int = 20
    """Pictures on which a field model is compared with PyTorch."""
    parity_least: float = 0.95
    """Share of tokens that the quantised bundle must have in common with PyTorch."""
    slot_loss_most: float = 0.01
    """How much slot F1 quantisation may cost …"""
    slot_loss_cases: int = 100
    """… judged on at least so many cases: on fewer, one answer is more than that."""
    bootstrap: int = 2000
    """Resamples."""

    def margins(self, *, real: bool) -> tuple[float, float]:
        """Of all moments and of each tier: real moments, or drawn frames."""
        return (self.margin_real, self.margin_real_tier) if real else (self.margin, self.margin_tier)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Everything that a night's model is held to."""

    floors: FloorSettings = field(default_factory=FloorSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    gate: GateSettings = field(default_factory=GateSettings)
