"""Held-out rendered walks as courses: exact truth for every look.

Training draws single frames (`walks.random_frame`); nothing here was ever trained on. The scenes mix places, lights and
weathers, some of which no route has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server import walks
from server.evaluation.answers import HELD_OUT_SEED
from server.evaluation.facts import Course, Frame, Truth
from server.walks.chunks import hazard_events
from shared import vocabulary
from shared.chunk_format import CHUNK_S

SIZE = (640, 480)
GRID_S = 0.25
"""Pictures are drawn this often; 4 looks a second meet each."""


@dataclass(frozen=True, slots=True)
class CourseScene:
    """Where and in what light a walk goes."""

    settings: tuple[str, ...]
    light: str
    weather: str = "fair"
    objects: tuple[str, ...] = walks.KNOWN


_TOWN = ("street", "square", "park")
SCENES = {
    "day": CourseScene(_TOWN, "day"),
    "rain": CourseScene(_TOWN, "overcast", "rain"),
    "dusk": CourseScene(_TOWN, "dusk"),
    "night": CourseScene(("street", "park"), "night"),
    "mist": CourseScene(_TOWN, "overcast", "mist"),
    "rain at dusk": CourseScene(("street", "square"), "dusk", "rain"),
    "indoors": CourseScene(("corridor",), "day", objects=walks.ROUTES["indoors"].objects),
    "station": CourseScene(("platform", "corridor"), "day", objects=walks.ROUTES["station"].objects),
}


def courses(count: int, *, minutes: float, seed: int) -> Iterator[Course]:
    """`count` walks of `minutes` each, scene after scene; the same numbers give the same walks. Raises: ConfigError."""
    names = list(SCENES)
    for index in range(count):
        name = names[index % len(names)]
        yield course(name, seed=seed * 10_000 + index, duration_s=60.0 * minutes)


def course(name: str, *, seed: int, duration_s: float) -> Course:
    """One walk through one of SCENES. Raises: ConfigError."""
    scene = SCENES[name]
    walk = walks.plan_walk(
        HELD_OUT_SEED + seed,
        duration_s=duration_s,
        objects=scene.objects,
        settings=scene.settings,
        light_name=scene.light,
        weather_name=scene.weather,
        name=name,
    )
    events = hazard_events(walk)
    return Course(
        f"{name} {seed}", name, duration_s, events, lambda: _frames(walk), lambda: walks.soundtrack(walk), CHUNK_S
    )


def _frames(walk: walks.Walk) -> Iterator[Frame]:
    for index in range(round(walk.duration_s / GRID_S)):
        t_s = index * GRID_S
        shot = walks.render_frame(walk, t_s, *SIZE)
        there = frozenset((seen.object, seen.side) for seen in shot.seen)
        truth = Truth((shot.instruction or vocabulary.CLEAR,), there)
        middle = abs(t_s % CHUNK_S - CHUNK_S / 2) < 1e-6
        yield Frame(t_s, shot.image, truth, middle)
