"""The plain way to decode, for comparison: no cache, no draft, the whole prompt through the decoder for each token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared import bundle, vocabulary
from shared.runtime import Observation
from shared.runtime.decoder import KEEP
from shared.runtime.language import DECODER, EMBED, MOST_TOKENS, TOKENIZER

Allowed = Callable[[Sequence[int]], Collection[int]]


class WholePrompt:
    """A bundle's graphs, used without shared.runtime."""

    def __init__(self, folder: Path) -> None:
        self.manifest = bundle.read_manifest(folder).model
        self.embed = onnxruntime.InferenceSession(str(folder / EMBED))
        self.decoder = onnxruntime.InferenceSession(str(folder / DECODER))

    def answer(self, observation: Observation, allowed: Allowed | None = None) -> tuple[int, ...]:
        """Greedy; with `allowed` the best of the tokens that it names for what is written so far."""
        ids: list[int] = []
        while len(ids) < MOST_TOKENS:
            parts = [self._embedded("before_ids"), observation.image_tokens, self._embedded("after_ids", ids)]
            logits = self._logits(np.concatenate(parts, axis=1))
            if allowed is not None:
                masked = np.full_like(logits, -np.inf)
                masked[list(allowed(ids))] = logits[list(allowed(ids))]
                logits = masked
            token = int(logits.argmax())
            if token == self.manifest["end_id"]:
                break
            ids.append(token)
        return tuple(ids)

    def _embedded(self, name: str, more: Sequence[int] = ()) -> NDArray[np.float32]:
        ids = np.array([[*self.manifest[name], *more]], np.int64)
        embeds: NDArray[np.float32] = self.embed.run(None, {"input_ids": ids})[0]
        return embeds

    def _logits(self, embeds: NDArray[np.float32]) -> NDArray[np.float32]:
        feed = {"inputs_embeds": embeds, "attention_mask": np.ones(embeds.shape[:2], np.int64), KEEP: np.array([1])}
        for item in self.decoder.get_inputs():
            if "past_key_values" in item.name:
                feed[item.name] = np.zeros((1, int(item.shape[1]), 0, int(item.shape[3])), np.float32)
        logits: NDArray[np.float32] = self.decoder.run(["logits"], feed)[0][0, -1]
        return logits


def sentences() -> list[str]:
    """Every sentence of the grammar, written out."""
    return [*vocabulary.sayable(), vocabulary.CLEAR]


class Listed:
    """The grammar as a list: each sentence tokenised whole, each beginning with the tokens that may follow."""

    def __init__(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self.end_id = int(bundle.read_manifest(folder).model["end_id"])
        self.after: dict[tuple[int, ...], set[int]] = {}
        self.spelt = [
            (*found.ids, self.end_id)
            for found in tokenizer.encode_batch([f" {text}" for text in sentences()], add_special_tokens=False)
        ]
        for ids in self.spelt:
            for at, token in enumerate(ids):
                self.after.setdefault(ids[:at], set()).add(token)

    def __call__(self, ids: Sequence[int]) -> Collection[int]:
        return self.after[tuple(ids)]
