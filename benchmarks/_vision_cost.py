"""What one pass of SmolVLM2-256M's vision encoder costs here, with random weights: the measure for a look."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import SmolVLMVisionConfig, SmolVLMVisionTransformer
from transformers.exporters.configs import OnnxConfig

from exporters.onnx.graphs import write_graph
from exporters.onnx.quantise import quantise_vision
from exporters.onnx.quiet import quiet
from server.model.checkpoint import FIELD_TILE_PX
from shared.runtime import Execution

WARM_UP, RUNS = 3, 40


def cpu_ms(run: Callable[[int], Any], *, runs: int = RUNS) -> float:
    """Median processor milliseconds of `run`, all threads together."""
    took = []
    for at in range(WARM_UP + runs):
        started = time.process_time()
        run(at)
        took.append((time.process_time() - started) * 1e3)
    return float(np.median(took[WARM_UP:]))


class _Tower(nn.Module):
    def __init__(self, vision: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = SmolVLMVisionConfig(**vision)
        self.tower = SmolVLMVisionTransformer(self.config)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"features": self.tower(pixel_values=pixel_values).last_hidden_state}


def vision_256m_ms(vision: Mapping[str, Any], *, threads: Sequence[int] = (1,)) -> dict[int, float]:
    """The encoder in int8, one tile of the size that the field uses; by number of threads."""
    torch.manual_seed(1)
    example = {"pixel_values": torch.zeros(1, 3, FIELD_TILE_PX, FIELD_TILE_PX)}
    pixels = np.random.default_rng(0).normal(size=(1, 3, FIELD_TILE_PX, FIELD_TILE_PX)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "full.onnx", Path(folder) / "small.onnx"
        with quiet():
            write_graph(_Tower(vision), example, OnnxConfig(ort_fusions="cpu"), full)
        quantise_vision(full, small)
        sessions = {count: Execution(count).session(small) for count in threads}
    return {count: cpu_ms(_pass(session, pixels), runs=12) for count, session in sessions.items()}


def _pass(session: Any, pixels: NDArray[np.float32]) -> Callable[[int], Any]:
    return lambda at: session.run(None, {"pixel_values": pixels})
