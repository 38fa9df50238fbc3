"""A bundle, loaded.

    look(picture)      one vision pass → image tokens + hazard scores
    word(observation)  greedy decoding from the image tokens → one sentence

The fixed prompt before the picture never changes, so its KV cache is computed once at load and every sentence starts
from it (24 of SmolVLM's 40 prompt tokens are left to prefill).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared import bundle
from shared.errors import BundleError
from shared.preprocess import Preprocessing, fit_tile, normalise
from shared.runtime.seen import Hazard, Instruction, Observation

VISION, EMBED, DECODER, TOKENIZER = (
    "vision_encoder.onnx", "embed_tokens.onnx", "decoder_model_merged.onnx", "tokenizer.json",
)  # fmt: skip
MOST_TOKENS = 16  # the longest sentence of the vocabulary has 8 words, 12 tokens at most


class GuidanceModel:
    """Not thread-safe: one caller at a time."""

    def __init__(self, folder: Path, manifest: bundle.Manifest, *, threads: int) -> None:
        self.manifest = manifest
        model = manifest.model
        try:
            self._preprocessing = Preprocessing.from_dict(model["preprocessing"])
            self._objects = tuple(str(name) for name in model["objects"])
            self._sides = tuple(str(name) for name in model["sides"])
            self._end_id = int(model["end_id"])
            before, after = np.array([model["before_ids"]], np.int64), np.array([model["after_ids"]], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"Model {manifest.version}: its manifest lacks what the runtime needs ({error!r}).",
                hint="Export it again with this version of waycue.",
            ) from error
        self._vision = _session(folder / VISION, threads)
        self._embed = _session(folder / EMBED, threads)
        self._decoder = _session(folder / DECODER, threads)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._pasts = [item for item in self._decoder.get_inputs() if "past_key_values" in item.name]
        self._after = self._embedded(after)
        empty = [np.zeros((1, int(p.shape[1]), 0, int(p.shape[3])), np.float32) for p in self._pasts]
        _, self._prefix = self._decode(self._embedded(before), empty)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 2, allow_demo: bool = False) -> GuidanceModel:
        """Verify every byte of a bundle and load it.

        raises: BundleError where it is incomplete, altered, not loadable, or meant for demonstrations only.
        """
        manifest = bundle.verify(folder)
        if manifest.intended_use == "demo" and not allow_demo:
            raise BundleError(
                f"Model {manifest.version} is a demonstration model, trained on drawn pictures: it must not guide.",
                hint="Install a field model, or pass --allow-demo-model to try it in a safe place.",
            )
        try:
            return cls(folder, manifest, threads=threads)
        except BundleError:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise many kinds for a bad file
            raise BundleError(
                f"Model {manifest.version} could not be loaded: {error}",
                hint="Export it again, or offer another version.",
            ) from error

    def look(self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None) -> Observation:
        """One vision pass.

        image: uint8 [h, w, 3] RGB, any size
        sound: float32 [n] 16 kHz, used by bundles with an audio encoder; none has one yet
        raises: MediaError where the array is no picture
        """
        del sound
        tile = fit_tile(image, self._preprocessing)
        pixels = normalise(tile, self._preprocessing)[None]
        tokens, logits = self._vision.run(["image_features", "hazard_logits"], {"pixel_values": pixels})
        scores = 1.0 / (1.0 + np.exp(-logits[0].astype(np.float64)))
        hazards = [
            Hazard(name, side, float(scores[row, column]))
            for row, name in enumerate(self._objects)
            for column, side in enumerate(self._sides)
        ]
        hazards.sort(key=lambda hazard: -hazard.score)
        return Observation(tokens, tuple(hazards), float(tile.mean() / 255), float(tile.std() / 255))

    def word(self, observation: Observation) -> Instruction:
        """Greedy decoding: the most probable token each time, until the end token."""
        inputs = np.concatenate([observation.image_tokens, self._after], axis=1)
        past, ids, weakest = self._prefix, [], 1.0
        for _ in range(MOST_TOKENS):
            logits, past = self._decode(inputs, past)
            token, probability = _best(logits[0, -1])
            weakest = min(weakest, probability)
            if token == self._end_id:
                break
            ids.append(token)
            inputs = self._embedded(np.array([[token]], np.int64))
        text = str(self._tokenizer.decode(ids)).strip()
        return Instruction(text, weakest, tuple(ids))

    def _embedded(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        embeds: NDArray[np.float32] = self._embed.run(None, {"input_ids": ids})[0]
        return embeds

    def _decode(
        self, embeds: NDArray[np.float32], past: list[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        start, count = past[0].shape[2], embeds.shape[1]
        feed: dict[str, Any] = {
            "inputs_embeds": embeds,
            "attention_mask": np.ones((1, start + count), np.int64),
            "position_ids": np.arange(start, start + count, dtype=np.int64)[None],
        }
        feed.update({item.name: value for item, value in zip(self._pasts, past, strict=True)})
        logits, *present = self._decoder.run(None, feed)
        return logits, present


def _session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads starve the recorder
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _best(logits: NDArray[np.float32]) -> tuple[int, float]:
    token = int(logits.argmax())
    shifted = np.exp(logits - logits[token])
    return token, float(1.0 / shifted.sum())
