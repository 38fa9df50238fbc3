"""The decoder graph, rewritten for a KV cache in place.

The exporter's graph attends under a mask that it builds from positions, keeps its rotary angles in step with a cache
that grows, and gives logits for every row. All of it is spared where one text at a time is decoded:

    attention    GroupQueryAttention with its own causal mask and tables of the rotary angles, which lets past and
                 present be one buffer (onnxruntime shares where both have the same address)
    logits       only of the last `logits_to_keep` rows: a fifth of a prefill's work with a vocabulary of 49,280

`position_ids` is no longer an input; `attention_mask` [1, past + t] only tells the length. With a cache of exactly that
length, given and returned as separate arrays, the graph works as before.
source: onnxruntime docs/ContribOperators.md, com.microsoft.GroupQueryAttention
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import nn

from exporters.onnx.quiet import quiet

POSITIONS = 1024  # of the tables; a prompt with two pictures of 64 tokens has under 200
ATTENTION = "GroupQueryAttention"
PAST_INPUTS = 5  # query, key, value, past_key, past_value: what follows is ours
KEEP = "logits_to_keep"


def lean(file: Path, rotary: nn.Module) -> None:
    """Rewrite the decoder in `file`. rotary: the model's own rotary embedding.

    raises: ValueError where the graph is not as the pinned exporter writes it
    """
    model = ir.load(file)
    graph = model.graph
    nodes = [node for node in graph if node.op_type == ATTENTION]
    positions = next((item for item in graph.inputs if item.name == "position_ids"), None)
    if not nodes or positions is None:
        raise ValueError(f"{file.name} has no {ATTENTION} or no position_ids: the exporter has changed.")
    _attend_in_place(graph, nodes, rotary)
    _keep_last_logits(graph)
    with quiet():  # it logs each operator whose schema it does not know
        RemoveUnusedNodesPass()(model)
    if positions.uses():
        raise ValueError(f"{file.name} still uses position_ids: the exporter has changed.")
    graph.inputs.remove(positions)
    ir.save(model, file)


def _attend_in_place(graph: ir.Graph, nodes: Sequence[ir.Node], rotary: nn.Module) -> None:
    mask = next(item for item in graph.inputs if item.name == "attention_mask")
    cos, sin = (
        _constant(graph, name, table) for name, table in zip(("cos_cache", "sin_cache"), _angles(rotary), strict=True)
    )
    unit = _constant(graph, "one_int32", np.array([1], np.int32))
    length = _node("Shape", [mask], "total_length", start=1, end=2)
    total = _node("Cast", [length.outputs[0]], "total_length_int32", to=int(ir.DataType.INT32))
    last = _node("Sub", [total.outputs[0], unit], "seqlens_k")
    scalar = _node("Squeeze", [total.outputs[0]], "total_sequence_length")
    graph.insert_before(graph[0], [length, total, last, scalar])
    for node in nodes:
        node.resize_inputs(PAST_INPUTS + 4)
        for at, value in enumerate((last.outputs[0], scalar.outputs[0], cos, sin), PAST_INPUTS):
            node.replace_input_with(at, value)
        _without_blanking(node)


def _without_blanking(attention: ir.Node) -> None:
    """Rows that may attend to nothing are set to zero after it: with one text there are none."""
    for reshape, _ in list(attention.outputs[0].uses()):
        for where, _ in list(reshape.outputs[0].uses()):
            if where.op_type == "Where":
                ir.convenience.replace_all_uses_with(where.outputs[0], reshape.outputs[0])


def _keep_last_logits(graph: ir.Graph) -> None:
    keep = ir.val(KEEP, ir.DataType.INT64, [1])
    graph.inputs.append(keep)
    logits = next(item for item in graph.outputs if item.name == "logits")
    product = logits.producer()
    states = None if product is None else product.inputs[0]
    if product is None or states is None:
        raise ValueError("The decoder's logits come from nowhere: the exporter has changed.")
    ends = _constant(graph, "far_end", np.array([np.iinfo(np.int64).max], np.int64))
    axis = _constant(graph, "rows_axis", np.array([1], np.int64))
    start = _node("Neg", [keep], "first_kept")
    kept = _node("Slice", [states, start.outputs[0], ends, axis], "kept_states")
    graph.insert_before(product, [start, kept])
    product.replace_input_with(0, kept.outputs[0])
    assert logits.shape is not None
    logits.shape = ir.Shape([1, "kept", logits.shape[2]])


def _angles(rotary: nn.Module) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """cos and sin of the rotary angles, float32 [POSITIONS, head width / 2]: the model's own, halves are alike."""
    with torch.no_grad():
        cos, sin = rotary(torch.zeros(1), torch.arange(POSITIONS)[None])
    half = cos.shape[-1] // 2
    return cos[0, :, :half].numpy().copy(), sin[0, :, :half].numpy().copy()


def _constant(graph: ir.Graph, name: str, array: np.ndarray[Any, Any]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def _node(kind: str, inputs: Sequence[ir.Value], name: str, **attributes: int) -> ir.Node:
    node = ir.node(kind, inputs, attributes=attributes)
    node.outputs[0].name = name
    return node
