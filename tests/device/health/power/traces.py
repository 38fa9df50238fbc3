"""Traces of batteries, as CSV with a reading a line: what a source would have said every ten seconds.

columns: t_s, percent, charging, low_voltage, low_voltage_before; an empty cell = the source does not say
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from device.health.power import news
from device.health.power.reading import PowerReading

EVERY_S = 10.0
HEAD = ("t_s", "percent", "charging", "low_voltage", "low_voltage_before")
Sample = tuple[float, PowerReading]


def csv_of(samples: Iterator[Sample] | list[Sample]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEAD)
    for t_s, reading in samples:
        cells = (getattr(reading, name) for name in HEAD[1:])
        writer.writerow([t_s, *("" if cell is None else cell for cell in cells)])
    return out.getvalue()


def samples_of(text: str) -> list[Sample]:
    out = []
    for row in csv.DictReader(io.StringIO(text)):
        percent = float(row["percent"]) if row["percent"] else None
        said = {name: row[name] == "True" if row[name] else None for name in HEAD[2:]}
        out.append((float(row["t_s"]), PowerReading(percent=percent, **said)))
    return out


@dataclass(frozen=True, slots=True)
class Battery:
    """One that is used from `full` percent on until it is empty after `hours`."""

    hours: float = 3.0
    full: float = 100.0
    noise: float = 0.0
    """Standard deviation of a reading, percent."""
    whole: bool = False
    """The gauge knows whole percents only."""
    tells_charging: bool = True
    seed: int = 1

    def used(self, minutes: float, *, from_s: float = 0.0) -> list[Sample]:
        """Readings while it is used, for so long or until it is empty."""
        slope = self.full / (self.hours * 3600)
        return self._read(minutes, from_s, lambda t_s: self.full - slope * t_s, charging=False)

    def charged(self, minutes: float, *, from_s: float, to: float) -> list[Sample]:
        """Readings while it is charged from `full` to `to` percent."""
        slope = (to - self.full) / (minutes * 60)
        return self._read(minutes, from_s, lambda t_s: self.full + slope * t_s, charging=True)

    def _read(self, minutes: float, from_s: float, at: Callable[[float], float], *, charging: bool) -> list[Sample]:
        random = np.random.default_rng(self.seed)
        said = charging if self.tells_charging else None
        out = []
        for t_s in np.arange(0.0, minutes * 60, EVERY_S):
            percent = float(np.clip(at(float(t_s)) + random.normal(0, self.noise), 0, 100))
            out.append((from_s + float(t_s), PowerReading(round(percent) if self.whole else percent, said)))
        return out


def with_jumps(samples: list[Sample], every: int = 31, to: float = 0.0) -> list[Sample]:
    """Now and then a single reading is nonsense: the bus was disturbed."""
    return [(t, replace(r, percent=to) if n % every == every - 1 else r) for n, (t, r) in enumerate(samples)]


def reset_at(samples: list[Sample], t_s: float, by: float) -> list[Sample]:
    """The gauge starts anew and guesses `by` percent more (or less)."""
    return [
        (t, r if t < t_s or r.percent is None else replace(r, percent=min(100.0, r.percent + by))) for t, r in samples
    ]


def told(samples: list[Sample]) -> list[tuple[float, str]]:
    """(when, what is said) of a trace, which goes through its CSV."""
    state, out = news.PowerState(), []
    for t_s, reading in samples_of(csv_of(samples)):
        state, pieces = news.step(state, reading, t_s)
        out += [(t_s, piece.text) for piece in pieces]
    return out


def texts(samples: list[Sample]) -> list[str]:
    return [text for _, text in told(samples)]
