"""The sides of the runtime benchmark: ways to make one instruction of one picture, each with the same model.

    transformers    `generate`, fp32, eager attention
    plain           the graphs of a bundle in a loop as an application would write it: whole prompt, then a token at a
                    time, nothing kept from one picture to the next. Over the exporter's float32 graphs or over ours
    runtime         shared.runtime.GuidanceModel, with one of its steps more from bundle to bundle

Each is called with a picture and says how long the look and the whole instruction took, by the clock and of the
processor with all its threads: the latter still means something on a busy machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from benchmarks._retrained import TEXT
from benchmarks._retrained import VISION as VISION_SHAPE
from exporters.onnx.graphs import export_decoder, export_graphs
from exporters.onnx.quantise import quantise_decoder, quantise_vision
from server.learn.bases import STARTER_FOLDER
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from shared import atomic, bundle
from shared.preprocess import Preprocessing, prepare
from shared.runtime import Execution, GuidanceModel
from shared.runtime.decoder import KEEP
from shared.runtime.draft import Drafter
from shared.runtime.language import DECODER, EMBED, TOKENIZER, VISION

BEFORE, AFTER = 32, 8  # prompt tokens before and after the picture, on the 256M shape
Picture = NDArray[np.uint8]


class Timed(NamedTuple):
    """What one instruction took."""

    look_s: float
    """By the clock."""
    whole_s: float
    """Look and words."""
    cpu_s: float
    """Of the processor, for both."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A model to measure."""

    name: str
    checkpoint: Checkpoint
    before: Sequence[int]
    after: Sequence[int]
    tokens: int
    """Of each answer; 0 = until its end."""


def starter() -> Shape:
    """The shipped starter with its own prompt."""
    made = checkpoints.load(STARTER_FOLDER)
    return Shape("starter", made, made.before_ids(), made.after_ids(), 0)


def smolvlm_256m() -> Shape:
    """SmolVLM2-256M's shape with random weights, a 256 px tile, 40 prompt tokens and an 8-token answer."""
    of = checkpoints.load(STARTER_FOLDER)
    torch.manual_seed(1)
    config = SmolVLMConfig(
        image_token_id=of.model.config.image_token_id,
        tie_word_embeddings=False,
        scale_factor=4,
        vision_config=VISION_SHAPE,
        text_config=TEXT | {"eos_token_id": of.end_id},
    )
    model = SmolVLMForConditionalGeneration(config)
    preprocessing = Preprocessing(size_px=256, fit="pad")
    head = checkpoints.new_head(model, preprocessing, of.objects)
    made = Checkpoint(model, of.tokenizer, head, preprocessing, "SmolVLM2-256M (random)", "demo", objects=of.objects)
    return Shape("smolvlm2-256m-shape", made, range(100, 100 + BEFORE), range(200, 200 + AFTER), 8)


# --- bundles ---


def bundles(shape: Shape, home: Path) -> dict[str, Path]:
    """float32, quantised, and quantised with the cache in place; found again as long as they would be made the same."""
    folders = {name: home / shape.name / name for name in ("float32", "quantised", "in-place", "in-place-4-bit")}
    mark, wanted = home / shape.name / "made-of.txt", made_of(shape)
    if mark.exists() and mark.read_text() == wanted:
        return folders
    shutil.rmtree(home / shape.name, ignore_errors=True)
    for folder in folders.values():
        folder.mkdir(parents=True)
    made, plain = shape.checkpoint, folders["float32"]
    export_graphs(made.model, made.head, plain, size_px=made.preprocessing.size_px)
    rewritten = home / shape.name / DECODER
    (plain / DECODER).rename(rewritten)
    export_decoder(made.model, plain / DECODER)
    made.tokenizer.backend_tokenizer.save(str(plain / TOKENIZER))
    quantise_vision(plain / VISION, folders["quantised"] / VISION)
    quantise_decoder(plain / DECODER, folders["quantised"] / DECODER)
    quantise_decoder(rewritten, folders["in-place"] / DECODER)
    quantise_decoder(rewritten, folders["in-place-4-bit"] / DECODER, bits=4)
    rewritten.unlink()
    for name, folder in folders.items():
        for file in (EMBED, TOKENIZER):
            if not (folder / file).exists():
                os.link(plain / file, folder / file)
        if not (folder / VISION).exists():
            os.link(folders["quantised"] / VISION, folder / VISION)
        write_manifest(shape, folder, name)
    atomic.write_bytes(mark, wanted.encode())
    return folders


def made_of(shape: Shape) -> str:
    """Changes with the weights, and with the code that exports them."""
    digest = hashlib.sha256()
    for part in (shape.checkpoint.model, shape.checkpoint.head):
        for name, value in part.state_dict().items():
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
    for file in sorted(Path(quantise_decoder.__code__.co_filename).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def write_manifest(shape: Shape, folder: Path, version: str) -> None:
    """A manifest with the shape's prompt."""
    made = shape.checkpoint
    manifest = bundle.Manifest(
        format=bundle.FORMAT,
        version=version,
        created_at_utc=1.0,
        base=made.name,
        parent="",
        intended_use="demo",
        files=(),
        thresholds=dict(made.thresholds),
        model={
            "preprocessing": made.preprocessing.to_dict(),
            "before_ids": list(shape.before),
            "after_ids": list(shape.after),
            "end_id": made.end_id,
            "objects": list(made.objects),
            "sides": list(made.sides),
        },
    )
    bundle.write_bundle(folder, manifest)


# --- sides ---


class Transformers:
    """The model as its library runs it."""

    def __init__(self, shape: Shape, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model: Any = shape.checkpoint.model
        self.model.float().eval()  # type: ignore[no-untyped-call]  # a gap of torch
        self.model.set_attn_implementation("eager")
        self.preprocessing = shape.checkpoint.preprocessing
        image = [self.model.config.image_token_id] * shape.checkpoint.image_tokens
        self.ids = torch.tensor([[*shape.before, *image, *shape.after]])
        self.limits = {"max_new_tokens": shape.tokens or 16}
        if shape.tokens:
            self.limits["min_new_tokens"] = shape.tokens
        self.end_id = shape.checkpoint.end_id

    @torch.no_grad()
    def __call__(self, picture: Picture) -> Timed:
        started, began_cpu = time.perf_counter(), time.process_time()
        pixels = torch.from_numpy(prepare(picture, self.preprocessing))[:, None]
        self.model.generate(
            input_ids=self.ids,
            attention_mask=torch.ones_like(self.ids),
            pixel_values=pixels,
            do_sample=False,
            eos_token_id=self.end_id,
            pad_token_id=self.end_id,
            **self.limits,
        )
        whole_s, cpu_s = time.perf_counter() - started, time.process_time() - began_cpu
        started = time.perf_counter()
        self.model.model.get_image_features(pixel_values=pixels)
        return Timed(time.perf_counter() - started, whole_s, cpu_s)


class Plain:
    """The graphs in a loop of twenty lines: what is usually written first."""

    def __init__(self, shape: Shape, folder: Path, *, threads: int) -> None:
        def opened(name: str) -> onnxruntime.InferenceSession:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            return onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])

        self.vision, self.embed, self.decoder = opened(VISION), opened(EMBED), opened(DECODER)
        self.shape = shape
        self.written: list[int] = []
        self.inputs = {item.name for item in self.decoder.get_inputs()}
        self.pasts = [item for item in self.decoder.get_inputs() if "past_key_values" in item.name]

    def __call__(self, picture: Picture) -> Timed:
        started, began_cpu = time.perf_counter(), time.process_time()
        pixels = prepare(picture, self.shape.checkpoint.preprocessing)
        tokens = self.vision.run(["image_features"], {"pixel_values": pixels})[0]
        look_s = time.perf_counter() - started
        inputs = np.concatenate([self._embedded(self.shape.before), tokens, self._embedded(self.shape.after)], axis=1)
        past = [np.zeros((1, int(item.shape[1]), 0, int(item.shape[3])), np.float32) for item in self.pasts]
        self.written = []
        for _ in range(self.shape.tokens or 16):
            start, end = past[0].shape[2], past[0].shape[2] + inputs.shape[1]
            feed = {item.name: value for item, value in zip(self.pasts, past, strict=True)}
            feed |= {"inputs_embeds": inputs, "attention_mask": np.ones((1, end), np.int64)}
            if "position_ids" in self.inputs:
                feed["position_ids"] = np.arange(start, end, dtype=np.int64)[None]
            if KEEP in self.inputs:
                feed[KEEP] = np.array([1], np.int64)
            logits, *past = self.decoder.run(None, feed)
            token = int(logits[0, -1].argmax())
            if token == self.shape.checkpoint.end_id and not self.shape.tokens:
                break
            self.written.append(token)
            inputs = self._embedded([token])
        return Timed(look_s, time.perf_counter() - started, time.process_time() - began_cpu)

    def _embedded(self, ids: Sequence[int]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self.embed.run(None, {"input_ids": np.array([list(ids)], np.int64)})[0]
        return rows


class Runtime:
    """Our own, on a loaded bundle. Sides may share one: each remembers its own answers."""

    def __init__(
        self, shape: Shape, model: GuidanceModel, *, drafted: bool = True, hits: bool = True, constrained: bool = False
    ) -> None:
        """hits: False forgets before each picture what was written, so that no draft is right."""
        named = model.manifest.model
        self.model = model
        self.drafter = Drafter(model.language._tokenizer, model.language._grammar, named["objects"], named["sides"])
        self.tokens, self.drafted, self.hits, self.constrained = shape.tokens or None, drafted, hits, constrained
        self.passes: list[int] = []

    def __call__(self, picture: Picture) -> Timed:
        self.model.language.drafter = self.drafter
        if not self.hits:
            self.drafter.forget()
        started, began_cpu = time.perf_counter(), time.process_time()
        observation = self.model.look(picture)
        look_s = time.perf_counter() - started
        if self.tokens:  # random weights: what its hazard head sees would be drafted first, and is never written
            observation = replace(observation, hazards=())
        said = self.model.word(observation, constrained=self.constrained, drafted=self.drafted, most_tokens=self.tokens)
        whole_s, cpu_s = time.perf_counter() - started, time.process_time() - began_cpu
        self.passes.append(said.passes)
        return Timed(look_s, whole_s, cpu_s)


def loaded(folder: Path, *, threads: int) -> GuidanceModel:
    """A bundle, without hashing its files again."""
    return GuidanceModel(folder, bundle.read_manifest(folder), execution=Execution(threads))


def said(model: GuidanceModel) -> Callable[[Picture], Timed]:
    """One look and one instruction, untimed."""

    def once(picture: Picture) -> Timed:
        model.word(model.look(picture))
        return Timed(0.0, 0.0, 0.0)

    return once


class Stopwatch:
    """Stands around an onnxruntime session and adds up the seconds of its runs."""

    def __init__(self, session: Any) -> None:
        self.session, self.seconds = session, 0.0

    def run(self, *arguments: Any) -> Any:
        return self._timed(self.session.run, *arguments)

    def run_with_iobinding(self, *arguments: Any) -> Any:
        return self._timed(self.session.run_with_iobinding, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def _timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.seconds += time.perf_counter() - started


def watched(model: GuidanceModel) -> list[Stopwatch]:
    """Put a stopwatch around each session of a loaded model."""
    watches, language = [], model.language
    for owner, name in ((language, "_vision"), (language._embed, "_session"), (language._decoder, "_session")):
        watches.append(Stopwatch(getattr(owner, name)))
        setattr(owner, name, watches[-1])
    return watches
