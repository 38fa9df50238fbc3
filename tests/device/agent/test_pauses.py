"""An agent that had no turn for a while, as on a busy board: it guides by the newest picture and records all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import Agent
from device.capture.live import LiveSource
from device.capture.source import SoundBlock, VideoFrame
from device.capture.worker_process import Plan
from shared.clock import SystemClock
from tests.device.agent.stage import Running, StoryModel, introduced, nothing, result
from tests.device.capture import children
from tests.pulse import until

FPS, PAUSE_S, BEFORE = 15.0, 1.5, 10


def number(image: NDArray[np.uint8]) -> int:
    return int(image[0, 0, 0]) * 256 + int(image[0, 1, 0])


class Pausing(LiveSource):
    """A camera whose reader has no turn for PAUSE_S after its first BEFORE pictures."""

    def __init__(self) -> None:
        super().__init__(Plan("camera", "picture", f"{children.__name__}:numbered", {"fps": FPS}))
        self.handed_out: list[int] = []

    def read(self, timeout_s: float) -> VideoFrame | SoundBlock | None:
        item = super().read(timeout_s)
        if isinstance(item, VideoFrame):
            self.handed_out.append(number(item.image))
            if len(self.handed_out) == BEFORE:
                threading.Event().wait(PAUSE_S)
        return item


@dataclass(slots=True)
class Noting(StoryModel):
    """Notes the number of each picture that it looks at."""

    numbers: list[int] = field(default_factory=list)

    def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.numbers.append(number(image))
        return image


def test_after_a_pause_the_newest_picture_is_looked_at_and_none_is_missing_in_the_recording(tmp_path: Path) -> None:
    introduced(tmp_path / "state")
    wanted = {
        "capture.source": "camera:0",
        "device.state": str(tmp_path / "state"),
        "guidance.model": "given-by-the-test",
        "voice.speech": "none",
        "buttons.keys": False,
        "flags.audit_share": 1.0,
    }
    camera, model = Pausing(), Noting(nothing)
    options = RunOptions(tmp_path / "report.json", tmp_path / "captions.jsonl", exit_at_end=True, linger_s=0.0)
    ports = AgentPorts(SystemClock(), load=lambda folder: model, source=camera)
    with Running(Agent(settings.load(None, wanted), options, ports)):
        until(lambda: len(camera.handed_out) >= BEFORE + 2.5 * FPS, "pictures after the pause")
    first, last = camera.handed_out[0], camera.handed_out[-1]
    assert camera.handed_out == list(range(first, last + 1))
    assert result(tmp_path).report["frames_dropped"] == 0
    paused_at = camera.handed_out[BEFORE - 1]
    missed = range(paused_at + 1, paused_at + int(FPS * PAUSE_S * 0.8))
    assert not set(model.numbers) & set(missed), "a picture of the pause was looked at when it was over"
    assert max(model.numbers) > missed[-1]
    assert model.numbers == sorted(set(model.numbers))
