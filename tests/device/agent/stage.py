"""A stage for the agent: a walk on film, a model that sees what the test says, and the agent run to its end."""

from __future__ import annotations

import io
import json
import threading
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.config import Config
from device.health import sight_told
from shared import atomic, vocabulary
from shared.clock import SystemClock
from shared.guidance.events import LoadedModel
from shared.model_card import NOT_KNOWN
from shared.runtime.seen import Hazard, Instruction, Observation
from tests.device.capture import films

CLEAR = Instruction(vocabulary.CLEAR, 0.9, ())


@dataclass(frozen=True, slots=True)
class Card:
    version: str = "test-1"
    thresholds: Mapping[str, float] = field(
        default_factory=lambda: {"speak_above": 0.6, "flag_below": 0.5, "hazard_above": 0.5}
    )
    model: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "field"


Seen = tuple[tuple[Hazard, ...], Instruction]
Story = Callable[[int], Seen]
"""Number of the look → what the hazard head sees and what the decoder would say."""


@dataclass(slots=True)
class StoryModel:
    """Stands for shared.runtime.GuidanceModel: answers look by look as a story tells. Pictures are really measured."""

    story: Story
    manifest: Card = field(default_factory=Card)
    looks: int = 0
    worded: int = 0

    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation:
        image = self.seeing(image)
        hazards, _ = self.story(self.looks)
        self.looks += 1
        tokens = np.full((1, 1, 1), self.looks - 1, np.float32)
        return Observation(tokens, hazards, float(image.mean() / 255), float(image.std() / 255))

    def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What it looks at, when it looks: for models that fail, that are slow, that see something else."""
        return image

    def word(self, observation: Observation) -> Instruction:
        self.worded += 1
        return self.story(int(observation.image_tokens[0, 0, 0]))[1]


def says(text: str, confidence: float = 0.9) -> Instruction:
    return Instruction(text, confidence, ())


def nothing(_look: int) -> Seen:
    return (), CLEAR


def film(folder: Path, seconds: float = 8.0, **options: Any) -> Path:
    """A small film with a tone, 10 pictures a second."""
    return films.make(folder / "walk.mp4", seconds=seconds, fps=10.0, size=(160, 120), **options)


def presses(folder: Path, *lines: Mapping[str, Any]) -> Path:
    path = folder / "presses.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def introduced(state: Path) -> None:
    """The wearer was told before that nothing is known of what the model of these tests sees."""
    if not state.exists():
        atomic.write_json(state / sight_told.FILE, [NOT_KNOWN])


def config(folder: Path, walk: Path, **overrides: Any) -> Config:
    """Settings of a fast replay without audit samples; overrides: section__key=value."""
    introduced(folder / "state")
    wanted = {
        "capture.source": f"replay:{walk}",
        "capture.pace": "fast",
        "capture.clips": False,
        "device.name": "dev-1",
        "device.state": str(folder / "state"),
        "device.wearer": "anna",
        "voice.speech": "none",
        "flags.audit_share": 0.0,
        "buttons.keys": False,
    }
    wanted |= {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return settings.load(None, wanted)


def agent(chosen: Config, model: LoadedModel | None, folder: Path, **options: Any) -> Agent:
    """An agent whose model slot holds `model` (None = empty)."""
    if model is not None:
        chosen = settings.load(None, {**_flat(chosen), "guidance.model": "given-by-the-test"})
    run = {
        "report": folder / "report.json",
        "captions": folder / "captions.jsonl",
        "exit_at_end": True,
        "linger_s": 0.0,
    }
    load = None if model is None else lambda _: model
    return Agent(chosen, RunOptions(**{**run, **options}), AgentPorts(SystemClock(), load=load))


def _flat(chosen: Config) -> dict[str, Any]:
    return {
        f"{section}.{key}": getattr(getattr(chosen, section), key)
        for section in chosen.__slots__
        for key in getattr(chosen, section).__slots__
    }


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left behind."""

    report: dict[str, Any]
    captions: list[dict[str, Any]]
    records: dict[str, dict[str, Any]]
    """Sidecars in the outbox by id: the record without its envelope."""
    state: Path

    @property
    def texts(self) -> list[str]:
        return [caption["text"] for caption in self.captions]

    def flags(self) -> dict[int, list[str]]:
        """Sequence → flags of the sealed chunks."""
        return {body["sequence"]: body["flags"] for body in self.records.values() if "sequence" in body}

    def correction(self) -> dict[str, Any]:
        (body,) = [body for body in self.records.values() if "correction_id" in body]
        return body


def run(folder: Path, model: LoadedModel | None, *, walk: Path | None = None, **overrides: Any) -> Result:
    """One whole walk."""
    made = agent(config(folder, walk or film(folder), **overrides), model, folder)
    made.run()
    return result(folder)


def result(folder: Path) -> Result:
    outbox = folder / "state" / "outbox"
    sidecars = [json.loads(path.read_bytes()) for path in sorted(outbox.glob("*/record.json"))]
    captions = (folder / "captions.jsonl").read_text().splitlines()
    return Result(
        json.loads((folder / "report.json").read_bytes()),
        [json.loads(line) for line in captions],
        {value["record_id"]: value["body"] for value in sidecars},
        folder / "state",
    )


class Running:
    """An agent on a thread of its own, for walks that are ended from outside."""

    def __init__(self, made: Agent) -> None:
        self.agent = made
        self._thread = threading.Thread(target=made.run, daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.agent.stop()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the agent did not stop"


def wav_seconds(data: bytes) -> float:
    with wave.open(io.BytesIO(data)) as wav:
        return float(wav.getnframes() / wav.getframerate())


def texts_of(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [entry["text"] for entry in entries]
