"""llama.cpp as a side of the runtime benchmark: the same decoder in its own format, after our own look.

    .venv/bin/pip install llama-cpp-python gguf     builds from source in about ten minutes; tested with 0.3.36, 0.19.0

Optional: where the two packages are absent its rows say so. Rules kept here:

1. Same weights and bits: every matrix of the decoder in blocks of 32 with 8 bits (Q8_0) or 4 (Q4_0), the output's too.
2. Same work: float32 embeddings of picture and text go in, the KV of the prompt's fixed beginning is kept, logits come
   out of the rows that are read and no others, on the same threads. Its own settings stay as it sets them.
3. Right before fast: its logits must be torch's with the same rounded weights, or the benchmark stops.
4. Its loop is the shortest that works: the best token of each row. Ours also works out the confidence.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaForCausalLM

from benchmarks._runtime_sides import Picture, Shape, Timed
from shared import atomic
from shared.runtime import GuidanceModel

INSTALL = "not installed: pip install llama-cpp-python gguf"
KINDS = {8: "Q8_0", 4: "Q4_0"}
POSITIONS = 256  # the least that llama.cpp attends over
ALIKE = 0.999  # cosine of logits, the worst row's: 0.9999 measured; 0.9917 where rows are not paired as it wants them
SAME_MODEL = 0.9  # what rounding to 4 bits leaves of random weights' logits; 0 for another model's
LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
ENDS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}

Floats = NDArray[np.float32]


def installed() -> bool:
    """Whether both packages are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("llama_cpp", "gguf"))


# --- its file ---


def write_gguf(shape: Shape, file: Path, *, bits: int) -> None:
    """The decoder of `shape` as llama.cpp reads it; nothing where `file` is there already."""
    if file.exists():
        return
    gguf: Any = importlib.import_module("gguf")
    text = shape.checkpoint.model.config.text_config
    temp = file.with_name(file.name + atomic.TEMP_SUFFIX)
    writer = gguf.GGUFWriter(temp, "llama")
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_block_count(text.num_hidden_layers)
    writer.add_feed_forward_length(text.intermediate_size)
    writer.add_head_count(text.num_attention_heads)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_rope_dimension_count(text.head_dim)
    writer.add_rope_freq_base(text.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_vocab_size(text.vocab_size)
    writer.add_tokenizer_model("none")
    state = _state(shape)
    for name, its in _names(text.num_hidden_layers):
        weights = _paired(state[name], _heads(name, text))
        kind = gguf.GGMLQuantizationType[KINDS[bits] if weights.ndim == 2 else "F32"]
        writer.add_tensor(its, gguf.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    atomic.move(temp, file)


def rounded(shape: Shape, file: Path) -> Any:
    """The decoder in torch, float32, with the weights that stand in `file`."""
    gguf: Any = importlib.import_module("gguf")
    text = shape.checkpoint.model.config.text_config
    tensors = {part.name: gguf.dequantize(part.data, part.tensor_type) for part in gguf.GGUFReader(file).tensors}
    names = _names(text.num_hidden_layers)
    return _alone(shape, {name: _paired(tensors[its], _heads(name, text), back=True) for name, its in names})


def _alone(shape: Shape, state: dict[str, Floats] | None = None) -> Any:
    """The decoder in torch without the rest of the model; state: other weights than its own."""
    made: Any = LlamaForCausalLM(shape.checkpoint.model.config.text_config)
    made.load_state_dict({name: torch.tensor(value) for name, value in (state or _state(shape)).items()})
    return made.eval()


def _state(shape: Shape) -> dict[str, Floats]:
    """The decoder's weights, by the names that a language model alone gives them."""
    model: Any = shape.checkpoint.model
    state = {f"model.{name}": value for name, value in model.model.text_model.state_dict().items()}
    state["lm_head.weight"] = model.lm_head.weight
    return {name: value.detach().float().numpy() for name, value in state.items()}


def _names(layers: int) -> Iterator[tuple[str, str]]:
    """(in torch, in llama.cpp)"""
    yield from ((f"{name}.weight", f"{its}.weight") for name, its in ENDS.items())
    for at in range(layers):
        yield from ((f"model.layers.{at}.{name}.weight", f"blk.{at}.{its}.weight") for name, its in LAYER.items())


def _heads(name: str, text: Any) -> int:
    """Of a projection that is turned by its position; 0 for other weights."""
    if "q_proj" in name:
        return int(text.num_attention_heads)
    return int(text.num_key_value_heads) if "k_proj" in name else 0


def _paired(weights: Floats, heads: int, *, back: bool = False) -> Floats:
    """Rows reordered: llama.cpp turns neighbours of a head, (0, 1), (2, 3) …, torch (0, n/2), (1, n/2 + 1) ….

    source: llama.cpp convert_hf_to_gguf.py, LlamaModel.permute
    """
    if not heads:
        return weights
    half = len(weights) // heads // 2
    cut = weights.reshape(heads, half, 2, -1) if back else weights.reshape(heads, 2, half, -1)
    return cut.swapaxes(1, 2).reshape(weights.shape)


# --- its runs ---


class Context:
    """A model of llama.cpp with one text: `run` rows after what is kept, `rewind` to forget the last of it."""

    def __init__(self, file: Path, *, threads: int) -> None:
        """Raises: OSError where llama.cpp does not take the file."""
        self._cpp: Any = importlib.import_module("llama_cpp")
        self._silent = self._cpp.llama_log_callback(lambda *arguments: None)  # kept: it is called from C
        self._cpp.llama_log_set(self._silent, ctypes.c_void_p(0))
        self._cpp.llama_backend_init()
        model = self._cpp.llama_model_load_from_file(str(file).encode(), self._cpp.llama_model_default_params())
        wanted = self._cpp.llama_context_default_params()
        wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = POSITIONS
        wanted.n_threads = wanted.n_threads_batch = threads
        self._context = self._cpp.llama_init_from_model(model, wanted) if model else None
        if not self._context:
            raise OSError(f"llama.cpp cannot open {file}. Remove it and run the benchmark again.")
        self._vocabulary = int(self._cpp.llama_vocab_n_tokens(self._cpp.llama_model_get_vocab(model)))
        self._kept, self._asked = 0, np.zeros(POSITIONS, np.int8)

    @property
    def built(self) -> str:
        """Its version, and what it was compiled for."""
        return f"{self._cpp.__version__}: {self._cpp.llama_print_system_info().decode().strip()}"

    def run(self, rows: Floats, *, wanted: int) -> Floats:
        """The logits of the last rows.

        rows: float32 [k, e] embeddings; returns: float32 [wanted, vocabulary], valid until the next run
        """
        count = len(rows)
        self._asked[: count - wanted], self._asked[count - wanted : count] = 0, 1
        batch = self._cpp.llama_batch(  # without positions and texts: each row follows the one before
            n_tokens=count,
            embd=rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            logits=self._asked.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
        if failed := self._cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama.cpp refused {count} rows after {self._kept} (code {failed}).")
        self._kept += count
        return np.ctypeslib.as_array(self._cpp.llama_get_logits(self._context), (wanted, self._vocabulary))

    def rewind(self, kept: int) -> None:
        """Forget all positions from `kept` on."""
        self._cpp.llama_memory_seq_rm(self._cpp.llama_get_memory(self._context), 0, kept, -1)
        self._kept = kept


class Llama:
    """Our look, then llama.cpp's decoder. Sides may share a context: each starts from the prompt's kept beginning."""

    def __init__(self, shape: Shape, model: GuidanceModel, context: Context, *, hits: bool) -> None:
        """hits: check the whole answer, as it was written last, in the first pass; False: write token by token."""
        self._model, self._context, self._hits, self._tokens = model, context, hits, shape.tokens
        made: Any = shape.checkpoint.model
        self._table: Floats = made.get_input_embeddings().weight.detach().numpy()
        self._before, self._after = self._table[list(shape.before)], self._table[list(shape.after)]
        self._last: list[int] = []
        self.passes: list[int] = []
        self.alike = 0.0
        context.rewind(0)
        context.run(self._before, wanted=1)

    def __call__(self, picture: Picture) -> Timed:
        started, began_cpu = time.perf_counter(), time.process_time()
        observation = self._model.look(picture)
        look_s = time.perf_counter() - started
        self._last, passes = self.word(observation.image_tokens[0], self._last if self._hits else [])
        whole_s, cpu_s = time.perf_counter() - started, time.process_time() - began_cpu
        self.passes.append(passes)
        return Timed(look_s, whole_s, cpu_s)

    def word(self, image: Floats, draft: Sequence[int] = ()) -> tuple[list[int], int]:
        """Greedy decoding: (tokens, passes)."""
        written: list[int] = []
        start, passes = len(self._before) + len(image) + len(self._after), 0
        rows = np.concatenate([image, self._after, self._table[list(draft)]])
        self._context.rewind(len(self._before))
        while True:
            best = self._context.run(rows, wanted=1 + len(draft)).argmax(axis=1).tolist()
            passes += 1
            right = next((at for at, (a, b) in enumerate(zip(best, draft, strict=False)) if a != b), len(draft))
            written += best[: right + 1]
            if len(written) >= self._tokens:
                return written[: self._tokens], passes
            self._context.rewind(start + len(written) - 1)
            rows, draft = self._table[written[-1:]], ()

    @property
    def built(self) -> str:
        """llama.cpp's version, and what it was compiled for."""
        return self._context.built

    def text(self, image: Floats, answer: Sequence[int]) -> Floats:
        """Embeddings [n, e] of the prompt and an answer."""
        return np.concatenate([self._before, image, self._after, self._table[list(answer)]])

    def logits(self, text: Floats, *, wanted: int) -> Floats:
        """Of the last rows, as it is timed: after the kept beginning, in one pass or token by token."""
        first = len(self._before)
        last = len(text) if self._hits else len(text) - wanted + 1
        self._context.rewind(first)
        rows = [self._context.run(text[first:last], wanted=wanted - len(text) + last).copy()]
        rows += [self._context.run(text[at : at + 1], wanted=1).copy() for at in range(last, len(text))]
        return np.concatenate(rows)


def opened(shape: Shape, model: GuidanceModel, home: Path, picture: Picture, *, bits: int, threads: int) -> list[Llama]:
    """Two sides on one context: where drafting hits, and where it never does.

    model: our own with the same bits; it looks for both
    raises: ValueError where the logits are not those of the same weights in torch, or ours not those of the same model
    """
    file = home / f"decoder-{KINDS[bits]}.gguf"
    write_gguf(shape, file, bits=bits)
    context = Context(file, threads=threads)
    both = [Llama(shape, model, context, hits=hits) for hits in (True, False)]
    image = model.look(picture).image_tokens[0]
    answer, _ = both[0].word(image)
    text, wanted = both[0].text(image, answer), 1 + len(answer)
    reference = _in_torch(rounded(shape, file), text)[-wanted:]
    for side in both:
        side.alike = _cosine(side.logits(text, wanted=wanted), reference)
        if not side.alike >= ALIKE:
            raise ValueError(f"llama.cpp's logits of {file.name} are not torch's: cosine {side.alike:.5f} < {ALIKE}.")
    model.language._decoder.rewind(0)
    ours = _cosine(model.language._decoder.run([text], wanted=wanted), _in_torch(_alone(shape), text)[-wanted:])
    model.language._decoder.rewind(len(shape.before))
    if not ours >= SAME_MODEL:
        raise ValueError(f"Our {bits}-bit decoder is not the model llama.cpp runs: cosine {ours:.5f} < {SAME_MODEL}.")
    return both


def _in_torch(model: Any, text: Floats) -> Floats:
    with torch.no_grad():
        logits: Floats = model(inputs_embeds=torch.from_numpy(text)[None]).logits[0].numpy()
    return logits


def _cosine(ours: Floats, theirs: Floats) -> float:
    """Of the least alike row."""
    along = (ours * theirs).sum(axis=1)
    return float((along / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)).min())
