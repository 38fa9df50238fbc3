"""The graph of a wearer's adapter (shared.runtime.adapter), written node by node: it is small, and never quantised.

z = image_features · down + offset                  [1, n, r]
adapted_features = image_features + z · up
evidence = flat(image_features · look) · pairs      [1, objects · sides]
adapted_logits = hazard_logits · (1 + gain) + evidence + bias
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared import atomic
from shared.runtime.adapter import ADAPTED_FEATURES, ADAPTED_LOGITS, FEATURES, LOGITS

OPSET, IR = 17, 8
"""What every onnxruntime since 1.14 reads."""


def write_adapter(weights: Mapping[str, NDArray[np.float32]], file: Path) -> None:
    """Write the graph, durably.

    weights: down [e, r], offset [r], up [r, e], look [e, q], pairs [n · q, objects · sides], gain [objects, 1],
        bias [objects, sides]
    raises: OSError
    """
    objects, sides = weights["bias"].shape
    width, views = weights["look"].shape
    tokens = len(weights["pairs"]) // views
    flat = {"flat_shape": np.array([1, tokens * views]), "pair_shape": np.array([1, objects, sides])}
    held = {**weights, "scale": 1.0 + weights["gain"], **flat}
    held.pop("gain")
    nodes = [
        helper.make_node("MatMul", [FEATURES, "down"], ["narrow"]),
        helper.make_node("Add", ["narrow", "offset"], ["z"]),
        helper.make_node("MatMul", ["z", "up"], ["change"]),
        helper.make_node("Add", [FEATURES, "change"], [ADAPTED_FEATURES]),
        helper.make_node("MatMul", [FEATURES, "look"], ["views"]),
        helper.make_node("Reshape", ["views", "flat_shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "pairs"], ["found"]),
        helper.make_node("Reshape", ["found", "pair_shape"], ["evidence"]),
        helper.make_node("Mul", [LOGITS, "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "evidence"], ["summed"]),
        helper.make_node("Add", ["summed", "bias"], [ADAPTED_LOGITS]),
    ]
    seen, scored = (1, tokens, width), (1, objects, sides)
    graph = helper.make_graph(
        nodes,
        "wearer_adapter",
        [_value(FEATURES, seen), _value(LOGITS, scored)],
        [_value(ADAPTED_FEATURES, seen), _value(ADAPTED_LOGITS, scored)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    atomic.write_bytes(file, model.SerializeToString())


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
