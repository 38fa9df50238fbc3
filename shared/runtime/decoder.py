"""The decoder graph with its KV cache: `run` some embeddings after what is kept, `rewind` to forget the last of it.

Rules kept here:

1. A pass never has a single row. onnxruntime multiplies one row with other kernels than several, and after int8
   rounding the logits differ by up to 0.05; from two rows on they are equal to the bit, however a text is cut into
   passes. So drafted decoding equals plain greedy decoding exactly (docs/adr/0024).
2. In place: past and present are one buffer, bound once; inputs and logits are views of buffers made at load. Nothing
   is copied or allocated per token. Needs a graph with `logits_to_keep` (exporters.onnx.lean), on the processor.
3. Other graphs, and other providers, get a cache that grows by copying: slower, with the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

KEEP = "logits_to_keep"
ROWS_MIN = 2

Rows = Sequence[NDArray[np.float32]]


class Decoder(Protocol):
    """Not thread-safe."""

    @property
    def kept(self) -> int:
        """Positions in the cache."""
        ...

    def run(self, rows: Rows, *, wanted: int) -> NDArray[np.float32]:
        """Append embeddings to what is kept.

        rows: float32 [k, e] parts of one text, at least one row in all; wanted: how many of the last rows' logits
        returns: float32 [wanted, vocabulary], valid until the next run
        """
        ...

    def rewind(self, kept: int) -> None:
        """Forget all positions from `kept` on."""
        ...


class InPlaceDecoder:
    """Past and present share buffers of a fixed capacity."""

    def __init__(self, session: onnxruntime.InferenceSession, *, capacity: int, wanted_most: int) -> None:
        """capacity: positions; wanted_most: rows of logits of one run at most."""
        self._session, self._kept = session, 0
        caches = [item for item in session.get_inputs() if "past_key_values" in item.name]
        outputs = session.get_outputs()
        width = int(next(item for item in session.get_inputs() if item.name == "inputs_embeds").shape[2])
        room = capacity + ROWS_MIN  # a single row is doubled
        self._binding = session.io_binding()
        self._buffers = []
        for item, output in zip(caches, outputs[1:], strict=True):
            value = _value(np.zeros((1, int(item.shape[1]), room, int(item.shape[3])), np.float32))
            self._binding.bind_ortvalue_input(item.name, value)
            self._binding.bind_ortvalue_output(output.name, value)
            self._buffers.append(value)
        self._embeds = np.zeros((1, room, width), np.float32)
        self._logits = np.zeros((1, wanted_most + 1, int(outputs[0].shape[2])), np.float32)
        self._ones = np.ones((1, room), np.int64)
        self._views: dict[tuple[str, int], Any] = {}

    @property
    def kept(self) -> int:
        return self._kept

    def run(self, rows: Rows, *, wanted: int) -> NDArray[np.float32]:
        at = 0
        for part in rows:
            self._embeds[0, at : at + len(part)] = part
            at += len(part)
        count, asked = at, wanted
        if count < ROWS_MIN:
            self._embeds[0, count:ROWS_MIN] = self._embeds[0, count - 1]
            asked, at = wanted + ROWS_MIN - count, ROWS_MIN
        binding = self._binding
        binding.bind_ortvalue_input("inputs_embeds", self._view("embeds", at))
        binding.bind_ortvalue_input("attention_mask", self._view("ones", self._kept + at))
        binding.bind_ortvalue_input(KEEP, self._view("keep", asked))
        binding.bind_ortvalue_output("logits", self._view("logits", asked))
        self._session.run_with_iobinding(binding)
        self._kept += count
        return self._logits[0, :wanted]

    def rewind(self, kept: int) -> None:
        self._kept = min(self._kept, kept)

    def _view(self, name: str, count: int) -> Any:
        """An OrtValue over the first `count` rows of a buffer."""
        if (name, count) not in self._views:
            buffers: dict[str, NDArray[Any]] = {"embeds": self._embeds, "ones": self._ones, "logits": self._logits}
            array = np.array([count], np.int64) if name == "keep" else buffers[name][:, :count]
            self._views[name, count] = _value(array)
        return self._views[name, count]


class GrowingDecoder:
    """A cache that each run copies and lengthens."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = {item.name for item in session.get_inputs()}
        self._names = [item.name for item in session.get_inputs() if "past_key_values" in item.name]
        shapes = [item.shape for item in session.get_inputs() if "past_key_values" in item.name]
        self._past = [np.zeros((1, int(shape[1]), 0, int(shape[3])), np.float32) for shape in shapes]

    @property
    def kept(self) -> int:
        return int(self._past[0].shape[2])

    def run(self, rows: Rows, *, wanted: int) -> NDArray[np.float32]:
        embeds = np.concatenate(rows)[None]
        start, count, asked = self.kept, embeds.shape[1], wanted
        if count < ROWS_MIN:
            embeds = np.concatenate([embeds] + [embeds[:, -1:]] * (ROWS_MIN - count), axis=1)
            asked += ROWS_MIN - count
        end = start + embeds.shape[1]
        feed: dict[str, Any] = {"inputs_embeds": embeds, "attention_mask": np.ones((1, end), np.int64)}
        if "position_ids" in self._inputs:
            feed["position_ids"] = np.arange(start, end, dtype=np.int64)[None]
        if KEEP in self._inputs:
            feed[KEEP] = np.array([asked], np.int64)
        logits, *self._past = self._session.run(None, feed | dict(zip(self._names, self._past, strict=True)))
        self.rewind(start + count)
        chosen: NDArray[np.float32] = logits[0, logits.shape[1] - asked :][:wanted]
        return chosen

    def rewind(self, kept: int) -> None:
        if kept < self.kept:
            self._past = [np.ascontiguousarray(item[:, :, :kept]) for item in self._past]


def open_decoder(
    session: onnxruntime.InferenceSession, *, capacity: int, wanted_most: int, in_place: bool = True
) -> Decoder:
    """The fastest cache that the graph and its provider allow; in_place=False: the growing one."""
    lean = any(item.name == KEEP for item in session.get_inputs())
    if in_place and lean and session.get_providers() == ["CPUExecutionProvider"]:
        return InPlaceDecoder(session, capacity=capacity, wanted_most=wanted_most)
    return GrowingDecoder(session)


def _value(array: NDArray[Any]) -> Any:
    """An OrtValue on the array's own memory."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
