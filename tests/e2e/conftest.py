"""What the end-to-end tests share: a rendered walk and an exported starter, made once; sites."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.demo import wearer
from scripts.demo.children import command
from server.broker import BrokerChild
from server.walks import ChunkTruth, chunk_truths, plan_walk, write_video
from tests.e2e.site import LEARN, TAUGHT, Site, called, opened

FILM_SEED = 1


@dataclass(frozen=True, slots=True)
class Film:
    """A short rendered walk, with the voice of its wearer in the sound track."""

    video: Path
    truths: tuple[ChunkTruth, ...]
    held: Sequence[wearer.Press]
    """When the button is held while the wearer speaks, and what they say."""

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
        FILM_SEED, duration_s=12.0, objects=(TAUGHT, "person", "bin", "vehicle"), min_encounters={TAUGHT: 2},
        settings=("street",), clear_share=0.0, name="works",
    )  # fmt: skip
    truths = chunk_truths(walk)
    voice, held = wearer.speak(wearer.plan(truths, TAUGHT)[:2], folder)
    write_video(walk, folder / "works.mp4", fps=10, width_px=320, height_px=240, voice=voice)
    return Film(folder / "works.mp4", tuple(truths), held)


@pytest.fixture(scope="session")
def starter_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a server with the starter as its champion. To be copied, never used."""
    home = tmp_path_factory.mktemp("starter") / "home"
    for arguments in (["init"], ["models", "add", "starter"]):
        done = called([command("waycue-server"), "--home", str(home), *arguments], timeout_s=400)
        assert done.status == 0, done.err
    return home


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
        with open(made.home / "waycue.toml", "a") as settings:
            settings.write(LEARN)
        yield made
