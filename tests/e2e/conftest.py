"""What the end-to-end tests share: a rendered walk, made once, and sites of broker and server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.demo import wearer
from server.broker.child import BrokerChild
from server.walks import ChunkTruth, chunk_truths, plan_walk, write_video
from tests.e2e.site import LEARN, TAUGHT, Site, opened

FILM_SEED = 1


@dataclass(frozen=True, slots=True)
class Film:
    """A short rendered walk, with the voice of its wearer in the sound track."""

    video: Path
    truths: tuple[ChunkTruth, ...]
    said: Sequence[str]
    """What the wearer says, in order."""
    script: Path
    """When they hold the button meanwhile, for --buttons."""

    @property
    def source(self) -> str:
        return f"replay:{self.video}"


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Twelve seconds past cones, which the starter does not know, and things which it does."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    folder = tmp_path_factory.mktemp("film")
    walk = plan_walk(
        FILM_SEED,
        duration_s=12.0,
        objects=(TAUGHT, "person", "bin", "vehicle"),
        min_encounters={TAUGHT: 2},
        settings=("street",),
        clear_share=0.0,
        name="works",
    )
    truths = chunk_truths(walk)
    said = wearer.plan(truths, TAUGHT)[:2]
    voice = wearer.speak(said, folder)
    write_video(walk, folder / "works.mp4", fps=10, width_px=320, height_px=240, voice=voice)
    return Film(folder / "works.mp4", tuple(truths), [press.text for press in said], folder / "buttons.jsonl")


@pytest.fixture
def site(tmp_path: Path, broker: BrokerChild) -> Iterator[Site]:
    """A broker, and the home of a server without a model. Nothing serves yet."""
    with opened(tmp_path, broker) as made:
        made.server("init")
        yield made


@pytest.fixture
def taught_site(tmp_path: Path, broker: BrokerChild, starter_home: Path) -> Iterator[Site]:
    """The same with the starter as champion, and nights that take seconds."""
    with opened(tmp_path, broker) as made:
        shutil.copytree(starter_home, made.home)
        made.server("init")
        with open(made.home / "waycue.toml", "a") as settings:
            settings.write(LEARN)
        yield made
