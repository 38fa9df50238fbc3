"""Frames are drawn, and seen by a backbone, in a process of their own, while what is there already teaches.

The process imports little, ends with its parent, and leaves each shard whole or not there.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import torch

from exporters.onnx.frozen import frozen
from server.eyes.backbone import Backbone
from server.learn import drawings
from server.learn.batches import Layout
from shared.errors import Transient

ENDS_WITHIN_S = 3.0
"""Then it is killed: nobody who pressed Ctrl-C waits for the export of a backbone."""
Seer = Callable[[], Backbone]
"""Loads the backbone; it can be sent to another process."""


class Drawer:
    """The process, from its start on. Made in the main thread."""

    def __init__(self, seer: Seer, folder: Path, layout: Layout, *, shards: int, frames: int, seed: int) -> None:
        """frames: in a shard, a multiple of exporters.onnx.frozen.BATCH"""
        arguments = (seer, folder, layout, shards, frames, seed)
        self._process = multiprocessing.get_context("spawn").Process(target=_draw, args=arguments, daemon=True)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what it inherits: the parent is told, and ends it
        try:
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        """Raises: Transient where it ended before its time."""
        if self._process.exitcode:
            raise Transient("The frames could not be drawn.", hint="It is said above why. Then run it again to go on.")

    def wait(self) -> None:
        """Until all is drawn. Raises: Transient."""
        self._process.join()
        self.check()

    def end(self) -> None:
        """At once: a shard is whole or not there."""
        self._process.terminate()
        self._process.join(ENDS_WITHIN_S)
        self._process.kill()
        self._process.join()


def _draw(seer: Seer, folder: Path, layout: Layout, shards: int, frames: int, seed: int) -> None:
    """Draw what is not there yet; every second shard is of walks."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    parent, backbone = multiprocessing.parent_process(), seer()
    see = frozen(backbone, backbone.preprocessing.size_px)
    for number in range(shards):
        if parent is not None and not parent.is_alive():
            return
        try:
            drawings.draw(folder, number, see, layout, seed=seed, of_walks=number % 2 == 1, frames=frames)
        except OSError as error:
            sys.exit(f"drawing stopped: {error}")
