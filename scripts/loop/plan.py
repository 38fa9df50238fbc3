"""What happens in which night: who walks where, what is held out, which nights are bad on purpose. Pure.

Three wearers walk in surroundings of their own, each with things that the starter has never seen among those that it
knows. Before every third night a bad helper brings films with labels that are all wrong, in one of three ways (BAD),
and labels over in the same way all that was confirmed before. That night's model must be refused; then the films are
thrown away, and the labels put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from server import walks
from server.dataset.sample_row import Split
from shared.errors import ConfigError

Bad = Literal["", "shuffled", "swapped", "silenced"]
"""How all labels of a night are wrong: each thing has another one's name, left is right and right is left, or there is
silence for every thing. "" = they are a careful person's, but for some slips.

Labels that are dealt out by lot are no such way: they contradict one another, and beside what is replayed the starter
lost next to nothing by them (5 of 400 drawn frames), so that the gate is right to let it pass."""
BAD: tuple[Bad, ...] = ("shuffled", "swapped", "silenced")
TRIES, ANOTHER = 8, 1_000_000
"""Walks that are planned until one has room for what is to be met; how far their seeds are apart."""
EVERY = 3
"""Every so many-th night is bad."""
WORN_S, FILM_S, JUDGED_S = 60.0, 60.0, 60.0
WORN, FILMS, HELD_OUT, GOLDEN = 2, 1, 2, 3
"""Of each wearer: walks of a day; films of a bad night; walks that models are judged on; walks of the golden set."""


@dataclass(frozen=True, slots=True)
class Wearer:
    """Somebody, and where they walk."""

    name: str
    settings: tuple[str, ...]
    objects: tuple[str, ...]
    light: str
    weather: str = "fair"
    meets: Mapping[str, int] = field(default_factory=dict)
    """Thing → chunks of a minute in which it comes first."""

    @property
    def device(self) -> str:
        return f"chest-{self.name.lower()}"


WEARERS = (
    Wearer(
        "Ada",
        ("street", "square"),
        ("cone", "barrier", "person", "bin", "bollard", "pole", "vehicle", "curb"),
        "day",
        meets={"cone": 5, "curb": 3},
    ),
    Wearer(
        "Ben",
        ("platform", "corridor"),
        ("drop-off", "person", "bin", "stairs down", "stairs up", "door", "signboard"),
        "day",
        meets={"signboard": 4, "drop-off": 2},
    ),
    Wearer(
        "Cleo",
        ("park", "street"),
        ("person", "bin", "furniture", "bicycle", "bollard", "pole", "curb", "signboard"),
        "dusk",
        "rain",
        {"signboard": 3, "curb": 3},
    ),
)


@dataclass(frozen=True, slots=True)
class Stroll:
    """A walk of a wearer: worn, with what the device kept of it; or filmed, with a label for every chunk."""

    wearer: Wearer
    walk_id: str
    seed: int
    duration_s: float
    split: Split = "train"
    filmed: bool = False

    def walk(self) -> walks.Walk:
        """The same every time; where what is to be met finds no room, the next of its seeds is tried.

        raises: ConfigError where it finds none in TRIES walks
        """
        for seed in range(self.seed, self.seed + TRIES * ANOTHER, ANOTHER):
            with suppress(ConfigError):
                return self._planned(seed)
        return self._planned(self.seed)

    def _planned(self, seed: int) -> walks.Walk:
        wearer, minutes = self.wearer, self.duration_s / 60
        return walks.plan_walk(
            seed,
            duration_s=self.duration_s,
            objects=wearer.objects,
            min_encounters={name: round(count * minutes) for name, count in wearer.meets.items()},
            settings=wearer.settings,
            light_name=wearer.light,
            weather_name=wearer.weather,
            name=self.walk_id,
        )


@dataclass(frozen=True, slots=True)
class NightPlan:
    """One day and its night."""

    number: int
    bad: Bad
    strolls: tuple[Stroll, ...]


def judged() -> tuple[Stroll, ...]:
    """Walks that are there before the first night: held out, and golden. A careful person labelled all of them."""
    splits: tuple[tuple[Split, int], ...] = (("held_out", HELD_OUT), ("golden", GOLDEN))
    return tuple(
        Stroll(wearer, f"{split.replace('_', '-')}-{wearer.name.lower()}-{number}", seed, JUDGED_S, split, filmed=True)
        for place, wearer in enumerate(WEARERS)
        for split, count in splits
        for number in range(1, count + 1)
        for seed in (50_000 + 1000 * place + 100 * (split == "golden") + number,)
    )


def night(number: int) -> NightPlan:
    """number: 1 is the first"""
    bad = BAD[(number // EVERY - 1) % len(BAD)] if number % EVERY == 0 else ""
    count, seconds = (FILMS, FILM_S) if bad else (WORN, WORN_S)
    return NightPlan(
        number,
        bad,
        tuple(
            Stroll(
                wearer,
                f"night-{number:02d}-{wearer.name.lower()}-{turn}",
                10_000 + 1000 * place + 10 * number + turn,
                seconds,
                filmed=bool(bad),
            )
            for place, wearer in enumerate(WEARERS)
            for turn in range(count)
        ),
    )


def planted(nights: int) -> int:
    """How many of so many nights are bad."""
    return nights // EVERY
