"""A bundle, loaded.

    look(picture)      one pass of the look network, or of the vision encoder where there is none → hazard scores, boxes
    word(observation)  one sentence of the vocabulary: the language model's, or the table's where there is none
                       or where it would guess: a picture far from all that it was taught on

A bundle has a look network, a language model, or both. Where the look network scores hazards, the language model's
vision encoder runs only when something is to be worded; where it takes the look's features, a picture is seen once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared import bundle, vocabulary
from shared.calibration import Calibration
from shared.errors import BundleError, WaycueError
from shared.preprocess import fit_tile, normalise
from shared.runtime.adapter import WearerAdapter
from shared.runtime.execution import Execution
from shared.runtime.language import LanguageModel
from shared.runtime.look import DOUBT, FAR_FROM, LOOK, NEAR_BELOW, Look, LookNetwork
from shared.runtime.seen import Hazard, Instruction, Observation
from shared.sight import Box, Camera, View

NOT_LOOKED = np.zeros((1, 0, 0), np.float32)


class GuidanceModel:
    """Not thread-safe: one caller at a time."""

    def __init__(
        self,
        folder: Path,
        manifest: bundle.Manifest,
        *,
        execution: Execution,
        camera: Camera | Callable[[], Camera] | None = None,
        in_place: bool = True,
    ) -> None:
        """camera: where it is worn, for the distances of boxes, or what tells that at each look; in_place: as
        LanguageModel takes it"""
        self.manifest = manifest
        self._execution = execution
        model = manifest.model
        try:
            objects, sides = tuple(map(str, model["objects"])), tuple(map(str, model["sides"]))
            self._pairs = tuple(product(objects, sides))
            self._calibration = Calibration.from_dict(model.get("calibration", {}))
            self._looks = LookNetwork.open(folder, model, execution, _worn(camera)) if _has(folder, LOOK) else None
            self._language: LanguageModel | None = None
            if self._looks is None or "end_id" in model:
                self._language = LanguageModel(folder, model, execution=execution, in_place=in_place)
                if self._language.takes_features and not (self._looks and self._looks.gives_features):
                    raise ValueError("its vision encoder takes features, which no look network gives")
            self._adapter = self._adapter_in(folder, pairs=(len(objects), len(sides)))
        except (KeyError, TypeError, ValueError) as error:
            what = (
                f"its manifest lacks {error}" if isinstance(error, KeyError) else f"it does not fit together ({error})"
            )
            raise BundleError(
                f"Model {manifest.version}: {what}.", hint="Export it again with this version of waycue."
            ) from error

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        threads: int = 2,
        allow: frozenset[str] = bundle.FOR_WALKS,
        allow_demo: bool = False,
        execution: Execution | None = None,
        camera: Camera | Callable[[], Camera] | None = None,
    ) -> GuidanceModel:
        """Verify every byte of a bundle and load it.

        allow: the intended uses that may be loaded; allow_demo: the same as allow=bundle.FOR_JUDGING
        execution: how its graphs run; by default on the processor with `threads`
        camera: where it is worn, or what tells it at each look; by default as shared.sight.Camera says
        raises: BundleError where it is incomplete, altered, not loadable, or meant for something else; ConfigError
        where this machine has not what `execution` asks for
        """
        manifest = bundle.verify(folder)
        bundle.check_vocabulary(manifest)
        bundle.check_use(manifest, bundle.FOR_JUDGING if allow_demo else allow)
        chosen = execution or Execution(threads)
        chosen.check()
        try:
            return cls(folder, manifest, execution=chosen, camera=camera)
        except WaycueError:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise many kinds for a bad file
            raise BundleError(
                f"Model {manifest.version} could not be loaded: {error}",
                hint="Export it again, or offer another version.",
            ) from error

    @property
    def language(self) -> LanguageModel:
        """What writes sentences. Raises: BundleError for a bundle that has none."""
        if self._language is None:
            raise BundleError(
                f"Model {self.manifest.version} has no decoder: its sentences are the table's.",
                hint="Use a bundle with a language model.",
            )
        return self._language

    def _adapter_in(self, folder: Path, *, pairs: tuple[int, int]) -> WearerAdapter | None:
        """Raises: ValueError where it does not fit."""
        adapter = WearerAdapter.open(folder, self._execution, pairs=pairs)
        if adapter is not None and not self.shows_tokens:
            raise ValueError("its adapter needs image tokens at each look, which it does not make")
        return adapter

    @property
    def shows_tokens(self) -> bool:
        """Whether each look makes image tokens: what an adapter of a wearer works on."""
        if self._language is None or self._looks is None:
            return self._language is not None
        return self._language.takes_features or not self._looks.gives_hazards

    def look(
        self, image: NDArray[np.uint8], sound: NDArray[np.float32] | None = None, *, before: Observation | None = None
    ) -> Observation:
        """One look.

        image: uint8 [h, w, 3] RGB, any size
        sound: float32 [n] 16 kHz, -1..1: the last two seconds; used by bundles with an audio encoder
        before: the look before this one; bundles with two frames show its picture too, without computing it again
        raises: MediaError where the array is no picture or no sound
        """
        self._execution.keep_this_thread()
        audio = None if self._language is None else self._language.hear(sound)
        if self._looks is None:
            return self._seen_by_language(image, (), audio, before)
        seen, tokens = self._tokens(self._looks.run(image))
        limit = NEAR_BELOW if before is not None and before.far else FAR_FROM
        far = seen.distance is not None and seen.distance >= limit
        logits, boxes = _witnesses(seen, far=far)
        view = self._view(image) if seen.distance is None or far else None
        if seen.hazards is None and self._language is not None:
            return self._seen_by_language(image, seen.boxes, audio, before)
        shown = self._language is not None and before is not None and self._language.frames == 2
        earlier = before if shown else None
        unseen = () if tokens.size else (*(earlier.unseen[-1:] if earlier else ()), image)
        return Observation(
            tokens,
            self._hazards(logits, boxes, image),
            *_light(seen.tile),
            audio=audio,
            earlier_tokens=earlier.image_tokens if earlier and tokens.size else None,
            boxes=seen.boxes,
            view=view,
            by_head=self._by_head(logits) if view is not None else (),
            unseen=unseen,
            ground=seen.ground,
            far=far,
        )

    def _tokens(self, seen: Look) -> tuple[Look, NDArray[np.float32]]:
        """What a look's features are to the decoder, and the look as the wearer's adapter has it."""
        if self._language is None or seen.features is None or not self._language.takes_features:
            return seen, NOT_LOOKED
        tokens = self._language.connect(seen.features)
        if self._adapter is None or seen.hazards is None:
            return seen, tokens
        tokens, hazards = self._adapter(tokens, seen.hazards)
        return replace(seen, hazards=hazards), tokens

    def _seen_by_language(
        self,
        image: NDArray[np.uint8],
        boxes: tuple[Box, ...],
        audio: NDArray[np.float32] | None,
        before: Observation | None,
    ) -> Observation:
        language = self.language
        tile = fit_tile(image, language.preprocessing)
        tokens, logits = language.see(normalise(tile, language.preprocessing)[None])
        if self._adapter is not None:
            tokens, logits = self._adapter(tokens, logits)
        earlier = before.image_tokens if before is not None and language.frames == 2 else None
        hazards, view = self._hazards(logits, boxes, image), self._view(image)
        by_head = self._by_head(logits) if view is not None else ()
        return Observation(tokens, hazards, *_light(tile), audio, earlier, boxes, view, by_head)

    def _view(self, image: NDArray[np.uint8]) -> View | None:
        looks = self._looks
        return None if looks is None or not looks.gives_boxes else looks.view(aspect=image.shape[1] / image.shape[0])

    def _by_head(self, logits: NDArray[np.float32] | None) -> tuple[Hazard, ...]:
        if logits is None:
            return ()
        scores = self._calibration.hazards(logits[0]).ravel()
        return tuple(Hazard(name, side, float(score)) for (name, side), score in zip(self._pairs, scores, strict=True))

    def _hazards(
        self, logits: NDArray[np.float32] | None, boxes: tuple[Box, ...], image: NDArray[np.uint8]
    ) -> tuple[Hazard, ...]:
        """Every pair, most certain first: what the head and the boxes say of it, whichever is surer."""
        scores = np.zeros(len(self._pairs)) if logits is None else self._calibration.hazards(logits[0]).ravel()
        if boxes and self._looks is not None:
            stand = self._looks.scored(boxes, aspect=image.shape[1] / image.shape[0])
            scores = np.fmax(scores, [stand.get(pair, 0.0) for pair in self._pairs])
        order = np.argsort(-scores, kind="stable")
        return tuple(Hazard(name, side, float(scores[at])) for at in order for name, side in (self._pairs[at],))

    def word(
        self,
        observation: Observation,
        *,
        constrained: bool = True,
        drafted: bool = True,
        most_tokens: int | None = None,
    ) -> Instruction:
        """One sentence. Without a language model it is the table's for the most urgent thing above the threshold.

        constrained, drafted, most_tokens: as LanguageModel.word takes them
        """
        if self._language is None or observation.far:
            return self._from_table(observation)
        return self._language.word(observation, constrained=constrained, drafted=drafted, most_tokens=most_tokens)

    def _from_table(self, observation: Observation) -> Instruction:
        above = self.manifest.thresholds.get("hazard_above", 0.5)
        there = [hazard for hazard in observation.hazards if hazard.score >= above]
        if not there:
            surest = max((hazard.score for hazard in observation.hazards), default=0.0)
            return Instruction(vocabulary.CLEAR, 1.0 - surest, (), vocabulary.CLEAR)
        first = min(there, key=lambda hazard: vocabulary.tier(vocabulary.Slots("", hazard.object, hazard.side)))
        text = vocabulary.instruct(first.object, first.side)
        return Instruction(text, first.score, (), text)


def _witnesses(seen: Look, *, far: bool) -> tuple[NDArray[np.float32] | None, tuple[Box, ...]]:
    """What scores the hazards: the head where it knows such pictures; the boxes, and a head that is doubted more the
    farther a picture is, where it guesses; both where nobody measured that."""
    if seen.distance is None or seen.hazards is None:
        return seen.hazards, seen.boxes
    doubted = seen.hazards - np.float32(DOUBT * max(0.0, seen.distance - FAR_FROM))
    return (doubted, seen.boxes) if far else (seen.hazards, ())


def _worn(camera: Camera | Callable[[], Camera] | None) -> Callable[[], Camera]:
    return camera if callable(camera) else lambda: camera or Camera()


def _has(folder: Path, graph: str) -> bool:
    return (folder / graph).is_file()


def _light(tile: NDArray[np.uint8]) -> tuple[float, float]:
    """Brightness and contrast."""
    return float(tile.mean() / 255), float(tile.std() / 255)
