"""The lower bound of one instruction: its operations and bytes over what this machine was measured to do.

Two rates: int8 multiplications (a large MatMulInteger, weights and activations as the vision encoder has them) and
bytes read from memory (a sum over an array far larger than the caches). A pass of the decoder takes at least the longer
of its operations and of reading its weights once; the vision encoder is bound by operations.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from benchmarks._runtime_sides import Shape
from shared.runtime.language import DECODER

SIDE, ROUNDS = 2048, 7
FAR_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rates:
    """Of this machine, with the benchmark's threads."""

    int8_operations_per_s: float
    """Multiplications and additions."""
    bytes_per_s: float
    """Read."""


def rates(*, threads: int) -> Rates:
    """Measure both; the best of a few rounds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_product(), options, providers=["CPUExecutionProvider"])
    left = np.random.default_rng(1).integers(0, 255, (256, SIDE), np.uint8)
    operations = 2 * 256 * SIDE * SIDE
    far = np.ones(FAR_BYTES // 8, np.float64)
    return Rates(
        operations / min(_timed(lambda: session.run(None, {"left": left})) for _ in range(ROUNDS)),
        FAR_BYTES / min(_timed(far.sum) for _ in range(ROUNDS)) * min(threads, 2),
    )


def _product() -> bytes:
    left = ir.val("left", ir.DataType.UINT8, [256, SIDE])
    weights = np.random.default_rng(2).integers(-127, 127, (SIDE, SIDE), np.int8)
    right = ir.Value(name="right", const_value=ir.tensor(weights, name="right"))
    node = ir.node("MatMulInteger", [left, right])
    node.outputs[0].name, node.outputs[0].type = "out", ir.TensorType(ir.DataType.INT32)
    node.outputs[0].shape = ir.Shape([256, SIDE])
    graph = ir.Graph([left], [node.outputs[0]], nodes=[node], initializers=[right], opset_imports={"": 20})
    proto: Any = ir.to_proto(ir.Model(graph, ir_version=10))
    return bytes(proto.SerializeToString())


def _timed(function: Any) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def lower_bound(shape: Shape, folder: Path, machine: Rates, *, drafted: int) -> dict[str, float]:
    """Seconds of one picture's vision, and of the one pass that a drafted instruction takes.

    drafted: tokens of the answer that go through the decoder with the prompt
    """
    made: Any = shape.checkpoint
    vision = sum(value.numel() for value in made.model.model.vision_model.encoder.parameters() if value.dim() == 2)
    connector = sum(value.numel() for value in made.model.model.connector.parameters() if value.dim() == 2)
    body = sum(value.numel() for value in made.model.model.text_model.layers.parameters() if value.dim() == 2)
    head = made.model.lm_head.weight.numel()
    rows = made.image_tokens + len(shape.after) + drafted
    look = 2 * (vision * made.patches + connector * made.image_tokens)
    word = 2 * (body * rows + head * (1 + drafted))
    read = (folder / DECODER).stat().st_size
    look_s = look / machine.int8_operations_per_s
    word_s = max(word / machine.int8_operations_per_s, read / machine.bytes_per_s)
    return {
        "look_operations": look,
        "word_operations": word,
        "word_bytes": read,
        "look_s": look_s,
        "word_s": word_s,
        "whole_s": look_s + word_s,
    }
