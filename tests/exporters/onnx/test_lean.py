"""The rewritten decoder gives the exporter's own logits, and a graph that it does not know is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from exporters.onnx.graphs import export_decoder
from exporters.onnx.lean import lean
from server.model import checkpoint as checkpoints
from shared.runtime.decoder import GrowingDecoder, InPlaceDecoder, open_decoder
from shared.runtime.language import DECODER
from tests.server.learn.parts import save_field_checkpoint


def test_the_rewritten_decoder_gives_the_exporters_logits(tmp_path: Path) -> None:
    made = checkpoints.load(save_field_checkpoint(tmp_path / "hub"))
    export_decoder(made.model, tmp_path / DECODER)
    before = onnxruntime.InferenceSession(str(tmp_path / DECODER))
    lean(tmp_path / DECODER, made.model.model.text_model.rotary_emb)
    after = onnxruntime.InferenceSession(str(tmp_path / DECODER))
    assert "position_ids" not in {item.name for item in after.get_inputs()}
    decoders = [
        open_decoder(session, capacity=30, wanted_most=8, in_place=in_place)
        for session, in_place in ((before, True), (after, False), (after, True))
    ]
    assert [type(one) for one in decoders] == [GrowingDecoder, GrowingDecoder, InPlaceDecoder]
    text = np.random.default_rng(1).normal(size=(30, 32)).astype(np.float32)
    for start, end in ((0, 17), (17, 18), (18, 26)):
        first, growing, in_place = (one.run([text[start:end]], wanted=min(8, end - start)).copy() for one in decoders)
        assert np.abs(growing - first).max() < 1e-4
        assert np.array_equal(growing, in_place)


def test_a_graph_that_the_exporter_did_not_write_is_refused(tmp_path: Path) -> None:
    given = ir.val("inputs_embeds", ir.DataType.FLOAT, [1, 4])
    node = ir.node("Identity", [given])
    node.outputs[0].name, node.outputs[0].type = "logits", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([given], [node.outputs[0]], nodes=[node], opset_imports={"": 20})
    ir.save(ir.Model(graph, ir_version=10), tmp_path / DECODER)
    with pytest.raises(ValueError, match="the exporter has changed"):
        lean(tmp_path / DECODER, None)  # type: ignore[arg-type]
