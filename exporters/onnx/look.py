"""A detector becomes look.onnx, the graph that runs at every look (shared.runtime.look), in float32 or int8.

Static quantisation (QDQ): a convolution's input needs a scale that is known beforehand, found on pictures that the
caller gives. Convolutions become int8, with the ReLU6 behind them; additions stay in float32: those that decode boxes
would round corners to 256 places, and those of residuals take as long either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from transformers.exporters.configs import OnnxConfig

from exporters.onnx.graphs import write_graph
from exporters.onnx.quiet import quiet
from shared.preprocess import Preprocessing, prepare
from shared.runtime.look import BOX_SCORES, BOXES
from shared.sight import BoxScoring

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Detector:
    """All that a bundle of eyes alone is made from."""

    network: nn.Module
    """[b, 3, s, s] → an object with `boxes` [b, n, 4] and `class_logits` [b, n, classes]"""
    preprocessing: Preprocessing
    names: Sequence[str | None]
    """[classes]: what each class is called here; None = nothing is said about it"""
    scoring: BoxScoring = field(default_factory=BoxScoring)
    precise: Sequence[str] = ()
    """Its modules that stay in float32 where the rest becomes int8."""

    @property
    def objects(self) -> list[str]:
        """What it can see."""
        return sorted(set(filter(None, self.names)))


class _Look(nn.Module):
    """A detector with the names and forms of look.onnx."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector, self.config = detector, None

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        seen = self.detector(pixel_values)
        return {BOXES: seen.boxes, BOX_SCORES: seen.class_logits.sigmoid()}


@dataclass(frozen=True, slots=True)
class Seeing:
    """A look network with heads: what a language model is given beside its own graphs."""

    network: nn.Module
    """pixel_values [b, 3, s, s] → the outputs of look.onnx by name; the detector is its attribute `detector`"""
    detector: Detector
    pictures: Pictures
    """What the int8 scales are found on."""


def write_look(what: Detector, file: Path, *, seeing: nn.Module | None = None) -> None:
    """Write look.onnx in float32. seeing: a network with heads around the detector. Raises: OSError."""
    size = what.preprocessing.size_px
    with quiet():
        pixels = {"pixel_values": torch.zeros(1, 3, size, size)}
        write_graph(seeing or _Look(what.network), pixels, OnnxConfig(ort_fusions="cpu"), file)


def described(what: Detector) -> dict[str, Any]:
    """The manifest's `model["look"]`."""
    return {"preprocessing": what.preprocessing.to_dict(), "names": list(what.names), "scoring": what.scoring.to_dict()}


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    def __init__(self, pictures: Pictures, preprocessing: Preprocessing) -> None:
        self._rest: Iterator[NDArray[np.uint8]] = iter(pictures)
        self._preprocessing = preprocessing

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        picture = next(self._rest, None)
        return None if picture is None else {"pixel_values": prepare(picture, self._preprocessing)}


def quantise_look(source: Path, target: Path, what: Detector, pictures: Pictures) -> None:
    """Int8 convolutions, per channel, but for `what.precise`; everything else stays in float32.

    source: look.onnx of `what` in float32
    raises: OSError; ValueError where a module that should stay precise has no convolution
    """
    prepared = target.with_suffix(".prepared.onnx")
    with quiet():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Calibration(pictures, what.preprocessing),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Clip"],
            nodes_to_exclude=_convolutions(onnx.load(prepared), what.precise),
        )
    onnx.checker.check_model(str(target))
    prepared.unlink()


def _convolutions(model: onnx.ModelProto, modules: Sequence[str]) -> list[str]:
    """The names of the convolutions of some modules of a detector: their weights keep its names, behind some prefix."""
    weights = {node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    found = {module: [at for at, name in weights.items() if f".{module}." in name] for module in modules}
    if missing := [module for module, names in found.items() if not names]:
        raise ValueError(f"the detector has no convolution in {', '.join(missing)}")
    return [name for names in found.values() for name in names]
