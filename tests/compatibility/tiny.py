"""A model of a few kilobytes that the device's runtime loads and whose golden pictures pass. It says one sentence only.

Its graphs hold no weights: embeddings are one-hot rows, the decoder looks up the token that follows the last one, and
the hazard logits are constants. So a fixture holds several whole bundles, and a device can use them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from shared import vocabulary

UNKNOWN, END, PROMPT = "[UNK]", "[END]", "[SAY]"
OBJECTS, SIDES = ("curb", "person", "bin"), ("on the left", "ahead", "on the right")
SIZE_PX = 16
OPSET, IR = 17, 8
BLOCK_BYTES = 65_536


def make(
    folder: Path,
    version: str,
    *,
    says: tuple[str, str] = ("curb", "ahead"),
    golden: tuple[str, str] | None = None,
    noise_px: Sequence[int] = (16,),
    parent: str = "",
    intended_use: str = "demo",
) -> None:
    """Write the bundle.

    says: object and side of its sentence
    golden: what the golden pictures are said to show, by default `says`; anything else makes the self-test fail
    noise_px: sides of the golden pictures, which are noise
    """
    (folder / "golden").mkdir(parents=True)
    tokenizer = _tokenizer()
    ids = tokenizer.encode(f" {vocabulary.instruct(*says)}", add_special_tokens=False).ids
    vocab = tokenizer.get_vocab()
    end, prompt = vocab[END], vocab[PROMPT]
    follows = dict(zip([prompt, *ids], [*ids, end], strict=True))
    tokenizer.save(str(folder / "tokenizer.json"))
    _save(folder / "vision_encoder.onnx", _vision(len(vocab), says))
    _save(folder / "embed_tokens.onnx", _embedding(len(vocab)))
    _save(folder / "decoder_model_merged.onnx", _decoder(len(vocab), follows))
    shows, side = golden or says
    cases = []
    for number, side_px in enumerate(noise_px):
        (folder / "golden" / f"{number:03d}.jpg").write_bytes(noise_picture(side_px, seed=side_px))
        cases.append({"image": f"{number:03d}.jpg", "object": shows, "side": side, "must_stop": True})
    (folder / "golden" / "golden.json").write_text(json.dumps(cases))
    _write_manifest(
        folder,
        {
            "format": 1,
            "version": version,
            "created_at_utc": 1_793_500_000.0,
            "base": "tiny",
            "parent": parent,
            "intended_use": intended_use,
            "thresholds": {"speak_above": 0.5, "flag_below": 0.4, "hazard_above": 0.5},
            "model": {
                "preprocessing": {"size_px": SIZE_PX, "fit": "stretch", "mean": 0.5, "std": 0.5},
                "objects": OBJECTS,
                "sides": SIDES,
                "before_ids": [prompt],
                "after_ids": [prompt],
                "end_id": end,
                "vocabulary": 1,
            },
            "evaluation": {},
            "block_bytes": BLOCK_BYTES,
        },
    )


def _write_manifest(folder: Path, values: dict[str, Any]) -> None:
    """blocks.bin and manifest.json, as docs/formats.md describes them."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    contents = {str(path): (folder / path).read_bytes() for path in paths}
    hashes = [
        hashlib.sha256(data[start : start + BLOCK_BYTES]).digest()
        for data in contents.values()
        for start in range(0, len(data), BLOCK_BYTES)
    ]
    contents["blocks.bin"] = b"".join(hashes)
    (folder / "blocks.bin").write_bytes(contents["blocks.bin"])
    files = [
        {"path": path, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in sorted(contents.items())
    ]
    text = json.dumps(values | {"files": files}, sort_keys=True, separators=(",", ":"))
    (folder / "manifest.json").write_text(text)


def noise_picture(side_px: int, *, seed: int) -> bytes:
    """A JPEG of noise, about 1.4 bytes for each of its pixels."""
    image = np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), np.uint8)
    ok, data = cv2.imencode(".jpg", image)
    assert ok
    return bytes(data.tobytes())


def _tokenizer() -> Tokenizer:
    """One token for each word and punctuation mark of the sentences that may be said."""
    spaces = pre_tokenizers.Metaspace(prepend_scheme="never")
    cut = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation("isolated")])
    texts = [*vocabulary.sayable(), vocabulary.CLEAR]
    words = sorted({word for text in texts for word, _ in cut.pre_tokenize_str(f" {text}")})
    vocab = {word: number for number, word in enumerate([UNKNOWN, END, PROMPT, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return tokenizer


def _vision(width: int, sees: tuple[str, str]) -> onnx.GraphProto:
    """Constant outputs; the picture is not used. width: of an embedding."""
    logits = np.full((1, len(OBJECTS), len(SIDES)), -4.0, np.float32)
    logits[0, OBJECTS.index(sees[0]), SIDES.index(sees[1])] = 4.0
    nodes = [
        helper.make_node("Constant", [], ["image_features"], value=_array(np.zeros((1, 1, width), np.float32))),
        helper.make_node("Constant", [], ["hazard_logits"], value=_array(logits)),
    ]
    return helper.make_graph(
        nodes,
        "vision",
        [_value("pixel_values", TensorProto.FLOAT, [1, 3, SIZE_PX, SIZE_PX])],
        [
            _value("image_features", TensorProto.FLOAT, [1, 1, width]),
            _value("hazard_logits", TensorProto.FLOAT, list(logits.shape)),
        ],
    )


def _embedding(count: int) -> onnx.GraphProto:
    """One-hot rows."""
    nodes = [helper.make_node("OneHot", ["input_ids", "depth", "values"], ["inputs_embeds"])]
    return helper.make_graph(
        nodes,
        "embedding",
        [_value("input_ids", TensorProto.INT64, [1, "t"])],
        [_value("inputs_embeds", TensorProto.FLOAT, [1, "t", count])],
        [_array(np.array(count, np.int64), "depth"), _array(np.array([0, 1], np.float32), "values")],
    )


def _decoder(count: int, follows: dict[int, int]) -> onnx.GraphProto:
    """Logits: 20 for the token in `follows`, 0 for all others. The past only grows in length; nothing reads it."""
    after = np.array([follows.get(token, 0) for token in range(count)], np.int64)
    nodes = [
        helper.make_node("ArgMax", ["inputs_embeds"], ["tokens"], axis=-1, keepdims=0),
        helper.make_node("Gather", ["after", "tokens"], ["next"]),
        helper.make_node("OneHot", ["next", "depth", "values"], ["logits"]),
        helper.make_node("Slice", ["inputs_embeds", "from", "to", "axis"], ["column"]),
        helper.make_node("Unsqueeze", ["column", "heads"], ["row"]),
        helper.make_node("Concat", ["past_key_values.0.key", "row"], ["present.0.key"], axis=2),
    ]
    constants: dict[str, np.ndarray[Any, Any]] = {
        "after": after,
        "depth": np.array(count, np.int64),
        "values": np.array([0, 20], np.float32),
        "from": np.array([0], np.int64),
        "to": np.array([1], np.int64),
        "axis": np.array([2], np.int64),
        "heads": np.array([1], np.int64),
    }
    return helper.make_graph(
        nodes,
        "decoder",
        [
            _value("inputs_embeds", TensorProto.FLOAT, [1, "t", count]),
            _value("attention_mask", TensorProto.INT64, [1, "all"]),
            _value("past_key_values.0.key", TensorProto.FLOAT, [1, 1, "past", 1]),
        ],
        [
            _value("logits", TensorProto.FLOAT, [1, "t", count]),
            _value("present.0.key", TensorProto.FLOAT, [1, 1, "all", 1]),
        ],
        [_array(array, name) for name, array in constants.items()],
    )


def _array(array: np.ndarray[Any, Any], name: str = "") -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def _value(name: str, kind: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(path: Path, graph: onnx.GraphProto) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
