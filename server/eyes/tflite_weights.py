"""Weights of an SSD MobileNetV2 out of a TensorFlow Lite file, by the names that TensorFlow gave them.

Only constants are read: half-precision weights and folded biases. The graph itself is `ssd_mobilenet`: nothing in the
file decides what is computed. A file that lacks a weight, has one of another shape or is no such file at all is refused
whole.

source: schema.fbs of TensorFlow Lite, in the Python classes that the `tflite` package has of it
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.eyes.ssd_mobilenet import BLOCKS, EXTRAS, SsdMobileNet
from shared.errors import BundleError

MAX_TENSORS = 4096  # the real one has 389; a false count must not become a long loop
_BACKBONE = "FeatureExtractor/MobilenetV2"
_KIND = re.compile(r"/(Conv2D|BiasAdd|BatchNorm/FusedBatchNormV3)$")


def state_dict(model: bytes) -> dict[str, Tensor]:
    """The state of an SsdMobileNet, float32.

    model: a TensorFlow Lite file whose weights are half precision and whose batch norms are folded
    raises: BundleError where it is no such file, or a weight is missing, doubled, of another shape or not finite
    """
    try:
        found = _by_scope(model)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        # What flatbuffers and numpy raise for offsets and lengths that lead astray.
        raise BundleError(f"the detector's weights are not a whole TensorFlow Lite file ({error}).") from error
    with torch.device("meta"):
        wanted = SsdMobileNet().state_dict()
    return {name: _fitted(found, name, tuple(like.shape)) for name, like in wanted.items()}


def _fitted(found: dict[tuple[str, int], NDArray[np.float16]], name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor for one name of the state dict. Raises: BundleError."""
    layer, _, _ = name.rpartition(".")
    scope = _scopes()[layer.removesuffix(".conv")]
    array = found.get((scope, len(shape)))
    if array is None:
        raise BundleError(f"the detector's weights lack {name} ({scope}).")
    if array.ndim == 4:  # OHWI, by channel 1HWC → OIHW
        array = array.transpose((3, 0, 1, 2) if scope.endswith("/depthwise") else (0, 3, 1, 2))
    if array.shape != shape:
        raise BundleError(f"the detector's weight {name} ({scope}) is {array.shape}, not {shape}.")
    if not np.isfinite(array).all():
        raise BundleError(f"the detector's weight {name} ({scope}) has values that are no numbers.")
    return torch.from_numpy(array.astype(np.float32, order="C"))


def _scopes() -> dict[str, str]:
    """Layer of SsdMobileNet → what TensorFlow calls it."""
    scopes = {"stem": f"{_BACKBONE}/Conv", "head": f"{_BACKBONE}/Conv_1"}
    for block in range(BLOCKS):
        for part in ("expand", "depthwise", "project"):
            scopes[f"blocks.{block}.{part}"] = f"{_BACKBONE}/expanded_conv{f'_{block}' if block else ''}/{part}"
    for extra, (narrow, wide) in enumerate(EXTRAS):
        scopes[f"extras.{extra}.0"] = f"{_BACKBONE}/layer_19_1_Conv2d_{extra + 2}_1x1_{narrow}"
        scopes[f"extras.{extra}.1"] = f"{_BACKBONE}/layer_19_2_Conv2d_{extra + 2}_3x3_s2_{wide}"
    for layer in range(len(EXTRAS) + 2):
        scopes[f"box_heads.{layer}"] = f"BoxPredictor_{layer}/BoxEncodingPredictor"
        scopes[f"class_heads.{layer}"] = f"BoxPredictor_{layer}/ClassPredictor"
    return scopes


def _by_scope(model: bytes) -> dict[tuple[str, int], NDArray[np.float16]]:
    """The half-precision constants by (scope, number of dimensions): 4 = weight, 1 = bias."""
    found: dict[tuple[str, int], NDArray[np.float16]] = {}
    for name, array in _constants(model):
        # The converter joins the names of what it merged with ";": the first is the constant's own.
        key = _KIND.sub("", name.split(";")[0]), array.ndim
        if key in found:
            raise ValueError(f"{key[0]} is there twice")
        found[key] = array
    return found


def _constants(model: bytes) -> Iterator[tuple[str, NDArray[np.float16]]]:
    if not tflite.Model.ModelBufferHasIdentifier(model, 0):
        raise ValueError("it does not begin as one")
    root = tflite.Model.GetRootAsModel(model, 0)
    graph = root.Subgraphs(0)
    if graph.TensorsLength() > MAX_TENSORS:
        raise ValueError(f"{graph.TensorsLength()} tensors")
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        data = root.Buffers(tensor.Buffer())
        if tensor.Type() == tflite.TensorType.FLOAT16 and data.DataLength():
            shape = tuple(int(side) for side in tensor.ShapeAsNumpy())
            yield tensor.Name().decode(), data.DataAsNumpy().view("<f2").reshape(shape)
