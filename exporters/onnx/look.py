"""A detector becomes look.onnx, the graph that runs at every look (shared.runtime.look), in float32 or int8.

Static quantisation (QDQ): a convolution's input needs a scale that is known beforehand, found on pictures that the
caller gives. Convolutions become int8, with the ReLU6 behind them; additions stay in float32: those that decode boxes
would round corners to 256 places, and those of residuals take as long either way. Of any other
backbone than the packaged one the matrix products become int8 too, each by its own scale at every look.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from transformers.exporters.configs import OnnxConfig

from exporters.onnx.graphs import write_graph
from exporters.onnx.quantise import quantise_vision
from exporters.onnx.quiet import quiet
from shared.preprocess import Preprocessing, prepare
from shared.runtime.look import BOX_SCORES, BOXES, FEATURES
from shared.sight import BoxScoring

Pictures = Sequence[NDArray[np.uint8]]
ALIKE_LEAST = 0.95
"""Mean cosine of int8 features to those in float32 on drawn pictures, below which an int8 backbone is not used."""
_COMPARED = 12


class Looks(Protocol):
    """What look.onnx is made from."""

    @property
    def graph(self) -> nn.Module:
        """pixel_values [b, 3, s, s] → the outputs of look.onnx, by name"""

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def names(self) -> Sequence[str | None]:
        """What each class of its boxes is called; empty = it gives no boxes"""

    @property
    def scoring(self) -> BoxScoring: ...

    @property
    def precise(self) -> Sequence[str]:
        """Modules that stay in float32 where the rest becomes int8."""


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
    def graph(self) -> nn.Module:
        return _Look(self.network)

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

    graph: nn.Module
    """pixel_values [b, 3, s, s] → the outputs of look.onnx by name"""
    preprocessing: Preprocessing
    pictures: Pictures
    """What the int8 scales are found on."""
    names: Sequence[str | None] = ()
    """[classes]: what each class of its boxes is called here; empty = it gives none"""
    scoring: BoxScoring = field(default_factory=BoxScoring)
    precise: Sequence[str] = ()
    """Its modules that stay in float32 where the rest becomes int8."""
    any_backbone: bool = False
    """Nobody measured this network in int8: its matrix products become int8 as well, and where that fails, or its
    features become others, it stays in float32."""
    notice: str = ""
    """Whose weights these are and under which licence; travels as NOTICE.txt."""


def write_look(what: Looks, file: Path) -> None:
    """Write look.onnx in float32. Raises: OSError."""
    size = what.preprocessing.size_px
    with quiet():
        pixels = {"pixel_values": torch.zeros(1, 3, size, size)}
        write_graph(what.graph, pixels, OnnxConfig(ort_fusions="cpu"), file)


def described(what: Looks) -> dict[str, Any]:
    """The manifest's `model["look"]`."""
    return {"preprocessing": what.preprocessing.to_dict(), "names": list(what.names), "scoring": what.scoring.to_dict()}


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    def __init__(self, pictures: Pictures, preprocessing: Preprocessing) -> None:
        self._rest: Iterator[NDArray[np.uint8]] = iter(pictures)
        self._preprocessing = preprocessing

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        picture = next(self._rest, None)
        return None if picture is None else {"pixel_values": prepare(picture, self._preprocessing)}


def quantise_look(source: Path, target: Path, what: Looks, pictures: Pictures) -> None:
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


def quantise_any(source: Path, target: Path, what: Seeing) -> str:
    """Int8 convolutions and matrix products of a network that nobody measured so; it stays in float32 where it must.

    source: look.onnx of `what` in float32
    returns: why it stayed in float32, "" = it is int8
    raises: OSError
    """
    half = target.with_suffix(".half.onnx")
    try:
        # A transformer's one convolution cuts the picture into patches: it takes no time worth a rounding.
        convolutions = sum(node.op_type == "Conv" for node in onnx.load(source).graph.node)
        if convolutions > 1:
            quantise_look(source, half, what, what.pictures)
        quantise_vision(half if convolutions > 1 else source, target)
        alike = _alike(source, target, what)
        why = "" if alike >= ALIKE_LEAST else f"in int8 its features are others (cosine {alike:.2f})"
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  the quantisers and onnxruntime raise many kinds for a graph that they cannot take
        why = f"it cannot become int8 ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    for left in target.parent.glob(f"{target.stem}.*.onnx"):
        left.unlink()
    if why:
        shutil.copyfile(source, target)
    return why


def _alike(source: Path, target: Path, what: Seeing) -> float:
    """Mean cosine of the features of both graphs, place by place."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    full, small = (
        onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for file in (source, target)
    )
    found = list[float]()
    for picture in what.pictures[:_COMPARED]:
        pixels = {"pixel_values": prepare(picture, what.preprocessing)}
        a, b = (session.run([FEATURES], pixels)[0][0] for session in (full, small))
        found.append(float(((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))).mean()))
    return float(np.nan_to_num(np.mean(found), nan=-1.0))


def _convolutions(model: onnx.ModelProto, modules: Sequence[str]) -> list[str]:
    """The names of the convolutions of some modules of a detector: their weights keep its names, behind some prefix."""
    weights = {node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    found = {module: [at for at, name in weights.items() if f".{module}." in name] for module in modules}
    if missing := [module for module, names in found.items() if not names]:
        raise ValueError(f"the detector has no convolution in {', '.join(missing)}")
    return [name for names in found.values() for name in names]
