"""The language model of a bundle: a picture becomes image tokens, and these become a sentence of the grammar.

The fixed prompt before the picture never changes, so its KV cache is computed once at load and every sentence starts
from it. The rest of the prompt and a draft of the answer go through the decoder in one pass (shared.runtime.writing);
when the draft is right, that is the only one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared import mel, vocabulary
from shared.calibration import Calibration
from shared.preprocess import Preprocessing, prepare
from shared.runtime import grammar as grammars
from shared.runtime.decoder import open_decoder
from shared.runtime.draft import DRAFT_MOST, Drafter, Propose
from shared.runtime.execution import Execution
from shared.runtime.look import FEATURES
from shared.runtime.seen import Instruction, Observation
from shared.runtime.writing import Written, write

VISION, EMBED, DECODER, TOKENIZER = (
    "vision_encoder.onnx", "embed_tokens.onnx", "decoder_model_merged.onnx", "tokenizer.json",
)  # fmt: skip
MOST_TOKENS = 16  # the longest sentence of the vocabulary has 8 words, 11 tokens with the starter's tokenizer


class LanguageModel:
    """Not thread-safe: one caller at a time."""

    def __init__(self, folder: Path, model: Mapping[str, Any], *, execution: Execution, in_place: bool = True) -> None:
        """model: of the manifest; in_place: False keeps the KV cache as before bundles had shared buffers.

        raises: KeyError, TypeError, ValueError where the manifest lacks something; whatever onnxruntime raises
        """
        self.preprocessing = Preprocessing.from_dict(model["preprocessing"])
        objects, sides = tuple(map(str, model["objects"])), tuple(map(str, model["sides"]))
        self._end_id = int(model["end_id"])
        before, after = list(map(int, model["before_ids"])), list(map(int, model["after_ids"]))
        self.frames = int(model.get("frames", 1))
        between = list(map(int, model.get("between_ids", ()))) if self.frames == 2 else []
        self._calibration = Calibration.from_dict(model.get("calibration", {}))
        self._vision = execution.session(folder / VISION)
        self._embed = _Embedding(execution.session(folder / EMBED))
        self._ear = execution.session(folder / mel.ENCODER) if (folder / mel.ENCODER).is_file() else None
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._grammar = grammars.build(self._tokenizer, self._end_id)
        self.drafter = Drafter(self._tokenizer, self._grammar, objects, sides)
        self.most_tokens = max(MOST_TOKENS, self._grammar.longest())
        self._before, self._between, self._after = (self._embed(ids) for ids in (before, between, after))
        self._embed.keep(self._grammar.tokens())
        shown = self.frames * self.tokens_shape[0]
        fixed = len(before) + len(between) + shown + len(after)
        self._decoder = open_decoder(
            execution.session(folder / DECODER, providers=execution.decoder_providers),
            capacity=fixed + self.most_tokens + DRAFT_MOST,
            wanted_most=1 + DRAFT_MOST,
            in_place=in_place,
        )
        self._decoder.run([self._before], wanted=1)

    def see(self, tile: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One pass of the vision encoder.

        tile: float32 [1, 3, s, s], as `preprocessing` makes it
        returns: image tokens [1, n, e] and hazard logits [1, objects, sides]
        """
        tokens, logits = self._vision.run(["image_features", "hazard_logits"], {"pixel_values": tile})
        return tokens, logits

    @property
    def tokens_shape(self) -> tuple[int, int]:
        """(image tokens, their width) of a picture."""
        item = next(item for item in self._vision.get_outputs() if item.name == "image_features")
        return int(item.shape[1]), int(item.shape[2])

    @property
    def hears(self) -> bool:
        return self._ear is not None

    @property
    def takes_features(self) -> bool:
        """Whether its vision encoder takes a look network's features instead of a picture."""
        return any(item.name == FEATURES for item in self._vision.get_inputs())

    def connect(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """A look's features [1, p, d] → image tokens [1, n, e]."""
        tokens: NDArray[np.float32] = self._vision.run(["image_features"], {FEATURES: features})[0]
        return tokens

    def hear(self, sound: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """float32 [n] 16 kHz, -1..1 → [1, 1, e], what is added to each image token; None = no sound, or it is deaf."""
        if sound is None or self._ear is None:
            return None
        _, bands, frames = self._ear.get_inputs()[0].shape
        features = mel.log_mel(sound, bands=bands, frames=frames)[None]
        audio: NDArray[np.float32] = self._ear.run(["audio_features"], {"input_features": features})[0]
        return audio

    def word(
        self,
        observation: Observation,
        *,
        constrained: bool = True,
        drafted: bool = True,
        most_tokens: int | None = None,
    ) -> Instruction:
        """Greedy decoding: the most probable token each time, until the end token.

        constrained: only tokens that the grammar allows; drafted: check likely phrases several tokens at a time, which
        changes the time it takes and nothing else; most_tokens: stop after so many
        """
        propose = self.drafter.proposer(observation.hazards) if drafted else lambda written: ()
        written = self.write(observation, propose, constrained=constrained, most_tokens=most_tokens)
        self.drafter.remember(tuple(written.ids))
        return self._instruction(written, constrained=constrained)

    def write(
        self, observation: Observation, propose: Propose, *, constrained: bool, most_tokens: int | None = None
    ) -> Written:
        """The tokens that `word` makes a sentence of, whatever `propose` drafts of them."""
        self._decoder.rewind(len(self._before))
        written = write(
            self._decoder,
            self._shown(observation),
            self._embed,
            propose,
            grammar=self._grammar if constrained else None,
            end_id=self._end_id,
            most=most_tokens or self.most_tokens,
        )
        self._decoder.rewind(len(self._before))
        return written

    def forget(self) -> None:
        """What was worded lately is no longer drafted from."""
        self.drafter.forget()

    def _shown(self, observation: Observation) -> list[NDArray[np.float32]]:
        """The prompt after its fixed beginning: float32 [k, e] parts."""
        image, earlier = self._pictures(observation)
        newest = image if observation.audio is None else image + observation.audio[0]
        if self.frames == 1:
            return [newest, self._after]
        return [image if earlier is None else earlier, self._between, newest, self._after]

    def _pictures(self, observation: Observation) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Image tokens [n, e] of the newest picture, and of the one before it: looked at now, where they were not."""
        if not observation.image_tokens.size:
            *earlier, newest = (self.see(prepare(picture, self.preprocessing))[0][0] for picture in observation.unseen)
            return newest, earlier[0] if earlier else None
        earlier_tokens = observation.earlier_tokens
        return observation.image_tokens[0], None if earlier_tokens is None else earlier_tokens[0]

    def _instruction(self, written: Written, *, constrained: bool) -> Instruction:
        text = self.text(written.ids)
        raw, grammatical = text, constrained or not vocabulary.problems(text)
        if written.refused is not None:
            wanted = [] if written.refused == self._end_id else [written.refused]
            raw, grammatical = self.text([*written.ids[: written.kept], *wanted]), False
        confidence = self._calibration.sentence(written.weakest)
        return Instruction(text, confidence, tuple(written.ids), raw, grammatical, written.passes)

    def text(self, ids: Sequence[int]) -> str:
        """What these tokens say."""
        return str(self._tokenizer.decode(list(ids))).strip()


class _Embedding:
    """Tokens → float32 [n, e]. Those of the grammar are looked up once."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._rows: dict[int, NDArray[np.float32]] = {}

    def keep(self, ids: Sequence[int]) -> None:
        """Remember the rows of these tokens."""
        self._rows.update(zip(ids, self(ids), strict=True))

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        if ids and all(token in self._rows for token in ids):
            return np.stack([self._rows[token] for token in ids])
        rows: NDArray[np.float32] = self._session.run(None, {"input_ids": np.array([list(ids)], np.int64)})[0][0]
        return rows
